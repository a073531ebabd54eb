package packager

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// A cutRun gives samples to a cutter and writes down what it emits: for each
// segment its number, the milliseconds since the event's start of its first
// sample and of its end, and how many samples.
type cutRun struct {
	c   *cutter
	out []string
}

// newCutRun is for a 25 fps video (or what typ says) in milliseconds; segments
// last 2 s.
func newCutRun(typ live.MediaType) *cutRun {
	e := testEvent(fixtureStart, "v720")
	e.MediaTime = live.MediaStart
	r := &cutRun{}
	r.c = &cutter{
		rendition: live.Rendition{Name: "x", Type: typ},
		track:     &cmaf.Track{ID: 1, Type: typ, Timescale: 1000, Descriptions: 1, DefaultDescription: 1},
		timeline:  e.Timeline,
		dropped:   func(reason string, n live.Number) { r.out = append(r.out, reason) },
		emit: func(c *cutter, n live.Number, s []sample) {
			last := s[len(s)-1]
			sync := ""
			if typ == live.Video && !s[0].Sync {
				sync = " no key"
			}
			r.out = append(r.out, fmt.Sprintf("%d: %d-%d %d%s", n, s[0].Decode, last.Decode+int64(last.Duration), len(s), sync))
		},
	}
	return r
}

// frames are samples of 40 ms from one time to another, key frames at those given.
func frames(from, to int64, keys ...int64) []sample {
	var out []sample
	for at := from; at < to; at += 40 {
		out = append(out, sample{Sample: cmaf.Sample{Decode: at, Duration: 40, Sync: slices.Contains(keys, at), Description: 1}})
	}
	return out
}

// shown delays the presentation of frames.
func shown(by int32, s []sample) []sample {
	for i := range s {
		s[i].Composition = by
	}
	return s
}

