package cmaf

import (
	"fmt"
	"testing"

	"headwater/live"
)

// A train is a pipeline's segments as an origin inspects them: one after the
// other, each beside the one before.
type train struct {
	track    *Track
	nominal  int64 // ticks
	previous live.Span
	exact    func(n int64) int64 // the start of a segment, where nominal is not whole
}

func (r *train) inspect(t testing.TB, n int64, seg []byte) Report {
	t.Helper()
	start, end := n*r.nominal, (n+1)*r.nominal
	if r.exact != nil {
		start, end = r.exact(n), r.exact(n+1)
	}
	w := Window{Start: start, End: end, SegmentMS: (end - start) * 1000 / int64(r.track.Timescale), Previous: r.previous}
	rep, err := Inspect(seg, r.track, w)
	if err != nil {
		t.Fatal(err)
	}
	r.previous = rep.Span
	return rep
}

// Media that was refused or called defective once, though nothing was wrong
// with it, and media that was wrong and called clean.
func TestCases(t *testing.T) {
	for _, c := range []struct {
		name, init string
		nominal    int64 // seconds
		first      int64
		segments   []string
		want       []string
	}{
		{"x265 with leading pictures, key frames on the boundaries", "radl-init", 2, 0, []string{"radl-1", "radl-2", "radl-3"}, []string{"", "", ""}},
		{"ffmpeg's dash muxer, audio beside video with B-frames", "ff-1-init", 2, 0, []string{"ff-1-1", "ff-1-2", "ff-1-3"}, []string{"", "", ""}},
		{"a decode time for each frame and no durations", "zero-durations-init", 2, 1, []string{"zero-durations"}, []string{""}},
		{"all composition offsets 2 s up", "init-a", 2, 1, []string{"composition-plus-2s"}, []string{"gap;ms=2000"}},
		{"the first of a clean encode", "init-a", 2, 0, []string{"seg-a-0"}, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			track := handTrack(t, fixture(t, "cases/"+c.init+".mp4"))
			r := train{track: track, nominal: c.nominal * int64(track.Timescale)}
			for i, name := range c.segments {
				rep := r.inspect(t, c.first+int64(i), fixture(t, "cases/"+name+".m4s"))
				if got := rep.Findings.String(); got != c.want[i] {
					t.Errorf("%s: %q, want %q (%+v)", name, got, c.want[i], rep)
				}
			}
		})
	}
}

