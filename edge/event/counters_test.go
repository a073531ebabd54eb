package event

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/live"
)

// However many events there are, those beyond a number share their counters;
// an event that is forgotten leaves its place.
func TestTalliesAreBounded(t *testing.T) {
	reg := prometheus.NewRegistry()
	ts := NewTallies(reg)
	v := &Configuration{Renditions: map[string]*Rendition{"v": {}}}
	v.Pipelines = []live.Pipeline{{Name: "a"}}
	id := func(i int) live.EventID { return live.EventID{Tenant: "t", Name: fmt.Sprint("e", i)} }
	for i := range talliedEvents {
		if got := ts.know(id(i), v); got.label != id(i).String() {
			t.Fatalf("event %d is %s", i, got.label)
		}
	}
	series := func() (n int) {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			n += len(f.GetMetric())
		}
		return n
	}
	before := series()
	for i := range 50 {
		if got := ts.know(id(1000+i), v); got != ts.rest {
			t.Fatalf("one too many is %s", got.label)
		}
		ts.Asked(live.Path{Event: id(1000 + i), Rendition: "v"})
	}
	if n := series(); n > before+1 {
		t.Errorf("%d series, then %d", before, n)
	}
	ts.forget(id(7))
	if got := ts.know(id(1000), v); got.label != id(1000).String() {
		t.Errorf("the place of one that was forgotten: %s", got.label)
	}
	if families, _ := reg.Gather(); strings.Contains(fmt.Sprint(families), `"t/e7"`) {
		t.Error("what was forgotten is still there")
	}
}

// To count an answer takes no memory.
func TestCountingDoesNotAllocate(t *testing.T) {
	ts, e := NewTallies(prometheus.NewRegistry()), new(Event)
	e.tally.Store(ts.know(live.EventID{Tenant: "t", Name: "e"}, new(Configuration)))
	if n := testing.AllocsPerRun(100, func() {
		ts.Answered(e, 200, "")
		ts.Answered(e, 410, "lost")
		ts.Answered(e, 499, "strange")
		ts.Answered(nil, 404, "no-such-event")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