func (r *cutRun) add(s []sample) { r.c.add(s) }
func (r *cutRun) got() string    { return strings.Join(r.out, "; ") }
func every(from, to int64) (k []int64) {
	for ; from < to; from += 40 {
		k = append(k, from)
	}
	return k
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  live.MediaType
		in   [][]sample
		want string
	}{
		{"key frames on the boundaries", live.Video,
			[][]sample{frames(0, 2000, 0), frames(2000, 4000, 2000), frames(4000, 4400, 4000)},
			"1: 0-2000 50; 2: 2000-4000 50; 3: 4000-4400 10"},
		{"a key frame less than a frame after the boundary", live.Video,
			[][]sample{frames(24, 2024, 24), frames(2024, 4024, 2024)},
			"1: 24-2024 50; 2: 2024-4024 50"},
		{"a key frame less than a frame before the boundary", live.Video,
			[][]sample{frames(-16, 1984, -16), frames(1984, 3984, 1984), frames(3984, 4000, 3984)},
			"1: -16-1984 50; 2: 1984-3984 50; 3: 3984-4024 1"},
		{"a key frame a whole frame before the boundary", live.Video,
			[][]sample{frames(0, 1960, 0), frames(1960, 4000, 1960), frames(4000, 4400, 4000)},
			"1: 0-1960 49; 2: 1960-4000 51; 3: 4000-4400 10"},
		{"key frames in mid-segment do not cut", live.Video,
			[][]sample{frames(0, 1000, 0), frames(1000, 2000, 1000), frames(2000, 3000, 2000), frames(3000, 4000, 3000)},
			"1: 0-2000 50; 2: 2000-4000 50"},
		{"no key frame at a boundary", live.Video,
			[][]sample{frames(0, 3000, 0), frames(3000, 4000, 3000), frames(4000, 6000, 4000)},
			"1: 0-2000 50; 2: 2000-4000 50 no key; 3: 4000-6000 50"},
		{"only key frames, on the grid", live.Video,
			[][]sample{frames(0, 3000, every(0, 3000)...), frames(3000, 4400, every(3000, 4400)...)},
			"1: 0-2000 50; 2: 2000-4000 50; 3: 4000-4400 10"},
		{"only key frames, nearest is after", live.Video,
			[][]sample{frames(10, 1970, every(10, 1970)...), frames(1970, 2400, every(1970, 2400)...)},
			"1: 10-2010 50; 2: 2010-2410 10"},
		{"only key frames, nearest is before", live.Video,
			[][]sample{frames(-10, 1990, every(-10, 1990)...), frames(1990, 2400, every(1990, 2400)...)},
			"1: -10-1990 50; 2: 1990-2430 11"},
		{"the first segment is partial", live.Video,
			[][]sample{frames(1000, 2000, 1000), frames(2000, 4000, 2000)},
			"partial; 2: 2000-4000 50"},
		{"what comes before the event is counted once", live.Video,
			[][]sample{frames(-4000, -2000, -4000), frames(-2000, 0, -2000), frames(0, 2000, 0)},
			"outside; 1: 0-2000 50"},
		{"a frame of a partial segment is no loss", live.Video,
			[][]sample{frames(1920, 2000), frames(2000, 4000, 2000)},
			"2: 2000-4000 50"},
		{"three are", live.Video,
			[][]sample{frames(1880, 2000), frames(2000, 4000, 2000)},
			"partial; 2: 2000-4000 50"},
		{"one long sample is", live.Text,
			[][]sample{{{Sample: cmaf.Sample{Decode: 500, Duration: 101, Sync: true}}}, {{Sample: cmaf.Sample{Decode: 2000, Duration: 500, Sync: true}}}},
			"partial; 2: 2000-2500 1"},
		{"a key frame never comes", live.Video,
			[][]sample{frames(0, 2000, 0), frames(8000, 10000), frames(10000, 12000), frames(12000, 14000, 12000)},
			"1: 0-2000 50; no-keyframe; 6: 10000-12000 50 no key; 7: 12000-14000 50"},
		{"only key frames, to a boundary", live.Video,
			[][]sample{frames(0, 2000, every(0, 2000)...), frames(2000, 4000, every(2000, 4000)...)},
			"1: 0-2000 50; 2: 2000-4000 50"},
		{"samples are lost inside", live.Video,
			[][]sample{frames(0, 800, 0), frames(1200, 2000), frames(2000, 2400, 2000)},
			"1: 0-2000 40; 2: 2000-2400 10"},
		{"samples are lost across a boundary", live.Video,
			[][]sample{frames(0, 1600, 0), frames(2400, 2800), frames(2800, 4000, 2800)},
			"1: 0-1600 40; 2: 2800-4000 30"},
		{"segments are lost", live.Video,
			[][]sample{frames(0, 2000, 0), frames(8000, 10000, 8000)},
			"1: 0-2000 50; 5: 8000-10000 50"},
		{"time goes back", live.Video,
			[][]sample{frames(4000, 5000, 4000), frames(0, 2000, 0)},
			"3: 4000-5000 25; 1: 0-2000 50"},
		{"sound is cut at the first frame at or after the boundary", live.Audio,
			[][]sample{frames(-24, 2016), frames(2016, 4000)},
			"1: 16-2016 50; 2: 2016-4016 50"},
		{"sound, partial", live.Audio,
			[][]sample{frames(500, 4000)},
			"partial; 2: 2020-4020 50"},
		{"text lasts beyond the boundary", live.Text,
			[][]sample{{{Sample: cmaf.Sample{Decode: 0, Duration: 5000, Sync: true}}}, {{Sample: cmaf.Sample{Decode: 5000, Duration: 500, Sync: true}}}},
			"1: 0-2000 1; 2: 2000-4000 1; 3: 4000-5500 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newCutRun(c.typ)
			for _, in := range c.in {
				r.add(in)
			}
			r.c.flush()
			if got := r.got(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if r.c.bytes != 0 {
				t.Errorf("%d bytes left", r.c.bytes)
			}
		})
	}
}

