package packager

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// fixtureStart is where the fixtures' decode times begin.
var fixtureStart = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// testEvent has the renditions that are asked for: v720, v360, a-en.
func testEvent(start time.Time, renditions ...string) *live.Event {
	e := live.Default()
	e.Start = start
	e.Pipelines = []live.Pipeline{{Name: "a"}, {Name: "b"}}
	for i, name := range renditions {
		typ := live.Video
		if name[0] == 'a' {
			typ = live.Audio
		}
		e.Renditions = append(e.Renditions, live.Rendition{Name: name, Type: typ, Bandwidth: 1_000_000 - int64(i)})
	}
	if err := e.Validate(); err != nil {
		panic(err)
	}
	return &e
}

func testSplitter(e *live.Event, r io.Reader) *splitter {
	return newSplitter(splitterConfig{
		input: r, event: e, timeline: e.Timeline, mode: ClockAuto, count: newCounters(), log: quiet(),
	})
}

// split reads all segments, inspected. err is nil at the end of the input.
func split(t testing.TB, e *live.Event, input []byte) ([]*segment, error) {
	t.Helper()
	return drainSplitter(testSplitter(e, bytes.NewReader(input)), e)
}

func drainSplitter(s *splitter, e *live.Event) ([]*segment, error) {
	var out []*segment
	tl := e.Timeline()
	for {
		seg, err := s.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		if !seg.init {
			seg.inspect(&tl)
		}
		out = append(out, seg)
	}
}

func mustSplit(t testing.TB, e *live.Event, input []byte) []*segment {
	t.Helper()
	out, err := split(t, e, input)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// media are the media segments of a rendition.
func media(segs []*segment, rendition string) []*segment {
	var out []*segment
	for _, s := range segs {
		if s.rendition == rendition && !s.init {
			out = append(out, s)
		}
	}
	return out
}

func numbers(segs []*segment) []live.Number {
	var out []live.Number
	for _, s := range segs {
		out = append(out, s.number)
	}
	return out
}

func inits(segs []*segment) []string {
	var out []string
	for _, s := range segs {
		if s.init {
			out = append(out, s.rendition)
		}
	}
	return out
}

// sameMedia compares segments by number: those of got must be among want, with
// the same bytes.
func sameMedia(t *testing.T, got, want []*segment) {
	t.Helper()
	byNumber := map[live.Number][]byte{}
	for _, s := range want {
		byNumber[s.number] = s.data
	}
	for _, s := range got {
		if w, ok := byNumber[s.number]; !ok {
			t.Errorf("%s/%d: not among the others", s.rendition, s.number)
		} else if !bytes.Equal(s.data, w) {
			t.Errorf("%s/%d: %d bytes differ from %d", s.rendition, s.number, len(s.data), len(w))
		}
	}
}

// A trackStream is a track of a stream with its samples, to be written again
// in other fragments.
type trackStream struct {
	track   cmaf.Track
	samples []sample
}

// readStream takes a one-encoder stream apart.
func readStream(t testing.TB, b []byte) (init []byte, tracks []*trackStream) {
	t.Helper()
	byID := map[uint32]*trackStream{}
	for r := cmaf.NewReader(bytes.NewReader(b)); ; {
		p, err := r.Next()
		if errors.Is(err, io.EOF) {
			return init, tracks
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Init != nil {
			init = p.Raw
			for _, tr := range p.Init.Tracks {
				byID[tr.ID] = &trackStream{track: tr}
				tracks = append(tracks, byID[tr.ID])
			}
			continue
		}
		for _, f := range p.Fragment.Tracks {
			for _, s := range f.Samples {
				byID[f.ID].samples = append(byID[f.ID].samples, sample{Sample: s, data: p.Data(s)})
			}
		}
	}
}

// chunk appends a fragment of some samples.
func chunk(dst []byte, tr *trackStream, samples []sample) []byte {
	table := make([]cmaf.Sample, len(samples))
	for i := range samples {
		table[i] = samples[i].Sample
	}
	return cmaf.AppendChunk(dst, 1, &tr.track, table, func(i int) []byte { return samples[i].data })
}
