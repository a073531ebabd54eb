package live

import (
	"encoding/json"
	"testing"
	"time"
)

func TestCacheStatusRoundTrip(t *testing.T) {
	for _, want := range []CacheStatus{
		{Cache: "edge", Hit: true, TTL: -3, HasTTL: true, Detail: "hit", Disk: true},
		{Cache: `"7"`, Fwd: "uri-miss", FwdStatus: 404, Stored: true, Collapsed: true, Detail: "join"},
		{Cache: "x"},
	} {
		text := string(want.Append(nil))
		if got, ok := LastCacheStatus([]string{"far;hit", `a;detail="1, 2", ` + text}); !ok || got != want {
			t.Errorf("%q is read as %+v, %v", text, got, ok)
		}
	}
	for _, values := range [][]string{nil, {""}, {"  ", ""}} {
		if s, ok := LastCacheStatus(values); ok {
			t.Errorf("%q: %+v", values, s)
		}
	}
	if s, _ := LastCacheStatus([]string{`near;hit;x="a, b"`}); s.Cache != "near" || !s.Hit {
		t.Errorf("a comma in quotes: %+v", s)
	}
}

func TestLoop(t *testing.T) {
	l := LoopOf([]string{"elsewhere", " far;node=n1;x=y"}).Add(LoopMember("edge", "n22"))
	if l != "elsewhere,  far;node=n1;x=y, edge;node=n22" {
		t.Errorf("%q", l)
	}
	for id, want := range map[string]bool{"n1": true, "n22": true, "n2": false, "n": false, "": false, "elsewhere": false} {
		if l.Has(id) != want {
			t.Errorf("%q: %v", id, !want)
		}
	}
	for name, want := range map[string]bool{"elsewhere": true, "far": true, "edge": true, "n1": false, "ed": false, "": false} {
		if l.Names(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if name, id, ok := l.Last(); name != "edge" || id != "n22" || !ok {
		t.Errorf("%q %q %v", name, id, ok)
	}
	if _, _, ok := Loop("a;node=n1, viewer").Last(); ok {
		t.Error("a viewer's CDN is a node")
	}
	if LoopOf(nil).Add("a") != "a" {
		t.Error("the first member")
	}
}

// Refuse and Place agree, and say when.
func TestRefuse(t *testing.T) {
	e := Default()
	e.Start = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	e.FirstNumber = 10
	e.DVRSeconds = 60
	e.End = e.Start.Add(20 * time.Minute)
	tl := e.Timeline()
	now := e.Start.Add(5 * time.Minute)
	for _, c := range []struct {
		n      Number
		err    *Problem
		life   time.Duration
		detail string
	}{
		{9, ErrNever, time.Hour, "the event begins with segment 10"},
		{610, ErrNever, time.Minute, "segment 610 is after the end of the event"},
		{tl.Edge(now) + 3, ErrEarly, tl.Due(tl.Edge(now) + 3).Sub(now), "segment 161 may be asked for from " + tl.Due(161).Format(TimeLayout) + " on"},
		{609, ErrEarly, time.Minute, "segment 609 may be asked for from " + tl.Due(609).Format(TimeLayout) + " on"},
		{11, ErrGone, time.Hour, "segment 11 left the DVR window at " + tl.GoneAt(11).Format(TimeLayout)},
		{158, nil, 0, ""}, {tl.Edge(now), nil, 0, ""}, {tl.Edge(now) + 1, nil, 0, ""},
	} {
		r, life, refused := tl.Refuse(c.n, now)
		if refused != (c.err != nil) || r.Problem != c.err || life != c.life {
			t.Errorf("%d: %v for %v, refused %v", c.n, r.Problem, life, refused)
			continue
		}
		if !refused {
			continue
		}
		if got := string(r.AppendDetail(nil)); got != c.detail {
			t.Errorf("%d: %q, want %q", c.n, got, c.detail)
		}
		err := r.Err(life)
		want, _ := json.Marshal(err)
		if got := string(r.Problem.AppendBody(nil, []byte(c.detail))); got != string(want)+"\n" {
			t.Errorf("%d: %s, want %s", c.n, got, want)
		}
	}
	b := make([]byte, 0, 1<<10)
	if n := testing.AllocsPerRun(100, func() {
		for n := range Number(700) {
			if r, _, refused := tl.Refuse(n, now); refused {
				r.Problem.AppendBody(b, r.AppendDetail(b[512:512]))
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Whatever a detail says, the body is that of encoding/json.
func FuzzAppendBody(f *testing.F) {
	for _, s := range []string{"", "a", `"<&>\`, "\x00\n\t", "\u2028é😀", "\xff\xfe"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var got Problem
		if err := json.Unmarshal(ErrEarly.AppendBody(nil, []byte(s)), &got); err != nil {
			t.Fatal(err)
		}
		b, _ := json.Marshal(ErrEarly.With(s))
		var want Problem
		if json.Unmarshal(b, &want); got != want {
			t.Errorf("%q: %+v, want %+v", s, got, want)
		}
	})
}

func TestTimesAreWrittenAsTheLayoutHasThem(t *testing.T) {
	for _, at := range []time.Time{{}, time.Unix(0, 0), time.Date(2026, 2, 3, 4, 5, 6, 7e6, time.FixedZone("", 3600)), time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<40, 120e6)} {
		if got, want := string(appendTime(nil, at)), at.UTC().Format(TimeLayout); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
