package drill

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// List is every drill, in the order in which all are made. What is expected stands here,
// before anything is done.
func List() []*Drill {
	var all []*Drill
	for _, part := range [][]*Drill{ofPackagers(), ofOrigins(), ofEdges(), ofLinks(), ofDisks(), ofClocks()} {
		all = append(all, part...)
	}
	return all
}

// Find is the drill of that name, nil where there is none.
func Find(name string) *Drill {
	for _, d := range List() {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// silentAndBack are the signs of a pipeline that was away.
func silentAndBack(pipeline string) []Sign {
	return []Sign{logs("origin1", "a pipeline is silent", "pipeline="+pipeline), is("origin1", `headwater_origin_pipeline_silent pipeline="`+pipeline+`"`, 1), logs("origin1", "a pipeline is back", "pipeline="+pipeline)}
}

const awayFor = 6 * time.Second // longer than two segments, for the origin to call it silent

// faultIn is when faults that packagers are started with begin: viewers have settled, and
// somebody looks for signs.
const faultIn = 11 * time.Second

func ofPackagers() []*Drill {
	return []*Drill{
		{Name: "kill-packager", signals: []string{"a"}, Breaks: "packager a is killed, and started again after 6 s", Expect: Expectation{Signs: silentAndBack("a")}, run: killed("a", awayFor)},
		{Name: "stop-packager", signals: []string{"a"}, Breaks: "packager a stands still (SIGSTOP) for 6 s", Expect: Expectation{Signs: silentAndBack("a")}, run: stopped("a", awayFor)},
		{Name: "bad-encoder", Breaks: "twelve frames are missing in each of pipeline a's segments for 8 s",
			Expect: Expectation{Signs: []Sign{rises("origin1", `headwater_origin_defects_total pipeline="a"`), rises("origin1", "headwater_origin_switches_total")}},
			faults: func(s *system) map[string][]string {
				return map[string][]string{"a": {"remove-samples:12" + s.numbers(faultIn, 4)}}
			}, run: nothing(13 * time.Second)},
		{Name: "lose-segment", Breaks: "both pipelines lose the same segment", after: 5 * time.Second,
			Expect: Expectation{Defects: 2, Signs: []Sign{logs("origin1", "nothing was published by the deadline"), logs("origin1", "filled at the live edge"), rises("origin1", `headwater_origin_decisions_total reason="filled"`)}},
			faults: func(s *system) map[string][]string {
				f := []string{"drop" + s.numbers(faultIn, 1)}
				return map[string][]string{"a": f, "b": f}
			}, run: nothing(7 * time.Second)},
		{Name: "kill-both", signals: []string{"a", "b"}, Breaks: "both packagers are killed, and started again after 6 s",
			Expect: Expectation{Gaps: 5, Refusals: 10, Signs: append(silentAndBack("a"), logs("origin1", "nothing was published by the deadline"), logs("origin1", "refused at the live edge"), rises("edge1", `headwater_edge_answers_total problem="lost"`))},
			run:    together(killed("a", awayFor), killed("b", awayFor))},
	}
}

func ofOrigins() []*Drill {
	return []*Drill{
		{Name: "kill-origin", signals: []string{"origin1"}, Breaks: "the only origin is killed, and started again after 1 s, as a supervisor does", Expect: Expectation{Signs: []Sign{is("edge1", "headwater_edge_parent_up", 0), is("edge1", "headwater_edge_parent_up", 1)}}, run: killed("origin1", time.Second)},
		{Name: "stop-origin", signals: []string{"origin1"}, Breaks: "the only origin stands still (SIGSTOP) for 6 s",
			Expect: Expectation{Gaps: 3, Refusals: 8, Stalls: 2, StallFor: 5 * time.Second, Signs: []Sign{is("edge1", "headwater_edge_parent_up", 0)}}, run: stopped("origin1", 6*time.Second)},
		{Name: "kill-origin-of-two", signals: []string{"origin1"}, origins: 2, Breaks: "the first of two origins is killed, and started again after 6 s", Expect: Expectation{Signs: []Sign{is("edge1", "headwater_edge_parent_up", 1)}}, run: killed("origin1", 6*time.Second)},
		{Name: "stop-origin-of-two", signals: []string{"origin1"}, origins: 2, Breaks: "the first of two origins stands still (SIGSTOP) for 6 s", Expect: Expectation{Signs: []Sign{is("edge1", "headwater_edge_parent_up", 1)}}, run: stopped("origin1", 6*time.Second)},
	}
}

func ofEdges() []*Drill {
	return []*Drill{
		{Name: "kill-edge", signals: []string{"edge1"}, Breaks: "the first of two edges is killed, and started again after 5 s", Expect: Expectation{Reconnects: true}, run: killed("edge1", 5*time.Second)},
		{Name: "stop-edge", signals: []string{"edge1"}, Breaks: "the first of two edges stands still (SIGSTOP) for 6 s: its viewers must notice by themselves",
			Expect: Expectation{Reconnects: true, Refusals: 2, Stalls: 2, StallFor: 7 * time.Second}, run: stopped("edge1", 6*time.Second)},
	}
}

func ofLinks() []*Drill {
	cut := func(from, to string, d time.Duration) func(context.Context, *system) error {
		return func(ctx context.Context, s *system) error {
			s.between(from, to, func(k *link) { k.setCut(true) })
			err := sleep(ctx, d)
			s.between(from, to, func(k *link) { k.setCut(false) })
			return err
		}
	}
	slow := func(from, to string, rate int, d time.Duration) func(context.Context, *system) error {
		return func(ctx context.Context, s *system) error {
			s.between(from, to, func(k *link) { k.setRate(rate) })
			err := sleep(ctx, d)
			s.between(from, to, func(k *link) { k.setRate(0) })
			return err
		}
	}
	return []*Drill{
		{Name: "cut-packager", links: true, Breaks: "nothing passes between packager a and its origin for 6 s", Expect: Expectation{Signs: silentAndBack("a")}, run: cut("a", "", awayFor)},
		{Name: "slow-packager", links: true, Breaks: "20 kB/s pass between packager a, which makes 230, and its origin for 8 s",
			Expect: Expectation{Signs: []Sign{rises("origin1", "headwater_origin_switches_total")}}, run: slow("a", "", 20_000, 8*time.Second)},
		{Name: "cut-origin-of-two", origins: 2, links: true, Breaks: "nothing passes between the edges and the first of two origins for 6 s", Expect: Expectation{Signs: []Sign{is("edge1", "headwater_edge_parent_up", 1)}}, run: cut("", "origin1", 6*time.Second)},
		{Name: "slow-origin-of-two", origins: 2, links: true, Breaks: "20 kB/s pass between the edges and the first of two origins for 8 s", Expect: Expectation{Signs: []Sign{is("edge1", "headwater_edge_parent_behind", 1)}},
			run: func(ctx context.Context, s *system) error {
				return together(slow("edge1", "origin1", 20_000, 8*time.Second), slow("edge2", "origin1", 20_000, 8*time.Second))(ctx, s)
			}},
		{Name: "break-connections", links: true, Breaks: "all connections are broken every 700 ms for 8 s", Expect: Expectation{},
			run: func(ctx context.Context, s *system) error {
				for range 11 {
					s.between("", "", (*link).reset)
					if err := sleep(ctx, 700*time.Millisecond); err != nil {
						return err
					}
				}
				return nil
			}},
	}
}

func ofDisks() []*Drill {
	return []*Drill{
		{Name: "fill", disk: smallDisk, Breaks: "the only origin's file system is full for 8 s",
			Expect: Expectation{Gaps: 5, Refusals: 10, Signs: []Sign{rises("origin1", `headwater_origin_refusals_total problem="not-stored"`), ready("origin1", 503, "store-writes"), ready("origin1", 200, "")}},
			run:    onDisk((*disk).fill, 8*time.Second)},
		{Name: "fill-of-two", origins: 2, disk: smallDisk, Breaks: "the file system of the first of two origins is full for 8 s",
			Expect: Expectation{Signs: []Sign{rises("origin1", `headwater_origin_refusals_total problem="not-stored"`), ready("origin1", 503, "store-writes")}}, run: onDisk((*disk).fill, 8*time.Second)},
		{Name: "freeze", disk: loopDisk, Breaks: "the only origin's file system is frozen for 6 s: all that writes waits",
			Expect: Expectation{Signs: []Sign{rises("origin1", "headwater_origin_delivered_ahead_total"), ready("origin1", 503, "store-writes")}}, run: onDisk((*disk).freeze, 6*time.Second)},
		{Name: "flip", Breaks: "a bit of a few stored segments is flipped while the only origin is down for 1 s, the edges are started anew, and all segments are asked for",
			Expect: Expectation{Reconnects: true, Stalls: 1, StallFor: 3 * time.Second, Check: 1, Signs: []Sign{rises("origin1", "headwater_store_disk_corrupt_total")}},
			run: func(ctx context.Context, s *system) error {
				if err := s.nodes["origin1"].Kill(); err != nil {
					return err
				}
				n, err := flip(filepath.Join(s.dir, "origin1"))
				if err == nil && n == 0 {
					err = errors.New("drill: there was nothing to flip")
				}
				if err == nil {
					err = s.nodes["origin1"].Start(ctx)
				}
				for _, edge := range []string{"edge1", "edge2"} {
					if err == nil {
						err = again(ctx, s.nodes[edge])
					}
				}
				if err != nil {
					return err
				}
				lost, wrong, err := s.readAll(ctx, "edge1")
				if err == nil && lost+wrong > 0 {
					err = fmt.Errorf("of all segments, %d places with a flipped bit, %d were not served and %d were wrong", n, lost, wrong)
				}
				return err
			}},
	}
}

// ofClocks steps the clock of one process: by 5 s, back, by 300 s, and right again.
func ofClocks() (out []*Drill) {
	for _, x := range []struct {
		node, whose string
		sign        Sign
	}{
		{"origin1", "the only origin", rises("origin1", "headwater_clock_steps_total")},
		{"edge1", "the first of two edges", rises("edge1", "headwater_clock_steps_total")},
		{"a", "packager a", logs("a", "the system's clock was set")},
	} {
		out = append(out, &Drill{
			Name: "clock-" + strings.TrimRight(strings.Replace(x.node, "a", "packager", 1), "1"), clocks: true,
			Breaks: "the system's clock of " + x.whose + " is set by +5 s, -5 s, +300 s, -300 s and right again, for 4 s each",
			Expect: Expectation{Signs: []Sign{x.sign}},
			run: func(ctx context.Context, s *system) error {
				for _, by := range []time.Duration{5 * time.Second, -5 * time.Second, 300 * time.Second, -300 * time.Second, 0} {
					if err := s.setClock(x.node, by); err != nil {
						return err
					}
					if err := sleep(ctx, 4*time.Second); err != nil {
						return err
					}
				}
				return nil
			}})
	}
	return out
}

// again kills a process and starts it.
func again(ctx context.Context, n *node) error {
	if err := n.Kill(); err != nil {
		return err
	}
	return n.Start(ctx)
}

// killed is kill -9, and after a time the same process again.
func killed(name string, away time.Duration) func(context.Context, *system) error {
	return func(ctx context.Context, s *system) error {
		if err := s.nodes[name].Kill(); err != nil {
			return err
		}
		if err := sleep(ctx, away); err != nil {
			return err
		}
		return s.nodes[name].Start(ctx)
	}
}

// stopped has a process stand still for a time.
func stopped(name string, away time.Duration) func(context.Context, *system) error {
	return func(ctx context.Context, s *system) error {
		if err := s.nodes[name].Pause(); err != nil {
			return err
		}
		err := sleep(ctx, away)
		return errors.Join(err, s.nodes[name].Resume())
	}
}

// nothing is done: what breaks was said at the start.
func nothing(d time.Duration) func(context.Context, *system) error {
	return func(ctx context.Context, _ *system) error { return sleep(ctx, d) }
}

// together does several at once.
func together(all ...func(context.Context, *system) error) func(context.Context, *system) error {
	return func(ctx context.Context, s *system) error {
		errs := make(chan error, len(all))
		for _, f := range all {
			go func() { errs <- f(ctx, s) }()
		}
		var err error
		for range all {
			err = errors.Join(err, <-errs)
		}
		return err
	}
}

// onDisk does something to the first origin's disk for a time.
func onDisk(do func(*disk) (func() error, error), d time.Duration) func(context.Context, *system) error {
	return func(ctx context.Context, s *system) error {
		undo, err := do(s.disk)
		if err != nil {
			return err
		}
		err = sleep(ctx, d)
		return errors.Join(err, undo())
	}
}

// numbers are those of segments that begin so long after now, for a packager's fault.
func (s *system) numbers(in time.Duration, n int) string {
	tl := s.event.Timeline()
	from := tl.At(time.Now().Add(in))
	return fmt.Sprintf(" from=%d to=%d", from, int64(from)+int64(n)-1)
}
