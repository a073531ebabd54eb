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
		dropped:   func(reason string) { r.out = append(r.out, reason) },
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
		{"what comes before the event is not counted", live.Video,
			[][]sample{frames(-2000, 0, -2000), frames(0, 2000, 0)},
			"1: 0-2000 50"},
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
