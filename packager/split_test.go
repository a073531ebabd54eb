package packager

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

func TestSplitsLadder(t *testing.T) {
	e := testEvent(fixtureStart, "v720", "v360", "a-en")
	segs := mustSplit(t, e, fixture(t, "ladder.mp4"))
	if got := inits(segs); !slices.Equal(got, []string{"v720", "v360", "a-en"}) {
		t.Errorf("init segments of %v", got)
	}
	for _, name := range []string{"v720", "v360", "a-en"} {
		m := media(segs, name)
		// Seven seconds are three segments and the half of one.
		if got := numbers(m); !slices.Equal(got, []live.Number{1, 2, 3, 4}) {
			t.Errorf("%s: segments %v", name, got)
			continue
		}
		for _, s := range m[:3] {
			if !s.findings.Clean() {
				t.Errorf("%s/%d: %v", name, s.number, s.findings)
			}
		}
		if !m[3].findings.Has(live.Short) {
			t.Errorf("%s/4, cut off by the end of the input: %v", name, m[3].findings)
		}
	}
	for _, s := range segs {
		in, err := cmaf.ParseInit(s.data)
		if !s.init {
			continue
		}
		if err != nil || len(in.Tracks) != 1 || in.Tracks[0].ID != 1 {
			t.Errorf("%s: init segment with %+v, %v", s.rendition, in, err)
		}
	}
	if s := media(segs, "v720")[1]; s.track.Width != 48 || len(s.samples) != 60 || !s.samples[0].Sync {
		t.Errorf("v720/2: %d wide, %d samples", s.track.Width, len(s.samples))
	}
}

// An encoder that begins anywhere gives the same segments from the next whole
// one on, and reports that it dropped one.
func TestPartialFirstSegmentIsDropped(t *testing.T) {
	e := testEvent(fixtureStart, "v720", "v360", "a-en")
	want := mustSplit(t, e, fixture(t, "ladder.mp4"))
	init, tracks := readStream(t, fixture(t, "ladder.mp4"))
	for _, from := range []time.Duration{0, 33 * time.Millisecond, time.Second, 1999 * time.Millisecond, 2 * time.Second, 3 * time.Second} {
		in := slices.Clone(init)
		for _, tr := range tracks {
			first := fixtureStart.Add(from).UnixMilli() * int64(tr.track.Timescale) / 1000
			rest := slices.DeleteFunc(slices.Clone(tr.samples), func(s sample) bool { return s.Decode < first })
			in = chunk(in, tr, rest)
		}
		s := testSplitter(e, bytes.NewReader(in))
		got, err := drainSplitter(s, e)
		if err != nil {
			t.Fatal(err)
		}
		wholeFrom := live.Number(1 + (from+2*time.Second-1)/(2*time.Second))
		for _, name := range []string{"v720", "v360", "a-en"} {
			m := media(got, name)
			if len(m) == 0 || m[0].number != wholeFrom {
				t.Errorf("from %v: %s begins with %v, want %d", from, name, numbers(m), wholeFrom)
			}
			sameMedia(t, m, media(want, name))
		}
		dropped := s.count.snapshot().Dropped[DropPartial]
		// A millisecond before the boundary there is no frame left.
		if partial := from == 33*time.Millisecond || from == time.Second || from == 3*time.Second; (dropped > 0) != partial {
			t.Errorf("from %v: %d counted as partial", from, dropped)
		}
	}
}

