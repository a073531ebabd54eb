// Package publish is the publishing side: the walk of a PUT is in publish.go, in the
// order of its steps.
package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"headwater/origin/audit"
	"headwater/origin/book"
	"headwater/origin/health"
	"headwater/origin/journal"
	"headwater/origin/keylock"
	"headwater/origin/layout"
	"headwater/origin/look"
	"headwater/origin/metric"
	"headwater/origin/window"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/admit"
	"headwater/announce"
	"headwater/blobs"
	"headwater/budget"
	"headwater/clock"
	"headwater/cmaf"
	"headwater/listen"
	"headwater/live"
	"headwater/selection"
	"headwater/store"
)

// A Server serves the publish listener.
type Server struct {
	Config
	busy *keylock.Locks[busyKey] // slots being published

	seconds     prometheus.Histogram
	stepSeconds [len(steps)]prometheus.Observer
	overGoal    prometheus.Counter
	aheads      prometheus.Counter
	noRoom      prometheus.Counter
	hearings    map[hearing]prometheus.Counter
	messages    map[message]prometheus.Counter
}

// A Config is what the publishing side is built from.
type Config struct {
	Clock        *clock.Clock
	Book         *book.Book
	Look         *look.Looker
	Window       *window.Window
	Cache        *blobs.Cache
	Bodies       *admit.Share[string] // bytes being read
	Budget       *budget.Budget       // of the process
	Publications *admit.Share[string] // being published
	Rates        *admit.Rates[string] // of bytes, by tenant
	TenantBytes  int64                // that one tenant may have stored; 0: any number
	Tenants      *metric.Tenants      // what they were refused
	Turns        *admit.Turns         // in which readers work
	Writes       *health.Dependency   // the store's

	Access          *access.Guard // nil: anybody may
	Audit           *audit.Log
	Journal         *journal.Journal
	MaxSegmentBytes int64
	BodyTimeout     time.Duration
	StoreTimeout    time.Duration
	FutureTolerance time.Duration

	Log     *slog.Logger
	Metrics *prometheus.Registry
}

// A busyKey is what one publication at a time may change.
type busyKey struct {
	event     live.EventID
	pipeline  string
	rendition string
	number    live.Number // -1 for the init segment
}

// New returns a publishing side.
func New(cfg Config) *Server {
	s := &Server{Config: cfg, busy: keylock.New[busyKey](),
		seconds:  metric.Seconds(cfg.Metrics, "publish_seconds", "From a PUT's headers to its acknowledgement."),
		noRoom:   metric.Counter(cfg.Metrics, "memory_refused_bodies_total", "Bodies that were refused for want of memory."),
		aheads:   metric.Counter(cfg.Metrics, "delivered_ahead_total", "Segments that were delivered before they were stored, since storing took longer than its goal."),
		overGoal: metric.Counter(cfg.Metrics, "publications_over_goal_total", "Publications that took longer than their goal, from the end of the body to the answer."),
		hearings: metric.Counters(cfg.Metrics, "packager_notifications_total", "Live-Notifications headers of publications by what became of them.", "outcome", hearings),
		messages: metric.Counters(cfg.Metrics, "event_messages_total", "Event messages (emsg) of publications by what became of them.", "outcome", messages),
	}
	byStep := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: metric.Name("publish_step_seconds"), Help: "Steps of publications.",
		Buckets: []float64{.0001, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2}}, []string{"step"})
	cfg.Metrics.MustRegister(byStep)
	for i, name := range steps {
		s.stepSeconds[i] = byStep.WithLabelValues(name)
	}
	metric.Gauge(cfg.Metrics, "write_goal_seconds", "What a publication should take from the end of its body to the answer.", writeGoal.Seconds)
	return s
}

