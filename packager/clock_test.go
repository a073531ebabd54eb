package packager

import (
	"bytes"
	"io"
	"slices"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

func TestJudgeStamp(t *testing.T) {
	const half = 1000
	for _, c := range []struct {
		name                          string
		jumped                        bool
		offset, before, mapping, said int64
		want                          stamps
	}{
		{"agrees", false, 500, 500, 500, 0, stampsAgree},
		{"slewed by half a segment", false, 1500, 1490, 500, 0, stampsAgree},
		{"by a tick more", false, 1501, 1490, 500, 0, stampsStepped},
		{"back", false, -501, 500, 500, 0, stampsStepped},
		{"said before", false, 1800, 1800, 500, 1300, stampsAgree},
		{"and further", false, 2801, 1800, 500, 1300, stampsStepped},
		{"and back", false, 600, 1800, 500, 1300, stampsReturned},
		{"and back a little", false, 1400, 1800, 500, 1300, stampsAgree},
		{"decode times jumped, and stamps as far", true, 1500, 500, 500, 0, stampsAgree},
		{"decode times jumped, and stamps did not", true, 1501, 500, 500, 0, stampsMoved},
		{"the other way", true, -501, 500, 500, 0, stampsMoved},
		{"a jump long after a step", true, 1800, 1800, 500, 1300, stampsAgree},
	} {
		if got := judgeStamp(c.jumped, c.offset, c.before, c.mapping, c.said, half); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// feed gives a fixture to a splitter, each fragment as edit leaves it; n counts
// fragments. It returns all segments, inspected.
func feed(t *testing.T, s *splitter, e *live.Event, fixtureName string, edit func(n int, p *cmaf.Part)) []*segment {
	t.Helper()
	r := cmaf.NewReader(bytes.NewReader(fixture(t, fixtureName)))
	for n := 0; ; {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Fragment != nil {
			edit(n, p)
			n++
		}
		if err := s.part(p); err != nil {
			t.Fatal(err)
		}
	}
	s.flush()
	s.err = io.EOF
	out, err := drainSplitter(s, e)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// While decode times go on, no step of the encoder's clock moves a segment.
func TestSteppedClockMovesNothing(t *testing.T) {
	e := eventOf("prft.mp4")
	want := media(mustSplit(t, e, fixture(t, "prft.mp4")), "v720")
	for _, step := range []time.Duration{-time.Hour, -1300 * time.Millisecond, 900 * time.Millisecond, 1300 * time.Millisecond, 48 * time.Hour} {
		s := testSplitter(e, nil)
		got := media(feed(t, s, e, "prft.mp4", func(n int, p *cmaf.Part) {
			for i := range p.Producer {
				if n >= 1 {
					p.Producer[i].Time = p.Producer[i].Time.Add(step)
				}
			}
		}), "v720")
		if !slices.Equal(numbers(got), numbers(want)) {
			t.Errorf("a step of %v: segments %v, want %v", step, numbers(got), numbers(want))
		}
		sameMedia(t, got, want)
		said := int64(0)
		if step.Abs() > time.Second { // half a segment
			said = 1
		}
		if c := s.count.snapshot(); c.ClockSteps != said || c.ClockMoves != 0 {
			t.Errorf("a step of %v: %d steps, %d moves", step, c.ClockSteps, c.ClockMoves)
		}
	}
}

// Decode times that begin anew in mid-stream are placed anew, by a stamp that
// may come with a later fragment; media that was lost moves nothing, even when
// the encoder's clock has stepped since.
func TestDecodeTimesThatBeginAnew(t *testing.T) {
	for _, c := range []struct {
		name         string
		decode, wall time.Duration // added from the third fragment on
		step         time.Duration // added to all stamps from the second on
		without      int           // fragment that has no stamp, and the first that is moved; 0: the third is
		moves        int64
		want         []live.Number
	}{
		{"back to 0", -4 * time.Second, 0, 0, 0, 1, []live.Number{1, 2, 3}},
		{"back to 0, ten seconds later", -4 * time.Second, 10 * time.Second, 0, 0, 1, []live.Number{1, 2, 8}},
		{"ahead by a day", 24 * time.Hour, 0, 0, 0, 1, []live.Number{1, 2, 3}},
		// What comes before the stamp cannot be placed.
		{"back to 0, and the stamp comes later", -2 * time.Second, 0, 0, 1, 1, []live.Number{1, 1, 3}},
		{"ten seconds were lost", 10 * time.Second, 10 * time.Second, 0, 0, 0, []live.Number{1, 2, 8}},
		{"and the clock had stepped", 10 * time.Second, 10 * time.Second, 1300 * time.Millisecond, 0, 0, []live.Number{1, 2, 8}},
	} {
		e := eventOf("prft.mp4")
		s := testSplitter(e, nil)
		got := media(feed(t, s, e, "prft.mp4", func(n int, p *cmaf.Part) {
			tr := &p.Fragment.Tracks[0]
			from := 2
			if c.without > 0 {
				from = c.without
				if n == from {
					p.Producer = nil
				}
			}
			if n >= from {
				for i := range tr.Samples {
					tr.Samples[i].Decode += int64(c.decode) * int64(tr.Track.Timescale) / int64(time.Second)
				}
			}
			for i := range p.Producer {
				if n >= 1 {
					p.Producer[i].Time = p.Producer[i].Time.Add(c.step)
				}
				if n >= from {
					p.Producer[i].Time = p.Producer[i].Time.Add(c.wall)
				}
			}
		}), "v720")
		if n := numbers(got); !slices.Equal(n, c.want) {
			t.Errorf("%s: segments %v, want %v", c.name, n, c.want)
		}
		if m := s.count.snapshot().ClockMoves; m != c.moves {
			t.Errorf("%s: moved %d times", c.name, m)
		}
		for _, x := range got[:2] {
			if !x.findings.Clean() {
				t.Errorf("%s: segment %d: %v", c.name, x.number, x.findings)
			}
		}
	}
}

// A hole that the stamps explained does not make a later step of the clock count.
func TestHoleAndThenAStep(t *testing.T) {
	e := eventOf("prft.mp4")
	s := testSplitter(e, nil)
	got := media(feed(t, s, e, "prft.mp4", func(n int, p *cmaf.Part) {
		tr := &p.Fragment.Tracks[0]
		hole, step := 10*time.Second, time.Duration(0)
		if n < 1 {
			hole = 0
		}
		if n > 1 {
			step = 1300 * time.Millisecond
		}
		for i := range tr.Samples {
			tr.Samples[i].Decode += int64(hole/time.Second) * int64(tr.Track.Timescale)
		}
		for i := range p.Producer {
			p.Producer[i].Time = p.Producer[i].Time.Add(hole + step)
		}
	}), "v720")
	if c := s.count.snapshot(); !slices.Equal(numbers(got), []live.Number{1, 7, 8}) || c.ClockMoves != 0 || c.ClockSteps != 1 {
		t.Errorf("segments %v, %d moves, %d steps", numbers(got), c.ClockMoves, c.ClockSteps)
	}
}

// wrapping makes decode times as a muxer with 32 bits writes them, by apart from
// what they were.
func wrapping(by int64) func(n int, p *cmaf.Part) {
	return func(_ int, p *cmaf.Part) {
		for i := range p.Fragment.Tracks {
			tr := &p.Fragment.Tracks[i]
			for j := range tr.Samples {
				// Only the first of a fragment is written.
				at := uint32(tr.Samples[0].Decode + by)
				if j > 0 {
					tr.Samples[j].Decode = tr.Samples[j-1].Decode + int64(tr.Samples[j-1].Duration)
				} else {
					tr.Samples[j].Decode = int64(at)
				}
			}
		}
		for i := range p.Producer {
			p.Producer[i].Media = int64(uint32(p.Producer[i].Media + by))
		}
	}
}

// A decode time of 32 bits wraps in the middle of the event.
func TestDecodeTimesWrap(t *testing.T) {
	e := eventOf("prft.mp4")
	want := media(mustSplit(t, e, fixture(t, "prft.mp4")), "v720")
	s := testSplitter(e, nil)
	scale := int64(want[0].track.Timescale)
	got := media(feed(t, s, e, "prft.mp4", wrapping(1<<32-3*scale)), "v720")
	sameMedia(t, got, want)
	if !slices.Equal(numbers(got), numbers(want)) || s.count.snapshot().ClockMoves != 0 {
		t.Errorf("segments %v, moved %d times", numbers(got), s.count.snapshot().ClockMoves)
	}

	// Where the event counts from its start, 2^32 ticks are its 77th hour or so.
	e = eventOf("zero.mp4")
	e.MediaTime = live.MediaStart
	e.DVRSeconds = 31622400
	clean := media(mustSplit(t, e, fixture(t, "zero.mp4")), "v720")
	s = testSplitter(e, nil)
	from := (1<<32 - scale) / (2 * scale) * (2 * scale) // the last boundary before
	got = media(feed(t, s, e, "zero.mp4", wrapping(from)), "v720")
	first := live.Number(1 + from/(2*scale))
	if !slices.Equal(numbers(got), []live.Number{first, first + 1}) || !got[0].findings.Clean() || got[1].findings.String() != clean[1].findings.String() {
		t.Errorf("segments %v from %d on: %v", numbers(got), first, got[0].findings)
	}
}

// A muxer that writes each frame as it comes, without a duration.
func TestFramesWithoutDurations(t *testing.T) {
	for _, name := range []string{"ladder.mp4", "ntsc.mp4", "reordered.mp4"} {
		e := eventOf(name)
		want := mustSplit(t, e, fixture(t, name))
		init, tracks := readStream(t, fixture(t, name))
		in := slices.Clone(init)
		most := 0
		for _, tr := range tracks {
			most = max(most, len(tr.samples))
		}
		for i := range most {
			for _, tr := range tracks {
				// In the order of time, about: as many of each track for its length.
				for j := i * len(tr.samples) / most; j < (i+1)*len(tr.samples)/most; j++ {
					bare := tr.samples[j]
					bare.Duration = 0
					in = chunk(in, tr, []sample{bare})
				}
			}
		}
		got := mustSplit(t, e, in)
		for _, r := range e.Renditions {
			g, w := media(got, r.Name), media(want, r.Name)
			if !slices.Equal(numbers(g), numbers(w)) {
				t.Fatalf("%s: %s is %v, not %v", name, r.Name, numbers(g), numbers(w))
			}
			// What the last frame of all lasts nobody knows.
			sameMedia(t, g[:len(g)-1], w)
		}
	}
}

// Stamps place the first frame on the grid of frames although its duration is
// only known when the second is there.
func TestPRFTWithoutDurations(t *testing.T) {
	e := eventOf("prft.mp4")
	want := media(mustSplit(t, e, fixture(t, "prft.mp4")), "v720")
	_, tracks := readStream(t, fixture(t, "prft.mp4"))
	tr := tracks[0]
	for _, off := range []time.Duration{-10 * time.Millisecond, 0, 10 * time.Millisecond} {
		s := testSplitter(e, nil)
		if err := s.part(initPart(t, "prft.mp4")); err != nil {
			t.Fatal(err)
		}
		for i, x := range tr.samples {
			x.Duration, x.Offset = 0, 0
			p := &cmaf.Part{Raw: x.data, Fragment: &cmaf.Fragment{Tracks: []cmaf.TrackFragment{{ID: tr.track.ID, Track: &tr.track, Samples: []cmaf.Sample{x.Sample}}}}}
			if i == 0 {
				p.Producer = []cmaf.ProducerTime{{TrackID: tr.track.ID, Time: fixtureStart.Add(off), Media: x.Decode}}
			}
			if err := s.part(p); err != nil {
				t.Fatal(err)
			}
		}
		s.flush()
		s.err = io.EOF
		got, _ := drainSplitter(s, e)
		if !slices.Equal(numbers(media(got, "v720")), numbers(want)) {
			t.Errorf("off by %v: %v", off, numbers(media(got, "v720")))
		}
		sameMedia(t, media(got, "v720"), want)
	}
}

func initPart(t *testing.T, name string) *cmaf.Part {
	t.Helper()
	p, err := cmaf.NewReader(bytes.NewReader(fixture(t, name))).Next()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
