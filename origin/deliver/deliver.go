// Package deliver is the delivering side. The walk of a GET is in deliver.go, its steps in
// their order there and in enter.go, wait.go, fetch.go and send.go.
package deliver

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"headwater/origin/book"
	"headwater/origin/journal"
	"headwater/origin/look"
	"headwater/origin/metric"
	"headwater/origin/watch"
	"headwater/origin/window"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"headwater/access"
	"headwater/admit"
	"headwater/blobs"
	"headwater/budget"
	"headwater/clock"
	"headwater/listen"
	"headwater/live"
	"headwater/selection"
)

// A Server serves the delivery listener.
type Server struct {
	Config
	far     *http.Client       // for other regions
	sending sending            // what is being sent
	shared  singleflight.Group // reads of bytes, each once for all who ask
	tasks   sync.WaitGroup     // attempts at them
	pages   pages
	fillers fillers
	clips   *window.Window // pieces of slates

	places             map[live.Place]prometheus.Counter
	fallbacks          map[fallbackOutcome]prometheus.Counter
	held               prometheus.Histogram
	holding            prometheus.Gauge
	memory, storeReads prometheus.Counter
	condemned, left    prometheus.Counter
	others             prometheus.Counter
	unfilled, noRoom   prometheus.Counter
	unslated           prometheus.Counter
	reading            atomic.Int64 // bytes of segments that are being read from the store
}

// A Config is what the delivering side is built from.
type Config struct {
	Clock     *clock.Clock
	Access    *access.Guard // nil: anybody may
	Private   bool          // all events
	Book      *book.Book
	Look      *look.Looker
	Window    *window.Window
	Journal   *journal.Journal
	Watchman  *watch.Watchman
	Cache     *blobs.Cache
	Admission *admit.Admission
	Turns     *admit.Turns
	Holds     *admit.Share[string]     // requests held
	Budget    *budget.Budget           // of the process
	Egress    *admit.Share[string]     // bytes being sent: see sending
	Watching  *admit.Share[netip.Addr] // requests held for another configuration
	Sent      *admit.Share[netip.Addr] // the same, to one address
	Asking    *admit.Share[string]     // segments asked of other regions
	Draining  <-chan struct{}

	Region        string
	StoreTimeout  time.Duration
	Fallback      []string
	FallbackAfter time.Duration

	Log     *slog.Logger
	Metrics *prometheus.Registry
}

// New returns a delivering side.
func New(cfg Config) *Server {
	s := &Server{Config: cfg, far: fallbackClient(), clips: window.New(clipBytes, 50),
		sending:    sending{egress: cfg.Egress, sent: cfg.Sent, clients: make(map[window.Key]int), beside: make(map[window.Key]int64)},
		places:     make(map[live.Place]prometheus.Counter),
		fallbacks:  metric.Counters(cfg.Metrics, "fallbacks_total", "Segments asked of another region, by outcome.", "outcome", fallbackOutcomes),
		held:       metric.Seconds(cfg.Metrics, "hold_seconds", "How long requests were held."),
		holding:    prometheus.NewGauge(prometheus.GaugeOpts{Name: metric.Name("holding"), Help: "Requests held now."}),
		memory:     metric.Counter(cfg.Metrics, "memory_hits_total", "Segments answered from memory."),
		storeReads: metric.Counter(cfg.Metrics, "store_reads_total", "Segments read from the store."),
		condemned:  metric.Counter(cfg.Metrics, "condemned_total", "Candidates whose stored bytes were bad or gone."),
		others:     metric.Counter(cfg.Metrics, "named_total", "Segments of which other bytes were asked for by their entity tag than are chosen, and served."),
		unfilled:   metric.Counter(cfg.Metrics, "unfilled_total", "Lost segments for which nothing could be made of the one before."),
		unslated:   metric.Counter(cfg.Metrics, "unslated_total", "Lost segments for which the slate could not be read, and that were filled."),
		left:       metric.Counter(cfg.Metrics, "clients_left_total", "Clients that left before their answer."),
	}
	s.noRoom = metric.Counter(cfg.Metrics, "memory_refused_reads_total", "Segments that were not read from the store for want of memory.")
	cfg.Budget.Count(func() int64 { _, clips := s.clips.Size(); return s.reading.Load() + s.sending.besides() + clips })
	cfg.Metrics.MustRegister(s.holding)
	places := prometheus.NewCounterVec(prometheus.CounterOpts{Name: metric.Name("places_total"), Help: "Segment requests by their place on the timeline."}, []string{"place"})
	cfg.Metrics.MustRegister(places)
	for _, p := range live.Places {
		s.places[p] = places.WithLabelValues(p.String())
	}
	metric.Gauge(cfg.Metrics, "memory_bytes", "Bytes of segments in memory.", func() float64 { _, b := s.Window.Size(); return float64(b) })
	return s
}

