package packager

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
)

// TestWatch: what the detectors say of frames becomes verdicts on segments, without
// waiting for what goes on to end.
func TestWatch(t *testing.T) {
	const frame, second = 3000, 90_000 // 30 frames per second
	for _, c := range []struct {
		name string
		says map[int]string // by frame, from 0
		want string
	}{
		{"all is well", nil, "1: score=100; 2: score=100; 3: score=100"},
		{"black up to the end", map[int]string{75: "lavfi.black_start"}, "1: score=100; 2: black;ms=1500; 3: black;ms=2000"},
		{"black in between", map[int]string{30: "lavfi.black_start", 90: "lavfi.black_end", 150: "lavfi.black_start"}, "1: black;ms=1000; 2: black;ms=1000; 3: black;ms=1000"},
		{"a cut through black", map[int]string{30: "lavfi.black_start", 32: "lavfi.black_end"}, "1: score=100; 2: score=100; 3: score=100"},
		{"a frozen one is known later", map[int]string{75: "lavfi.freezedetect.freeze_start", 150: "lavfi.freezedetect.freeze_end"}, "1: score=100; 2: frozen;ms=2000; 3: frozen;ms=1000"},
		{"silence", map[int]string{15: "lavfi.silence_start", 45: "lavfi.silence_end"}, "1: silent;ms=1500; 2: score=100; 3: score=100"},
		{"an end without a beginning", map[int]string{15: "lavfi.black_end", 45: "lavfi.silence_end"}, "1: score=100; 2: score=100; 3: score=100"},
	} {
		var w watch
		var got []string
		for n := range 3 {
			w.expect(live.Number(n+1), int64(n)*2*second, int64(n+1)*2*second)
		}
		for i := range 178 { // the decoder keeps two back
			lines := []string{fmt.Sprintf("frame:%d    pts:%d  pts_time:%g", i, i*frame, float64(i)/30)}
			if x := c.says[i]; x != "" {
				lines = append(lines, x+"=1.79e+09")
			}
			for _, l := range append(lines, lookMark+"=1") {
				for _, v := range w.line(l) {
					got = append(got, fmt.Sprintf("%d: %s", v.number, v.quality))
				}
			}
		}
		if s := strings.Join(got, "; "); s != c.want {
			t.Errorf("%s: %s, want %s", c.name, s, c.want)
		}
	}
}

func FuzzWatch(f *testing.F) {
	f.Add("frame:1 pts:90000 pts_time:1\nlavfi.black_start=1\nseen=1\nframe:2 pts:-9223372036854775808 x\nseen=1")
	f.Fuzz(func(t *testing.T, s string) {
		var w watch
		for n := range live.Number(4) {
			w.expect(n, int64(n)*180_000, int64(n+1)*180_000)
		}
		for line := range strings.SplitSeq(s, "\n") {
			for _, v := range w.line(line) {
				if q := v.quality; min(q.BlackMS, q.FrozenMS, q.SilentMS) < 0 {
					t.Fatalf("%v", v)
				}
			}
		}
	})
}

