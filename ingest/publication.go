package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"headwater/admit"
	"headwater/cmaf"
	"headwater/live"
	"headwater/packager"
)

const (
	maxStreams   = 256
	maxManifests = 300
	// mostGathers is how often the time to gather is given to a picture that is late.
	mostGathers = 4
	// lastFlush bounds how long the end of a publication waits for the packager to
	// take what was gathered.
	lastFlush = 5 * time.Second
)

var errIdle = errors.New("ingest: nothing was sent for a while")

// A publication is one encoder, from its first request to when it has been silent
// for a while. It gathers streams and what manifests say of them, decides once which
// track is which rendition and where in time they are, and from then on gives what
// comes to a packager.
//
// Lock order: mu, Server.mu. Neither is held while anything waits.
type publication struct {
	srv      *Server
	key      pubKey
	secret   string
	log      *slog.Logger
	packager *packager.Packager
	feed     *packager.Feed
	opened   chan struct{} // closed when event and failed are set
	event    *live.Event   // nil where it is to be made; set again in decide, before decided is
	failed   error
	ctx      context.Context // ends with end
	end      context.CancelCauseFunc
	feeding  context.Context // of what goes to the packager: that a client leaves does not end it, but feed's end does
	news     chan struct{}   // has one when something came that decide may have waited for

	// Guarded by Server.mu.
	active int         // requests
	rest   *time.Timer // runs while there are none

	mu        sync.Mutex // guards the following
	streams   []*stream
	manifests map[string]*manifest
	changed   chan struct{} // closed and replaced when streams or manifests change
	held      int64         // bytes of what streams hold while it gathers
	first     time.Time     // when the first fragment came
	decided   bool
	lost      bool   // a segment was kept of which nothing said whose it is
	anchor    anchor // the newest
	over      error  // the packager has ended
}

func newPublication(s *Server, key pubKey, secret string) (*publication, error) {
	p := &publication{
		srv: s, key: key, secret: secret, log: s.cfg.Log.With("event", key.event.String(), "pipeline", key.pipeline),
		feed: packager.NewFeed(), opened: make(chan struct{}), news: make(chan struct{}, 1),
		manifests: map[string]*manifest{}, changed: make(chan struct{}),
	}
	cfg := s.cfg.Packager
	cfg.Event, cfg.Pipeline, cfg.Feed = key.event.String(), key.pipeline, p.feed
	if s.cfg.Secret != nil {
		cfg.Token = secret
	}
	if s.cfg.Create != nil {
		cfg.EventWait = -1 // one that is not there is made
	}
	var err error
	p.packager, err = packager.New(cfg)
	p.ctx, p.end = context.WithCancelCause(s.ctx)
	p.feeding = context.WithoutCancel(p.ctx)
	return p, err
}

// run is the publication's life.
func (p *publication) run() {
	defer p.end(nil)
	defer p.drop()
	defer func() {
		p.srv.mu.Lock()
		defer p.srv.mu.Unlock()
		p.srv.forget(p)
	}()
	if p.failed = p.locate(); p.failed != nil {
		p.log.Warn("an encoder sends what cannot be published", "error", p.failed)
		p.srv.mu.Lock()
		p.srv.forget(p) // the next request looks again
		p.srv.mu.Unlock()
		close(p.opened)
		return
	}
	p.log.Info("an encoder sends")
	close(p.opened)
	var ended chan error
	var due <-chan time.Time
	for {
		select {
		case <-p.news:
			if ended != nil {
				continue
			}
			ready, first := p.ready()
			if !ready {
				if !first.IsZero() && due == nil {
					due = time.After(time.Until(first.Add(p.srv.cfg.Gather)))
				}
				continue
			}
		case <-due:
			if p.awaitsVideo() {
				due = time.After(p.srv.cfg.Gather)
				continue
			}
			due = nil
		case err := <-ended:
			p.finish(err)
			return
		case <-p.ctx.Done():
			p.log.Info("the encoder's publication ends", "why", context.Cause(p.ctx))
			p.close(ended)
			return
		}
		if ended != nil {
			continue
		}
		if err := p.decide(); err != nil {
			p.finish(err)
			return
		}
		// It ends by the feed, and then drains.
		ended = make(chan error, 1)
		go func() { ended <- p.packager.Run(p.feeding) }()
		p.release()
	}
}