// A publication is one PUT on its way through the steps.
type publication struct {
	r      *http.Request
	w      http.ResponseWriter
	conn   *listen.Conn // nil where it has no limits
	path   live.PublishPath
	event  *book.Event
	view   *book.View
	source live.Source
	by     *access.Identity

	claimed  live.Findings // what the packager says is wrong
	quality  live.Quality  // what it says of what there is to see and hear
	verdict  bool          // that is all it sends: of a segment that it has published
	sent     live.Digest   // what the packager says it sent; zero: nothing
	said     *saying       // what the packager says in Live-Notifications
	body     []byte
	consumed bool       // the body has been read to its end
	held     int64      // of the bodies gate
	leave    func()     // ends its turn; nil where it has none
	counted  bool       // among those that are published at once
	before   time.Time  // when this pipeline published what was there of the slot
	full     error      // why nothing more may be stored; nil where it may
	init     *book.Init // the rendition's, or what is being published
	known    bool       // of an init segment: it may not replace what is stored
	of       int        // of an init segment: the generation that it fits
	first    bool       // of an init segment: its pipeline has published none before
	found    cmaf.Report
	cand     live.Candidate
	outcome  book.Outcome
	wants    []string           // what is newly known to be wanting in its quality
	news     []announce.Message // to tell the other nodes
	arrived  store.Token        // of an init segment: its place in the order of arrivals
	looked   <-chan struct{}    // closed when the store was looked into for a refused init segment
	timing   live.Timing
	took     [len(steps)]time.Duration // by step, what the goal is about
	received time.Time
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := &publication{r: r, w: w, conn: listen.ConnOf(r.Context()), received: time.Now()}
	if err := s.publish(p); err != nil {
		s.refuse(p, err)
		return
	}
	s.tell(p)
	s.acknowledge(p)
	s.learn(p)
}

// publish is the walk of one PUT. Each step returns a *live.Problem or an error
// that refuse maps; a publication with an outcome that is dropped goes no further.
func (s *Server) publish(p *publication) error {
	defer s.release(p)
	for _, step := range [...]func(*publication) error{s.bound, s.parse, s.authorise, s.drop, s.headers, s.locate, s.place, s.know, s.judge, s.quota, s.arrive, s.read, s.verify} {
		if err := step(p); err != nil || p.consumed && (p.outcome == book.Dropped || p.verdict) {
			return err
		}
	}
	rest := []func(*publication) error{s.inspect, s.takeTurn, s.reconcile, s.keep, s.notify, s.signal}
	if p.path.File == live.FileInit {
		rest = []func(*publication) error{s.takeTurn, s.inspectInit, s.reconcileInit, s.keepInit, s.notify}
	}
	for _, step := range rest {
		if err := step(p); err != nil {
			return err
		}
	}
	return nil
}

// bound gives a body until the body time-out to arrive, whatever it is. read
// gives a segment longer, once it is known to be one.
func (s *Server) bound(p *publication) error {
	return p.setReadDeadline(p.received.Add(s.BodyTimeout))
}

// parse reads method and path.
func (s *Server) parse(p *publication) error {
	switch p.r.Method {
	case http.MethodPut, http.MethodPost, http.MethodDelete:
	default:
		p.w.Header().Set("Allow", "PUT, POST, DELETE")
		return live.ErrMethod.With(p.r.Method + " is not for publishing: PUT or POST a segment")
	}
	var err error
	if p.path, err = live.ParsePublishPath(p.r.URL.Path); err != nil {
		return live.ErrBadPath.With(live.PathReason(err))
	}
	// Retention is the event's business, and so are manifests.
	if p.r.Method == http.MethodDelete || p.path.File == live.FileForeign {
		p.outcome = book.Dropped
	}
	return nil
}

// authorise finds out who publishes, and whether they may as this pipeline.
func (s *Server) authorise(p *publication) (err error) {
	p.by, err = s.Access.Check(p.w, p.r, access.Want{Right: access.Publish, Tenant: p.path.Event.Tenant, Pipeline: p.path.Pipeline})
	if said, ok := live.ParseClock(p.r.Header[live.HeaderClock]); ok && err == nil {
		host, _, _ := net.SplitHostPort(p.r.RemoteAddr)
		s.Clock.Message(clock.Packager, p.path.Event.Tenant+"/"+p.path.Pipeline+" at "+host+said.ID, said.Time, p.received)
	}
	return err
}

// tellTime says what time it is here, and by how many clocks, to who asked in turn.
func (s *Server) tellTime(p *publication) {
	if p.r.Header[live.HeaderClock] == nil {
		return
	}
	if agree := s.Clock.Agree(); agree > 0 {
		p.w.Header().Set(live.HeaderClock, live.ClockSaid{Time: s.Clock.Now(), Agree: int64(agree)}.String())
	}
}

