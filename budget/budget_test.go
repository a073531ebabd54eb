package budget

import (
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var kept [][]byte // what the tests have, so that it is in use

// What nobody counts takes from what may still be had, and gives it back.
func TestWhatNobodyCountsIsMeasured(t *testing.T) {
	defer func() { kept = nil }()
	var counted atomic.Int64
	b := New(1 << 30)
	b.Count(counted.Load)
	told := int64(-1)
	b.Tell(func(rest int64) { told = rest })
	measure := func() int64 {
		runtime.GC()
		b.look()
		return b.Rest()
	}
	const many = 256 << 20
	before := measure()
	if told != before {
		t.Errorf("told of %d, measured %d", told, before)
	}
	for range 256 {
		kept = append(kept, make([]byte, 1<<20))
	}
	if rest := measure() - before; rest < many/10*9 || rest > many/10*11 {
		t.Errorf("%d measured of %d that nobody counts", rest, many)
	}
	counted.Store(many)
	if rest := measure() - before; rest > many/10 {
		t.Errorf("%d measured of what is counted", rest)
	}
	kept = nil
	counted.Store(0)
	if rest := measure() - before; rest > many/10 {
		t.Errorf("%d measured of what was let go", rest)
	}
}

// What is refused is refused by what is counted and what is not, and publishing has a
// part to itself.
func TestRoom(t *testing.T) {
	for _, c := range []struct {
		counted, rest, n int64
		room, first      bool
	}{
		{0, 0, 600, true, true}, {0, 0, 601, false, true}, {0, 0, 750, false, true}, {0, 0, 751, false, false},
		{600, 0, 0, true, true}, {600, 0, 1, false, true}, {0, 600, 0, true, true}, {0, 600, 1, false, true},
		{300, 300, 0, true, true}, {300, 301, 0, false, true}, {400, 351, 0, false, false}, {0, 751, 0, false, false},
	} {
		b := New(1000)
		b.Count(func() int64 { return c.counted })
		b.rest.Store(c.rest)
		b.collecting.Store(true) // else it would measure
		if room, first := b.Room(c.n), b.RoomFirst(c.n); room != c.room || first != c.first {
			t.Errorf("%d counted, %d not, %d more: %v and %v, want %v and %v", c.counted, c.rest, c.n, room, first, c.room, c.first)
		}
	}
	b := New(1000)
	b.collecting.Store(true)
	for i := range 8 {
		if let := b.Let(100); let != (i < 7) {
			t.Errorf("%d: let in: %v", i, let)
		}
	}
	if b.look(); b.since.Load() != 0 {
		t.Errorf("%d bytes since it was measured", b.since.Load())
	}
	var none *Budget
	if none.Count(nil); !none.Room(1<<60) || !none.RoomFirst(1<<60) || !none.Let(1<<60) || New(0) != nil {
		t.Error("one without a bound has none")
	}
}

// Who is refused for what is not there any more is not refused for long.
func TestRefusalsMeasureAnew(t *testing.T) {
	b := New(1 << 30)
	measured := make(chan int64, 1)
	b.Tell(func(rest int64) {
		select {
		case measured <- rest:
		default:
		}
	})
	b.rest.Store(1 << 30)
	if b.Room(1) {
		t.Fatal("there is room")
	}
	if rest := <-measured; rest >= 1<<30 || !b.Room(1) {
		t.Errorf("%d after it was measured anew", rest)
	}
}

// After each collection it is measured by itself.
func TestCollectionsMeasure(t *testing.T) {
	b := New(1 << 30)
	measured := make(chan int64)
	b.Tell(func(rest int64) { measured <- rest })
	b.Run()
	for range 3 {
		runtime.GC()
		if rest := <-measured; rest <= 0 {
			t.Errorf("%d", rest)
		}
	}
}

// However much is refused, the collector is not all that works.
func TestRefusalsCollectNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(1) // for which there is never room
		collected := 0
		b.Tell(func(int64) { collected++ })
		for range 100 { // a second
			if b.Room(1) {
				t.Fatal("there is room")
			}
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
		}
		if collected < 2 || collected > 12 {
			t.Errorf("collected %d times for 100 refusals in a second", collected)
		}
		time.Sleep(time.Minute)
	})
}

// Connections that come and go are not refused for those that have gone.
func TestConnectionsThatHaveGoneAreNotHeldAgainstOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(1 << 30)
		for i := range 1000 { // ten times what there is
			if !b.Let(8 << 20) {
				t.Fatalf("connection %d is refused, and there is none", i)
			}
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(time.Minute)
	})
}