// locate finds the event.
func (p *publication) locate() error {
	ev, err := p.packager.Event(p.ctx)
	switch {
	case errors.Is(err, live.ErrNoEvent) && p.srv.cfg.Create != nil:
		return nil
	case errors.Is(err, live.ErrNoEvent):
		return live.ErrNoEvent.With(fmt.Sprintf("there is no event %s: make it (headwater event create), or have ingest make it (--create)", p.key.event))
	case err != nil:
		return live.ErrUpstream.With(err.Error())
	}
	p.event = ev
	if _, _, ok := ev.Pipeline(p.key.pipeline); !ok && p.srv.cfg.Create == nil {
		var names []string
		for _, x := range ev.Pipelines {
			names = append(names, x.Name)
		}
		return live.ErrNoPipeline.With(fmt.Sprintf("event %s has no pipeline %s, it has %v", p.key.event, p.key.pipeline, names))
	}
	return nil
}

// tell wakes run.
func (p *publication) tell() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

// change needs mu: streams or manifests have changed.
func (p *publication) change() {
	close(p.changed)
	p.changed = make(chan struct{})
	p.tell()
}

// hold needs mu. It is whether so many bytes more may be held while it gathers; each
// true must be followed by free.
func (p *publication) hold(n int64) bool {
	if p.held+n > p.srv.cfg.HeldBytes || !p.srv.held.Enter(p.key.event.Tenant, admit.Publish, n) {
		return false
	}
	p.held += n
	return true
}

// free needs mu.
func (p *publication) free(n int64) {
	p.held -= n
	p.srv.held.Leave(p.key.event.Tenant, n)
}

// drop gives up what was gathered in vain; nothing more is.
func (p *publication) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over == nil {
		p.over = live.ErrDraining
	}
	for _, s := range p.streams {
		for _, a := range s.pending {
			p.free(a.held)
		}
		s.pending = nil
	}
}

func (p *publication) learnManifest(name string, m *manifest) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.manifests[name] == nil && len(p.manifests) == maxManifests {
		return live.ErrShed.With(fmt.Sprintf("more than %d manifests of one encoder", maxManifests))
	}
	total := m.size
	for other, o := range p.manifests {
		if other != name {
			total += o.size
		}
	}
	if total > maxTold {
		return live.ErrShed.With(fmt.Sprintf("manifests of one encoder of more than %d bytes", maxTold))
	}
	p.manifests[name] = m
	p.change()
	return nil
}

// streamOf is the stream whose init segment comes under a name, a new one where none
// has yet.
func (p *publication) streamOf(name string) (*stream, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.streams {
		if s.name == name {
			return s, nil
		}
	}
	if len(p.streams) == maxStreams {
		return nil, live.ErrShed.With(fmt.Sprintf("more than %d streams of one encoder", maxStreams))
	}
	s := newStream(p, name)
	p.streams = append(p.streams, s)
	return s, nil
}

// findStream is the stream that a segment belongs to, by the manifests, or else by
// its name; nil where neither tells, with what changes when one may.
func (p *publication) findStream(name string) (*stream, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.describes(func(d *described) bool { return d.init != "" && d.has(name) }); d != nil {
		for _, s := range p.streams {
			if s.init != nil && s.name == d.init {
				return s, nil
			}
		}
	}
	var known []*stream
	var inits []string
	for _, s := range p.streams {
		if s.init != nil {
			known, inits = append(known, s), append(inits, s.name)
		}
	}
	if i := find(name, inits); i >= 0 {
		return known[i], nil
	}
	return nil, p.changed
}

// told needs mu. It has the manifests in the order of their names, so that of two which
// speak of the same the same one counts each time.
func (p *publication) told() []*manifest {
	out := make([]*manifest, 0, len(p.manifests))
	for _, name := range slices.Sorted(maps.Keys(p.manifests)) {
		out = append(out, p.manifests[name])
	}
	return out
}

// describes needs mu. It looks for a stream in the manifests.
func (p *publication) describes(fits func(d *described) bool) *described {
	for _, m := range p.told() {
		for i := range m.streams {
			if fits(&m.streams[i]) {
				return &m.streams[i]
			}
		}
	}
	return nil
}

