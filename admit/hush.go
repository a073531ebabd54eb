package admit

import (
	"sync/atomic"
	"time"
)

// A hush is a short time in which nobody but who publishes begins a turn: while a
// segment is stored its publisher waits several times, for the disk or the network, takes no
// turn and needs the processor each time for some microseconds; whoever reads would have
// it for a turn, or for as long as the system lets a thread run. It is for crowds only, and
// for a tenth of the time: however much is published, delivery goes on.
type hush struct {
	storing atomic.Int32 // publications

	// Of the Turns whose mu guards it:
	since time.Time // zero: it is none
	rests time.Time // there is none before
}

const (
	// hushMost is how long one is at most: some segments at once are stored in it.
	hushMost = 20 * time.Millisecond
	// hushRest is how many times as long there is none after it.
	hushRest = 9
	// aCrowd is how many wait to read where there is one.
	aCrowd = 8
)

// now goes on to now, and reports whether it is one: waiting is how many wait to read. It
// needs mu.
func (h *hush) now(now time.Time, waiting int) bool {
	wanted := h.storing.Load() > 0 // not a moment longer: who waited for the segment is answered then
	if h.since.IsZero() && wanted && waiting >= aCrowd && !now.Before(h.rests) {
		h.since = now
	}
	if h.since.IsZero() {
		return false
	}
	took := min(now.Sub(h.since), hushMost)
	if wanted && took < hushMost {
		return true
	}
	h.rests = h.since.Add(took + hushRest*took)
	h.since = time.Time{}
	return false
}

// until is when it ends at the latest. It needs mu, and that it is one.
func (h *hush) until() time.Time { return h.since.Add(hushMost) }

// Storing says that a segment begins to be stored, until stored is called.
func (t *Turns) Storing() (stored func()) {
	if t == nil {
		return func() {}
	}
	t.hush.storing.Add(1)
	return func() {
		if t.hush.storing.Add(-1) > 0 {
			return
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		t.next(time.Now())
	}
}
