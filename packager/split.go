package packager

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// ErrInput is wrapped by every error that the input's bytes caused, beside
// those of package cmaf.
var ErrInput = errors.New("packager: input")

// maxGathered bounds what all tracks together gather for segments that are not
// complete: an input whose decode times stand still must not fill memory.
const maxGathered = 256 << 20

// A splitter makes segments of a fragmented MP4 stream of one or many tracks.
// It is not safe for concurrent use.
type splitter struct {
	r        *cmaf.Reader
	input    *streams
	event    *live.Event
	timeline func() live.Timeline
	stays    bool
	explicit map[uint32]string
	apart    bool
	clock    mediaClock
	count    *counters
	log      *slog.Logger

	lanes   map[uint32]*lane       // by track ID of the input
	cutters map[uint32]*cutter     // by track ID of the input
	inits   map[string]initVersion // newest, by rendition
	ready   []*segment
	told    []cmaf.Event // of event message tracks, not given to a cutter yet
	err     error
}

type initVersion struct {
	data  string
	track *cmaf.Track
}

type splitterConfig struct {
	input    io.Reader
	event    *live.Event
	timeline func() live.Timeline
	stays    bool              // beyond the event's end
	explicit map[uint32]string // rendition by track ID; empty: match by type
	apart    bool              // the input has some of the tracks, others come elsewhere
	mode     ClockMode
	count    *counters
	log      *slog.Logger
}

func newSplitter(cfg splitterConfig) *splitter {
	input := &streams{r: cfg.input}
	return &splitter{
		r: cmaf.NewReader(input), input: input, event: cfg.event, timeline: cfg.timeline, stays: cfg.stays, explicit: cfg.explicit, apart: cfg.apart,
		clock: mediaClock{mode: cfg.mode, event: cfg.event}, count: cfg.count, log: cfg.log,
		lanes: map[uint32]*lane{}, cutters: map[uint32]*cutter{}, inits: map[string]initVersion{},
	}
}

// Next returns the next init or media segment: an init segment before the
// media that needs it. It blocks in Read of the input. After the input's end,
// or the event's unless it stays, it returns what was left, inspected or not, and then io.EOF;
// after an error likewise that error.
func (s *splitter) Next() (*segment, error) {
	for len(s.ready) == 0 {
		if s.err != nil {
			return nil, s.err
		}
		part, err := s.r.Next()
		if err == nil {
			err = s.part(part)
		} else if s.input.next() {
			// A new encoder writes into the pipe. What the old one left unfinished,
			// if anything, is lost.
			s.log.Warn("the encoder ended and another began", "left", err)
			s.r = cmaf.NewReader(s.input)
			continue
		} else if err != io.EOF {
			err = fmt.Errorf("%w: %w", ErrInput, err)
		}
		if err != nil {
			s.flush()
			s.err = err
		} else if s.err == nil && s.finished() {
			s.err = io.EOF
		}
	}
	seg := s.ready[0]
	s.ready[0] = nil
	s.ready = s.ready[1:]
	return seg, nil
}

func (s *splitter) part(p *cmaf.Part) error {
	if p.Init != nil {
		return s.begin(p)
	}
	var pieces []piece
	for i := range p.Fragment.Tracks {
		if t := &p.Fragment.Tracks[i]; t.Track != nil && t.Track.EventMessages {
			s.told = merge(s.told, cmaf.EventsOf(p, t))
		} else if t.Track != nil && s.lanes[t.ID] != nil && len(t.Samples) > 0 {
			pieces = append(pieces, s.lanes[t.ID].take(newPiece(p, t))...)
		}
	}
	if err := s.cut(pieces); err != nil {
		return err
	}
	var total int64
	for _, c := range s.cutters {
		total += c.bytes
	}
	most := int64(maxGathered)
	if s.apart {
		most /= int64(len(s.event.Renditions))
	}
	if total > most {
		return fmt.Errorf("%w: %d bytes without a segment boundary", ErrInput, total)
	}
	return nil
}

// cut places pieces in time and gives them to their cutters.
func (s *splitter) cut(pieces []piece) error {
	if !s.clock.known {
		// The mapping is made by the best of them: stamped video, as its frames are longest.
		slices.SortStableFunc(pieces, func(a, b piece) int { return cmp.Compare(b.rank(), a.rank()) })
	}
	for _, p := range pieces {
		said, err := s.clock.observe(p)
		if err != nil {
			return err
		}
		switch said {
		case stampsMoved:
			s.count.with(func(c *Stats) { c.ClockMoves++ })
			s.log.Warn("decode times began anew, and are placed by prft again", "track", p.track.ID, "offset_ticks", s.clock.offset, "timescale", s.clock.scale)
		case stampsStepped:
			s.count.with(func(c *Stats) { c.ClockSteps++ })
			s.log.Warn("the encoder's clock stepped while its decode times went on: nothing is moved", "track", p.track.ID, "off", s.clock.off())
		}
		s.tell(p)
		c := s.cutters[p.track.ID]
		if c == nil {
			continue
		}
		samples, err := s.samples(p.part, p.track)
		if err != nil {
			return err
		}
		if p.track.Whole {
			c.addWhole(samples)
		} else {
			c.add(samples)
		}
	}
	return nil
}