// clipSegments are segments of the clip, cut at once, with faults.
func clipSegments(t *testing.T, e *live.Event, count int, faults ...string) []*segment {
	t.Helper()
	src, err := newClip(t.Context(), NewClock(nil, quiet()), "a", e, e.Timeline, true, nil, func(string, string, live.Number) {})
	if err != nil {
		t.Fatal(err)
	}
	var f Faults
	for _, text := range faults {
		x, err := ParseFault(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Add(x); err != nil {
			t.Fatal(err)
		}
	}
	tl := e.Timeline()
	for n := tl.First(); n < tl.First()+live.Number(count); n++ {
		for i := range src.cutters {
			src.cutters[i].add(src.tracks[i].of(n, tl))
		}
	}
	var out []*segment
	for _, seg := range src.ready {
		if !seg.init {
			if seg, _, _, err = f.inject(seg, &tl); err != nil {
				t.Fatal(err)
			}
			seg.inspect(&tl)
		}
		out = append(out, seg)
	}
	return out
}

// TestFaultsThatShow: nothing is missing of a segment that shows nothing.
func TestFaultsThatShow(t *testing.T) {
	e := testEvent(fixtureStart, "v720", "v360", "v180", "a-en")
	for _, seg := range clipSegments(t, e, 6, "black from=2 to=3", "freeze from=4 to=5", "mute from=2 to=3") {
		if len(seg.findings) > 0 {
			t.Errorf("%s %d: %v", seg.rendition, seg.number, seg.findings)
		}
	}
}

// TestLook: a real ffmpeg finds what is black, frozen and silent while it is sent, and
// the origin hears it for every rendition; it does not hear that all is well, but after
// something was not.
func TestLook(t *testing.T) {
	type said struct{ path, quality string }
	heard := make(chan said, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 && r.Method == "PUT" {
			heard <- said{r.URL.Path, r.Header.Get(live.HeaderQuality)}
		}
	}))
	defer server.Close()
	e := testEvent(fixtureStart, "v720", "v360", "v180", "a-en")
	tl := e.Timeline()
	ctx, cancel := context.WithCancel(t.Context())
	dest, err := newDestination(NewClock(nil, quiet()), server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	count := newCounters()
	snd := newSender(ctx, senderConfig{clock: NewClock(nil, quiet()), id: live.EventID{Tenant: "t", Name: "e"}, pipeline: "a", dests: []*destination{dest}, timeline: e.Timeline, count: count, log: quiet()})
	l := newLook(ctx, need.Program(t, "ffmpeg"), snd)
	l.queue = 100
	defer func() { cancel(); snd.close(); l.wg.Wait() }()
	for _, seg := range clipSegments(t, e, 12, "black from=3 to=4", "freeze from=6 to=7", "mute from=5 to=6") {
		if seg.init {
			l.begin(seg)
		} else {
			l.see(seg, &tl)
		}
	}
	want := map[string]string{"v720/3": "black", "v360/4": "black", "v180/6": "frozen", "v720/7": "frozen", "v180/9": "score=100", "a-en/5": "silent", "a-en/6": "silent", "a-en/8": "score=100"}
	timeout := time.After(60 * time.Second)
	for len(want) > 0 {
		select {
		case x := <-heard:
			name := strings.TrimSuffix(strings.TrimPrefix(x.path, "/t/e/a/"), ".m4s")
			q, err := live.ParseQuality([]string{x.quality})
			if err != nil {
				t.Fatal(err)
			}
			if slices.Contains([]string{"v720/1", "v720/2", "a-en/1", "a-en/4"}, name) {
				t.Errorf("%s: %s is said", name, x.quality)
			}
			if w, ok := want[name]; ok {
				if !strings.Contains(x.quality, w) || w != "score=100" && max(q.BlackMS, q.FrozenMS, q.SilentMS) < 1500 || w == "score=100" && x.quality != w {
					t.Errorf("%s: %s, want %s", name, x.quality, w)
				}
				delete(want, name)
			}
		case <-timeout:
			t.Fatalf("never heard of %v; %+v", want, count.snapshot())
		}
	}
}

// TestLookDies: what watches and dies hurts nobody.
func TestLookDies(t *testing.T) {
	e := testEvent(fixtureStart, "v720", "v360", "v180", "a-en")
	tl := e.Timeline()
	for _, path := range []string{"false", "/no/such/program"} {
		ctx, cancel := context.WithCancel(t.Context())
		count := newCounters()
		snd := newSender(ctx, senderConfig{clock: NewClock(nil, quiet()), timeline: e.Timeline, count: count, log: quiet()})
		l := newLook(ctx, path, snd)
		for _, seg := range clipSegments(t, e, 12) {
			if seg.init {
				l.begin(seg)
			} else {
				l.see(seg, &tl)
			}
		}
		await(t, func() bool { s := count.snapshot(); return s.LookDeaths >= 2 && s.Unseen > 0 }) // one of video, one of sound
		cancel()
		snd.close()
		l.wg.Wait()
	}
}

// TestLookOfWhatIsEncryptedLater: a rendition that is encrypted from some segment on is
// watched until then, and again when it is not any more.
func TestLookOfWhatIsEncryptedLater(t *testing.T) {
	e := testEvent(fixtureStart, "a-en")
	tl := e.Timeline()
	ctx, cancel := context.WithCancel(t.Context())
	snd := newSender(ctx, senderConfig{clock: NewClock(nil, quiet()), timeline: e.Timeline, count: newCounters(), log: quiet()})
	l := newLook(ctx, "/no/such/program", snd)
	defer func() { cancel(); snd.close(); l.wg.Wait() }()
	var clear *segment
	for _, seg := range clipSegments(t, e, 12) {
		if seg.init {
			clear = seg
			l.begin(seg)
			continue
		}
		switch seg.number {
		case 4:
			track, init := *clear.track, *clear
			track.Encrypted, init.track, init.data = true, &track, append(slices.Clone(clear.data), 0)
			l.begin(&init)
		case 8:
			l.begin(clear)
		}
		l.see(seg, &tl)
		if watched, want := l.eyes["a-en"] != nil, seg.number < 4 || seg.number >= 8; watched != want {
			t.Errorf("%d: watched: %v, want %v", seg.number, watched, want)
		}
	}
}

