package clock

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// TestDecide: the evidence, and what follows. Each vote is what a clock says the
// correction should be, in seconds, to within a tenth where it came one way.
func TestDecide(t *testing.T) {
	type votes map[string]float64
	const year = 366 * 86400
	source := map[string]Vote{
		"own": {Source: Source{Kind: System}, Weight: 1}, "half": {Source: Source{Kind: System}, Weight: 0.5},
		"a": {Source: Source{Packager, "a"}, Weight: 1}, "b": {Source: Source{Packager, "b"}, Weight: 1},
		"o": {Source: Source{Origin, "o"}, Weight: 1}, "o2": {Source: Source{Origin, "o2"}, Weight: 2},
		"e": {Source: Source{Edge, "e"}, Weight: 1}, "p1": {Source: Source{Pipeline, "a"}, Weight: ofPipeline}, "p2": {Source: Source{Pipeline, "b"}, Weight: ofPipeline},
		"s": {Source: Source{Store, "s"}, Weight: 1}, "s1": {Source: Source{Store, "1"}, Weight: 0.75}, "s2": {Source: Source{Store, "2"}, Weight: 0.75},
		"p": {Source: Source{Parent, "p"}, Weight: 1}, "q": {Source: Source{Parent, "q"}, Weight: 1}, "r": {Source: Source{Parent, "r"}, Weight: 1},
	}
	for _, c := range []struct {
		name    string
		votes   votes
		current float64
		state   State
		want    float64 // to within 150 ms
		off     int
	}{
		{"nobody", votes{}, 3, Alone, 3, 0},
		{"its own alone", votes{"own": 0}, 0, Alone, 0, 0},
		{"its own alone, set", votes{"own": 5}, 0, Alone, 5, 0},
		{"all agree", votes{"own": 0, "a": 0, "b": 0, "e": 0}, 0, Agreed, 0, 0},
		{"all agree on another", votes{"own": 5, "a": 5, "b": 5, "e": 5}, 0, Wrong, 5, 0},
		{"its own is set while it runs", votes{"own": 300, "a": 0, "b": 0, "e": 0}, 0, Agreed, 0, 1},
		{"its own is a year off", votes{"own": year, "a": 0, "b": 0, "e": 0}, 0, Agreed, 0, 1},
		{"it began five seconds ahead", votes{"own": 0, "a": -5, "b": -5, "e": -5}, 0, Wrong, -5, 1},
		{"it began a second behind", votes{"own": 0, "a": 1, "b": 1, "e": 1}, 0, Wrong, 1, 1},
		{"it began ahead, and is corrected", votes{"own": 0, "a": -5, "b": -5}, -5, Agreed, -5, 1},
		{"one packager", votes{"own": 0, "a": 5, "b": 0, "e": 0}, 0, Agreed, 0, 1},
		{"both packagers, alike", votes{"own": 0, "a": 5, "b": 5, "e": 0}, 0, Disputed, 0, 0},
		{"both packagers, alike, another origin", votes{"own": 0, "a": 5, "b": 5, "e": 0, "o": 0}, 0, Agreed, 0, 2},
		{"the edges", votes{"own": 0, "a": 0, "b": 0, "e": -300}, 0, Agreed, 0, 1},
		{"two clocks, which differ", votes{"own": 0, "a": 5}, 0, Disputed, 0, 0},
		{"two clocks, which differ, after a step", votes{"own": 5, "a": 0}, 0, Disputed, 0, 0},
		{"three clocks, its own is off", votes{"own": 5, "a": 0, "e": 0}, 5, Wrong, 0, 1},
		{"all differ", votes{"own": 0, "a": 5, "b": -5, "e": 9}, 0, Disputed, 0, 0},
		{"a packager and an origin that others confirm", votes{"own": -5, "o2": 0}, -5, Wrong, 0, 1},
		{"an edge and its only parent", votes{"half": 0, "p": 5}, 0, Wrong, 5, 1},
		{"an edge that is off, and two parents", votes{"half": 9, "p": 0, "q": 0}, 0, Agreed, 0, 1},
		{"an edge and two parents that differ", votes{"half": 0, "p": 5, "q": 0}, 5, Wrong, 0, 1},
		{"an edge that is off, and two parents that differ", votes{"half": 9, "p": 5, "q": 0}, 0, Disputed, 0, 0},
		{"it began ahead, an edge and two pipelines know", votes{"own": 0, "e": -5, "p1": -5, "p2": -5}, 0, Wrong, -5, 1},
		{"two pipelines alone against it", votes{"own": 0, "p1": -5, "p2": -5}, 0, Agreed, 0, 2},
		{"two slow pipelines, and an edge", votes{"own": 0, "e": 0, "p1": -5, "p2": -4}, 0, Agreed, 0, 2},
		{"one slow pipeline, and an edge that is off", votes{"own": 0, "e": 5, "p1": -5, "p2": 0}, 0, Disputed, 0, 2},
		{"it began ahead, and two nodes of its store know", votes{"own": 5, "s1": 0, "s2": 0}, 5, Wrong, 0, 1},
		{"it began ahead, and its store has one node", votes{"own": 5, "s": 0}, 5, Disputed, 5, 0},
		{"the store is off, and two pipelines know", votes{"own": 0, "s1": 5, "s2": 5, "p1": 0, "p2": 0}, 0, Agreed, 0, 2},
		{"the store is off, and both packagers know", votes{"own": 0, "s1": 5, "s2": 5, "a": 0, "b": 0}, 0, Agreed, 0, 2},
		{"it began ahead, its store and a packager know", votes{"own": 5, "s1": 0, "s2": 0, "a": 0}, 5, Wrong, 0, 1},
		{"the median of three parents", votes{"half": 9, "p": 5, "q": 0, "r": 0}, 5, Wrong, 0, 2},
	} {
		var list []Vote
		for name, at := range c.votes {
			v := source[name]
			v.Lo = time.Duration(at * 1e9)
			if v.Hi = v.Lo; v.Source.Kind != System && v.Source.Kind != Parent {
				v.Lo, v.Hi = v.Lo-100*time.Millisecond, v.Lo+100*time.Millisecond
			}
			list = append(list, v)
		}
		got := Decide(list, time.Duration(c.current*1e9), Tolerance)
		if got.State != c.state || (got.Offset-time.Duration(c.want*1e9)).Abs() > 150*time.Millisecond || len(got.Off) != c.off && c.state != Disputed {
			t.Errorf("%s: %+v, want %v by %v s, %d off", c.name, got, c.state, c.want, c.off)
		}
	}
}

