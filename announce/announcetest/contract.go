// Package announcetest is the contract test of announce.Bus.
package announcetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"headwater/announce"
	"headwater/live"
)

// patience is how long a message may take before a test fails.
const patience = 20 * time.Second

// Run runs the contract. open returns that many buses that reach each other,
// one per node; they are the test's to use until it ends.
func Run(t *testing.T, open func(t *testing.T, nodes int) []announce.Bus) {
	t.Run("Reaches", func(t *testing.T) { reaches(t, open(t, 3)) })
	t.Run("Order", func(t *testing.T) { order(t, open(t, 2)) })
	t.Run("Cancel", func(t *testing.T) { cancels(t, open(t, 1)[0]) })
	t.Run("Concurrent", func(t *testing.T) { concurrent(t, open(t, 2)) })
	t.Run("Health", func(t *testing.T) {
		for _, b := range open(t, 2) {
			if err := b.Health(); err != nil {
				t.Error(err)
			}
		}
	})
}

// An Ear keeps what a subscriber heard.
type Ear struct {
	t      *testing.T
	mu     sync.Mutex // guards the following
	heard  []announce.Message
	change chan struct{} // closed when heard grows
}

// Listen subscribes to b until the test ends.
func Listen(t *testing.T, b announce.Bus) *Ear {
	e := &Ear{t: t, change: make(chan struct{})}
	t.Cleanup(b.Subscribe(func(m announce.Message) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.heard = append(e.heard, m)
		close(e.change)
		e.change = make(chan struct{})
	}))
	return e
}

// Heard is what came so far that is not Missed.
func (e *Ear) Heard() []announce.Message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(e.heard), func(m announce.Message) bool { return m.Kind == announce.Missed })
}

// Wait waits until all that came fulfils done.
func (e *Ear) Wait(what string, done func(all []announce.Message) bool) {
	e.t.Helper()
	end := time.After(patience)
	for {
		e.mu.Lock()
		ok, change := done(e.heard), e.change
		e.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-change:
		case <-end:
			e.t.Fatalf("%s did not come within %v; heard %d messages", what, patience, len(e.heard))
		}
	}
}

// Candidate is a candidate with something in every field.
func Candidate(n live.Number) live.Candidate {
	return live.Candidate{Pipeline: "a", Region: "us-east-1", Number: n, Findings: live.Findings{{Kind: live.Short, MissingMS: 400}, {Kind: "strange", Samples: 2}}, Quality: live.Quality{Said: true, Score: 40, BlackMS: 2000},
		Key:    live.KeyNone,
		Digest: live.DigestOf(fmt.Append(nil, n)), Size: 1_500_000, Span: live.Span{Start: 180_000, End: 360_000, Timescale: 90_000}, Published: time.Unix(1795405280, 123_456_789).UTC()}
}

var event = live.EventID{Tenant: "acme", Name: "final"}

func reaches(t *testing.T, nodes []announce.Bus) {
	var ears []*Ear
	for _, b := range nodes {
		ears = append(ears, Listen(t, b))
	}
	all := []announce.Message{
		{Kind: announce.Published, Event: event, Life: 3, Rendition: "v720", Candidate: Candidate(1042)},
		{Kind: announce.Published, Event: event, Life: 3, Rendition: "v720", Candidate: live.Candidate{Pipeline: "b", Number: 0, Published: time.Unix(1, 0).UTC()}},
		{Kind: announce.Init, Event: event, Life: 3, Rendition: "a-en", Candidate: Candidate(0)},
		{Kind: announce.Pinned, Event: event, Life: 3, Rendition: "v720", Candidate: Candidate(1042), Stamp: 1795405280123456789, Turn: 1, Version: 7},
		{Kind: announce.Changed, Event: event, Stamp: 1795405280123456789},
		{Kind: announce.Changed, Event: live.EventID{Tenant: "other", Name: "x-1"}},
	}
	for i, b := range nodes {
		for _, m := range all {
			m.Node = fmt.Sprintf("node-%d", i)
			if err := b.Announce(m); err != nil {
				t.Fatal(err)
			}
			// Who is here has seen it.
			if got := ears[i].Heard(); !slices.ContainsFunc(got, func(x announce.Message) bool { return same(x, m) }) {
				t.Fatalf("a subscriber of the announcing node has not seen %+v, but %+v", m, got)
			}
		}
	}
	for i, e := range ears {
		for j := range nodes {
			for _, m := range all {
				m.Node = fmt.Sprintf("node-%d", j)
				e.Wait(fmt.Sprintf("%v from %d to %d", m.Kind, j, i), func(got []announce.Message) bool {
					return slices.ContainsFunc(got, func(x announce.Message) bool { return same(x, m) })
				})
			}
		}
	}
}

func same(a, b announce.Message) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

func order(t *testing.T, nodes []announce.Bus) {
	const n = 500
	far := Listen(t, nodes[1])
	for i := range n {
		if err := nodes[0].Announce(announce.Message{Node: "one", Kind: announce.Published, Event: event, Rendition: "v", Candidate: Candidate(live.Number(i))}); err != nil {
			t.Fatal(err)
		}
	}
	far.Wait("the last message", func(all []announce.Message) bool {
		return len(all) > 0 && slices.ContainsFunc(all, func(m announce.Message) bool { return m.Candidate.Number == n-1 })
	})
	for i, m := range far.Heard() {
		if m.Candidate.Number != live.Number(i) {
			t.Fatalf("message %d is of segment %d", i, m.Candidate.Number)
		}
	}
}

func cancels(t *testing.T, b announce.Bus) {
	stays := Listen(t, b)
	heard := 0
	cancel := b.Subscribe(func(m announce.Message) {
		if m.Kind != announce.Missed {
			heard++
		}
	})
	m := announce.Message{Node: "one", Kind: announce.Changed, Event: event}
	b.Announce(m)
	cancel()
	b.Announce(m)
	if heard != 1 || len(stays.Heard()) != 2 {
		t.Errorf("heard %d before it left, the other %d in all", heard, len(stays.Heard()))
	}
}

func concurrent(t *testing.T, nodes []announce.Bus) {
	const each, writers = 200, 4
	ears := []*Ear{Listen(t, nodes[0]), Listen(t, nodes[1])}
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				m := announce.Message{Node: fmt.Sprintf("node-%d", w%2), Kind: announce.Published, Event: event, Rendition: fmt.Sprintf("v%d", w), Candidate: Candidate(live.Number(i))}
				if err := nodes[w%2].Announce(m); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, e := range ears {
		e.Wait("every message", func(all []announce.Message) bool {
			got := make(map[string]bool)
			for _, m := range all {
				if m.Kind == announce.Published {
					got[fmt.Sprint(m.Rendition, m.Candidate.Number)] = true
				}
			}
			return len(got) == each*writers
		})
	}
}
