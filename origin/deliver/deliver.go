// Package deliver is the delivering side: the walk of a GET is in deliver.go, in the
// order of its steps.
package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headwater/origin/book"
	"headwater/origin/journal"
	"headwater/origin/layout"
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
	"headwater/store"
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

	places             map[live.Place]prometheus.Counter
	fallbacks          map[fallbackOutcome]prometheus.Counter
	held               prometheus.Histogram
	holding            prometheus.Gauge
	memory, storeReads prometheus.Counter
	condemned, left    prometheus.Counter
	others             prometheus.Counter
	unfilled, noRoom   prometheus.Counter
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
	s := &Server{Config: cfg, far: fallbackClient(),
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
		left:       metric.Counter(cfg.Metrics, "clients_left_total", "Clients that left before their answer."),
	}
	s.noRoom = metric.Counter(cfg.Metrics, "memory_refused_reads_total", "Segments that were not read from the store for want of memory.")
	cfg.Budget.Count(func() int64 { return s.reading.Load() + s.sending.besides() })
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
//	                    choose, fetch, makeFiller, send             the same, where another stands in
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
	if tl.Live(n, now) {
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
		if !d.looked {
			return s.lookAgain, nil
		}
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
	return s.wait, nil
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

// hold counts the request as held, if it is not yet and there is room.
func (s *Server) hold(d *delivery, class admit.Class) error {
	if !d.hold.IsZero() {
		return nil
	}
	if !s.Holds.Enter(d.path.Event.Tenant, class, 1) {
		return live.ErrShed.With("too many requests are held")
	}
	d.turn.Give() // who waits needs none
	d.hold = time.Now()
	s.holding.Inc()
	s.Look.Hold() // the guard wakes up
	return nil
}

// release ends the turn and the hold of a request, where it has one.
func (s *Server) release(d *delivery) {
	d.turn.Give()
	if d.hold.IsZero() {
		return
	}
	s.Holds.Leave(d.path.Event.Tenant, 1)
	s.holding.Dec()
	held := time.Since(d.hold)
	s.held.Observe(held.Seconds())
	d.hold, d.held = time.Time{}, d.held+held
}

// wait holds the request, and goes on when what is known of the slot or the event has changed, when the
// decision may have, or with an error when the client left or the server drains.
func (s *Server) wait(d *delivery) (step, error) {
	if err := s.hold(d, d.class); err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	n, rendition := d.path.Number, d.path.Rendition
	changed, leave := d.event.Watch(rendition, n)
	defer leave()
	// What is chosen may have changed before the watch began:
	//
	//	this request        a publication, or another's choice
	//	chooses: wait
	//	                    enters the slot, where nobody watches yet
	//	watches
	//	waits in vain
	if d.decision = d.event.Choose(d.view, rendition, n, d.absent, now); d.decision.Action != selection.Wait {
		return s.find, nil
	}
	timer := time.NewTimer(d.decision.Until.Sub(now))
	defer timer.Stop()
	select {
	case <-changed:
	case <-d.view.Changed:
	case <-timer.C:
	case <-d.r.Context().Done():
		return nil, context.Cause(d.r.Context())
	case <-s.Draining:
		return nil, live.ErrDraining.With("ask another origin")
	}
	return s.find, nil // the event may have changed or gone
}

// lookAgain looks into the store before giving up: an announcement may have been
// lost.
func (s *Server) lookAgain(d *delivery) (step, error) {
	d.looked = true
	d.turn.Give()
	if err := s.sure(d); err != nil {
		return nil, err
	}
	tl := d.view.Timelines[d.path.Rendition]
	n := d.path.Number
	_, from, _ := d.event.StandIn(d.view, d.path.Rendition, n, d.absent, s.Clock.Now())
	return s.place, s.Look.Segment(d.r.Context(), d.event, &tl, d.path.Rendition, from, n, d.class, d.key())
}

// lost answers for a segment that was not published in time. A backfill may
// still bring it, so the refusal is short.
func (d *delivery) lost(now time.Time) error {
	tl := d.view.Timelines[d.path.Rendition]
	detail := fmt.Sprintf("segment %d was not published by %s", d.path.Number, tl.Deadline(d.path.Number).Format(live.TimeLayout))
	if d.decision.Reason == selection.NoneUsable {
		detail = fmt.Sprintf("no pipeline's segment %d can be played", d.path.Number)
	}
	return live.ErrLost.For(min(tl.Segment(), tl.GoneAt(d.path.Number).Sub(now))).With(detail)
}

// errReselect is what retrieve returns when what is known of the segment is no
// longer what it was when its candidate was chosen.
var errReselect = errors.New("origin: choose again")

// fetch gets the chosen bytes: from memory, or from the store, once for all
// who ask. What cannot be had is not chosen again.
func (s *Server) fetch(d *delivery) (step, error) {
	c := *d.decision.Candidate
	key := keyOf(d, &c)
	if data, ok := s.Window.Get(key); ok {
		s.memory.Inc()
		d.data = data
		return s.makeFiller, nil
	}
	began := time.Now()
	if err := s.Look.MayRead(d.class, d.key(), began); err != nil {
		return nil, err
	}
	d.turn.Give() // the reading takes its own
	e, class, who, fallBack := d.event, d.class, d.taker(), s.mayFallBack(d.r.Header)
	res, err := s.readOnce(d.r.Context(), key, fallBack, func(ctx context.Context) ([]byte, error) {
		leave, err := s.Look.Enter(e.ID.Tenant, class)
		if err != nil {
			return nil, err
		}
		defer leave()
		if !s.Budget.Room(c.Size) && (class != admit.Live || !s.Budget.RoomFirst(c.Size)) {
			s.noRoom.Inc()
			return nil, live.ErrShed.With("there is no memory for more segments of the " + class.String() + " class just now")
		}
		s.reading.Add(c.Size)
		defer s.reading.Add(-c.Size)
		s.storeReads.Inc()
		work := s.Turns.Begin(ctx, class, who)
		defer work.End()
		ctx = store.WithPauses(ctx, work.Pause)
		return s.obtain(ctx, e, key, c, fallBack)
	})
	d.timing.Add("store", time.Since(began))
	switch {
	case errors.Is(err, errAbsent):
		if d.absent == nil {
			d.absent = make(map[live.Digest]bool)
		}
		d.absent[c.Digest] = true
	case errors.Is(err, errReselect):
	case errors.Is(err, store.ErrCorrupt) || errors.Is(err, store.ErrNotFound):
		tl := d.view.Timelines[d.path.Rendition]
		s.Log.Error("candidate condemned", "path", d.path.String(), "pipeline", c.Pipeline, "err", err)
		s.condemned.Inc()
		e.Condemn(d.path.Rendition, c, tl.Segment().Milliseconds())
	case err != nil:
		return nil, err
	default:
		if class == admit.Live {
			// After a restart the live window comes back to memory as it is asked for.
			s.Window.Put(key, res)
		}
		d.data, d.beside = res, class != admit.Live
		return s.makeFiller, nil
	}
	d.looked = false
	return s.place, nil
}

// readOnce calls f once for all who ask for the same bytes at the same time, with a
// context that is not the first asker's: others wait too. Those who may not go on to another region wait
// for none who do: it might be waiting for them.
func (s *Server) readOnce(ctx context.Context, k window.Key, fallBack bool, f func(ctx context.Context) ([]byte, error)) ([]byte, error) {
	ch := s.shared.DoChan("get "+strconv.FormatBool(fallBack)+" "+k.Event.String()+"/"+k.Rendition+"/"+layout.SegmentKey(k.Number, k.Pipeline)+k.Digest.ETag(), func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), s.StoreTimeout)
		defer cancel()
		return f(ctx)
	})
	select {
	case res := <-ch:
		data, _ := res.Val.([]byte)
		return data, res.Err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// retrieve reads a candidate's bytes: from the cache, or from the store. Where
// that has a newer candidate in its place, that is learnt.
func (s *Server) retrieve(ctx context.Context, e *book.Event, k window.Key, size int64) ([]byte, error) {
	began := time.Now()
	item, err := s.Cache.Get(ctx, s.Look.Store, layout.Media(k.Event, k.Rendition), layout.SegmentKey(k.Number, k.Pipeline), k.Digest, size)
	other := errors.Is(err, blobs.ErrOther)
	if other {
		s.Look.Observe(began, nil)
	} else {
		s.Look.Observe(began, err)
	}
	if !other {
		return item.Value, err
	}
	got := blobs.DigestOf(ctx, item.Value)
	if c, life, err := layout.DecodeCandidate(item); err == nil && life == e.Life && c.Digest == got {
		if s.Book.Learn(e, k.Rendition, c) {
			s.Look.Missed.Inc()
			return nil, errReselect
		}
		if now, ok := e.Candidate(k.Rendition, k.Number, k.Pipeline); ok && now.Digest == got {
			return nil, errReselect // repaired between the choice and the reading
		}
	}
	return nil, fmt.Errorf("%w: the digest of %v is another", store.ErrCorrupt, layout.SegmentKey(k.Number, k.Pipeline))
}

// send answers with the chosen bytes.
func (s *Server) send(d *delivery) (step, error) {
	// What is being sent to those who read slowly is bounded, too.
	c, to, size := d.decision.Candidate, d.conn.Address(), int64(len(d.data))
	key := keyOf(d, c)
	if err := s.sending.begin(key, to, d.class, size, d.beside); err != nil {
		return nil, err
	}
	defer s.sending.end(key, to, size)
	now := s.Clock.Now()
	h := d.w.Header()
	rendition, _ := d.view.Config().Rendition(d.path.Rendition)
	maps.Copy(h, s.headOf(d, rendition))
	findings := selection.WithSeam(c.Findings, d.event.Seam(d.view, d.path.Rendition, c))
	if len(findings) > 0 {
		h.Set(live.HeaderDefects, findings.String())
	}
	if len(c.Quality.Wants()) > 0 && d.decision.Reason != selection.Filled {
		h.Set(live.HeaderQuality, c.Quality.String())
	}
	h[live.HeaderCacheControl] = []string{live.FormatLifetimes(d.lifetimes(now))}
	h.Set(live.HeaderCMSDStatic, cmsd(rendition, d.view.Timelines[d.path.Rendition], d.held))
	if d.event.Ahead(d.path.Rendition, c.Number, c.Pipeline) {
		h.Set(live.HeaderPublished, live.FormatPublished(c.Published)+live.Unstored)
	}
	if d.held > 0 {
		d.timing.Add("hold", d.held)
	}
	if s := d.timing.String(); s != "" {
		h.Set(live.HeaderServerTiming, s)
	}
	if d.decision.Reason != selection.Filled {
		s.Book.Counters.Of(d.event).Servings.WithLabelValues(c.Pipeline).Inc()
	}
	s.write(d, d.data, c.Published)
	s.noteServed(d, findings, now)
	return nil, nil
}

// noteServed writes a choice that is being sent into the journal, the first time that this node does.
// Who asks for exactly these bytes, or for none, is no viewer.
func (s *Server) noteServed(d *delivery, findings live.Findings, now time.Time) {
	if d.r.Method != http.MethodGet || d.r.Header["If-Match"] != nil || tagged(d.r.Header) != "" {
		return
	}
	c, p := d.decision.Candidate, d.decision.Pin
	chosen := p != nil && p.Pipeline == c.Pipeline && p.Digest == c.Digest
	if chosen && (p.Served.Load() != 0 || !p.Served.CompareAndSwap(0, now.UnixNano())) {
		return // nearly always: a hit makes no entry
	}
	e := journal.Entry{Rendition: d.path.Rendition, Number: c.Number, Pipeline: c.Pipeline, Region: c.Region, Digest: c.Digest.String(),
		Defects: findings.String(), Quality: c.Quality.String(), First: now.UnixNano()}
	if chosen {
		e.Reason, e.Turn, e.Version, e.Chosen, e.By = string(p.Reason), p.Turn, p.Version, p.At.UnixNano(), p.Node
	} else {
		// In place of a choice that cannot be had here yet. It is none: after a
		// restart it must not stand.
		e.Reason, e.Turn, e.Version, e.Chosen, e.By = string(d.decision.Reason), journal.InPlace, d.view.Config().Version, e.First, s.Book.Node
	}
	s.Journal.Enter(d.event.Named(), e)
}

// refuse maps an error to its status: the one place that does.
func (s *Server) refuse(d *delivery, err error) {
	var problem *live.Problem
	switch {
	case errors.As(err, &problem):
	case d.r.Context().Err() != nil:
		s.left.Inc()
		return // nobody is there to read an answer
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFull), errors.Is(err, context.DeadlineExceeded):
		problem = live.ErrStoreDown.With(err.Error())
	default:
		problem = live.ErrInternal.With(err.Error())
		s.Log.Error("delivery", "path", d.r.URL.Path, "err", err)
	}
	if problem.Is(live.ErrShed) {
		s.keepBack(d)
	}
	s.Book.Refused(d.event, "deliver", problem)
	if d.event != nil && d.path.File == live.FileSegment {
		if problem.Code == live.ErrLost.Code || problem.Status == http.StatusServiceUnavailable {
			now := s.Clock.Now().UnixNano()
			s.Journal.Enter(d.event.Named(), journal.Entry{Rendition: d.path.Rendition, Number: d.path.Number, Status: problem.Status, Problem: problem.Code, Count: 1, First: now, Last: now})
		}
		if problem.Code == live.ErrLost.Code && d.class == admit.Live {
			s.Watchman.Refused(d.path.Event, d.path.Rendition, d.path.Number)
		}
	}
	if d.event != nil {
		d.event.Stamp(d.w.Header(), s.Clock.Now())
	}
	problem.Write(d.w, d.r)
}
