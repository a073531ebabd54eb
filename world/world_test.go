package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestMain has this program be what a Runner starts, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "inside" {
		if err := Inside(os.Stdin, os.Stdout, nil); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestShrink: what a world needs to fail is left of its plan, and no act is left of a
// node that is not.
func TestShrink(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := Runner{Program: self, Args: []string{"inside"}, Limit: time.Minute}
	p := Plan{Seed: 1, Length: time.Minute, Segment: 2 * time.Second, DVR: time.Minute, Latency: time.Millisecond, Origins: 1, Edges: 2, Viewers: 2}
	for i, kind := range []string{"kill", "cut", "no such act", "flush"} {
		p.Acts = append(p.Acts, Act{Kind: kind, At: time.Duration(20+i) * time.Second, For: time.Second, Node: "edge2", Other: "origin1"})
	}
	failed := run.Play(t.Context(), p, 0)
	if len(failed.Violations) != 1 || failed.Violations[0].Invariant != "the process lives" {
		t.Fatalf("%+v", failed.Violations)
	}
	small := run.Shrink(t.Context(), failed, func(Result) {})
	if got := small.Plan; len(got.Acts) != 1 || got.Acts[0].Kind != "no such act" || got.Edges != 2 || got.Viewers != 1 {
		t.Errorf("%+v", got)
	}
}

// TestWorlds plays a few worlds in this process, one after the other.
func TestWorlds(t *testing.T) {
	for seed := uint64(1); seed <= 3; seed++ {
		r := Play(NewPlan(seed, 4*time.Minute), nil)
		for _, v := range r.Violations {
			t.Errorf("seed %d: %v", seed, v)
		}
		if r.Counts["get 200 "] == 0 || r.Counts["acknowledged segments looked for"] == 0 {
			t.Errorf("seed %d: nothing was seen: %v", seed, r.Counts)
		}
		if t.Failed() {
			for _, l := range r.Story {
				t.Log(l)
			}
			t.FailNow()
		}
	}
}

// TestUnnoticedLoss: where an announcement is lost and the bus does not notice, as it
// does not in some of these worlds, an origin has what was acknowledged once it is told.
// Nobody watches, since who asks has the origin look, and the origins have ended looking
// for what came before they started.
func TestUnnoticedLoss(t *testing.T) {
	for seed := range uint64(8) {
		p := Plan{Seed: seed, Length: 5 * time.Minute, Segment: 3 * time.Second, DVR: 20 * time.Minute, Latency: 5 * time.Millisecond, Origins: 2, Edges: 1,
			Acts: []Act{{Kind: "announcements-lost", At: 4 * time.Minute, For: 3 * time.Second, Amount: 1000}}}
		r := Play(p, nil)
		for _, v := range r.Violations {
			t.Errorf("seed %d: %v", seed, v)
		}
		if r.Counts["acknowledged segments looked for"] == 0 {
			t.Errorf("seed %d: nothing was looked for", seed)
		}
	}
}

// TestEditsGoToTheirNode: what is aimed at an origin is asked of that, and not first of
// another, which is down here.
func TestEditsGoToTheirNode(t *testing.T) {
	r := Play(Plan{Seed: 1, Length: time.Minute, Segment: 2 * time.Second, DVR: time.Minute, Latency: time.Millisecond, Origins: 2, Edges: 1, Acts: []Act{
		{Kind: "kill", At: 20 * time.Second, For: 30 * time.Second, Node: "origin1"},
		{Kind: "flush", At: 30 * time.Second, For: time.Second, Node: "origin2"},
	}}, nil)
	for _, l := range r.Story {
		if strings.Contains(l.What, "/flush") {
			t.Error(l)
		}
	}
}

// TestSlowStart: acts end in their time while an origin starts over a slow disk.
func TestSlowStart(t *testing.T) {
	r := Play(Plan{Seed: 1, Length: 8 * time.Minute, Segment: 2 * time.Second, DVR: 6 * time.Minute, Latency: time.Millisecond, Origins: 1, Disk: true, Edges: 1, Viewers: 1, Acts: []Act{
		{Kind: "store-slow", At: 7 * time.Minute, For: 15 * time.Second, Node: "origin1", Amount: 2560},
		{Kind: "kill", At: 7*time.Minute + time.Second, For: time.Second, Node: "origin1"},
	}}, nil)
	for _, v := range r.Violations {
		t.Error(v)
	}
	for _, l := range r.Story {
		if strings.HasPrefix(l.What, "over: store-slow") && l.At > 7*time.Minute+30*time.Second {
			t.Error(l)
		}
	}
}

// TestFilledForGood: what no packager made, since all were down, is filled also when all
// is well again.
func TestFilledForGood(t *testing.T) {
	r := Play(Plan{Seed: 3008, Length: 4 * time.Minute, Segment: time.Second, DVR: 3 * time.Minute, Latency: time.Millisecond, Origins: 1, Edges: 1, Viewers: 3, Acts: []Act{
		{Kind: "kill", At: 30 * time.Second, For: 34 * time.Second, Node: "packager-a"},
		{Kind: "kill", At: 36 * time.Second, For: 28 * time.Second, Node: "packager-b"},
	}}, nil)
	for _, v := range r.Violations {
		t.Error(v)
	}
	if r.Counts["get 200 filled"] == 0 {
		t.Error("nothing was filled")
	}
}

// TestProgramThatEnds: of one that ends before it plays, its last words are the story.
func TestProgramThatEnds(t *testing.T) {
	run := Runner{Program: "/bin/sh", Args: []string{"-c", "echo it does not run >&2; exit 1"}, Limit: time.Minute}
	r := run.Play(t.Context(), NewPlan(1, time.Minute), 0)
	if len(r.Violations) != 1 || len(r.Story) != 1 || r.Story[0].What != "it does not run" {
		t.Errorf("%v, %v", r.Violations, r.Story)
	}
}

// TestPlans: the same seed is the same plan, and nothing is done after its length.
func TestPlans(t *testing.T) {
	for seed := range uint64(200) {
		p := NewPlan(seed, 15*time.Minute)
		if !reflect.DeepEqual(p, NewPlan(seed, 15*time.Minute)) {
			t.Fatalf("seed %d makes different plans", seed)
		}
		for _, a := range p.Acts {
			if a.At+a.For > p.Length {
				t.Errorf("seed %d: %v is not over at %v", seed, a, p.Length)
			}
		}
	}
}

// TestLongPlans: in a long world viewers watch what is done until it must be well again, and
// no edge rests while they do.
func TestLongPlans(t *testing.T) {
	rests := 0
	for seed := range uint64(100) {
		p := NewLongPlan(seed, 6*time.Hour)
		if !reflect.DeepEqual(p, NewLongPlan(seed, 6*time.Hour)) {
			t.Fatalf("seed %d makes different plans", seed)
		}
		for _, a := range p.Acts {
			if a.At+a.For > p.Length && a.Kind != rest.name {
				t.Errorf("seed %d: %v is not over at %v", seed, a, p.Length)
			}
			for _, s := range p.Watches {
				if a.Kind == rest.name && (a.For <= 0 || a.At < s.To+leaving && a.At+a.For > s.From-startUp) {
					t.Errorf("seed %d: %v at %v, while it is watched from %v to %v", seed, a, a.At, s.From, s.To)
				}
			}
			if a.Kind == rest.name {
				rests++
			} else if p.watched(a.At) != 0 || p.watched(a.At+a.For+p.recovery(a)) != 0 {
				t.Errorf("seed %d: nobody watches %v at %v", seed, a, a.At)
			}
		}
	}
	if rests == 0 {
		t.Error("no edge rests")
	}
}

// TestLongWorld plays two hours, in which edges rest, media expires and a disk is read
// again; what was acknowledged is looked for in between.
func TestLongWorld(t *testing.T) {
	p := Plan{Seed: 1, Length: 130 * time.Minute, Long: true, Segment: 10 * time.Second, DVR: 45 * time.Minute, Latency: time.Millisecond, Origins: 1, Disk: true, Edges: 1, Viewers: 1,
		Watches: []Span{{0, 2 * time.Minute}, {80 * time.Minute, 85 * time.Minute}, {129 * time.Minute, 132 * time.Minute}},
		Acts: []Act{
			{Kind: "rest", At: 3 * time.Minute, For: 76 * time.Minute, Node: "edge1"},
			{Kind: "power", At: 81 * time.Minute, For: 4 * time.Second, Node: "origin1"},
			{Kind: "rest", At: 86 * time.Minute, For: 42 * time.Minute, Node: "edge1"},
		}}
	r := Play(p, nil)
	for _, v := range r.Violations {
		t.Error(v)
	}
	if looked := r.Counts["acknowledged segments looked for"]; looked < 1000 || r.Counts["get 200 "] < 30 {
		t.Errorf("%v", r.Counts)
	}
}

// TestStrangeCache: a memcached that answers with other people's bytes is noticed, and
// nobody gets them.
func TestStrangeCache(t *testing.T) {
	r := Play(Plan{Seed: 1, Length: 3 * time.Minute, Segment: time.Second, DVR: 2 * time.Minute, Latency: time.Millisecond, Origins: 2, Cache: true, Window: 1 << 10, Edges: 1, Viewers: 3, Acts: []Act{
		{Kind: "cache-strange", At: 30 * time.Second, For: 140 * time.Second, Amount: 1000},
		{Kind: "kill", At: 90 * time.Second, For: time.Second, Node: "edge1"}, // it had all, and asks for nothing
	}}, nil)
	for _, v := range r.Violations {
		t.Error(v)
	}
	if r.Counts["answers of the memcached with other bytes"] == 0 {
		t.Errorf("%v", r.Counts)
	}
}

// TestStrike: an origin loses power in the moment in which it acknowledges a segment, which
// it has then, and comes back; where nobody publishes to it nothing is done.
func TestStrike(t *testing.T) {
	p := Plan{Seed: 1, Length: 2 * time.Minute, Segment: 2 * time.Second, DVR: 5 * time.Minute, Latency: time.Millisecond, Origins: 1, Disk: true, Fat: true, Edges: 1, Viewers: 1}
	for i := range 6 {
		p.Acts = append(p.Acts, Act{Kind: "power", At: time.Duration(30+15*i) * time.Second, For: 4 * time.Second, Node: "origin1", Amount: 1})
	}
	p.Acts = append(p.Acts, Act{Kind: "kill", At: 29 * time.Second, For: 30 * time.Second, Node: "packager-a"}, Act{Kind: "kill", At: 29 * time.Second, For: 30 * time.Second, Node: "packager-b"})
	r := Play(p, nil)
	for _, v := range r.Violations {
		t.Error(v)
	}
	if got := r.Counts["faults in the moment of an acknowledgement"]; got != 4 {
		t.Errorf("%d times", got)
	}
}

// TestRenewed: where encoders are set up anew a generation begins, and viewers get it.
func TestRenewed(t *testing.T) {
	r := Play(Plan{Seed: 1, Length: 4 * time.Minute, Segment: 2 * time.Second, DVR: 2 * time.Minute, Latency: time.Millisecond, Origins: 2, Edges: 1, Viewers: 1, Acts: []Act{
		{Kind: "renew", At: time.Minute, For: time.Second}, {Kind: "configure", At: 3 * time.Minute, Amount: 700, Node: "origin1"},
	}}, nil)
	for _, v := range r.Violations {
		t.Error(v)
	}
	if r.Counts["gets of a new generation"] < 60 || r.Counts["put Precondition Failed"] == 0 {
		t.Errorf("%v", r.Counts)
	}
}

// TestHalfOpen: whoever is connected with a machine that is without power hears nothing of
// it, and when it is back that it knows nothing of the connection.
func TestHalfOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(rand.New(rand.NewPCG(1, 1)), time.Millisecond)
		l := n.listen("origin1", "1")
		dial := func() net.Conn {
			c, err := n.dialer("edge1")(t.Context(), "tcp", "origin1:1")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := l.Accept(); err != nil {
				t.Fatal(err)
			}
			return c
		}
		waits, idle := dial(), dial()
		n.power("origin1", 1)
		n.down("origin1")
		read := make(chan error, 1)
		go func() {
			_, err := waits.Read(make([]byte, 1))
			read <- err
		}()
		if _, err := waits.Write([]byte("GET")); err != nil {
			t.Errorf("a write to nobody: %v", err)
		}
		time.Sleep(time.Minute)
		select {
		case err := <-read:
			t.Errorf("while it is off the connection ends: %v", err)
		default:
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.dialer("edge1")(ctx, "tcp", "origin1:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a connection to a machine that is off: %v", err)
		}
		n.power("origin1", -1)
		if err := <-read; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("when it is back: %v", err)
		}
		if _, err := idle.Write([]byte("GET")); err != nil {
			t.Errorf("the first write to who knows nothing of it: %v", err)
		}
		if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("what it is answered: %v", err)
		}
	})
}