// Segments of 2 s at 1000 ticks a second, with frames of 40: where each begins
// and ends, and what is found when they come one after the other.
func TestPlaces(t *testing.T) {
	type seg struct {
		from, to int64
		want     string
	}
	const none = -1 << 40 // the segment of this number did not come
	missing := seg{none, none, ""}
	for _, c := range []struct {
		name string
		kind live.MediaType
		segs []seg // from number 1 on, which is nominally from 2000 to 4000
	}{
		{"on the grid", live.Video, []seg{{2000, 4000, ""}, {4000, 6000, ""}}},
		{"60 ms off", live.Video, []seg{{2060, 4060, ""}, {4060, 6060, ""}}},
		{"80 ms early", live.Audio, []seg{{1920, 3920, ""}, {3920, 5920, ""}}},
		{"a little less than a tenth off", live.Video, []seg{{2199, 4199, ""}}},
		{"a tenth off", live.Video, []seg{{2200, 4200, "off-grid;ms=200"}, {4200, 6200, "off-grid;ms=200"}}},
		{"a tenth early", live.Video, []seg{{1800, 3800, "off-grid;ms=200"}, {3800, 5800, "off-grid;ms=200"}}},
		{"a little less than half off", live.Video, []seg{{2999, 4999, "off-grid;ms=999"}}},
		{"half off", live.Video, []seg{{3000, 5000, "gap;ms=1000, overlap"}, {5000, 7000, "gap;ms=1000, overlap"}}},
		{"half early", live.Video, []seg{{1000, 3000, "short;ms=1000, overlap"}}},
		{"one off", live.Video, []seg{{4000, 6000, "gap;ms=2000"}, {6000, 8000, "gap;ms=2000"}}},
		{"one early", live.Video, []seg{{0, 2000, "overlap;ms=2000"}}},

		{"spliced: cut short, then long", live.Video, []seg{{2000, 4000, ""}, {4000, 5400, "short;ms=600"}, {5400, 8000, "off-grid;ms=600"}, {8000, 10000, ""}}},
		{"spliced: cut long, then short", live.Video, []seg{{2000, 4000, ""}, {4000, 6600, "overlap"}, {6600, 8000, "off-grid;ms=600"}, {8000, 10000, ""}}},
		{"cut short, and off the grid from then on", live.Video, []seg{{2000, 3400, "short;ms=600"}, {3400, 5400, "off-grid;ms=600"}, {5400, 7400, "off-grid;ms=600"}}},
		{"cut long, and off the grid from then on", live.Video, []seg{{2000, 4600, "overlap"}, {4600, 6600, "off-grid;ms=600"}}},

		{"a frame more or less", live.Video, []seg{{2000, 4040, ""}, {4040, 6000, ""}, {6000, 7960, ""}, {7960, 10000, ""}}},
		{"the end is lost", live.Video, []seg{{2000, 4000, ""}, {4000, 5600, "short;ms=400"}, {6000, 8000, ""}}},
		{"the end is lost, first of a pipeline", live.Video, []seg{{2000, 3600, "short;ms=400"}, {4000, 6000, ""}}},
		{"two frames of the end are lost", live.Video, []seg{{2000, 4000, ""}, {4000, 5920, "short;ms=80"}, {6000, 8000, ""}}},
		{"the start is lost", live.Video, []seg{{2000, 4000, ""}, {4400, 6000, "gap;ms=400"}, {6000, 8000, ""}}},
		{"the start is lost, first of a pipeline", live.Video, []seg{{2400, 4000, "gap;ms=400"}, {4000, 6000, ""}}},
		{"the first frame is lost", live.Video, []seg{{2000, 4000, ""}, {4040, 6000, "gap;ms=40"}}},
		{"start and end are lost", live.Video, []seg{{2000, 4000, ""}, {4200, 5600, "gap;ms=200, short;ms=400"}}},
		{"start and end are lost, first of a pipeline", live.Video, []seg{{2200, 3600, "gap;ms=200, short;ms=400"}}},
		{"the end is lost of what is 80 ms late", live.Video, []seg{{2080, 4080, ""}, {4080, 5960, "short;ms=120"}, {6080, 8080, ""}}},
		{"the end is lost of what is 80 ms early", live.Video, []seg{{1920, 3920, ""}, {3920, 5800, "short;ms=120"}, {5920, 7920, ""}}},
		{"the start is lost of what is 80 ms late", live.Video, []seg{{2080, 4080, ""}, {4200, 6080, "gap;ms=120"}}},
		{"the start is lost of what is 80 ms early", live.Video, []seg{{1920, 3920, ""}, {4000, 5920, "short;ms=80"}}},
		{"whole and late by itself", live.Video, []seg{{2000, 4000, ""}, {4300, 6300, "gap;ms=300, overlap"}, {6000, 8000, ""}}},
		{"whole and early by itself", live.Video, []seg{{2000, 4000, ""}, {3700, 5700, "short;ms=300, overlap"}, {6000, 8000, ""}}},
		{"the end twice", live.Video, []seg{{2000, 4000, ""}, {4000, 6400, "overlap"}, {6000, 8000, ""}}},
		{"longer at both ends, first of a pipeline", live.Video, []seg{{1800, 4000, "overlap, off-grid;ms=200"}}},
		{"after one that is not known", live.Video, []seg{{2000, 4000, ""}, missing, {6300, 8300, "off-grid;ms=300"}}},

		{"ffmpeg's first cut of audio", live.Audio, []seg{{2000, 3920, ""}, {3920, 5920, ""}}},
		{"a first cut of audio that is too short", live.Audio, []seg{{2000, 3780, "short;ms=220"}}},
		{"audio cut here and there", live.Audio, []seg{{2000, 3920, ""}, {3920, 5840, ""}, {5840, 7940, ""}, {7940, 9840, ""}}},
		{"audio cut here and there, and lost", live.Audio, []seg{{2000, 3920, ""}, {3920, 5640, "short;ms=280"}}},
		{"audio cut so later", live.Audio, []seg{{2000, 4000, ""}, {4000, 5880, "short;ms=120"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			track := &Track{ID: 1, Type: c.kind, Timescale: 1000, Descriptions: 1}
			r := train{track: track, nominal: 2000}
			for i, s := range c.segs {
				if s == missing {
					r.previous = live.Span{}
					continue
				}
				var samples []Sample
				for at := s.from; at < s.to; at += 40 {
					samples = append(samples, Sample{Decode: at, Duration: 40, Description: 1})
				}
				last := &samples[len(samples)-1]
				last.Duration = uint32(s.to - last.Decode)
				b := AppendSegment(nil, 1, track, samples, func(int) []byte { return []byte("data") })
				if got := r.inspect(t, int64(i)+1, b).Findings.String(); got != s.want {
					t.Errorf("number %d, from %d to %d: %q, want %q", i+1, s.from, s.to, got, s.want)
				}
			}
		})
	}
}

// A neighbour in another timescale, or one that cannot be, is not looked at.
func TestUnusableNeighbours(t *testing.T) {
	track := &Track{ID: 1, Type: live.Video, Timescale: 1000, Descriptions: 1}
	seg := AppendSegment(nil, 1, track, []Sample{{Decode: 2300, Duration: 1000, Description: 1}, {Decode: 3300, Duration: 1000, Description: 1}},
		func(int) []byte { return []byte("data") })
	for _, s := range []live.Span{
		{}, {Start: 0, End: 180_000, Timescale: 90_000}, {Start: 2000, End: 0, Timescale: 1000}, {End: 1 << 62, Timescale: 1000}, {Start: -1 << 63, Timescale: 1000},
	} {
		r, err := Inspect(seg, track, Window{Start: 2000, End: 4000, SegmentMS: 2000, Previous: s})
		if err != nil || r.Findings.String() != "off-grid;ms=300" {
			t.Errorf("after %+v: %q, %v", s, r.Findings, err)
		}
	}
}

// pictures are frames of 40 ticks in decode order, given by the number under
// which each is shown; a lone one decodes delay frames before that.
func pictures(first, delay int64, shown ...int) []Sample {
	var out []Sample
	for i, n := range shown {
		s := Sample{Decode: (first + int64(i)) * 40, Duration: 40, Description: 1, Flags: flagNonSync}
		s.Composition = int32((first+int64(n)+delay)*40 - s.Decode)
		if i == 0 {
			s.Flags = 0
		}
		out = append(out, s)
	}
	return out
}

// gop is n frames in the order I P B B P B B, the last ones without B.
func gop(n int) []int {
	out := []int{0}
	for i := 1; i < n; {
		p := min(i+2, n-1)
		out = append(out, p)
		for b := i; b < p; b++ {
			out = append(out, b)
		}
		i = p + 1
	}
	return out
}

// What is missing, doubled or moved in composition time, of a segment of 50
// frames whose decode times are as they should be.
func TestCompositionTimes(t *testing.T) {
	track := &Track{ID: 1, Type: live.Video, Timescale: 1000, Descriptions: 1, EditOffset: 40}
	for _, c := range []struct {
		name string
		edit func([]Sample) []Sample
		want string
	}{
		{"as it is", nil, ""},
		{"all 2 s later", shiftAll(2000), "gap;ms=2000"},
		{"all 0.3 s later", shiftAll(300), "gap;ms=300, overlap"},
		{"all 1 s later", shiftAll(1000), "gap;ms=1000, overlap"},
		{"all 2 s earlier", shiftAll(-2000), "overlap;ms=2000"},
		{"all 0.3 s earlier", shiftAll(-300), "short;ms=300, overlap"},
		{"every other frame 1 s later", func(s []Sample) []Sample {
			for i := 1; i < len(s); i += 2 {
				s[i].Composition += 1000
			}
			return s
		}, "overlap, missing-samples;ms=680;n=17"},
		{"every other frame 1 s later, none reordered", func(s []Sample) []Sample {
			for i := range s {
				s[i].Composition = 40 + int32(i%2)*1000
			}
			return s
		}, "overlap, missing-samples;ms=1000;n=25"},
		{"two frames at one time", func(s []Sample) []Sample { s[20].Composition -= 40; return s }, "overlap, missing-samples;ms=40;n=1"},
		{"one frame 10 s later", func(s []Sample) []Sample { s[20].Composition += 10_000; return s }, "overlap, missing-samples;ms=40;n=1"},
		{"a third of the frames 0.2 s later", func(s []Sample) []Sample {
			for i := 17; i < 34; i++ {
				s[i].Composition += 200
			}
			return s
		}, "overlap, missing-samples;ms=200;n=5"},
		{"ten frames lost, decode times closed up", func(s []Sample) []Sample {
			s = append(s[:20:20], s[30:]...)
			for i := 20; i < len(s); i++ {
				s[i].Decode -= 400
				s[i].Composition += 400
			}
			return s
		}, "missing-samples;ms=400;n=10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			samples := pictures(50, 1, gop(50)...)
			if c.edit != nil {
				samples = c.edit(samples)
			}
			b := AppendSegment(nil, 1, track, samples, func(int) []byte { return []byte("data") })
			w := Window{Start: 2000, End: 4000, SegmentMS: 2000, Previous: live.Span{Start: 0, End: 2000, Timescale: 1000}}
			for version := range byte(2) {
				at := trunAt(t, b)
				b[at] = version // the same 32 bits, whatever the version says of their sign
				r, err := Inspect(b, track, w)
				if err != nil || r.Findings.String() != c.want {
					t.Errorf("trun version %d: %q, %v; want %q (%+v)", version, r.Findings, err, c.want, r)
				}
			}
		})
	}
}

