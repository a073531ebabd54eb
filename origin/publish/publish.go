// Package publish is the publishing side. The walk of a PUT is in publish.go, its steps in
// their order there and in receive.go, keep.go and acknowledge.go.
package publish

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"headwater/origin/audit"
	"headwater/origin/book"
	"headwater/origin/health"
	"headwater/origin/journal"
	"headwater/origin/keylock"
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
	Clock  *clock.Clock
	Book   *book.Book
	Look   *look.Looker
	Window *window.Window
	Cache  *blobs.Cache
	Bodies *admit.Share[string] // bytes being read
	// PipelineBodies are those of each pipeline: one whose key was stolen does not keep its tenant's others out.
	PipelineBodies *admit.Share[Publisher]
	Budget         *budget.Budget       // of the process
	Publications   *admit.Share[string] // being published
	Rates          *admit.Rates[string] // of bytes, by tenant
	TenantBytes    int64                // that one tenant may have stored; 0: any number
	Tenants        *metric.Tenants      // what they were refused
	Turns          *admit.Turns         // in which readers work
	Writes         *health.Dependency   // the store's

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