// TestOneClock: one clock that is set while all others are right is nobody's fault, which
// the invariants then hold whoever's it is; two are a fault, and so is everybody's.
func TestOneClock(t *testing.T) {
	at := func(node string, second, seconds, ms int) Act {
		return Act{Kind: "clock", Node: node, At: time.Duration(second) * time.Second, For: time.Duration(seconds) * time.Second, Amount: ms}
	}
	p := Plan{Seed: 1, Length: 4 * time.Minute, Segment: 2 * time.Second, DVR: 10 * time.Minute, Latency: 5 * time.Millisecond, Origins: 2, Edges: 1, Viewers: 2}
	for _, c := range []struct {
		name  string
		acts  []Act
		quiet bool
	}{
		{"an origin", []Act{at("origin1", 60, 20, 5000), at("origin1", 235, 5, -300_000)}, true},
		{"an edge", []Act{at("edge1", 60, 20, -5000), at("edge1", 235, 5, 300_000)}, true},
		{"a packager", []Act{at("packager-a", 60, 20, 5000), at("packager-a", 235, 5, -300_000)}, true},
		{"both packagers", []Act{at("packager-a", 60, 40, 5000), at("packager-b", 70, 40, 300_000)}, true},
		{"two", []Act{at("origin1", 60, 40, 5000), at("edge1", 70, 40, 5000)}, false},
		{"everybody", []Act{at(everybody, 60, 40, 5000)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := p
			p.Acts = c.acts
			if got := p.Quiet("", 65*time.Second, 75*time.Second); got != c.quiet {
				t.Errorf("quiet is %v", got)
			}
			r := Play(p, nil)
			for _, v := range r.Violations {
				t.Error(v)
			}
			if r.Counts["get 200 "] < 100 {
				t.Errorf("%v", r.Counts)
			}
		})
	}
}

