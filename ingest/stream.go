package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/packager"
)

// maxWaiting bounds the bodies of one stream that wait for their turn.
const maxWaiting = 8

// An arrival is a part of a stream, and how it came.
type arrival struct {
	part *cmaf.Part
	at   time.Time
	file string
	held int64 // bytes that the publication counts for it
}

// A stream is what follows on one init segment: one track, or those of a muxer.
// Its bodies are read one after the other, as they came:
//
//	reading        what comes
//	a segment      the next segment           waits for the end of the one before
//	anything       a body that begins with    takes over: who reconnects does so, and
//	               an init segment            the old connection may hang
type stream struct {
	pub     *publication
	name    string        // under which its init segment comes
	turn    chan struct{} // full while a body is read
	feeding chan struct{} // full while what is pending goes to the packager

	// Guarded by pub.mu.
	waiting int
	reading *arriving
	init    *cmaf.Init // the newest, by which fragments are read
	header  *cmaf.Part // the one that the packager is given for it
	pending []arrival
	target  *packager.FeedStream
	tracks  map[uint32]string // renditions, by track ID
	idle    error             // why nothing of it is published, nil where something is
	tells   bool              // it has event messages, which go into others' segments

	// Of who has feeding.
	anchor anchor
	next   map[uint32]int64 // decode time that follows, as it comes, by track ID
}

func newStream(p *publication, name string) *stream {
	return &stream{pub: p, name: name, turn: make(chan struct{}, 1), feeding: make(chan struct{}, 1), next: map[uint32]int64{}}
}

// takeTurn waits until a body may be read.
func (s *stream) takeTurn(ctx context.Context, body *arriving, header bool) (leave func(), err error) {
	s.pub.mu.Lock()
	if s.waiting == maxWaiting {
		s.pub.mu.Unlock()
		return nil, live.ErrShed.With(fmt.Sprintf("%d segments of one track at once", maxWaiting))
	}
	s.waiting++
	if header && s.reading != nil {
		s.reading.supersede()
	}
	s.pub.mu.Unlock()
	defer func() {
		s.pub.mu.Lock()
		s.waiting--
		s.pub.mu.Unlock()
	}()
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	body.progress()
	s.pub.mu.Lock()
	s.reading = body
	s.pub.mu.Unlock()
	return func() {
		s.pub.mu.Lock()
		s.reading = nil
		s.pub.mu.Unlock()
		<-s.turn
	}, nil
}

// read takes a body to its end.
func (s *stream) read(q *request) (outcome string, err error) {
	s.pub.mu.Lock()
	r := cmaf.NewSegmentReader(q.body.buffered, s.init)
	s.pub.mu.Unlock()
	outcome = OutcomeInit
	last := false
	for {
		part, err := r.Next()
		switch {
		case err == io.EOF && last:
			return outcome, s.flush(s.pub.feeding)
		case err == io.EOF:
			return outcome, nil
		case err != nil:
			return "", q.bodyError(err)
		}
		q.body.progress()
		if part.Init == nil {
			outcome, last = OutcomeMedia, part.Last
		}
		if err := s.take(arrival{part: part, at: s.pub.srv.cfg.Packager.Time.Now(), file: q.name}); err != nil {
			return "", err
		}
	}
}

// take takes one part: it is held until it is decided what the stream is.
func (s *stream) take(a arrival) error {
	p := s.pub
	p.mu.Lock()
	if a.part.Init != nil {
		s.init = a.part.Init
		// Shaka Packager sends it again at the end with other defaults for fragments,
		// which the packager writes out: viewers need no other for that.
		if s.header != nil && sameTracks(s.header.Init, a.part.Init) {
			a.part = s.header
		}
		s.header = a.part
		p.change()
	} else if p.first.IsZero() {
		p.first = time.Now()
	}
	if err := p.over; err != nil {
		p.mu.Unlock()
		return err
	}
	decided := p.decided
	if !decided {
		if a.held = int64(len(a.part.Raw)); !p.hold(a.held) {
			p.mu.Unlock()
			return live.ErrShed.With(fmt.Sprintf("more than %d bytes of this encoder, or %d of all, came before it was known what they are", p.srv.cfg.HeldBytes, p.srv.cfg.AllHeldBytes))
		}
	}
	s.pending = append(s.pending, a)
	if decided && s.target == nil && s.idle == nil && !s.tells && s.init != nil {
		s.join()
	}
	p.mu.Unlock()
	if !decided {
		p.tell()
		return nil
	}
	return s.drain(p.feeding)
}

