package scenario

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/edge"
	"headwater/live"
	"headwater/viewer"
)

// badParents are the ways in which a parent is bad, or not.
var badParents = []struct {
	name string
	set  func(*parent)
}{
	{"slow", func(p *parent) { p.faults.piece, p.faults.every = 2000, 100*time.Millisecond }}, // 3 s for each body, never silent
	{"lying", func(p *parent) { p.faults.corrupt = true }},
	{"dead", func(p *parent) { p.kill() }},
	{"good", func(*parent) {}},
}

// watchAbove has viewers watch for a while an edge above parents of which each is bad in
// its way from 10 s on, and reports what they saw, and how often parents were asked then.
func watchAbove(t *testing.T, viewers int, d time.Duration, kinds ...string) (r *viewer.Report, asked int) {
	w := newWorld(t, true)
	w.out = io.Discard
	defer w.close()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.createEvent(nil))
	n := &edgeNode{name: "e1", cfg: edge.Config{Dial: w.net.Dial, Name: "e1"}}
	for i := range kinds {
		p := newParent(w, fmt.Sprintf("p%d", i+1))
		w.parents = append(w.parents, p)
		n.cfg.Parents = append(n.cfg.Parents, "http://"+p.name+":80")
	}
	w.edges = append(w.edges, n)
	must(w.startEdge(n))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.tasks.Go(func() { // both pipelines publish, 300 ms before each segment is expected
		tl := w.event.Timeline()
		for n := tl.First(); ; n++ {
			select {
			case <-time.After(time.Until(tl.Expected(n).Add(-300 * time.Millisecond))):
			case <-ctx.Done():
				return
			}
			for _, p := range []string{"a", "b"} {
				for _, rendition := range []string{"v360", "a-en"} {
					if err := w.publish([]string{p, rendition, n.String()}); err != nil {
						t.Error(err)
					}
				}
			}
		}
	})
	must(w.pass(w.began.Add(10 * time.Second)))
	w.tasks.Go(func() { // from 10 s later on they are what they are
		time.Sleep(10*time.Second + time.Millisecond)
		for i, p := range w.parents {
			for _, k := range badParents {
				if k.name == kinds[i] {
					p.mu.Lock()
					p.asked = nil
					k.set(p)
					p.mu.Unlock()
				}
			}
		}
	})
	r, err := viewer.Run(t.Context(), viewer.Config{Edges: []string{"http://e1:80"}, Event: live.EventID{Tenant: "t", Name: "e"},
		Renditions: []string{"v360", "a-en"}, Viewers: viewers, Duration: d, Dial: w.net.Dial, Verify: 1})
	must(err)
	for _, p := range w.parents {
		p.mu.Lock()
		for _, path := range p.asked {
			if strings.Contains(path, ".m4s") {
				asked++
			}
		}
		p.mu.Unlock()
	}
	cancel()
	return r, asked
}

// TestBadParents has viewers watch above each pair of parents that are slow, lying, dead
// or good. Where one of them is good nobody notices, but by the first lie.
//
//	go test ./scenario -run BadParents -v
//
// prints the table of docs/reliability.md.
func TestBadParents(t *testing.T) {
	viewers, d := 60, 70*time.Second
	if testing.Short() {
		viewers, d = 6, 30*time.Second
	}
	t.Logf("| first | second | stalls | for | lost segments | without a picture at the end | requests per segment |")
	for _, first := range badParents {
		for _, second := range badParents {
			synctest.Test(t, func(t *testing.T) {
				r, asked := watchAbove(t, viewers, d, first.name, second.name)
				per := float64(asked) / (d.Seconds() - 10) // of two renditions, a segment each in 2 s
				t.Logf("| %s | %s | %d | %.1f s | %d | %d | %.1f |", first.name, second.name, r.Stalls, r.StallMS/1000, r.Gaps, r.Dark, per)
				if first.name != "good" && second.name != "good" {
					return
				}
				errs := r.Errors
				if (first.name == "lying" || second.name == "lying") && len(errs) == 1 && errs[0].Count <= int64(2*viewers) {
					errs = nil // of the first lies, one for each rendition at once, the beginning may have been shown
				}
				if r.Stalls > 0 || r.Gaps > 0 || len(errs) > 0 || r.Verified == 0 {
					t.Errorf("%s and %s: %d stalls, %d gaps, %v", first.name, second.name, r.Stalls, r.Gaps, r.Errors)
				}
				if per > 2 {
					t.Errorf("%s and %s: %.1f requests for each segment", first.name, second.name, per)
				}
			})
		}
	}
}
