package hear

import (
	"fmt"
	"testing"
	"time"

	"headwater/announce"
	"headwater/live"
)

// TestInboxKeepsTheMost: of two errands for the same thing one is run, for the
// newer state and the longer time.
func TestInboxKeepsTheMost(t *testing.T) {
	b := newInbox()
	x := errand{kind: announce.Missed, event: live.EventID{Tenant: "acme", Name: "final"}}
	at := time.Unix(1000, 0)
	b.put(x, reading{stamp: 5, since: at, tries: 3})
	b.put(x, reading{stamp: 4, since: at.Add(-time.Second)})
	b.put(x, reading{stamp: 6, since: at.Add(time.Second)})
	if _, r, ok := b.take(); !ok || r != (reading{stamp: 6, since: at.Add(-time.Second)}) {
		t.Errorf("%+v", r)
	}
	if _, _, ok := b.take(); ok {
		t.Error("twice")
	}
}

// TestInboxIsBounded: a bus that brings nonsense without end costs bounded
// memory.
func TestInboxIsBounded(t *testing.T) {
	b := newInbox()
	for i := range 2 * maxErrands {
		b.put(errand{announce.Changed, live.EventID{Tenant: "t", Name: fmt.Sprint(i)}, ""}, reading{})
	}
	n := 0
	for {
		if _, _, ok := b.take(); !ok {
			break
		}
		n++
	}
	if n != maxErrands {
		t.Errorf("%d errands", n)
	}
}