// drop reads a body that nobody wants, and ends the walk.
func (s *Server) drop(p *publication) error {
	if p.outcome != book.Dropped {
		return nil
	}
	n, err := io.CopyN(io.Discard, p.r.Body, maxDropped+1)
	switch {
	case n > maxDropped:
		return live.ErrTooLarge.With(fmt.Sprintf("the body is longer than %d bytes", maxDropped))
	case err != io.EOF:
		return s.bodyError(p, err, n, "no more than that is waited for")
	}
	return p.end()
}

// Limits of what a packager claims in Live-Defects.
const (
	maxClaims    = 16
	maxClaimName = 64
)

// headers reads what the packager says of its body.
func (s *Server) headers(p *publication) error {
	h := p.r.Header
	if ct := h.Get("Content-Type"); !plausibleType(ct) {
		return live.ErrNotCMAF.With(fmt.Sprintf("Content-Type is %q: segments are video/mp4, audio/mp4 or application/mp4", ct))
	}
	if ce := h.Get("Content-Encoding"); ce != "" && !strings.EqualFold(ce, "identity") {
		return live.ErrNotCMAF.With(fmt.Sprintf("Content-Encoding is %q: send the bytes as they are", ce))
	}
	if cr := h.Get("Content-Range"); cr != "" {
		return live.ErrBadHeader.With("Content-Range: a segment is PUT whole") // RFC 9110, 14.5
	}
	claimed, err := live.ParseFindings(h.Values(live.HeaderDefects))
	if err != nil {
		return live.ErrBadHeader.With(err.Error())
	}
	if len(claimed) > maxClaims {
		return live.ErrBadHeader.With(fmt.Sprintf("%s: %d members, at most %d", live.HeaderDefects, len(claimed), maxClaims))
	}
	for _, f := range claimed {
		if len(f.Kind) > maxClaimName {
			return live.ErrBadHeader.With(fmt.Sprintf("%s: a defect's name is longer than %d characters", live.HeaderDefects, maxClaimName))
		}
	}
	p.claimed = live.Findings(nil).Merge(claimed) // each kind once
	if p.quality, err = live.ParseQuality(h.Values(live.HeaderQuality)); err != nil {
		return live.ErrBadHeader.With(err.Error())
	}
	p.verdict = p.quality.Said && p.r.ContentLength == 0 && p.path.File == live.FileSegment
	p.quality = p.quality.Merge(live.ParseCMSDQuality(h.Values(live.HeaderCMSDStatic)))
	if p.sent, err = live.ParseDigest(h.Values(live.HeaderContentDigest)); err != nil {
		return live.ErrBadHeader.With(err.Error())
	}
	if p.said, err = parseSaying(h.Values(live.HeaderNotifications)); err != nil {
		return live.ErrBadHeader.With(err.Error())
	}
	return nil
}

// plausibleType reports whether a Content-Type may be fragmented MP4. Many
// packagers send none or a general one.
func plausibleType(ct string) bool {
	ct, _, _ = strings.Cut(strings.ToLower(ct), ";")
	switch strings.TrimSpace(ct) {
	case "", "application/octet-stream", "application/mp4", "video/mp4", "audio/mp4", "text/mp4", "video/iso.segment",
		"application/x-www-form-urlencoded": // what curl --data-binary says of anything
		return true
	}
	return false
}

// locate finds event, pipeline and rendition, in memory.
func (s *Server) locate(p *publication) error {
	p.conn.Serve(admit.Publish, p.path.Event.Tenant) // its turns are the tenant's, who may publish
	if p.event = s.Book.Get(p.path.Event); p.event == nil {
		return book.NoEvent(p.path.Event)
	}
	p.view = p.event.View()
	pipeline, _, ok := p.view.Config().Pipeline(p.path.Pipeline)
	if !ok {
		return live.ErrNoPipeline.With(fmt.Sprintf("event %v has no pipeline %q", p.path.Event, p.path.Pipeline))
	}
	p.source = live.Source{Pipeline: pipeline.Name, Region: pipeline.Region}
	if _, ok := p.view.Config().Rendition(p.path.Rendition); !ok {
		return live.ErrNoRendition.For(-1).With(fmt.Sprintf("event %v has no rendition %q", p.path.Event, p.path.Rendition))
	}
	return nil
}