// said needs mu. It is when a manifest says that a file's first sample, or one of
// some media time, was filmed.
func (p *publication) said(s *stream, file string, shown time.Duration) time.Time {
	for _, m := range p.told() {
		for i := range m.streams {
			d := &m.streams[i]
			if d.init != s.name {
				continue
			}
			if t, ok := d.dates[file]; ok {
				return t
			}
			if !m.start.IsZero() {
				return m.start.Add(d.zero + shown)
			}
		}
	}
	return time.Time{}
}

// ready reports whether all is there to decide: a fragment of each stream that there
// is, and of all that the manifests speak of. first is when the first came.
func (p *publication) ready() (ready bool, first time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := false // a media playlist speaks of itself alone
	for _, m := range p.manifests {
		all = all || len(m.lists) > 0 || slices.ContainsFunc(m.streams, func(d described) bool { return d.list == "" })
	}
	if p.first.IsZero() || !all {
		return false, p.first
	}
	for _, s := range p.streams {
		if !slices.ContainsFunc(s.pending, func(a arrival) bool { return a.part.Fragment != nil }) {
			return false, p.first
		}
	}
	for _, m := range p.manifests {
		for _, d := range m.streams {
			if !slices.ContainsFunc(p.streams, func(s *stream) bool { return s.name == d.init }) {
				return false, p.first
			}
		}
		for _, l := range m.lists {
			if p.manifests[l.list] == nil {
				return false, p.first
			}
		}
	}
	return true, p.first
}

// awaitsVideo reports whether a picture that is announced may still come: sound is
// there sooner, but it is the picture that decides.
func (p *publication) awaitsVideo() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.first) < mostGathers*p.srv.cfg.Gather && slices.ContainsFunc(p.streams, func(s *stream) bool {
		return s.init != nil && !slices.ContainsFunc(s.pending, func(a arrival) bool { return a.part.Fragment != nil }) &&
			slices.ContainsFunc(s.init.Tracks, func(t cmaf.Track) bool { return t.Type == live.Video })
	})
}

// candidates needs mu. They are the tracks of some streams, in the order of the
// manifests, or else of their names.
func (p *publication) candidates(streams []*stream) []candidate {
	streams = slices.Clone(streams)
	rank, told := map[string]int{}, p.told()
	for _, m := range told {
		for i, d := range m.streams {
			rank[d.init] = i + 1
		}
	}
	slices.SortFunc(streams, func(a, b *stream) int {
		return cmp.Or(cmp.Compare(rank[a.name], rank[b.name]), cmp.Compare(a.name, b.name))
	})
	var out []candidate
	for _, s := range streams {
		if s.init == nil {
			continue
		}
		var d described
		for _, m := range told {
			for _, x := range slices.Concat(m.streams, m.lists) {
				if x.init == s.name || d.list != "" && x.list == d.list {
					d = described{
						id: cmp.Or(d.id, x.id), list: cmp.Or(d.list, x.list), language: cmp.Or(d.language, x.language),
						label: cmp.Or(d.label, x.label), bandwidth: cmp.Or(d.bandwidth, x.bandwidth),
					}
				}
			}
		}
		for i := range s.init.Tracks {
			t := &s.init.Tracks[i]
			c := candidate{key: trackKey{s.name, t.ID}, track: t, language: cmp.Or(d.language, t.Language)}
			if len(s.init.Tracks) == 1 {
				// What is said of a stream is said of its track.
				c.names, c.label, c.bandwidth = []string{toName(d.id), toName(streamName(s.name)), toName(d.label)}, d.label, d.bandwidth
			}
			c.bandwidth, c.measured = cmp.Or(c.bandwidth, t.Bitrate), s.measured(t.ID)
			if c.language == "und" {
				c.language = ""
			}
			out = append(out, c)
		}
	}
	return out
}