// sameTracks reports whether init segments are alike in all but defaults for fragments.
func sameTracks(a, b *cmaf.Init) bool {
	return slices.EqualFunc(a.Tracks, b.Tracks, func(x, y cmaf.Track) bool {
		return x.ID == y.ID && x.Type == y.Type && x.Timescale == y.Timescale && x.EditOffset == y.EditOffset &&
			x.Language == y.Language && bytes.Equal(x.Config, y.Config)
	})
}

// join needs pub.mu. It finds a rendition for a stream that came after it was
// decided about the others.
func (s *stream) join() {
	p := s.pub
	taken := map[string]bool{}
	for _, other := range p.streams {
		for _, name := range other.tracks {
			taken[name] = true
		}
	}
	tracks := p.candidates([]*stream{s})
	s.assign(match(tracks, p.event.Renditions, taken), p.anchor)
}

// leastMeasured is how much of a track must have come to know its bit rate by, and
// mostlyMore what segments have more than the first few, in percent.
const leastMeasured, mostlyMore = 500 * time.Millisecond, 20

// measured needs pub.mu. It is the bit rate of what is pending of a track; 0 where that is
// too little.
func (s *stream) measured(id uint32) int64 {
	var size, ticks int64
	for _, a := range s.pending {
		if a.part.Fragment == nil {
			continue
		}
		for i := range a.part.Fragment.Tracks {
			if f := &a.part.Fragment.Tracks[i]; f.ID == id {
				for _, x := range f.Samples {
					size, ticks = size+int64(x.Size), ticks+int64(x.Duration)
				}
			}
		}
	}
	t := s.init.Track(id)
	if ticks == 0 || t.Timescale == 0 {
		return 0
	}
	lasts := toTime(ticks, t.Timescale)
	if lasts < leastMeasured {
		return 0
	}
	const step = 10_000
	rate := int64(float64(8*size) / lasts.Seconds() * (100 + mostlyMore) / 100)
	return (rate/step + 1) * step
}

// assign needs pub.mu.
func (s *stream) assign(which map[trackKey]live.Rendition, a anchor) {
	tracks := map[uint32]string{}
	for key, r := range which {
		if key.stream == s.name {
			tracks[key.id] = r.Name
		}
	}
	s.anchor = a
	if len(tracks) > 0 {
		s.tracks, s.target, s.idle = tracks, s.pub.feed.Stream(tracks), nil
		return
	}
	if s.init == nil {
		return
	}
	p := s.pub
	if slices.ContainsFunc(s.init.Tracks, func(t cmaf.Track) bool { return t.EventMessages }) {
		s.tells = true
		p.log.Info("a stream has event messages: they go into the segments of the picture", "stream", s.name)
		return
	}
	err := p.misfit(p.candidates([]*stream{s}))
	if !slices.ContainsFunc(s.init.Tracks, func(t cmaf.Track) bool { return t.Type != "" }) {
		s.idle = errNoMedia
	} else {
		s.idle = err
	}
	p.log.Warn("a stream is left out", "stream", s.name, "why", err.Detail)
}

// errNoMedia is of streams of metadata: they are taken, and nothing is made of them.
var errNoMedia = errors.New("ingest: neither video, audio nor text")

// brings needs pub.mu.
func (s *stream) brings(rendition string) bool {
	return slices.Contains(slices.Collect(maps.Values(s.tracks)), rendition)
}

