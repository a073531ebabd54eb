package watch

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/selection"
)

// A world is what the watch is shown: pipelines that publish 200 ms after each
// segment's last frame, but where hole says no.
type world struct {
	ev    live.Event
	hole  func(pipeline, rendition string, n live.Number) bool
	serve func(rendition string, n live.Number) (string, selection.Reason)
	late  map[string]time.Duration // by pipeline
}

func newWorld() *world {
	ev := live.Default()
	ev.Start = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	ev.Pipelines = []live.Pipeline{{Name: "a"}, {Name: "b"}}
	ev.Renditions = []live.Rendition{{Name: "v"}, {Name: "w"}, {Name: "s"}}
	return &world{ev: ev, hole: func(string, string, live.Number) bool { return false }}
}

func (w *world) seen(now time.Time) seenEvent {
	out := seenEvent{id: watchedID, life: 1}
	for _, p := range w.ev.Pipelines {
		out.pipelines = append(out.pipelines, p.Name)
	}
	tl := w.ev.Timeline()
	for _, r := range w.ev.Renditions {
		t := seenTrack{rendition: r.Name, timeline: tl}
		last := tl.At(now)
		if l, ok := tl.Last(); ok {
			last = min(last, l)
		}
		for n := max(tl.First(), last-32); n <= last; n++ {
			x := seenSlot{number: n}
			for _, p := range w.ev.Pipelines {
				if !w.hole(p.Name, r.Name, n) && !now.Before(tl.End(n).Add(200*time.Millisecond+w.late[p.Name])) {
					x.by = append(x.by, p.Name)
				}
			}
			if len(x.by) > 0 {
				x.chosen = tl.End(n).Add(200 * time.Millisecond)
				if x.served = x.by[0]; w.serve != nil {
					x.served, x.reason = w.serve(r.Name, n)
				}
				t.slots = append(t.slots, x)
			}
		}
		out.tracks = append(out.tracks, t)
	}
	return out
}

