package store_test

import (
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
)

func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m store.Meter
		if m.P95() != 0 {
			t.Error("a meter without samples knows something")
		}
		for i := range 100 {
			m.Record(time.Duration(i+1)*time.Millisecond, false)
		}
		// One in ten is slower than the goal, and one in ten fails.
		for range 11 {
			m.Record(time.Hour, true)
		}
		s := m.Signal("op", 90*time.Millisecond)
		if s.P50 != 50*time.Millisecond || s.P95 != 95*time.Millisecond || s.P99 != 99*time.Millisecond || s.Samples != 111 ||
			s.Operations != 111 || s.Errors != 11 || s.Slow != 10./111 || s.Failed != 11./111 {
			t.Errorf("%+v", s)
		}
		if p := m.P95(); p < 85*time.Millisecond || p > 95*time.Millisecond {
			t.Errorf("p95 %v", p)
		}
		// What is long ago is not how it is doing.
		time.Sleep(store.SignalWindow)
		m.Record(time.Millisecond, false)
		s = m.Signal("op", 90*time.Millisecond)
		if s.Samples != 1 || s.P99 != time.Millisecond || s.Operations != 112 {
			t.Errorf("later: %+v", s)
		}
		// And the newest of many are those that count.
		for range 3000 {
			m.Record(2*time.Millisecond, false)
		}
		if s = m.Signal("op", time.Second); s.Samples != 1024 || s.P99 != 2*time.Millisecond || m.P95() != 2*time.Millisecond {
			t.Errorf("many: %+v", s)
		}
	})
}