// TestSteps: a clock that is set to and fro says nothing until it rests, one whose
// messages are late on their way is the same clock, and one that drifts too.
func TestSteps(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name   string
		oneWay bool
		offs   []time.Duration // one each second
		steady bool
		best   time.Duration
	}{
		{"steady", false, []time.Duration{0, 0, 0, 0}, true, 0},
		{"strobing", false, []time.Duration{0, 5 * s, 0, 5 * s, 0, 5 * s}, false, 5 * s},
		{"set once", false, []time.Duration{0, 0, 5 * s, 5 * s, 5 * s, 5 * s}, true, 5 * s},
		{"set just now", false, []time.Duration{0, 0, 0, 0, 5 * s}, false, 5 * s},
		{"drifting by 1%", false, []time.Duration{0, s / 100, s / 50, 3 * s / 100, s / 25}, true, s / 25},
		{"late messages", true, []time.Duration{0, 0, -s, 0, -2 * s, 0, -s}, true, 0},
		{"set back", true, []time.Duration{0, 0, -5 * s, -5 * s, -5 * s, -5 * s, -5 * s, -5 * s}, true, -5 * s},
	} {
		tr := track{oneWay: c.oneWay}
		now := time.Duration(0)
		for _, off := range c.offs {
			now += s
			tr.add(sample{now, off, off + time.Millisecond}, Tolerance)
		}
		best, ok := tr.best(now)
		if !ok || tr.steady(System, now) != c.steady || (best.lo-c.best).Abs() > 100*time.Millisecond {
			t.Errorf("%s: steady %v, best %v, want %v, %v", c.name, tr.steady(System, now), best, c.steady, c.best)
		}
	}
}