// samples moves a fragment's samples to the event's media time.
func (s *splitter) samples(p *cmaf.Part, t *cmaf.TrackFragment) ([]sample, error) {
	shift := s.clock.shift(t.Track.Timescale)
	if at := t.Samples[0].Decode + shift; at < 0 || at > 1<<61 {
		return nil, fmt.Errorf("%w: decode time %d of track %d is out of range", ErrInput, at, t.ID)
	}
	var whole *wholeFragment
	if t.Whole {
		if shift != 0 {
			return nil, fmt.Errorf("%w: track %d is encrypted with keys that change, for which decode times must be absolute", ErrInput, t.ID)
		}
		whole = &wholeFragment{p, t}
	}
	out := make([]sample, len(t.Samples))
	for i, x := range t.Samples {
		data := p.Data(x)
		if data == nil && x.Size > 0 {
			return nil, fmt.Errorf("%w: sample %d of track %d lies outside of its fragment", ErrInput, i, t.ID)
		}
		x.Decode += shift
		out[i] = sample{Sample: x, data: data, whole: whole}
	}
	return out, nil
}

// begin takes an init segment: the first, or that of an encoder which began
// anew. Renditions whose init segment is the same go on where they were.
func (s *splitter) begin(p *cmaf.Part) error {
	match, err := matchTracks(p.Init, s.event.Renditions, s.explicit)
	if err != nil {
		return err
	}
	if len(s.inits) > 0 {
		s.log.Info("the encoder began anew")
	}
	if err := s.cut(s.rest()); err != nil {
		return err
	}
	s.lanes = map[uint32]*lane{}
	for i := range p.Init.Tracks {
		s.lanes[p.Init.Tracks[i].ID] = &lane{}
	}
	s.clock.reset()
	before := map[string]*cutter{}
	for _, c := range s.cutters {
		before[c.rendition.Name] = c
	}
	cutters := map[uint32]*cutter{}
	for _, t := range p.Init.Tracks {
		r, ok := match[t.ID]
		if !ok {
			s.log.Info("track left out", "track", t.ID, "codecs", t.Codecs, "type", typeName(t.Type))
			continue
		}
		data, err := p.Init.Single(p.Raw, t.ID)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrInput, err)
		}
		if old, ok := s.inits[r.Name]; ok && old.data == string(data) && before[r.Name] != nil {
			cutters[t.ID] = before[r.Name]
			before[r.Name].anew = true
			delete(before, r.Name)
			// The sender knows whether it has to go again.
			s.ready = append(s.ready, initSegment(r.Name, data, old.track))
			continue
		}
		single, err := cmaf.ParseInit(data)
		if err != nil {
			return fmt.Errorf("%w: init segment of track %d: %w", ErrInput, t.ID, err)
		}
		if old := before[r.Name]; old != nil {
			old.flush()
			delete(before, r.Name)
		}
		track := &single.Tracks[0]
		s.inits[r.Name] = initVersion{string(data), track}
		s.ready = append(s.ready, initSegment(r.Name, data, track))
		s.log.Info("track matched", "track", t.ID, "rendition", r.Name, "codecs", t.Codecs, "timescale", t.Timescale)
		cutters[t.ID] = &cutter{
			rendition: r, track: track, timeline: s.timeline, emit: s.emit,
			dropped: func(reason string, n live.Number) { s.count.dropped(s.log, reason, r.Name, n) },
			misfit:  func(gop int64) { s.misfit(r.Name, gop, int64(track.Timescale)) },
		}
	}
	for _, c := range before {
		c.flush() // its track is no longer there
	}
	s.cutters = cutters
	for _, r := range s.event.Renditions {
		if !s.apart && !slices.ContainsFunc(slices.Collect(maps.Values(match)), func(m live.Rendition) bool { return m.Name == r.Name }) {
			s.log.Warn("the input has no track for a rendition", "rendition", r.Name, "type", string(r.Type))
		}
	}
	return nil
}

// misfit says once of an encoder that its key frames are not where segments begin: such
// segments have a defect, and no cut can mend that.
func (s *splitter) misfit(rendition string, gop, scale int64) {
	tl := s.timeline()
	seconds := func(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'g', 6, 64) + " s" }
	apart := time.Duration(float64(gop) / float64(scale) * float64(time.Second))
	advice := "set its key frames to each " + seconds(tl.Segment())
	if r := apart.Round(time.Millisecond); r > 0 && tl.Segment()%r == 0 {
		advice = "have it begin a multiple of that after the event's start, or say by its decode times when it is"
	} else {
		advice += ", or make an event with segments of " + seconds(apart)
	}
	s.log.Warn("segments begin without key frames (no-keyframe): the encoder has them elsewhere", "rendition", rendition,
		"key_frames_apart", seconds(apart), "segments", seconds(tl.Segment()), "advice", advice)
}

func (s *splitter) emit(c *cutter, n live.Number, samples []sample) {
	seg, err := newSegment(c.rendition.Name, c.track, n, samples)
	if err != nil {
		s.err = err // after what is ready
		return
	}
	s.ready = append(s.ready, seg)
}

// rest is what the lanes hold back, in the order of their tracks.
func (s *splitter) rest() []piece {
	var out []piece
	for _, id := range slices.Sorted(maps.Keys(s.lanes)) {
		out = append(out, s.lanes[id].flush()...)
	}
	return out
}

// flush completes all that has been gathered.
func (s *splitter) flush() {
	if err := s.cut(s.rest()); err != nil {
		s.log.Warn("the end of the input cannot be placed", "error", err)
	}
	for _, c := range s.cutters {
		c.flush()
	}
}

// finished reports whether every track is past the event's end, and that is all.
func (s *splitter) finished() bool {
	if s.stays {
		return false
	}
	for _, c := range s.cutters {
		if !c.past() {
			return false
		}
	}
	return len(s.cutters) > 0
}