// TestCovered: one fault of what there is another of is to cost viewers nothing; two at
// once may, and so may one of what there is once.
func TestCovered(t *testing.T) {
	act := func(kind, node, other string, second int) Act {
		return Act{Kind: kind, Node: node, Other: other, At: time.Duration(second) * time.Second, For: 10 * time.Second}
	}
	for _, c := range []struct {
		name    string
		origins int
		edge    string
		acts    []Act
		covered bool
	}{
		{"an origin of two", 2, "edge1", []Act{act("kill", "origin1", "", 60)}, true},
		{"the only origin", 1, "edge1", []Act{act("kill", "origin1", "", 60)}, false},
		{"a packager", 1, "edge1", []Act{act("cut", "packager-a", "origin1", 60)}, true},
		{"the edge", 2, "edge1", []Act{act("kill", "edge1", "", 60)}, false},
		{"its machine", 2, "edge1", []Act{act("power", "edge1", "", 60)}, false},
		{"the memcached", 1, "edge1", []Act{act("power", "cache1", "", 60)}, true},
		{"another edge", 1, "edge1", []Act{act("kill", "edge2", "", 60), act("drip", "origin1", "edge2", 62)}, true},
		{"the only way", 1, "edge1", []Act{act("drip", "origin1", "edge1", 62)}, false},
		{"two", 2, "edge1", []Act{act("kill", "origin1", "", 60), act("cut", "packager-a", "origin2", 65)}, false},
		{"one after the other", 2, "edge1", []Act{act("kill", "origin1", "", 20), act("cut", "packager-a", "origin2", 65)}, true},
		{"the store", 2, "edge1", []Act{act("store-refuses", "origin1", "", 60)}, false},
	} {
		p := &Plan{Origins: c.origins, Acts: c.acts}
		if got := p.Covered(c.edge, 65*time.Second, 66*time.Second); got != c.covered {
			t.Errorf("%s: covered is %v", c.name, got)
		}
	}
	if p := (&Plan{Acts: []Act{act("kill", "edge2", "", 60)}}); !p.Quiet("edge1", 65*time.Second, 66*time.Second) || p.Quiet("edge2", 65*time.Second, 66*time.Second) || p.Quiet("", 65*time.Second, 66*time.Second) {
		t.Error("what befalls an edge is of its viewers alone")
	}
}