// TestOffAndForgotten: of a clock that was off, and that had to make room for others,
// nothing is said.
func TestOffAndForgotten(t *testing.T) {
	c := New(OfEdge(nil))
	tell := func(name string, by time.Duration) {
		now := time.Now()
		c.Exchange(Parent, name, c.At(now).Add(by), now, now, 1)
	}
	tell("bad", time.Minute)
	tell("a", 0)
	tell("b", 0)
	c.Look()
	if !c.Off(Parent, "bad") {
		t.Fatal("it is not off")
	}
	for i := range sourcesKept {
		tell(fmt.Sprint(i), 0)
	}
	if c.Off(Parent, "bad") {
		t.Error("it is off though it is forgotten")
	}
}

// TestArrivals: what the segments of two pipelines say of a clock that is off, beside an
// edge that is right, and what they say where it is they that are slow. Segments have 2 s,
// and are in time for 2.5 s.
func TestArrivals(t *testing.T) {
	const s = time.Second
	for _, c := range []struct {
		name  string
		off   time.Duration                // of the system's clock
		edge  bool                         // there is one, and it is right
		late  [2]func(n int) time.Duration // how long after its last frame segment n of each comes
		want  time.Duration                // the correction
		state State
	}{
		{"all is well", 0, true, both(steadily(300 * time.Millisecond)), 0, Agreed},
		{"it is ahead", 5 * s, true, both(steadily(300 * time.Millisecond)), -5 * s, Agreed},
		{"it is behind", -5 * s, true, both(steadily(time.Second)), 5 * s, Agreed},
		{"it is ahead by five minutes", 300 * s, true, both(steadily(2 * s)), -300 * s, Agreed},
		{"it is ahead, and nobody else says so", 5 * s, false, both(steadily(300 * time.Millisecond)), 0, Agreed},
		{"both are slow", 0, true, both(steadily(6 * s)), 0, Agreed},
		{"both are slow, without an edge", 0, false, both(steadily(6 * s)), 0, Agreed},
		{"they become slower and slower", 0, true, both(func(n int) time.Duration { return time.Duration(n) * s / 2 }), 0, Agreed},
		{"one backfills", 0, true, [2]func(int) time.Duration{steadily(300 * time.Millisecond), func(n int) time.Duration { return time.Duration(n%4) * 20 * s }}, 0, Agreed},
		{"it is ahead, and one of them is slow", 5 * s, true, [2]func(int) time.Duration{steadily(300 * time.Millisecond), steadily(6 * s)}, 0, Disputed},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := New(Config{Wall: func() time.Time { return time.Now().Add(c.off) }})
				for n := range 20 {
					time.Sleep(2 * s)
					now := time.Now()
					if c.edge {
						k.Message(Edge, "edge", now, now)
					}
					for i, late := range c.late {
						whole := now.Add(-late(n))
						k.Arrival(fmt.Sprint(i), whole, whole.Add(2500*time.Millisecond), now)
					}
					k.Look()
				}
				if got := k.verdict.Offset; k.verdict.State != c.state || (got-c.want).Abs() > 300*time.Millisecond {
					t.Errorf("corrected by %v, %v; want %v, %v", got, k.verdict.State, c.want, c.state)
				}
			})
		})
	}
}

func steadily(d time.Duration) func(int) time.Duration { return func(int) time.Duration { return d } }

func both(late func(int) time.Duration) [2]func(int) time.Duration {
	return [2]func(int) time.Duration{late, late}
}