// Close waits for what is being read.
func (s *Server) Close() {
	s.far.CloseIdleConnections()
	s.tasks.Wait()
}

// authorise lets an event of which viewers must show tokens, or any where all are
// private, be read by those only who may fill: edges hold viewers to it.
func (s *Server) authorise(d *delivery) error {
	if d.known || !s.Private && !d.view.Config().NeedsToken() {
		return nil
	}
	if _, err := s.Access.Check(d.w, d.r, access.Want{Right: access.Deliver, Tenant: d.path.Event.Tenant}); err != nil {
		return err
	}
	d.known = true
	return nil
}

// A delivery is one GET on its way through the steps.
type delivery struct {
	came  time.Time
	sure  bool // that it is not for want of a confirmed clock that it is refused
	r     *http.Request
	w     http.ResponseWriter
	path  live.Path
	event *book.Event
	view  *book.View
	class admit.Class
	conn  *listen.Conn // nil where it has no limits
	turn  *admit.Turn  // nil where it has none

	placed bool // it was counted
	let    bool // in
	looked bool // into the store, before giving up
	known  bool // who asks may

	decision book.Choice
	absent   map[live.Digest]bool // candidates that were announced and could not be had
	data     []byte               // the chosen one's bytes: shared, and never changed
	beside   bool                 // they are not in the window
	hold     time.Time            // since when it is held; zero: it is not
	held     time.Duration        // how long it was
	timing   live.Timing
}

// A step does a part of a delivery and says which is next; nil where it is
// over. An error is a *live.Problem, or one that refuse maps.
type step func(d *delivery) (next step, err error)

// ServeHTTP implements http.Handler. It is the walk of one GET:
//
//	parse, find, place, enter, choose, fetch, send                  a segment that is there
//	                    choose, wait, find, place, enter, ...       one that is waited for
//	                    choose, lookAgain, place, ..., refuse       one that is not coming
//	                    choose, fill, fetch, makeFiller, send       the same, where another stands in
//	                    choose, makeSlate, send                     or a piece of the operator's clip
//	                            fetch, ..., cutKeyFrame, send       the key frame alone of any of those
//	                            fetch, place, ...                   bytes that are not to be had
//
// Init segments, event.json and manifests are sent after find and enter.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := &delivery{came: time.Now(), r: r, w: w, class: admit.Rest, conn: listen.ConnOf(r.Context())}
	d.conn.Serve(admit.Rest, "") // until more is known
	d.turn = d.conn.TakeTurn()
	defer s.release(d)
	for next := s.parse; next != nil; {
		var err error
		if next, err = next(d); err != nil {
			s.release(d)
			s.refuse(d, err)
			return
		}
	}
}

// parse reads method and path, and answers what is of no event.
func (s *Server) parse(d *delivery) (step, error) {
	live.AllowCORS(d.w.Header())
	switch d.r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodOptions:
		live.ServePreflight(d.w)
		return nil, nil
	default:
		d.w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		return nil, live.ErrMethod.With(d.r.Method + " is not for delivery")
	}
	path := pathOf(d.r)
	if path == live.TimePath {
		return nil, s.tellTime(d)
	}
	var no refusal
	if d.path, no = read(path); no.is() {
		return nil, no.err()
	}
	return s.find, nil
}

// find looks up event and rendition, in memory.
func (s *Server) find(d *delivery) (step, error) {
	var no refusal
	if d.event, no = s.eventOf(&d.path); no.is() {
		s.name(d, no.names())
		return nil, no.err()
	}
	d.view = d.event.View()
	if err := s.authorise(d); err != nil {
		return nil, err
	}
	if no = within(d.view, &d.path); no.is() {
		return nil, no.err()
	}
	if d.path.File == live.FileSegment {
		return s.place, nil
	}
	if d.path.File != live.FileConfig || d.r.URL.RawQuery == "" {
		d.class = admit.Live // nobody watches without it; who waits for another configuration has one
	}
	return s.enter, nil
}