// Where fragments begin and end must not matter: two packagers whose encoders
// flush differently cut the same.
func TestFragmentationDoesNotMatter(t *testing.T) {
	for _, name := range []string{"ladder.mp4", "ntsc.mp4", "reordered.mp4"} {
		e := eventOf(name)
		want := mustSplit(t, e, fixture(t, name))
		init, tracks := readStream(t, fixture(t, name))
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 40 {
			in := slices.Clone(init)
			at := make([]int, len(tracks))
			most := 1 + rnd.IntN(90)
			for {
				i := rnd.IntN(len(tracks))
				tr := tracks[i]
				n := min(1+rnd.IntN(most), len(tr.samples)-at[i])
				in = chunk(in, tr, tr.samples[at[i]:at[i]+n])
				at[i] += n
				if !slices.ContainsFunc(tracks, func(tr *trackStream) bool { return at[slices.Index(tracks, tr)] < len(tr.samples) }) {
					break
				}
			}
			got := mustSplit(t, e, in)
			for _, r := range e.Renditions {
				g, w := media(got, r.Name), media(want, r.Name)
				if !slices.Equal(numbers(g), numbers(w)) {
					t.Fatalf("%s: fragments of up to %d samples: %s is %v, not %v", name, most, r.Name, numbers(g), numbers(w))
				}
				sameMedia(t, g, w)
			}
		}
	}
}

// eventOf is an event that a fixture fits.
func eventOf(name string) *live.Event {
	switch name {
	case "ladder.mp4", "later.mp4":
		return testEvent(fixtureStart, "v720", "v360", "a-en")
	case "ntsc.mp4":
		e := testEvent(fixtureStart, "v720", "a-en")
		e.Segment = live.Duration{Ticks: 2002, Timescale: 1000}
		return e
	}
	return testEvent(fixtureStart, "v720")
}

func TestSegmentsLeaveAsSoonAsTheyAreComplete(t *testing.T) {
	e := eventOf("ladder.mp4")
	// Give the splitter one fragment at a time, and see after which a segment leaves.
	s := testSplitter(e, nil)
	after := map[string][]int{}
	r := cmaf.NewReader(bytes.NewReader(fixture(t, "ladder.mp4")))
	fragments := map[uint32]int{}
	for {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if err := s.part(p); err != nil {
			t.Fatal(err)
		}
		if p.Fragment != nil {
			fragments[p.Fragment.Tracks[0].ID]++
			for _, seg := range s.ready {
				if !seg.init {
					after[seg.rendition] = append(after[seg.rendition], fragments[p.Fragment.Tracks[0].ID])
				}
			}
		}
		s.ready = nil
	}
	for name, got := range after {
		if !slices.Equal(got, []int{1, 2, 3}) {
			t.Errorf("%s: segments left after fragments %v of their track", name, got)
		}
	}
}

func TestNTSC(t *testing.T) {
	e := eventOf("ntsc.mp4")
	segs := mustSplit(t, e, fixture(t, "ntsc.mp4"))
	for _, name := range []string{"v720", "a-en"} {
		m := media(segs, name)
		if got := numbers(m); !slices.Equal(got, []live.Number{1, 2, 3, 4}) {
			t.Fatalf("%s: %v", name, got)
		}
		for _, s := range m[:3] {
			if !s.findings.Clean() {
				t.Errorf("%s/%d: %v", name, s.number, s.findings)
			}
		}
	}
	// 44.1 kHz: 2.002 s are 86.2 frames of 1,024 samples.
	if n := len(media(segs, "a-en")[0].samples); n != 87 {
		t.Errorf("a-en/1 has %d frames", n)
	}
}

func TestReorderedFrames(t *testing.T) {
	e := eventOf("reordered.mp4")
	m := media(mustSplit(t, e, fixture(t, "reordered.mp4")), "v720")
	if got := numbers(m); !slices.Equal(got, []live.Number{1, 2, 3}) {
		t.Fatalf("segments %v", got)
	}
	for _, s := range m[:2] {
		if !s.findings.Clean() || !s.samples[0].Sync || len(s.samples) != 50 {
			t.Errorf("segment %d: %v, %d frames, key frame first: %v", s.number, s.findings, len(s.samples), s.samples[0].Sync)
		}
		if s.samples[0].Decode >= fixtureStart.Unix()*int64(s.track.Timescale)+int64(s.number-1)*2*int64(s.track.Timescale) {
			t.Errorf("segment %d: the fixture's key frames should decode before their boundary", s.number)
		}
	}
}

