package edge

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/live"
)

// total is how often a parent was asked for anything but the time.
func (p *testParent) total() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, asked := range p.asked {
		n += asked
	}
	return n
}

// A storm for names that there are not, each asked for once: of events of a tenant,
// and of tenants. Where a parent says which there are it costs a few requests each
// time that this runs out, and no memory; what is there is served meanwhile, and what
// is created is found.
func TestStormOfUnknownNames(t *testing.T) {
	for _, c := range []struct {
		name, form, problem string
	}{
		{"events", "/t/x%d/v/1.m4s", "no-such-event"},
		{"tenants", "/x%d/e/v/1.m4s", "no-such-tenant"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, 1, func(r *rig) {
				r.know()
				r.at(9 * time.Second)
				r.get("/t/e/v/1.m4s").expect(200, 10*time.Minute)
				const names = 200
				before := r.parent.total()
				name := 0
				storm := func(n int) {
					t.Helper()
					var all sync.WaitGroup
					for range n {
						name++
						path := fmt.Sprintf(c.form, name)
						all.Go(func() {
							if v := r.get(path); v.status() != 404 || !strings.Contains(v.text(), c.problem) {
								t.Errorf("%s: %d %s", path, v.status(), v.text())
							}
						})
					}
					all.Wait()
				}
				storm(names)
				// Of the first the answer is not there yet: of a tenant four at once are
				// asked for, of tenants as many as of all.
				if n := r.parent.total() - before; n > 64 || c.name == "events" && n > 4 {
					t.Errorf("%d requests for the first names", n)
				}
				before = r.parent.total()
				remembered := r.metric("events")
				storm(names)
				if n := r.parent.total() - before; n != 0 {
					t.Errorf("%d requests for as many more", n)
				}
				if n := r.metric("events"); n != remembered {
					t.Errorf("%v events are remembered, and %v before", n, remembered)
				}
				r.get("/t/e/v/1.m4s").expect(200, 10*time.Minute)
				if n := r.metric("answers_total", "event", "other", "status", "404", "problem", c.problem); n != 2*names {
					t.Errorf("%v are counted", n)
				}
				time.Sleep(3 * time.Second)
				storm(100)
				if n := r.parent.total() - before; n > 66 || c.name == "events" && n > 6 { // the followed event too
					t.Errorf("%d requests when it has run out", n)
				}
				time.Sleep(20 * time.Second)
				if n := r.metric("events"); n != 1 {
					t.Errorf("%v events are remembered in the end", n)
				}
			})
		})
	}
}

// An event that is created in the middle of a storm is found when what was told
// before it has run out, and not before.
func TestEventIsCreatedInAStorm(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.mu.Lock()
		r.parent.events = false
		r.parent.mu.Unlock()
		if v := r.get("/t/x/v/1.m4s"); v.status() != 404 {
			t.Fatal(v.status())
		}
		r.parent.mu.Lock()
		r.parent.events = true
		r.parent.mu.Unlock()
		r.at(1999 * time.Millisecond)
		if r.get("/t/e/event.json").expect(404, time.Millisecond); r.parent.asks("/t/e/event.json") != 0 {
			t.Error("it was asked for")
		}
		r.at(2 * time.Second)
		r.know()
	})
}

// A node below is told which names there are, as this one was; viewers are not.
func TestNamesForANodeBelow(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		for _, path := range []string{"/t/x/event.json", "/t/y/event.json", "/x/e/event.json", "/y/e/event.json"} {
			if v := r.get(path); v.got(live.HeaderNames) != "" {
				t.Errorf("%s: %q for a viewer", path, v.got(live.HeaderNames))
			}
			names, err := live.ParseNames(r.get(path, with(live.HeaderNames, "?1")).got(live.HeaderNames))
			want := "e"
			if path[2:4] == "/e" {
				want = "t"
			}
			if err != nil || len(names) != 1 || !names.Has(want) {
				t.Errorf("%s: %v, %v", path, names, err)
			}
		}
	})
}

// Whatever a number is, what cannot be of the event costs no request.
func TestStormOfNumbers(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(100 * time.Second)
		before := r.parent.total()
		for _, n := range []string{
			"0", "50000", "9007199254740992", "9007199254740993", "99999999999999999999999999", "-1", "+1", "01", "1e3", "0x1", "1.0", "%31", "1%00", "", "%20", "..", "1/2",
		} {
			if v := r.get("/t/e/v/" + n + ".m4s"); v.status() != 404 && n != "%31" {
				t.Errorf("%q: %d", n, v.status())
			}
		}
		for i := range 200 {
			if v := r.get(fmt.Sprintf("/t/e/nothing%d/1.m4s", i)); v.status() != 404 {
				t.Errorf("rendition %d: %d", i, v.status())
			}
		}
		if n := r.parent.total() - before; n > 1+1 { // %31 is 1 by net/http; and what follows the event
			t.Errorf("%d requests", n)
		}
	})
}