// place refuses what cannot exist: numbers outside the event, segments of
// which not a frame can have been filmed, and what has left the DVR window.
func (s *Server) place(p *publication) error {
	if p.path.File != live.FileSegment {
		return nil
	}
	n, tl, came := p.path.Number, p.view.Timelines[p.path.Rendition], s.Clock.At(p.received)
	if !tl.Holds(n) {
		last := "no last"
		if l, ok := tl.Last(); ok {
			last = "last " + l.String()
		}
		return live.ErrOutside.With(fmt.Sprintf("segment %d is outside the event: first %d, %s", n, tl.First(), last))
	}
	if ahead := tl.Start(n).Sub(came); ahead > s.FutureTolerance {
		s.hearArrival(p, tl.Start(n), p.received) // or a clock that is behind would never hear of it
		return live.ErrFuture.With(fmt.Sprintf("segment %d begins at %s, %v ahead of this origin's clock: check the packager's clock and the event's start, first_number and media_time",
			n, tl.Start(n).Format(live.TimeLayout), ahead.Truncate(time.Second)))
	}
	if tl.Place(n, came) == live.Gone {
		s.hearArrival(p, tl.Start(n), p.received)
		return live.ErrOutside.With(fmt.Sprintf("segment %d left the DVR window at %s", n, tl.GoneAt(n).Format(live.TimeLayout)))
	}
	return nil
}

// hearArrival has the clock hear that what was filmed until whole was here at an instant: the
// first frame when the headers of a segment are, which may come while it is filmed, and
// the last one at the end of its body. Who says what his clock says is heard once, and a
// verdict comes when it comes.
func (s *Server) hearArrival(p *publication, whole, at time.Time) {
	if p.r.Header[live.HeaderClock] == nil && !p.verdict && p.path.File == live.FileSegment {
		tl := p.view.Timelines[p.path.Rendition]
		s.Clock.Arrival(p.path.Event.String()+"/"+p.path.Pipeline, whole, tl.Deadline(p.path.Number), at)
	}
}

// know has a node that has just started read first what was published of the slot, and
// right before it.
func (s *Server) know(p *publication) error {
	if p.path.File != live.FileSegment {
		return nil
	}
	return s.Look.Know(p.r.Context(), p.event, p.event.Unknown(p.path.Number, p.path.Number))
}

// arrive gives the PUT of an init segment its place in the order of arrivals,
// and begins to look for a refusal that no announcement told of.
func (s *Server) arrive(p *publication) error {
	looked := make(chan struct{})
	p.looked = looked
	if s.Book.Alone {
		close(looked)
	} else {
		go func() {
			defer close(looked)
			s.Look.Gate(p.r.Context(), p.event, p.path.Rendition, p.path.Pipeline)
		}()
	}
	if p.path.File == live.FileInit {
		<-looked
		known := p.event.GateOf(p.path.Rendition, p.path.Pipeline)
		p.arrived = book.TokenAfter(s.Book.Tokens, time.Unix(0, known.Token.Time))
	}
	return nil
}

// expect refuses a segment whose pipeline has not published the init segment.
func (s *Server) expect(p *publication) error {
	if p.path.File != live.FileSegment {
		return nil
	}
	p.view = p.event.View() // a generation may have begun while the body came
	rendition, n := p.path.Rendition, p.path.Number
	_, own := p.event.InitOf(rendition, p.path.Pipeline)
	if p.init, p.of = p.event.InitAt(p.view, rendition, n); own.Digest.IsZero() || p.init == nil {
		// Another node may have taken it.
		if err := s.Look.Inits(p.r.Context(), p.event, rendition); err != nil {
			return err
		}
		_, own = p.event.InitOf(rendition, p.path.Pipeline)
		p.init, p.of = p.event.InitAt(p.view, rendition, n)
	}
	switch {
	case own.Digest.IsZero():
		return live.ErrInitMissing.With(fmt.Sprintf("pipeline %q has not published %s of rendition %q: PUT it first", p.path.Pipeline, live.InitName, rendition))
	case p.init == nil:
		return live.ErrNotStored.With(fmt.Sprintf("the init segment of generation %d of rendition %q is not here yet", p.of, rendition))
	}
	return p.event.MayPublish(p.view, rendition, p.path.Pipeline, n)
}