// A stream whose decode times begin at 0 is placed by prft, and cut as if they
// were absolute.
func TestPRFT(t *testing.T) {
	e := eventOf("prft.mp4")
	m := media(mustSplit(t, e, fixture(t, "prft.mp4")), "v720")
	if got := numbers(m); !slices.Equal(got, []live.Number{1, 2, 3}) {
		t.Fatalf("segments %v", got)
	}
	for _, s := range m[:2] {
		want := (fixtureStart.Unix() + 2*int64(s.number-1)) * int64(s.track.Timescale)
		if !s.findings.Clean() || s.samples[0].Decode != want {
			t.Errorf("segment %d: %v, decode time %d, want %d", s.number, s.findings, s.samples[0].Decode, want)
		}
	}
}

// Stamps that are a little off, each its own way, snap to the same frame grid.
func TestPRFTSnapsToTheFrameGrid(t *testing.T) {
	e := eventOf("prft.mp4")
	want := media(mustSplit(t, e, fixture(t, "prft.mp4")), "v720")
	for _, off := range []time.Duration{-16 * time.Millisecond, -3 * time.Millisecond, 7 * time.Microsecond, 16 * time.Millisecond} {
		s := testSplitter(e, nil)
		r := cmaf.NewReader(bytes.NewReader(fixture(t, "prft.mp4")))
		for p, err := r.Next(); err == nil; p, err = r.Next() {
			for i := range p.Producer {
				p.Producer[i].Time = p.Producer[i].Time.Add(off)
			}
			if err := s.part(p); err != nil {
				t.Fatal(err)
			}
		}
		s.flush()
		s.err = io.EOF
		got, _ := drainSplitter(s, e)
		if len(media(got, "v720")) != len(want) {
			t.Errorf("off by %v: segments %v", off, numbers(media(got, "v720")))
		}
		sameMedia(t, media(got, "v720"), want)
	}
}

func TestPRFTAfterTheEventsStart(t *testing.T) {
	// media_time "start": decode time 0 would be right for an encoder that began
	// with the event, but prft says that this one began ten seconds later.
	e := eventOf("prft.mp4")
	e.Start = fixtureStart.Add(-10 * time.Second)
	e.MediaTime = live.MediaStart
	m := media(mustSplit(t, e, fixture(t, "prft.mp4")), "v720")
	if got := numbers(m); !slices.Equal(got, []live.Number{6, 7, 8}) {
		t.Fatalf("segments %v", got)
	}
	if s := m[0]; s.samples[0].Decode != 10*int64(s.track.Timescale) || !s.findings.Clean() {
		t.Errorf("decode time %d, %v", s.samples[0].Decode, s.findings)
	}
}

func TestMediaTimeStart(t *testing.T) {
	e := eventOf("zero.mp4")
	e.MediaTime = live.MediaStart
	m := media(mustSplit(t, e, fixture(t, "zero.mp4")), "v720")
	if got := numbers(m); !slices.Equal(got, []live.Number{1, 2}) || m[0].samples[0].Decode != 0 || !m[0].findings.Clean() {
		t.Errorf("segments %v", got)
	}
}

func TestNoClock(t *testing.T) {
	_, err := split(t, eventOf("zero.mp4"), fixture(t, "zero.mp4"))
	if !errors.Is(err, ErrClock) || !strings.Contains(err.Error(), "-write_prft") {
		t.Errorf("decode times from 0 without prft: %v", err)
	}
}

