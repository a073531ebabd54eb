package deliver

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/admit"
	"headwater/announce"
	"headwater/clock"
	"headwater/live"
	"headwater/origin/book"
	"headwater/origin/health"
	"headwater/origin/journal"
	"headwater/origin/look"
	"headwater/origin/watch"
	"headwater/origin/window"
	"headwater/selection"
	"headwater/store"
	"headwater/store/memory"
)

var id = live.EventID{Tenant: "acme", Name: "final"}

// newServer is a delivering side with one event, which began a minute ago.
func newServer(t testing.TB) (*Server, *book.Event) {
	t.Helper()
	log, metrics, st, tokens, clk := slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry(), memory.New(memory.Options{}), store.NewTokens(), clock.New(clock.Config{})
	b := book.New(book.Config{Clock: clk, Store: st, Tokens: tokens, Bus: announce.NewLocal(), Node: "here", Alone: true, Timeout: time.Second, Log: log, Metrics: metrics})
	ev := live.Default()
	ev.Start = time.Now().UTC().Truncate(2 * time.Second).Add(-time.Minute)
	ev.Pipelines = []live.Pipeline{{Name: "a"}}
	ev.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}}
	if _, err := b.Edit(t.Context(), id, func(*book.Record, bool) (book.Edit, error) { return book.Edit{Configure: &ev}, nil }); err != nil {
		t.Fatal(err)
	}
	holds, turns := admit.NewShare[string](10, 100), admit.NewTurns(1, time.Second)
	calm := func(time.Time) admit.Signals { return admit.Signals{} }
	l := look.New(look.Config{Book: b, Store: st, Reads: admit.NewShare[string](10, 100), Slow: admit.NewSlowness(time.Second), Reading: admit.NewAdmission(nil, nil, calm), Health: health.ReadsOf(st, "here"),
		Holding: holds.Used, Interval: time.Second, Timeout: time.Second, Log: log, Metrics: metrics})
	j := journal.New(journal.Config{Store: st, Reader: st, Tokens: tokens, Node: "here", Timeout: time.Second, Timeline: b.Timeline, Log: log, Metrics: metrics})
	s := New(Config{Clock: clk, Book: b, Look: l, Window: window.New(1<<20, 0), Journal: j, Watchman: watch.New(b, log, metrics), Admission: admit.NewAdmission(turns, nil, calm), Turns: turns, Holds: holds, Egress: admit.NewShare[string](1<<20, 100),
		Watching: admit.NewShareOf[netip.Addr](10, 10), Sent: admit.NewShareOf[netip.Addr](1<<20, 1<<20),
		Draining: make(chan struct{}), StoreTimeout: time.Second, Log: log, Metrics: metrics})
	return s, b.Get(id)
}

// publish makes a segment known and to be had.
func (s *Server) publish(e *book.Event, n live.Number, data string) {
	c := live.Candidate{Pipeline: "a", Number: n, Digest: live.DigestOf([]byte(data)), Size: int64(len(data)), Published: time.Now()}
	s.Window.Put(window.Key{Event: id, Rendition: "v", Number: n, Pipeline: "a", Digest: c.Digest}, []byte(data))
	s.Book.Learn(e, "v", c)
}

// An interposer runs something when a request begins to be held.
type interposer struct {
	prometheus.Gauge
	run func()
}

func (i *interposer) Inc() {
	i.Gauge.Inc()
	if f := i.run; f != nil {
		i.run = nil
		f()
	}
}

// TestPublishedBetweenChoosingAndWatching: what comes after a request chose to
// wait, and before it watches the slot, is not missed.
func TestPublishedBetweenChoosingAndWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := newServer(t)
		tl := e.View().Config().Event.Timeline()
		n := tl.At(time.Now())
		time.Sleep(time.Until(tl.Due(n)))
		s.holding = &interposer{s.holding, func() { s.publish(e, n, "segment") }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := httptest.NewRecorder()
		s.ServeHTTP(w, httptest.NewRequest("GET", "/acme/final/v/"+live.SegmentName(n), nil).WithContext(ctx))
		if w.Code != 200 || w.Body.String() != "segment" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
}

// TestHitMakesNoEntry: what was served before costs the journal nothing.
func TestHitMakesNoEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, e := newServer(t)
		tl := e.View().Config().Event.Timeline()
		n := tl.At(time.Now()) - 1
		s.publish(e, n, "segment")
		r := httptest.NewRequest("GET", "/acme/final/v/"+live.SegmentName(n), nil)
		s.ServeHTTP(httptest.NewRecorder(), r)
		d := &delivery{r: r, event: e, view: e.View(), path: live.Path{Event: id, Rendition: "v", Number: n}}
		d.decision = e.Choose(d.view, "v", n, nil, time.Now())
		if d.decision.Reason != selection.Pinned {
			t.Fatal(d.decision.Reason)
		}
		if got := testing.AllocsPerRun(100, func() { s.noteServed(d, nil, time.Now()) }); got != 0 {
			t.Errorf("%v allocations", got)
		}
	})
}

// discard is a response that nobody reads.
type discard struct{ h http.Header }

func (d *discard) Header() http.Header         { return d.h }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(int)             {}

// BenchmarkDeliver is what the walk costs, without the connection.
func BenchmarkDeliver(b *testing.B) {
	s, e := newServer(b)
	tl := e.View().Config().Event.Timeline()
	n := tl.At(time.Now()) - 1
	s.publish(e, n, "segment")
	for name, path := range map[string]string{"hit": "v/" + live.SegmentName(n), "early": "v/" + live.SegmentName(n+1000), "no rendition": "x/" + live.SegmentName(n)} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/acme/final/"+path, nil)
			b.ReportAllocs()
			for b.Loop() {
				w := &discard{make(http.Header, 16)}
				s.ServeHTTP(w, r)
			}
		})
	}
}