func shiftAll(ticks int32) func([]Sample) []Sample {
	return func(s []Sample) []Sample {
		for i := range s {
			s[i].Composition += ticks
		}
		return s
	}
}

// trunAt is where the version of the first trun is.
func trunAt(t testing.TB, b []byte) int {
	t.Helper()
	for i := range b {
		if string(b[i:i+4]) == "trun" {
			return i + 4
		}
	}
	t.Fatal("no trun")
	return 0
}

// Pictures that are shown before the key frame they follow: the key frame is on
// the boundary, and nothing is missing.
func TestLeadingPictures(t *testing.T) {
	track := &Track{ID: 1, Type: live.Video, Timescale: 1000, Descriptions: 1, EditOffset: 40}
	// Number 1 has none before it, the others two.
	first := gop(48)
	lead := append([]int{0, -2, -1}, gop(48)[1:]...)
	r := train{track: track, nominal: 2000}
	for i, shown := range [][]int{first, lead, lead} {
		at := int64(50 * (i + 1))
		if i > 0 {
			at -= 2
			for k := range shown {
				shown[k] += 2
			}
		}
		b := AppendSegment(nil, 1, track, pictures(at, 1, append([]int(nil), shown...)...), func(int) []byte { return []byte("data") })
		if i > 0 {
			for k := range shown {
				shown[k] -= 2
			}
		}
		if rep := r.inspect(t, int64(i)+1, b); rep.Findings.String() != "" {
			t.Errorf("number %d: %q (%+v)", i+1, rep.Findings, rep)
		}
	}
}