// read takes the body, bounded in size, in time and together with all others,
// and digests it as it comes.
func (s *Server) read(p *publication) error {
	most := s.MaxSegmentBytes
	if p.path.File == live.FileInit {
		most = min(most, maxInit)
	}
	if p.r.ContentLength > most {
		return live.ErrTooLarge.With(fmt.Sprintf("%d bytes, at most %d", p.r.ContentLength, most))
	}
	if !s.Publications.Enter(p.path.Event.Tenant, admit.Publish, 1) {
		return live.ErrNotStored.With("too many segments are being published at once")
	}
	p.counted = true
	if err := s.collect(p, most); err != nil {
		return err
	}
	if len(p.body) == 0 {
		return live.ErrMalformedMedia.With("the body is empty")
	}
	p.step(stepRead, p.elapsed())
	if err := p.end(); err != nil {
		return err
	}
	tl := p.view.Timelines[p.path.Rendition]
	s.hearArrival(p, tl.End(p.path.Number), time.Now())
	return nil
}

// verify holds the body against the packager's digest.
func (s *Server) verify(p *publication) error {
	if got := p.cand.Digest; !p.sent.IsZero() && p.sent != got {
		return live.ErrDigest.With(fmt.Sprintf("Content-Digest says %v, the %d bytes that arrived have %v", p.sent, len(p.body), got))
	}
	return nil
}

// inspect finds what is wrong. Nobody's word is taken: what the packager says
// and what is found here are merged.
func (s *Server) inspect(p *publication) error {
	<-p.looked
	if err := s.passGate(p); err != nil {
		return err
	}
	if err := s.expect(p); err != nil {
		return err
	}
	began := time.Now()
	tl := p.view.Timelines[p.path.Rendition]
	ms := tl.Segment().Milliseconds()
	start, end := tl.Media(p.path.Number, int64(p.init.Track.Timescale))
	// Where the segment before ends, of the same pipeline, this one may begin.
	before, _ := p.event.Candidate(p.path.Rendition, p.path.Number-1, p.path.Pipeline)
	var err error
	p.found, err = cmaf.Inspect(p.body, &p.init.Track, cmaf.Window{Start: start, End: end, SegmentMS: ms, Previous: before.Span})
	p.step(stepInspect, time.Since(began))
	if err != nil {
		return mediaProblem(err)
	}
	if p.found.Findings.Has(live.WrongTrack) || p.found.Findings.Has(live.InitMismatch) {
		return live.ErrInitDiffers.With(fmt.Sprintf("segment %d does not belong to the rendition's init segment (%v): %s. Its track is %d, %s at %d ticks per second",
			p.path.Number, p.found.Findings, cmp.Or(p.found.Foreign, "another track"), p.init.Track.ID, p.init.Track.Codecs, p.init.Track.Timescale))
	}
	for i := range p.claimed {
		p.claimed[i].MissingMS = min(p.claimed[i].MissingMS, ms) // more than all cannot be missing
	}
	p.cand = live.Candidate{
		Pipeline: p.source.Pipeline, Region: p.source.Region, Number: p.path.Number, Digest: p.cand.Digest, Size: int64(len(p.body)),
		Generation: p.of, Key: cmaf.KeyOf(p.body, &p.init.Track), Span: p.found.Span, Findings: p.claimed.Merge(p.found.Findings), Quality: p.quality.Within(tl.Segment()),
	}
	if s.Clock.At(p.received).After(tl.Deadline(p.path.Number)) {
		p.cand.Findings = p.cand.Findings.Merge(live.Findings{{Kind: live.Late}})
	}
	return nil
}

func mediaProblem(err error) *live.Problem {
	if errors.Is(err, cmaf.ErrNotCMAF) {
		return live.ErrNotCMAF.With(err.Error())
	}
	return live.ErrMalformedMedia.With(err.Error())
}

