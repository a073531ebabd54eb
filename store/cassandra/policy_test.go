package cassandra

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPolicy("dc1")
		want := func(what string, want bool) {
			t.Helper()
			if got := p.suspected("h"); got != want {
				t.Errorf("%s: suspected %v", what, got)
			}
		}
		want("unknown", false)
		p.suspect("", time.Now())
		before := time.Now().Add(-time.Millisecond)
		for range 5 { // all waited for the same node
			p.suspect("h", before)
		}
		want("late", true)
		if p.suspected("other") {
			t.Error("another is suspected")
		}
		time.Sleep(suspectFor)
		want("the one that finds out", false)
		want("while it does", true)
		p.suspect("h", time.Now()) // late again
		time.Sleep(suspectFor)
		want("longer the second time", true)
		time.Sleep(suspectFor)
		want("the next that finds out", false)
		time.Sleep(probeFor)
		want("another, since the last has not ended", false)
		p.trust("h")
		want("well", false)
		want("well", false)
		for range 20 {
			p.suspect("h", time.Now())
			time.Sleep(suspectForMost)
		}
		want("never for longer", false)
	})
}