// ffmpeg's dash muxer says of such a key frame that it is shown with the first of
// the pictures before it. Nothing is missing all the same.
func TestKeyFrameWithTheWrongTime(t *testing.T) {
	track := &Track{ID: 1, Type: live.Video, Timescale: 1000, Descriptions: 1, EditOffset: 40}
	w := Window{Start: 2000, End: 4000, SegmentMS: 2000, Previous: live.Span{Start: 0, End: 1920, Timescale: 1000}}
	for _, c := range []struct {
		at   int32 // the key frame, in frames before its place
		lose int   // a sample
		want string
	}{{2, 0, ""}, {1, 0, ""}, {2, 20, "overlap, missing-samples;ms=80;n=2"}, {0, 20, "missing-samples;ms=40;n=1"}} {
		shown := append([]int{2, 0, 1}, gop(48)[1:]...)
		for i := range shown[3:] {
			shown[3+i] += 2
		}
		samples := pictures(48, 1, shown...)
		samples[0].Composition -= 40 * c.at
		if c.lose > 0 {
			samples = append(samples[:c.lose:c.lose], samples[c.lose+1:]...)
		}
		b := AppendSegment(nil, 1, track, samples, func(int) []byte { return []byte("data") })
		if r, err := Inspect(b, track, w); err != nil || r.Findings.String() != c.want {
			t.Errorf("%d frames before its place, without sample %d: %q, %v; want %q", c.at, c.lose, r.Findings, err, c.want)
		}
	}
}