// takeTurn waits for the other publications of the slot by its pipeline, so that
// a hedged PUT meets its twin's outcome instead of racing it. Those of an init
// segment go one at a time for the whole rendition: the first must be one.
//
//	a PUT                 its hedge, without turns     with them
//	reconciles: new       reconciles: new              waits
//	stores, 201           stores again, 201
//	                                                   reconciles: identical, 200
func (s *Server) takeTurn(p *publication) (err error) {
	k := busyKey{p.path.Event, p.path.Pipeline, p.path.Rendition, p.path.Number}
	if p.path.File == live.FileInit {
		k = busyKey{p.path.Event, "", p.path.Rendition, -1}
	}
	p.leave, err = s.busy.Lock(p.r.Context(), k)
	return err
}

// reconcile compares with what this pipeline has already published of the slot,
// and when that was.
func (s *Server) reconcile(p *publication) error {
	p.outcome = book.Created
	old, ok := p.event.Candidate(p.path.Rendition, p.path.Number, p.path.Pipeline)
	ahead := p.event.Ahead(p.path.Rendition, p.path.Number, p.path.Pipeline)
	switch {
	case !ok, ahead: // of what nobody was told that it is published, nothing is
		if p.full != nil {
			return s.fullFor(p)
		}
	case p.full != nil && old.Digest != p.cand.Digest:
		return s.fullFor(p)
	case old.Digest == p.cand.Digest && old.Findings.Has(live.DigestMismatch) && !p.cand.Findings.Has(live.DigestMismatch):
		p.outcome = book.Repaired // what was stored of these very bytes is bad or gone
	case old.Digest == p.cand.Digest:
		said := p.cand.Quality // perhaps more than the first time
		p.outcome, p.cand = book.Identical, old
		p.cand.Quality = old.Quality.Merge(said)
	case selection.Better(p.cand.Findings, old.Findings):
		p.outcome = book.Repaired
	case old.Clean():
		return live.ErrConflict.With(fmt.Sprintf("pipeline %q has published other bytes of segment %d, without a defect", p.path.Pipeline, p.path.Number))
	default:
		return live.ErrConflict.With(fmt.Sprintf("pipeline %q has published segment %d with %v, and these bytes (%v) are no better", p.path.Pipeline, p.path.Number, old.Findings, p.cand.Findings))
	}
	p.before = old.Published
	return nil
}

// keep stores durably and writes through to memory. What it stores is newer
// than what was there, whatever the clock did.
func (s *Server) keep(p *publication) error {
	if p.outcome == book.Identical {
		if before, after, ok := p.event.Judge(p.path.Rendition, p.path.Number, p.path.Pipeline, p.cand.Digest, p.cand.Quality); ok {
			p.cand = after
			s.judged(p, before.Quality)
		}
		// This node may know it from the store alone: a PUT that the store took and
		// answered with an error told nobody of it.
		p.news = append(p.news, announce.Message{Kind: announce.Published, Event: p.path.Event, Life: p.event.Life, Rendition: p.path.Rendition, Candidate: p.cand})
		return nil
	}
	tl := p.view.Timelines[p.path.Rendition]
	// What is stored says when storing began, since it cannot say when it ended;
	// what is announced says when it was durable. They differ by one group commit.
	began := time.Now()
	token := book.TokenAfter(s.Book.Tokens, p.before)
	p.cand.Published = time.Unix(0, token.Time).UTC()
	meta, err := layout.EncodeMeta(p.cand, p.event.Life)
	if err != nil {
		return fmt.Errorf("publish: metadata: %w", err)
	}
	// The packager may be gone; what it sent whole is worth keeping all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.r.Context()), s.StoreTimeout)
	defer cancel()
	var inside []timed // what the store says of its own steps
	ctx = store.WithTrace(ctx, func(step string, d time.Duration) { inside = append(inside, timed{step, d}) })
	record := layout.Media(p.path.Event, p.path.Rendition)
	item := store.Item{
		Key: layout.SegmentKey(p.path.Number, p.path.Pipeline), Token: token, Meta: meta, Value: p.body,
		Expires: tl.GoneAt(p.path.Number).Add(time.Minute),
	}
	ahead := s.deliverAhead(p)
	p.conn.TakeTurn().Give() // storing waits for the disk, or the network
	err = s.Cache.Put(ctx, s.Book.Store, record, item, p.cand.Digest)
	early := ahead.stop()
	s.Writes.Note(time.Now(), err)
	if err != nil {
		return fmt.Errorf("publish: storing segment %d: %w", p.path.Number, err)
	}
	if s.Book.Get(p.path.Event) != p.event {
		// The event was deleted meanwhile. Where its deletion did not cover this,
		// it is of that event's life, and so of no other event's, and expires.
		return book.NoEvent(p.path.Event)
	}
	p.cand.Published = after(s.Clock.Now(), p.cand.Published)
	if err := s.passGate(p); err != nil {
		// Its pipeline's init segment was refused while this was stored.
		s.takeBack(ctx, p, record, item)
		if early {
			p.event.Condemn(p.path.Rendition, p.cand, tl.Segment().Milliseconds())
		}
		return err
	}
	p.step(stepStore, time.Since(began))
	for _, x := range inside {
		p.timing.Add(x.step, x.d)
	}
	p.wants = p.cand.Quality.Wants()
	began = time.Now()
	s.Window.Put(p.key(), p.body)
	wasAhead := p.event.Ahead(p.path.Rendition, p.path.Number, p.path.Pipeline)
	s.Book.Learn(p.event, p.path.Rendition, p.cand)
	p.step(stepCache, time.Since(began))
	p.news = append(p.news, announce.Message{Kind: announce.Published, Event: p.path.Event, Life: p.event.Life, Rendition: p.path.Rendition, Candidate: p.cand})
	if m, ok := s.Book.Chosen(p.event, p.path.Rendition, p.cand); wasAhead && ok {
		p.news = append(p.news, m) // it was not said while others would have taken it to be stored
	}
	return nil
}