// Each line is where a cutter is, a sample, and what becomes of it.
func TestFate(t *testing.T) {
	e := testEvent(fixtureStart, "v720")
	e.MediaTime = live.MediaStart
	e.End = e.Start.Add(20 * time.Second) // the last is 10
	at := func(decode int64, sync bool) *sample {
		return &sample{Sample: cmaf.Sample{Decode: decode, Duration: 40, Sync: sync}}
	}
	in := func(n live.Number, next int64) position { return position{begun: true, number: n, next: next} }
	anew := func(p position, empty bool) position { p.anew, p.empty = true, empty; return p }
	begin := func(n live.Number, drop string) fate { return fate{what: begins, number: n, drop: drop} }
	join, wait := fate{what: joins}, fate{what: waits}
	needs := begin(3, "")
	needs.needSync = true
	for _, c := range []struct {
		name string
		typ  live.MediaType
		p    position
		s    *sample
		want fate
	}{
		{"the first of all", live.Video, position{}, at(0, true), begin(1, "")},
		{"the first, not a key frame", live.Video, position{}, at(0, false), begin(1, DropPartial)},
		{"the first, in mid-segment", live.Video, position{}, at(3000, true), begin(2, DropPartial)},
		{"the first, before the event", live.Video, position{}, at(-400, true), begin(0, DropOutside)},
		{"the first, after it", live.Video, position{}, at(20000, true), begin(11, DropOutside)},
		{"the first of sound", live.Audio, position{}, at(2010, true), begin(2, "")},
		{"the second of sound", live.Audio, position{}, at(2050, true), begin(2, DropPartial)},
		{"follows", live.Video, in(1, 400), at(400, false), join},
		{"follows, two milliseconds off", live.Video, in(1, 398), at(400, false), join},
		{"a key frame in mid-segment", live.Video, in(1, 1000), at(1000, true), join},
		{"a key frame on the boundary", live.Video, in(1, 2000), at(2000, true), begin(2, "")},
		{"half a frame before it", live.Video, in(1, 1980), at(1980, true), begin(2, "")},
		{"more than half a frame before it", live.Video, in(1, 1979), at(1979, true), wait},
		{"a frame before it", live.Video, in(1, 1960), at(1960, true), wait},
		{"a frame and a tick before it", live.Video, in(1, 1959), at(1959, true), wait},
		{"two ticks more than a frame before it", live.Video, in(1, 1958), at(1958, true), join},
		{"no key frame at the boundary", live.Video, in(1, 2000), at(2000, false), begin(2, "")},
		{"no key frame a tick before it", live.Video, in(1, 1999), at(1999, false), join},
		{"after the event", live.Video, in(10, 20000), at(20000, true), begin(11, DropOutside)},
		{"sound at the boundary", live.Audio, in(1, 2000), at(2000, true), begin(2, "")},
		{"sound before it", live.Audio, in(1, 1999), at(1999, true), join},
		{"a hole inside", live.Video, in(1, 400), at(800, false), join},
		{"a hole that ends elsewhere", live.Video, in(1, 400), at(4400, false), needs},
		{"sound, the same", live.Audio, in(1, 400), at(4400, false), begin(3, "")},
		{"back", live.Video, in(5, 8400), at(4400, false), needs},
		{"three milliseconds are a jump", live.Video, in(2, 4403), at(4400, false), needs},
		{"a new encoder in the same segment", live.Video, anew(in(1, 400), false), at(800, true), join},
		{"with nothing gathered", live.Video, anew(in(1, 0), true), at(800, true), begin(1, DropPartial)},
		{"in another segment", live.Video, anew(in(1, 400), false), at(4400, true), begin(3, DropPartial)},
		{"at the next boundary", live.Video, anew(in(1, 2000), false), at(2000, true), begin(2, "")},
		{"at the next boundary, not a key frame", live.Video, anew(in(1, 2000), false), at(2000, false), begin(2, DropPartial)},
	} {
		g := grid{e.Timeline(), &cmaf.Track{Timescale: 1000}, c.typ}
		if got := g.fate(c.p, c.s); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
	after := func(p position, sync bool) position { p.sync = sync; return p }
	for _, c := range []struct {
		name       string
		p          position
		held, next *sample
		want       fate
	}{
		{"a nearer key frame follows", in(1, 1990), at(1950, true), at(1990, true), join},
		{"one as near follows", in(1, 2020), at(1980, true), at(2020, true), begin(2, "")},
		{"what follows is no key frame", in(1, 2000), at(1960, true), at(2000, false), begin(2, "")},
		{"the nearer one does not follow at once", in(1, 1990), at(1950, true), at(1991, true), begin(2, "")},
		{"nothing follows", in(1, 2000), at(1960, true), nil, begin(2, "")},
		{"nothing follows, and all are key frames", after(in(1, 2000), true), at(1960, true), nil, join},
		{"a frame follows, and those before are key frames", after(in(1, 2000), true), at(1960, true), at(2000, false), begin(2, "")},
	} {
		g := grid{e.Timeline(), &cmaf.Track{Timescale: 1000}, live.Video}
		if got := g.settle(c.p, c.held, c.next); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// Without these a segment would wait for the next fragment, a GOP later.
func TestCutEarly(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  live.MediaType
		in   []sample
		want string
	}{
		{"video that ends on the boundary", live.Video, frames(0, 2000, 0), "1: 0-2000 50"},
		{"video that ends a little before", live.Video, frames(-16, 1984, -16), "1: -16-1984 50"},
		{"video that ends more than half a frame before", live.Video, frames(-24, 1976, -24), ""},
		{"video in the middle of a GOP", live.Video, frames(0, 1960, 0), ""},
		{"reordered video that is shown up to the boundary", live.Video, shown(80, frames(-80, 1920, -80)), "1: -80-1920 50"},
		{"reordered video that ends before it", live.Video, shown(38, frames(-80, 1920, -80)), ""},
		{"sound that ends on or after the boundary", live.Audio, frames(0, 2000), "1: 0-2000 50"},
		{"sound that ends before the boundary", live.Audio, frames(0, 1960), ""},
	} {
		r := newCutRun(c.typ)
		r.add(c.in)
		if got := r.got(); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// A fragment whose samples must stay together goes where its first one goes.
func TestCutWholeFragments(t *testing.T) {
	for _, c := range []struct {
		name string
		in   [][]sample
		want string
	}{
		{"on the grid", [][]sample{frames(0, 2000, 0), frames(2000, 4000, 2000)}, "1: 0-2000 50; 2: 2000-4000 50"},
		{"a frame before it", [][]sample{frames(0, 1960, 0), frames(1960, 3960, 1960), frames(3960, 4400, 3960)}, "1: 0-1960 49; 2: 1960-3960 50; 3: 3960-4400 11"},
		{"over it", [][]sample{frames(0, 1000, 0), frames(1000, 3000, 1000), frames(3000, 5000, 3000)}, "1: 0-3000 75; 2: 3000-5000 50"},
	} {
		r := newCutRun(live.Video)
		for _, in := range c.in {
			r.c.addWhole(in)
		}
		r.c.flush()
		if got := r.got(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// An input whose decode times stand still is an error before it fills memory.
func TestGatheredMemoryIsBounded(t *testing.T) {
	e := eventOf("ladder.mp4")
	e.MediaTime = live.MediaStart
	init, tracks := readStream(t, fixture(t, "ladder.mp4"))
	s := testSplitter(e, nil)
	in, err := cmaf.ParseInit(init)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.part(&cmaf.Part{Init: in, Raw: init}); err != nil {
		t.Fatal(err)
	}
	raw := make([]byte, 8<<20)
	var total int
	for range 100 {
		f := &cmaf.Fragment{Tracks: []cmaf.TrackFragment{{ID: tracks[0].track.ID, Track: in.Track(tracks[0].track.ID),
			Samples: []cmaf.Sample{{Decode: 0, Duration: 1, Sync: true, Size: uint32(len(raw)), Description: 1}}}}}
		if err = s.part(&cmaf.Part{Fragment: f, Raw: raw}); err != nil {
			break
		}
		total += len(raw)
	}
	if err == nil || !strings.Contains(err.Error(), "without a segment boundary") || total > maxGathered {
		t.Errorf("after %d bytes: %v", total, err)
	}
}

func TestRescale(t *testing.T) {
	for _, c := range []struct{ v, num, den, want int64 }{
		{10, 3, 2, 15}, {5, 1, 2, 3}, {-5, 1, 2, -3}, {0, 90000, 1, 0},
		{1795392000 * 90000, 48000, 90000, 1795392000 * 48000}, {-1795392000 * 90000, 48000, 90000, -1795392000 * 48000},
		{1 << 62, 1 << 62, 1, 1 << 62}, {int64(time.Hour), 15360, int64(time.Second), 3600 * 15360},
	} {
		if got := rescale(c.v, c.num, c.den); got != c.want {
			t.Errorf("rescale(%d, %d, %d) = %d, want %d", c.v, c.num, c.den, got, c.want)
		}
	}
}

// TestMisfit: of key frames that come elsewhere than segments begin it is said once how
// far apart they are; of one that is missing, or late once, nothing.
func TestMisfit(t *testing.T) {
	for name, c := range map[string]struct {
		keys []int64
		want string
	}{
		"on the grid":             {[]int64{0, 2000, 4000, 6000, 8000, 10000}, ""},
		"two in a segment":        {[]int64{0, 1000, 2000, 3000, 4000, 6000, 7200, 8000, 10000}, ""},
		"each 1.92 s":             {[]int64{0, 1920, 3840, 5760, 7680, 9600, 11520}, "1920"},
		"each 2 s, half way":      {[]int64{1000, 3000, 5000, 7000, 9000, 11000}, "2000"},
		"one is 0.2 s late":       {[]int64{0, 2000, 4200, 6000, 8000, 10000}, ""},
		"none for three segments": {[]int64{0, 2000, 10000}, "2000"},
		"one, and then none":      {[]int64{0}, ""},
	} {
		r := newCutRun(live.Video)
		var said []string
		r.c.misfit = func(gop int64) { said = append(said, fmt.Sprint(gop)) }
		r.add(frames(0, 12_000, c.keys...))
		if got := strings.Join(said, " "); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