// TestExpired: what was too old by clocks that were wrong together may be gone.
func TestExpired(t *testing.T) {
	of := func(node string) *Plan {
		return &Plan{Acts: []Act{{Kind: "clock", Node: node, At: 100 * time.Second, For: 20 * time.Second, Amount: 300_000}}}
	}
	if !of(everybody).expired(420*time.Second) || of(everybody).expired(421*time.Second) || of("edge1").expired(200*time.Second) {
		t.Error("what is kept until 420 s is too old when all clocks are set from 120 s to that")
	}
}

// TestBytesOfEachSegment: what viewers get can be held against what was made.
func TestBytesOfEachSegment(t *testing.T) {
	m := newMedium()
	w := &world{medium: m}
	w.event.Segment.Ticks, w.event.Segment.Timescale = 2, 1
	w.tl = w.event.Timeline()
	if a, b := m.segment(&w.tl, 7, "a"), m.segment(&w.tl, 7, "b"); string(a) == string(b) {
		t.Error("two encoders make the same bytes")
	}
}

// BenchmarkWorld is what a world costs, of those that any seed makes.
func BenchmarkWorld(b *testing.B) {
	for name, plan := range map[string]func(seed uint64) Plan{
		"short": func(seed uint64) Plan { return NewPlan(seed, 15*time.Minute) },
		"long":  func(seed uint64) Plan { return NewLongPlan(seed, 6*time.Hour) },
	} {
		b.Run(name, func(b *testing.B) {
			hours := 0.0
			for i := 0; b.Loop(); i++ {
				r := Play(plan(uint64(1+i%4)), nil)
				hours += r.Simulated.Hours()
				if len(r.Violations) > 0 {
					b.Fatal(r.Violations)
				}
			}
			b.ReportMetric(hours/b.Elapsed().Seconds(), "hours/s")
		})
	}
}