// key names the bytes of a segment in memory.
func (p *publication) key() window.Key {
	return window.Key{Event: p.path.Event, Rendition: p.path.Rendition, Number: p.path.Number, Pipeline: p.path.Pipeline, Digest: p.cand.Digest}
}

// takeBack deletes what was stored and is not to be published after all.
func (s *Server) takeBack(ctx context.Context, p *publication, record store.Record, item store.Item) {
	if err := s.Book.Store.Put(ctx, record, store.Gone(item.Key, book.TokenAfter(s.Book.Tokens, time.Unix(0, item.Token.Time)))); err != nil {
		s.Log.Warn("a segment that was refused is left in the store", "path", p.path.String(), "err", err)
	}
}

// after is t, or before where t is not later.
func after(t, before time.Time) time.Time {
	if t = t.UTC().Round(0); t.Before(before) { // as it comes back from the store
		return before
	}
	return t
}

// notify takes what the packager said, once its segment is stored,
// and before it is acknowledged: a 2xx says that both are durable. What would
// make the set too large is left out, for a segment is worth more.
func (s *Server) notify(p *publication) error {
	if p.said == nil {
		return nil
	}
	pipeline, mark := p.path.Pipeline, p.said.mark
	if !p.event.Hears(pipeline, mark) {
		s.hearings[heardStale].Inc()
		return nil
	}
	outcome := heardUnchanged
	var before live.Notifications
	v, err := s.Book.Edit(p.r.Context(), p.path.Event, func(rec *book.Record, exists bool) (book.Edit, error) {
		switch {
		case !exists:
			return book.Edit{}, book.NoEvent(p.path.Event)
		case !mark.Newer(rec.Heard[pipeline]):
			outcome = heardStale
			return book.Edit{}, book.ErrUnchanged
		}
		x := book.Edit{Notify: p.said.Set, Heard: map[string]book.Heard{pipeline: mark}, Bound: access.Decide(p.by, access.Want{Right: access.Init, Tenant: p.path.Event.Tenant}) != access.Allowed, Free: p.by == access.Anyone}
		may := rec.May(&x)
		if len(may) < len(x.Notify) {
			outcome = heardForbidden
		}
		if slices.EqualFunc(book.Notified(rec.Notifications.Set, may), rec.Notifications.Set, book.SameNotification) {
			return book.Edit{}, book.ErrUnchanged
		}
		if err := rec.MayNotify(may, s.Clock.At(p.received)); err != nil {
			return x, err
		}
		outcome, before = heardChanged, rec.Notifications
		return x, nil
	})
	switch {
	case errors.Is(err, live.ErrBadRequest):
		outcome = heardRefused
		s.Log.Warn("notifications left out", "event", p.path.Event.String(), "pipeline", pipeline, "err", err)
	case errors.Is(err, live.ErrNoEvent):
		return err
	case err != nil:
		return live.ErrNotStored.With(fmt.Sprintf("the segment is stored, its notifications are not: PUT it again: %v", err))
	}
	p.event.Hear(pipeline, mark)
	s.hearings[outcome].Inc()
	if outcome == heardForbidden {
		s.Log.Warn("notifications left out: others said them", "event", p.path.Event.String(), "pipeline", pipeline, "by", p.by.Name, "from", p.r.RemoteAddr, "said", p.said.brief())
	}
	if outcome == heardChanged {
		s.Log.Info("notifications by a packager", "event", p.path.Event.String(), "pipeline", pipeline, "by", p.by.Name, "from", p.r.RemoteAddr, "said", p.said.brief())
		s.Audit.Changed(p.r.Context(), s.entryOf(p, before, v.Record.Notifications))
		p.news = append(p.news, announce.Message{Kind: announce.Changed, Event: p.path.Event, Stamp: s.Book.Stamp(p.path.Event)})
	}
	return nil
}