// drain gives what is pending to the packager, in its order.
func (s *stream) drain(ctx context.Context) error {
	select {
	case s.feeding <- struct{}{}:
		defer func() { <-s.feeding }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p := s.pub
	for {
		p.mu.Lock()
		pending, target, idle, tells := s.pending, s.target, s.idle, s.tells
		s.pending = nil
		for _, a := range pending {
			p.free(a.held)
		}
		p.mu.Unlock()
		if len(pending) == 0 {
			return nil
		}
		if tells {
			for _, a := range pending {
				s.tell(a)
			}
			continue
		}
		if target == nil {
			if idle == errNoMedia {
				return nil
			}
			return idle
		}
		for _, a := range pending {
			if err := s.feed(ctx, target, a); err != nil {
				return err
			}
		}
	}
}

// feed gives one part to the packager, with the event's decode times. What was
// there before it leaves out.
func (s *stream) feed(ctx context.Context, target *packager.FeedStream, a arrival) error {
	p := s.pub
	if a.part.Fragment != nil {
		p.srv.count(func(st *Stats) { st.Fragments++ })
		if err := s.place(a); err != nil {
			return err
		}
		if len(a.part.Fragment.Tracks) == 0 {
			p.srv.count(func(st *Stats) { st.Repeated++ })
			return nil
		}
	}
	err := target.Take(ctx, a.part)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, packager.ErrFeedOver):
		return live.ErrOutside.With("the event has ended")
	case errors.Is(err, packager.ErrTracks):
		return live.ErrNoRendition.With(err.Error())
	case errors.Is(err, packager.ErrInput):
		return live.ErrMalformedMedia.With(err.Error())
	}
	return err
}

// tell gives the event messages of a part to the packager, with the event's times: they
// count as the media of the encoder does.
func (s *stream) tell(a arrival) {
	if a.part.Fragment == nil {
		return
	}
	s.pub.mu.Lock()
	anchor := s.pub.anchor
	s.pub.mu.Unlock()
	var events []cmaf.Event
	for i := range a.part.Fragment.Tracks {
		events = append(events, cmaf.EventsOf(a.part, &a.part.Fragment.Tracks[i])...)
	}
	anchor.move(events)
	s.pub.feed.Tell(events)
}

// place moves a fragment to where it is in the event.
func (s *stream) place(a arrival) error {
	p, f := s.pub, a.part.Fragment
	kept := f.Tracks[:0]
	for i := range f.Tracks {
		t := f.Tracks[i]
		if t.Track == nil || len(t.Samples) == 0 {
			continue
		}
		e := gather(a.part, &t, a.at)
		next, known := s.next[t.ID]
		if known {
			switch judge(e, next, s.anchor, p.event) {
			case repeated:
				continue
			case anew:
				s.moveAnchor(a, e)
			}
		}
		s.next[t.ID] = e.decode + e.duration
		if shift := s.anchor.in(t.Track.Timescale); shift != 0 {
			if t.Whole {
				return live.ErrMalformedMedia.With(fmt.Sprintf("track %d of %s is encrypted with keys that change: its decode times must be the event's", t.ID, s.name))
			}
			t.Decode += shift
			for i := range t.Samples {
				t.Samples[i].Decode += shift
			}
		}
		kept = append(kept, t)
	}
	f.Tracks = kept
	s.anchor.move(a.part.Events)
	return nil
}

// moveAnchor places a stream whose decode times began anew: by the newest anchor of
// the encoder's streams, where that is about now, else by one of its own, which is
// then the newest.
func (s *stream) moveAnchor(a arrival, e evidence) {
	p := s.pub
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.anchor != s.anchor && abs(placed(e, p.anchor, p.event).Sub(e.arrived)) <= nearNow {
		s.anchor = p.anchor
		return
	}
	if best, ok := p.weigh(s, a); ok {
		e = best
	}
	s.anchor = place(e, p.event, true)
	p.anchor = s.anchor
	p.log.Warn("the encoder's decode times began anew", "stream", s.name, "how", s.anchor.String(), "shift", s.anchor.shift)
	p.srv.count(func(st *Stats) { st.Anchors++ })
}

// flush has the packager send what it has gathered: the last segment is there.
func (s *stream) flush(ctx context.Context) error {
	s.pub.mu.Lock()
	target := s.target
	s.pub.mu.Unlock()
	if target == nil {
		return nil
	}
	if err := target.Flush(ctx); err != nil && !errors.Is(err, packager.ErrFeedOver) {
		return err
	}
	return nil
}