// TestLookReadsNoText: of captions nothing is watched: ffmpeg would die of each.
func TestLookReadsNoText(t *testing.T) {
	e := testEvent(fixtureStart, "v180", "a-en")
	tl := e.Timeline()
	ctx, cancel := context.WithCancel(t.Context())
	snd := newSender(ctx, senderConfig{clock: NewClock(nil, quiet()), timeline: e.Timeline, count: newCounters(), log: quiet()})
	l := newLook(ctx, "/no/such/program", snd)
	defer func() { cancel(); snd.close(); l.wg.Wait() }()
	for _, seg := range clipSegments(t, e, 2) {
		if seg.rendition == "a-en" {
			track, text := *seg.track, *seg
			track.Type, text.track = live.Text, &track
			seg = &text
		}
		if seg.init {
			l.begin(seg)
		} else {
			l.see(seg, &tl)
		}
	}
	if l.eyes["v180"] == nil || len(l.eyes) != 1 {
		t.Errorf("%d are watched", len(l.eyes))
	}
}

// TestLookSaysNothing: what watches and never says anything is begun anew, and what it was
// given is not kept for ever.
func TestLookSaysNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mute")
	if err := os.WriteFile(path, []byte("#!/bin/sh\ncat >/dev/null\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	e := testEvent(fixtureStart, "a-en")
	tl := e.Timeline()
	ctx, cancel := context.WithCancel(t.Context())
	count := newCounters()
	snd := newSender(ctx, senderConfig{clock: NewClock(nil, quiet()), timeline: e.Timeline, count: count, log: quiet()})
	l := newLook(ctx, path, snd)
	l.queue = 2 * lookWaits
	for _, seg := range clipSegments(t, e, 2) {
		if seg.init {
			l.begin(seg)
			continue
		}
		for n := range live.Number(lookWaits) {
			next := *seg
			next.number = 2*n + seg.number
			l.see(&next, &tl)
		}
	}
	await(t, func() bool { return count.snapshot().LookDeaths > 0 })
	cancel()
	snd.close()
	l.wg.Wait()
	if n := count.snapshot().Unseen; n < lookWaits {
		t.Errorf("%d segments were not seen", n)
	}
}

// await looks until it is noticed, for a minute.
func await(t *testing.T, noticed func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !noticed(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nobody noticed")
		}
	}
}

// TestLookHasRoom: packagers that share it have so many watch, and no more; who found no
// room is watched when there is some again.
func TestLookHasRoom(t *testing.T) {
	e := testEvent(fixtureStart, "v180", "a-en")
	tl := e.Timeline()
	room := make(Watchers, 2)
	open := func() (l *look, unseen func() int64, end func()) {
		ctx, cancel := context.WithCancel(t.Context())
		count := newCounters()
		snd := newSender(ctx, senderConfig{clock: NewClock(nil, quiet()), timeline: e.Timeline, count: count, log: quiet()})
		l = newLook(ctx, "/no/such/program", snd)
		l.room = room
		return l, func() (n int64) { count.with(func(s *Stats) { n = s.Unseen }); return n }, func() { cancel(); snd.close(); l.wg.Wait() }
	}
	segments := clipSegments(t, e, 2)
	see := func(l *look) {
		for _, seg := range segments {
			if seg.init {
				l.begin(seg)
			} else {
				l.see(seg, &tl)
			}
		}
	}
	one, _, end := open()
	see(one)
	two, unseen, endTwo := open()
	defer endTwo()
	if see(two); len(one.eyes) != 2 || len(two.eyes) != 0 || unseen() == 0 {
		t.Errorf("%d and %d are watched, %d not seen", len(one.eyes), len(two.eyes), unseen())
	}
	end()
	if see(two); len(two.eyes) != 2 || len(two.blind) != 0 {
		t.Errorf("%d are watched, %v not", len(two.eyes), two.blind)
	}
}
