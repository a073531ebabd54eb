package watch

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"headwater/origin/book"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/live"
)

// lookEvery is how often the watchman looks: a pipeline of two-second segments
// that falls silent is in the log within five.
const lookEvery = 250 * time.Millisecond

// A Watchman looks at all events and writes what the watch says into the log. It
// costs requests nothing, but those that it counts: refusals.
type Watchman struct {
	book *book.Book
	log  *slog.Logger

	mu    sync.Mutex // guards the following; taken before an event's
	watch *watch
}

// New returns a watchman who looks at nothing before Run.
func New(book *book.Book, log *slog.Logger, metrics *prometheus.Registry) *Watchman {
	w := &Watchman{book: book, log: log, watch: newWatch()}
	metrics.MustRegister(w)
	return w
}

// Run looks until ctx ends.
func (w *Watchman) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.look(w.book.Clock.Now())
		case <-ctx.Done():
			w.look(w.book.Clock.Now())
			return
		}
	}
}

func (w *Watchman) look(now time.Time) {
	w.mu.Lock()
	var all []seenEvent
	for _, e := range w.book.List() {
		all = append(all, seen(e, func(rendition string) live.Number { return w.watch.from(e.ID, rendition) }))
	}
	lines := w.watch.look(all, now)
	w.mu.Unlock()
	for _, l := range lines {
		w.log.Log(context.Background(), l.level, l.text, l.attrs...)
	}
}

// seen is what the watch needs of an event.
func seen(e *book.Event, from func(rendition string) live.Number) seenEvent {
	v := e.View()
	out := seenEvent{id: e.ID, life: e.Life}
	for _, p := range v.Config().Pipelines {
		out.pipelines = append(out.pipelines, p.Name)
	}
	for _, r := range v.Config().Renditions {
		s := seenTrack{rendition: r.Name, timeline: v.Timelines[r.Name]}
		for _, x := range e.Recent(r.Name, from(r.Name), seenBehind) {
			slot := seenSlot{number: x.Number}
			for _, c := range x.Candidates {
				slot.by = append(slot.by, c.Pipeline)
			}
			if x.Pin != nil {
				slot.served, slot.reason, slot.chosen = x.Pin.Pipeline, x.Pin.Reason, x.Pin.At
			}
			s.slots = append(s.slots, slot)
		}
		out.tracks = append(out.tracks, s)
	}
	return out
}

// Refused notes that a segment was refused as lost at the live edge: there a
// viewer sees a gap.
func (w *Watchman) Refused(id live.EventID, rendition string, n live.Number) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watch.note(repeatKey{id, "refused at the live edge", live.ErrLost.Code}, slog.LevelError, rendition, n, 1, w.book.Clock.Now())
}

// Filled notes that a segment was lost, and another stood in for it, at the live edge;
// which, where it was none of before.
func (w *Watchman) Filled(id live.EventID, rendition string, n live.Number, by string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watch.note(repeatKey{id, "filled at the live edge", by}, slog.LevelError, rendition, n, 1, w.book.Clock.Now())
}

// RefusedControl notes what the control API refused, for a line of the log.
func (w *Watchman) RefusedControl(r *http.Request, by *access.Identity, p *live.Problem) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	path, who := r.URL.Path, "nobody"
	if len(path) > 128 {
		path = path[:128]
	}
	if by != nil {
		who = by.Name
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watch.note(repeatKey{text: "control refused", how: p.Code + ": " + r.Method + " " + path + " from " + host + " by " + who}, slog.LevelWarn, "", 0, 1, w.book.Clock.Now())
}

var (
	silentDesc   = prometheus.NewDesc("headwater_origin_pipeline_silent", "1 where a pipeline has published none of the last two segments of any rendition, else 0.", []string{"event", "pipeline"}, nil)
	deadlineDesc = prometheus.NewDesc("headwater_origin_lost_at_deadline_total", "Segments of renditions of which nothing was published by their deadline.", []string{"event"}, nil)
	switchesDesc = prometheus.NewDesc("headwater_origin_switches_total", "Switches of viewers to another pipeline for a reason other than the order of pipelines.", []string{"event"}, nil)
)

// Describe describes nothing: the names of events are not known beforehand.
func (w *Watchman) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (w *Watchman) Collect(ch chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	type named struct {
		id live.EventID
		*watched
	}
	var all []named
	for id, e := range w.watch.events {
		if now := w.book.Get(id); now != nil && now.Life == e.life {
			all = append(all, named{id, e})
		}
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Compare(a.id.String(), b.id.String()) })
	for _, e := range all[:min(len(all), book.CountedEvents)] {
		name := e.id.String()
		for p, x := range e.pipelines {
			silent := 0.0
			if x.silent {
				silent = 1
			}
			ch <- prometheus.MustNewConstMetric(silentDesc, prometheus.GaugeValue, silent, name, p)
		}
		ch <- prometheus.MustNewConstMetric(deadlineDesc, prometheus.CounterValue, float64(e.lost), name)
		ch <- prometheus.MustNewConstMetric(switchesDesc, prometheus.CounterValue, float64(e.switches), name)
	}
}