// decide says which rendition each track is, and where in time they are.
func (p *publication) decide() error {
	p.mu.Lock()
	tracks := p.candidates(p.streams)
	best, snap, known := p.evidence()
	segment := p.segment(best)
	p.mu.Unlock()
	if !known {
		return live.ErrMalformedMedia.With("no fragment has a sample of a track of video, audio or text")
	}
	if err := p.create(tracks, best, segment); err != nil {
		return err
	}
	a := place(best, p.event, snap)
	p.log.Info("encoder placed in time", "how", a.String(), "shift", a.shift)
	p.srv.count(func(s *Stats) { s.Anchors++ })
	which := match(tracks, p.event.Renditions, nil)
	if len(which) == 0 {
		return p.misfit(tracks)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.anchor, p.decided = a, true
	for _, s := range p.streams {
		s.assign(which, a)
	}
	for _, r := range p.event.Renditions {
		if !slices.ContainsFunc(p.streams, func(s *stream) bool { return s.brings(r.Name) }) {
			p.log.Warn("the encoder has no track for a rendition", "rendition", r.Name, "type", string(r.Type))
		}
	}
	return nil
}

func (p *publication) misfit(tracks []candidate) *live.Problem {
	return live.ErrNoRendition.With(fmt.Sprintf("the encoder sends (%s), the event has (%s): say which is which by the renditions' match", describeTracks(tracks), describeRenditions(p.event.Renditions)))
}

// evidence needs mu. It is the best there is among the first fragments of streams.
func (p *publication) evidence() (best evidence, snap, known bool) {
	video := false
	for _, s := range p.streams {
		for _, a := range s.pending {
			e, ok := p.weigh(s, a)
			if !ok {
				continue
			}
			video = video || e.video
			if !known || e.rank() > best.rank() {
				best, known = e, true
			}
			break
		}
	}
	return best, best.video || !video, known
}

// weigh needs mu. It is the evidence of a part; of several tracks the best.
func (p *publication) weigh(s *stream, a arrival) (best evidence, ok bool) {
	if a.part.Fragment == nil {
		return evidence{}, false
	}
	for i := range a.part.Fragment.Tracks {
		t := &a.part.Fragment.Tracks[i]
		if t.Track == nil || t.Track.Type == "" || len(t.Samples) == 0 {
			continue
		}
		e := gather(a.part, t, a.at)
		e.said = p.said(s, a.file, toTime(e.shown, e.scale))
		if !ok || e.rank() > best.rank() {
			best, ok = e, true
		}
	}
	return best, ok
}

// segment needs mu. It is how long segments are: those of video by a manifest, or
// else by a fragment that begins with a key frame and is no chunk of one; else any, by
// a manifest; else as usual.
func (p *publication) segment(best evidence) time.Duration {
	var any time.Duration
	for _, s := range p.streams {
		d := p.describes(func(d *described) bool { return d.init == s.name && d.segment > 0 })
		if d == nil {
			continue
		}
		if s.init != nil && slices.ContainsFunc(s.init.Tracks, func(t cmaf.Track) bool { return t.Type == live.Video }) {
			return d.segment
		}
		any = d.segment
	}
	if d := toTime(best.duration, best.scale); best.video && d >= leastSegment {
		return d
	}
	return cmp.Or(any, usualSegment)
}

const (
	leastSegment = time.Second / 2
	usualSegment = 2 * time.Second
)

// release gives what streams hold to the packager.
func (p *publication) release() {
	p.mu.Lock()
	streams := slices.Clone(p.streams)
	p.mu.Unlock()
	var tasks sync.WaitGroup
	for _, s := range streams {
		tasks.Go(func() {
			if err := s.drain(p.feeding); err != nil {
				p.log.Warn("what an encoder began with", "stream", s.name, "error", err)
			}
		})
	}
	tasks.Wait()
}

// finish is for a publication that cannot go on: what is still sent is answered so.
func (p *publication) finish(err error) {
	if err == nil {
		err = live.ErrOutside.With("the event has ended")
	}
	p.log.Error("the encoder's publication ends", "error", err)
	p.mu.Lock()
	p.over = err
	p.change()
	p.mu.Unlock()
	p.feed.Close()
}

// close has what was gathered sent, and waits for the packager.
func (p *publication) close(ended chan error) {
	if ended == nil {
		p.feed.Close()
		return
	}
	ctx, cancel := context.WithTimeout(p.feeding, lastFlush)
	defer cancel()
	p.flush(ctx)
	p.feed.Close()
	if err := <-ended; err != nil {
		p.log.Error("publishing ended", "error", err)
	}
}

// flush has all that was gathered sent.
func (p *publication) flush(ctx context.Context) {
	p.mu.Lock()
	streams := slices.Clone(p.streams)
	p.mu.Unlock()
	for _, s := range streams {
		if err := s.flush(ctx); err != nil {
			p.log.Warn("the end of a stream", "stream", s.name, "error", err)
		}
	}
}