// run looks every quarter of a second, and returns the transcript, with seconds
// since the event's start.
func (w *world) run(from, to time.Duration, each func(*watch, time.Time)) string {
	var b strings.Builder
	watch := newWatch()
	for d := from; d <= to; d += lookEvery {
		now := w.ev.Start.Add(d)
		if each != nil {
			each(watch, now)
		}
		for _, l := range watch.look([]seenEvent{w.seen(now)}, now) {
			fmt.Fprintf(&b, "%.2f %v %s", d.Seconds(), l.level, l.text)
			for i := 0; i < len(l.attrs); i += 2 {
				fmt.Fprintf(&b, " %v=%v", l.attrs[i], l.attrs[i+1])
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func TestWatch(t *testing.T) {
	between := func(n, from, to live.Number) bool { return n >= from && n <= to }
	for _, c := range []struct {
		name     string
		from, to time.Duration
		set      func(w *world)
		each     func(*watch, time.Time)
		want     string
	}{
		{name: "all is well", from: -time.Minute, to: time.Hour},
		{name: "it was long over when looking began", from: time.Minute, to: 2 * time.Minute, set: func(w *world) { w.ev.End = w.ev.Start.Add(30 * time.Second) }},
		{name: "it ends", from: -time.Second, to: 2 * time.Minute, set: func(w *world) { w.ev.End = w.ev.Start.Add(31 * time.Second) }},
		{name: "one pipeline for 20 s", from: 0, to: time.Minute, set: func(w *world) {
			w.hole = func(p, _ string, n live.Number) bool { return p == "b" && between(n, 11, 20) }
		}, want: `
24.50 WARN a pipeline is silent event=acme/final pipeline=b last=10 for=4.3s
42.25 INFO a pipeline is back event=acme/final pipeline=b silent=22s missed=10
`},
		{name: "both for 20 s", from: 0, to: time.Minute, set: func(w *world) {
			w.hole = func(p, _ string, n live.Number) bool { return between(n, 11, 20) }
		}, want: `
24.50 WARN a pipeline is silent event=acme/final pipeline=a last=10 for=4.3s
24.50 WARN a pipeline is silent event=acme/final pipeline=b last=10 for=4.3s
24.75 ERROR nothing was published by the deadline event=acme/final renditions=v,w,s from=11 to=11 count=3
29.75 ERROR nothing was published by the deadline event=acme/final renditions=v,w,s from=12 to=13 count=6 in=4s
34.75 ERROR nothing was published by the deadline event=acme/final renditions=v,w,s from=14 to=16 count=9 in=5s
39.75 ERROR nothing was published by the deadline event=acme/final renditions=v,w,s from=17 to=18 count=6 in=4s
42.25 INFO a pipeline is back event=acme/final pipeline=a silent=22s missed=10
42.25 INFO a pipeline is back event=acme/final pipeline=b silent=22s missed=10
44.75 ERROR nothing was published by the deadline event=acme/final renditions=v,w,s from=19 to=20 count=6 in=3s
`},
		{name: "one never comes", from: -time.Second, to: time.Minute, set: func(w *world) {
			w.hole = func(p, _ string, n live.Number) bool { return p == "b" }
		}, want: `
4.50 WARN a pipeline is silent event=acme/final pipeline=b last=none for=4.5s
`},
		{name: "the origin starts while one is silent", from: 30 * time.Second, to: time.Minute, set: func(w *world) {
			w.hole = func(p, _ string, n live.Number) bool { return p == "b" && n > 10 }
		}, want: `
34.00 WARN a pipeline is silent event=acme/final pipeline=b last=10 for=4s
`},
		{name: "one rendition of one pipeline", from: 0, to: time.Minute, set: func(w *world) {
			w.hole = func(p, r string, n live.Number) bool { return p == "a" && r == "w" && between(n, 11, 16) }
		}, want: `
26.50 WARN a pipeline is silent in some renditions event=acme/final pipeline=a renditions=w
34.25 INFO a pipeline is back in some renditions event=acme/final pipeline=a renditions=w
`},
		{name: "one segment is missing", from: 0, to: time.Minute, set: func(w *world) {
			w.hole = func(p, r string, n live.Number) bool { return p == "a" && n == 11 || r == "s" && n == 11 }
		}, want: `
24.75 ERROR nothing was published by the deadline event=acme/final renditions=s from=11 to=11 count=1
`},
		{name: "a pipeline that is late by a second is not silent", from: 0, to: time.Minute, set: func(w *world) { w.late = map[string]time.Duration{"b": time.Second} }},
		{name: "a pipeline that is late by more than a segment is not silent", from: 10 * time.Second, to: time.Minute, set: func(w *world) { w.late = map[string]time.Duration{"b": 2700 * time.Millisecond} }},
		{name: "a switch, and back by order", from: 0, to: time.Minute, set: func(w *world) {
			w.serve = func(_ string, n live.Number) (string, selection.Reason) {
				switch {
				case n == 8:
					return "b", selection.IncumbentNotYet
				case n > 8 && n < 15:
					return "b", selection.Incumbent
				}
				return "a", selection.Preferred
			}
		}, want: `
16.25 WARN viewers are on another pipeline event=acme/final how=a to b, incumbent-missing renditions=v,w,s from=8 to=8 count=3
`},
		{name: "switches before the start are no news", from: 40 * time.Second, to: time.Minute, set: func(w *world) {
			w.serve = func(_ string, n live.Number) (string, selection.Reason) {
				return map[bool]string{true: "a", false: "b"}[n < 8 || n == 12 || n >= 25], selection.IncumbentNotYet
			}
		}, want: `
50.25 WARN viewers are on another pipeline event=acme/final how=b to a, incumbent-missing renditions=v,w,s from=25 to=25 count=3
`},
		{name: "another node chose", from: 0, to: time.Minute, set: func(w *world) {
			w.serve = func(_ string, n live.Number) (string, selection.Reason) { return string('a' + byte(n%2)), "" }
		}},
		{name: "a crowd is refused", from: 0, to: 40 * time.Second, each: func(w *watch, now time.Time) {
			if s := now.Second(); s >= 5 && s < 20 {
				for range 1000 {
					w.note(repeatKey{watchedID, "refused at the live edge", "lost"}, 0, "v", live.Number(s/2), 1, now)
				}
			}
		}, want: `
5.00 INFO refused at the live edge event=acme/final how=lost renditions=v from=2 to=2 count=1000
10.00 INFO refused at the live edge event=acme/final how=lost renditions=v from=2 to=5 count=20000 in=5s
15.00 INFO refused at the live edge event=acme/final how=lost renditions=v from=5 to=7 count=20000 in=5s
20.00 INFO refused at the live edge event=acme/final how=lost renditions=v from=7 to=9 count=19000 in=4.8s
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld()
			if c.set != nil {
				c.set(w)
			}
			if got := w.run(c.from, c.to, c.each); got != strings.TrimPrefix(c.want, "\n") {
				t.Errorf("got\n%s\nwant%s", got, c.want)
			}
		})
	}
}

// TestClockStepsForward: what lies between two looks far apart was not lost, and
// is not gone through.
func TestClockStepsForward(t *testing.T) {
	w, watch := newWorld(), newWatch()
	var said []string
	for _, d := range []time.Duration{time.Minute, 20 * 365 * 24 * time.Hour} {
		now := w.ev.Start.Add(d)
		for _, l := range watch.look([]seenEvent{w.seen(now)}, now) {
			said = append(said, l.text)
		}
	}
	if len(said) > 0 || watch.events[watchedID].lost != 0 {
		t.Errorf("%q, %d are lost", said, watch.events[watchedID].lost)
	}
}

var watchedID = live.EventID{Tenant: "acme", Name: "final"}