// An encoder that was started again, in the same stream, goes on at the right
// numbers. Its init segment comes again: the sender knows whether it must go.
func TestRestartedEncoder(t *testing.T) {
	e := eventOf("ladder.mp4")
	segs := mustSplit(t, e, append(fixture(t, "ladder.mp4"), fixture(t, "later.mp4")...))
	if got := inits(segs); !slices.Equal(got, []string{"v720", "v360", "a-en", "v720", "v360", "a-en"}) {
		t.Errorf("init segments of %v", got)
	}
	for _, name := range []string{"v720", "v360", "a-en"} {
		m := media(segs, name)
		if got := numbers(m); !slices.Equal(got, []live.Number{1, 2, 3, 4, 5, 6, 7}) {
			t.Errorf("%s: segments %v", name, got)
			continue
		}
		// Four was cut off at seven seconds, and nothing is invented for the rest.
		for _, s := range m[:6] {
			if clean := s.number != 4; s.findings.Clean() != clean {
				t.Errorf("%s/%d: %v", name, s.number, s.findings)
			}
		}
	}
}

// An encoder that is back in the middle of a segment, or a frame of sound before
// it, gives no fragment of one: its first whole segment is the next.
func TestRestartedEncoderDropsItsPartialSegment(t *testing.T) {
	e := eventOf("ladder.mp4")
	init, tracks := readStream(t, fixture(t, "later.mp4"))
	in := append(slices.Clone(fixture(t, "ladder.mp4")), init...)
	for _, tr := range tracks {
		in = chunk(in, tr, tr.samples[10:])
	}
	segs := mustSplit(t, e, in)
	for _, r := range e.Renditions {
		if got := numbers(media(segs, r.Name)); !slices.Equal(got, []live.Number{1, 2, 3, 4, 6, 7}) {
			t.Errorf("%s: %v", r.Name, got)
		}
	}
}

func TestRestartedEncoderWithAnotherLadder(t *testing.T) {
	e := eventOf("ladder.mp4")
	segs, err := split(t, e, append(fixture(t, "ladder.mp4"), fixture(t, "ntsc.mp4")...))
	if !errors.Is(err, ErrTracks) {
		t.Errorf("error %v", err)
	}
	if got := numbers(media(segs, "v720")); !slices.Equal(got, []live.Number{1, 2, 3, 4}) {
		t.Errorf("what was gathered before: %v", got)
	}
	// With another init segment, but the same tracks.
	e = testEvent(fixtureStart, "v720", "a-en")
	e.Segment = live.Duration{Ticks: 2002, Timescale: 1000}
	other := bytes.Replace(fixture(t, "ntsc.mp4"), []byte("\x00\x30\x00\x20"), []byte("\x00\x31\x00\x20"), -1)
	segs = mustSplit(t, e, append(fixture(t, "ntsc.mp4"), other...))
	if got := inits(segs); !slices.Equal(got, []string{"v720", "a-en", "v720", "a-en"}) {
		t.Errorf("init segments of %v", got)
	}
}

func TestExplicitTracks(t *testing.T) {
	e := testEvent(fixtureStart, "v360", "v720")
	s := testSplitter(e, bytes.NewReader(fixture(t, "ladder.mp4")))
	s.explicit = map[uint32]string{2: "v720"}
	segs, err := drainSplitter(s, e)
	if err != nil {
		t.Fatal(err)
	}
	if got := inits(segs); !slices.Equal(got, []string{"v720"}) || segs[0].track.Width != 32 {
		t.Errorf("init segments of %v, %d wide", got, segs[0].track.Width)
	}
}

