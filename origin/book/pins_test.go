package book

import (
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
	"headwater/selection"
)

// TestAdopt: which of two choices stands at a node, whether it counts as
// overruled, and which pipeline served nearest before a segment.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := known(t, someID)
		v := e.View()
		made := func(pipeline string, turn int64, at int64, servedHere bool) *Pin {
			p := &Pin{Pin: selection.Pin{Pipeline: pipeline, Digest: live.DigestOf([]byte(pipeline)), Turn: turn, At: time.Unix(at, 0)}}
			if servedHere {
				p.Served.Store(1)
			}
			return p
		}
		for i, c := range []struct {
			old, heard *Pin
			overruled  bool
		}{
			{made("a", 0, 9, true), made("b", 0, 8, false), true},
			{made("a", 0, 9, false), made("b", 0, 8, false), false}, // nobody was given a here
			{made("a", 0, 9, true), made("a", 0, 8, false), false},  // the same bytes
			{made("a", 0, 9, true), made("b", 1, 10, false), false}, // made in the knowledge of a
			{made("b", 0, 8, true), made("a", 0, 9, false), false},  // b stays
		} {
			n := live.Number(100 + i)
			e.Adopt("v", n, c.old)
			if got := e.Adopt("v", n, c.heard); got != c.overruled {
				t.Errorf("%d: overruled is %v", i, got)
			}
		}
		if _, p := e.known("v", 104); p.Pipeline != "b" {
			t.Errorf("%s stands", p.Pipeline)
		}
		// What is chosen for an older segment is not the nearest.
		e.Adopt("v", 50, made("a", 0, 20, false))
		past := e.before(v, "v", 200)
		if served := past[len(past)-1].Served; len(past) != selection.Lookback+1 || served != "b" {
			t.Errorf("%d before, the last served by %q", len(past), served)
		}
		if past := e.before(v, "v", 120); len(past) != selection.Lookback || past[15].Served != "b" {
			t.Errorf("%d before, %q", len(past), past[15].Served)
		}
	})
}

// TestOneChoiceOfTwo: of two requests at a node that chose at once, the second is
// to choose again.
//
//	request 1         request 2
//	chooses a         chooses b
//	settles a
//	                  cannot settle b: it did not know of a
func TestOneChoiceOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := known(t, someID)
		a, b, c := &Pin{}, &Pin{}, &Pin{}
		if !e.Settle("v", 7, a, nil) || e.Settle("v", 7, b, nil) {
			t.Error("both stand")
		}
		if !e.Settle("v", 7, c, a) || e.Settle("v", 7, b, a) {
			t.Error("what replaced it was replaced by one who did not know it")
		}
		if _, p := e.known("v", 7); p != c {
			t.Error("another stands")
		}
	})
}