// tell announces what was published. It comes before the answer, since it never
// waits: who has the answer finds the segment at any node that is connected.
func (s *Server) tell(p *publication) {
	if len(p.news) == 0 {
		return
	}
	began := time.Now()
	for _, m := range p.news {
		s.Book.Announce(m)
	}
	p.step(stepAnnounce, time.Since(began))
}

// acknowledge answers what ended well.
func (s *Server) acknowledge(p *publication) {
	s.count(p)
	s.tellTime(p)
	h := p.w.Header()
	h.Set(live.HeaderCacheControl, "no-store")
	status := http.StatusOK
	if p.outcome != book.Dropped {
		p.event.Stamp(h, s.Clock.Now())
		// The tag of what was stored (RFC 9110, 9.3.4). Content-Digest would speak
		// of this answer's own content, which is empty.
		h.Set("ETag", p.cand.Digest.ETag())
		h.Set(live.HeaderPublished, live.FormatPublished(p.cand.Published))
		if len(p.cand.Findings) > 0 {
			h.Set(live.HeaderDefects, p.cand.Findings.String())
		}
		if len(p.cand.Quality.Wants()) > 0 {
			h.Set(live.HeaderQuality, p.cand.Quality.String())
		}
		if s := p.timing.String(); s != "" {
			h.Set(live.HeaderServerTiming, s)
		}
		if p.outcome == book.Created {
			status = http.StatusCreated
		}
	}
	h.Set("Content-Length", "0")
	p.w.WriteHeader(status)
	if len(p.wants) > 0 {
		s.Log.Warn("a segment shows less than it should", "event", p.path.Event.String(), "pipeline", p.path.Pipeline, "rendition", p.path.Rendition,
			"number", int64(p.path.Number), "quality", p.cand.Quality.String(), "outcome", string(p.outcome))
	}
	if p.path.File == live.FileSegment && p.outcome != book.Dropped && p.outcome != book.Judged && !p.cand.Clean() {
		s.Log.Warn("defective segment", "event", p.path.Event.String(), "pipeline", p.path.Pipeline, "rendition", p.path.Rendition,
			"number", int64(p.path.Number), "defects", p.cand.Findings.String(), "outcome", string(p.outcome))
	}
}

// learn does what the packager need not wait for, once it has its answer: a
// store that hangs must not turn a stored segment into a late one.
func (s *Server) learn(p *publication) {
	if p.path.File != live.FileSegment || p.outcome != book.Created {
		return
	}
	if s.wantsFrameRate(p) {
		_ = http.NewResponseController(p.w).Flush() // or the answer goes when this returns
		s.learnFrameRate(p)
	}
	if s.wantsEvents(p) {
		_ = http.NewResponseController(p.w).Flush()
		s.learnRendition(p, &live.Rendition{Name: p.path.Rendition, InbandEvents: live.NewEventSchemes(schemes(p)...)}, 0)
	}
}

// release gives back what the publication holds: its turn, and what its body had
// of the bodies gate.
func (s *Server) release(p *publication) {
	if p.leave != nil {
		p.leave()
	}
	if p.counted {
		s.Publications.Leave(p.path.Event.Tenant, 1)
	}
	if p.held > 0 {
		s.Bodies.Leave(p.path.Event.Tenant, p.held)
	}
}