func TestTracksThatDoNotFit(t *testing.T) {
	for _, c := range []struct {
		name     string
		event    *live.Event
		explicit map[uint32]string
		want     string
	}{
		{"fewer renditions", testEvent(fixtureStart, "v720", "a-en"), nil, "2 video tracks (1: avc1"},
		{"more renditions", testEvent(fixtureStart, "v720", "v360", "v180", "a-en"), nil, "3 video renditions (v720, v360, v180)"},
		{"no such track", testEvent(fixtureStart, "v720"), map[uint32]string{7: "v720"}, "no track 7"},
		{"no such rendition", testEvent(fixtureStart, "v720"), map[uint32]string{1: "v1080"}, `no rendition "v1080"`},
		{"wrong type", testEvent(fixtureStart, "v720", "a-en"), map[uint32]string{1: "a-en"}, "track 1 is video, rendition a-en is audio"},
		{"twice", testEvent(fixtureStart, "v720"), map[uint32]string{1: "v720", 2: "v720"}, "both mapped"},
	} {
		s := testSplitter(c.event, bytes.NewReader(fixture(t, "ladder.mp4")))
		s.explicit = c.explicit
		_, err := drainSplitter(s, c.event)
		if !errors.Is(err, ErrTracks) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestSizesDecideTheOrder(t *testing.T) {
	e := testEvent(fixtureStart, "v360", "v720", "a-en")
	e.Renditions[0].Width, e.Renditions[0].Height = 640, 360 // though its bandwidth is higher
	e.Renditions[1].Width, e.Renditions[1].Height = 1280, 720
	segs := mustSplit(t, e, fixture(t, "ladder.mp4"))
	if s := media(segs, "v720")[0]; s.track.Width != 48 {
		t.Errorf("v720 is the track %d wide", s.track.Width)
	}
}

func TestEventBounds(t *testing.T) {
	e := eventOf("ladder.mp4")
	e.Start = fixtureStart.Add(2 * time.Second)
	e.End = fixtureStart.Add(6 * time.Second)
	e.FirstNumber = 100
	s := testSplitter(e, bytes.NewReader(append(fixture(t, "ladder.mp4"), fixture(t, "later.mp4")...)))
	segs, err := drainSplitter(s, e)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"v720", "a-en"} {
		if got := numbers(media(segs, name)); !slices.Equal(got, []live.Number{100, 101}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	// It stopped there, and did not read what comes after.
	if p, err := s.r.Next(); err != nil {
		t.Errorf("the rest of the input: %v, %v", p, err)
	}
}

func TestGarbage(t *testing.T) {
	e := eventOf("ladder.mp4")
	good := fixture(t, "ladder.mp4")
	garbage := make([]byte, 4096)
	for i := range garbage {
		garbage[i] = byte(i * 7)
	}
	for _, c := range []struct {
		name  string
		input []byte
		want  error
		some  bool
	}{
		{"nothing", nil, nil, false},
		{"garbage", garbage, cmaf.ErrNotCMAF, false},
		{"text", []byte("#EXTM3U\n#EXT-X-VERSION:7\n"), cmaf.ErrNotCMAF, false},
		{"truncated init", good[:300], cmaf.ErrMalformed, false},
		{"truncated media", good[:len(good)-100], cmaf.ErrMalformed, true},
		{"garbage after media", append(slices.Clone(good), garbage...), cmaf.ErrMalformed, true},
	} {
		segs, err := split(t, e, c.input)
		if !errors.Is(err, c.want) || c.want != nil && !errors.Is(err, ErrInput) {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := len(media(segs, "v720")) > 0; got != c.some {
			t.Errorf("%s: segments %v", c.name, numbers(media(segs, "v720")))
		}
	}
}

func FuzzSplitter(f *testing.F) {
	for _, name := range []string{"ladder.mp4", "prft.mp4", "ntsc.mp4", "reordered.mp4", "zero.mp4"} {
		f.Add(fixture(f, name), false)
		f.Add(fixture(f, name)[:3000], true)
	}
	f.Fuzz(func(t *testing.T, b []byte, start bool) {
		e := testEvent(fixtureStart, "v720")
		if start {
			e.MediaTime = live.MediaStart
		}
		s := testSplitter(e, bytes.NewReader(b))
		s.explicit = map[uint32]string{1: "v720"}
		tl := e.Timeline()
		var out int
		for {
			seg, err := s.Next()
			if err != nil {
				break
			}
			if seg.init {
				continue
			}
			if out += len(seg.data); out > 64*len(b)+1<<20 {
				t.Fatalf("%d bytes made of %d", out, len(b))
			}
			if !tl.Holds(seg.number) {
				t.Fatalf("number %d", seg.number)
			}
			if seg.inspect(&tl); seg.findings.Has(live.Unparsable) {
				t.Fatalf("the packager made bytes that cannot be parsed")
			}
		}
	})
}
