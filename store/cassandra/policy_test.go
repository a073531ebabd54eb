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
		want("silent since", true)
		p.answered("h", before) // what was asked before
		want("still silent", true)
		p.answered("h", time.Now())
		want("the one that finds out", false)
		want("while it does", true)
		p.suspect("h", time.Now()) // late again
		time.Sleep(suspectFor)
		p.answered("h", time.Now())
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
		p.answered("h", time.Now())
		want("never for longer", false)
	})
}

// TestLeast: where all nodes are suspect, or waited for, the one goes first of which there
// is the most to expect.
func TestLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name    string
			suspect map[string]int // how often each was late
			waits   []string       // that other attempts wait for
			want    string
		}{
			{"all are well, and waited for", nil, []string{"a", "b", "c"}, "a"},
			{"one stands still", map[string]int{"a": 5, "b": 1, "c": 2}, nil, "b"},
			{"one is well, and waited for", map[string]int{"a": 5, "c": 2}, []string{"b"}, "c"},
			{"all are suspect, one is waited for", map[string]int{"a": 5, "b": 1, "c": 2}, []string{"b"}, "c"},
		} {
			p, r := newPolicy("dc1"), &route{hosts: make(map[*attempt]string)}
			hosts := []string{"a", "b", "c"}
			for _, id := range hosts {
				for range c.suspect[id] {
					time.Sleep(time.Second)
					p.suspect(id, time.Now())
				}
			}
			for _, id := range c.waits {
				(&attempt{route: r}).goes(id)
			}
			if got := hosts[p.least(hosts, r)]; got != c.want {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
		}
	})
}