// Durations of 0 are what is left up to the next fragment.
func TestUnknownDurations(t *testing.T) {
	const base = tfhdBaseIsMoof
	fragment := func(at uint64, durations ...uint32) []byte {
		table := make([]byte, 0, 8*len(durations))
		for _, d := range durations {
			table = append(table, box("", d, uint32(4))[4:]...)
		}
		return join(moof(tfhd(base), tfdt(at), full("trun", 0, trunDataOffset|trunDuration|trunSize, uint32(len(durations)), int32(96+8*len(durations)), table)),
			box("mdat", make([]byte, 4*len(durations))))
	}
	byDefault := func(at uint64, n uint32) []byte {
		return join(moof(tfhd(base|tfhdDuration|tfhdSize, uint32(0), uint32(4)), tfdt(at), full("trun", 0, trunDataOffset, n, int32(104))), box("mdat", make([]byte, 4*n)))
	}
	for _, c := range []struct {
		name string
		seg  []byte
		want string
		end  int64
	}{
		{"one sample each", join(fragment(1000, 0), fragment(1100, 0), fragment(1200, 0), fragment(1300, 0)), "", 1400},
		{"the last of each", join(fragment(1000, 100, 0), fragment(1200, 100, 0)), "", 1400},
		{"the first of each", join(fragment(1000, 0, 100), fragment(1200, 0, 100)), "", 1400},
		{"all of them, by default", join(byDefault(1000, 2), byDefault(1200, 2)), "", 1400},
		{"one lost", join(fragment(1000, 0), fragment(1100, 0), fragment(1300, 0)), "missing-samples;ms=100;n=1", 1400},
		{"a fragment with nothing behind", join(fragment(1000, 100, 100, 100, 0)), "", 1400},
		{"nothing known at all", join(byDefault(1000, 4)), "short;ms=400", 1000},
		{"a next one that is before", join(fragment(1000, 100, 100, 0), fragment(900, 100)), "overlap", 1300},
	} {
		t.Run(c.name, func(t *testing.T) {
			track := &Track{ID: 1, Type: live.Audio, Timescale: 1000, Descriptions: 1, DefaultDescription: 1}
			r, err := Inspect(c.seg, track, Window{Start: 1000, End: 1400, SegmentMS: 400, Previous: live.Span{Start: 600, End: 1000, Timescale: 1000}})
			if err != nil || r.Findings.String() != c.want || r.Span.End != c.end {
				t.Errorf("%q to %d, %v; want %q to %d", r.Findings, r.Span.End, err, c.want, c.end)
			}
		})
	}
}

// What is more out of order than any codec may be is not lost track of.
func TestOrderIsBounded(t *testing.T) {
	for _, late := range []int64{1, maxReordered, maxReordered + 1, 1000} {
		t.Run(fmt.Sprint(late), func(t *testing.T) {
			o := order{frame: 10, to: 1 << 40}
			for i := range late {
				o.add(shown{10 + 10*i, 10 + 10*i})
			}
			o.add(shown{0, 0})
			o.end()
			if fits := late < maxReordered; o.doubled == fits || o.holes > 0 {
				t.Errorf("one %d frames late: doubled %v, %d holes", late, o.doubled, o.holes)
			}
		})
	}
}