// name tells an edge that wants to know which names there are, so that it need not
// ask for the others.
func (s *Server) name(d *delivery, tenant string) {
	if len(d.r.Header[live.HeaderNames]) > 0 {
		if names := s.Book.Names(tenant); names != "" {
			d.w.Header().Set(live.HeaderNames, names)
		}
	}
}

// place refuses by the timeline alone and finds the request's class.
func (s *Server) place(d *delivery) (step, error) {
	now := s.Clock.Now()
	n, tl := d.path.Number, d.view.Timelines[d.path.Rendition]
	if !d.placed {
		s.places[tl.Place(n, now)].Inc()
		d.placed = true
	}
	if no := outside(&tl, n, now); no.is() {
		if !d.sure {
			d.sure = true
			return s.place, s.sure(d)
		}
		return nil, no.err()
	}
	d.class = admit.DVR
	if tl.Live(n, now) && !d.path.Key {
		d.class = admit.Live
	}
	return s.enter, nil
}

// know has a node that has just started read first what was published of the segment, and
// right before it.
func (s *Server) know(d *delivery) (step, error) {
	unknown := d.event.Unknown(d.path.Number, d.path.Number)
	if len(unknown) == 0 {
		return s.choose, nil // nearly always
	}
	d.turn.Give()
	return s.place, s.Look.Know(d.r.Context(), d.event, unknown)
}

// choose selects a candidate, or waits while there is a better one, or any, to
// wait for.
func (s *Server) choose(d *delivery) (step, error) {
	now := s.Clock.Now()
	if c := s.named(d); c != nil {
		return s.serveNamed(d, c, now), nil
	}
	d.decision = d.event.Choose(d.view, d.path.Rendition, d.path.Number, d.absent, now)
	if len(d.absent) > 0 && d.decision.Action != selection.Serve {
		return nil, live.ErrStoreDown.With(fmt.Sprintf("segment %d was announced and is not here yet", d.path.Number))
	}
	switch d.decision.Action {
	case selection.Serve:
		if !s.settle(d, now) {
			return s.place, nil // somebody chose meanwhile
		}
		s.Book.Decided(d.event, d.decision.Reason)
		s.release(d)
		return s.fetch, nil
	case selection.Refuse:
		switch {
		case !d.looked:
			return s.lookAgain, nil
		case d.view.Slate(d.path.Rendition, d.path.Number) != nil:
			return s.makeSlate, nil
		}
		return s.fill, nil
	}
	return s.wait, nil
}

// fill finds what can stand in for a segment that is lost.
func (s *Server) fill(d *delivery) (step, error) {
	now := s.Clock.Now()
	if in, _, ok := d.event.StandIn(d.view, d.path.Rendition, d.path.Number, d.absent, now); ok {
		d.decision = in
		if !s.settle(d, now) {
			return s.place, nil // somebody chose meanwhile
		}
		return s.fetch, nil // and then makeFiller
	}
	s.Book.Decided(d.event, d.decision.Reason)
	return nil, d.lost(now)
}

// settle makes a choice the slot's, where nobody has chosen since it was made,
// and tells the other nodes. It reports whether the choice stands.
func (s *Server) settle(d *delivery, now time.Time) bool {
	c := d.decision.Candidate
	if d.decision.Reason == selection.Pinned || len(d.absent) > 0 {
		return true // one that cannot be had here is for others to serve
	}
	p := &book.Pin{Reason: d.decision.Reason, Pin: selection.Pin{Pipeline: c.Pipeline, Region: c.Region, Digest: c.Digest,
		At: now.UTC().Round(0), Node: s.Book.Node, Version: d.view.Config().Version}}
	if d.decision.Pin != nil {
		p.Turn = d.decision.Pin.Turn + 1
	}
	if !d.event.Settle(d.path.Rendition, c.Number, p, d.decision.Pin) {
		return false
	}
	d.decision.Pin = p
	if d.event.Ahead(d.path.Rendition, c.Number, c.Pipeline) {
		return true // the others are told when it is stored
	}
	if m, ok := s.Book.Chosen(d.event, d.path.Rendition, *c); ok {
		s.Book.Announce(m)
	}
	return true
}
