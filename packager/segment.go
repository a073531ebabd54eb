package packager

import (
	"fmt"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// A segment is one init or media segment on its way from source to sender. Its
// bytes never change once it is made.
type segment struct {
	rendition string
	init      bool
	number    live.Number // media only
	data      []byte
	digest    live.Digest
	findings  live.Findings // found by inspection
	defects   live.Findings // of those, what Live-Defects says

	before live.Span // where the segment sent before it lies, if that is its neighbour
	span   live.Span // where this one lies, by inspection

	track    *cmaf.Track // what the rendition's init segment says, after rewriting
	samples  []sample    // media: what data was made of, until faults were injected
	complete time.Time   // when its last byte left the source
	late     bool        // it missed its deadline, and that has been said
	of       *initState  // of the sender: the init segment that it was made for, or is
}

func (s *segment) path(id live.EventID, pipeline string) live.PublishPath {
	p := live.PublishPath{Event: id, Pipeline: pipeline, Rendition: s.rendition, File: live.FileSegment, Number: s.number}
	if s.init {
		p.File = live.FileInit
	}
	return p
}

// name is what logs call it.
func (s *segment) name() string {
	if s.init {
		return live.InitName
	}
	return live.SegmentName(s.number)
}

// contentType is the media type of RFC 4337 and RFC 6381.
func (s *segment) contentType() string {
	switch s.track.Type {
	case live.Audio:
		return "audio/mp4"
	case live.Text:
		return "application/mp4"
	}
	return "video/mp4"
}

func initSegment(rendition string, data []byte, track *cmaf.Track) *segment {
	return &segment{rendition: rendition, init: true, data: data, digest: live.DigestOf(data), track: track, complete: time.Now()}
}

// newSegment builds a media segment. It copies the samples' bytes.
func newSegment(rendition string, track *cmaf.Track, n live.Number, samples []sample) (*segment, error) {
	size := 1024
	table := make([]cmaf.Sample, len(samples))
	for i := range samples {
		table[i] = samples[i].Sample
		size += len(samples[i].data) + 16 + len(samples[i].Aux) + 8
	}
	dst, seq := appendEvents(cmaf.AppendStyp(make([]byte, 0, size)), track, samples), uint32(n)
	for from := 0; from < len(samples); {
		to := from + 1
		for to < len(samples) && samples[to].whole == samples[from].whole {
			to++
		}
		if w := samples[from].whole; w != nil {
			var err error
			if dst, err = cmaf.AppendFragment(dst, seq, track, w.part, w.track); err != nil {
				return nil, fmt.Errorf("%w: %w", ErrInput, err)
			}
		} else {
			dst = cmaf.AppendChunk(dst, seq, track, table[from:to], func(i int) []byte { return samples[from+i].data })
		}
		from = to
	}
	return &segment{rendition: rendition, number: n, data: dst, track: track, samples: samples, complete: time.Now()}, nil
}

// inspect says what is wrong with a media segment, and digests it.
func (s *segment) inspect(tl *live.Timeline) {
	start, end := tl.Media(s.number, int64(s.track.Timescale))
	report, _ := cmaf.Inspect(s.data, s.track, cmaf.Window{Start: start, End: end, SegmentMS: tl.Segment().Milliseconds(), Previous: s.before})
	// An error says in words what the finding "unparsable" in report says.
	s.findings, s.defects, s.span = report.Findings, report.Findings, report.Span
	s.digest = live.DigestOf(s.data)
}
