package origin

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/live"
)

// lookEvery is how often the watchman looks: a pipeline of two-second segments
// that falls silent is in the log within five.
const lookEvery = 250 * time.Millisecond

// A watchman looks at all events and writes what the watch says into the log. It
// costs requests nothing, but those that it counts: refusals.
type watchman struct {
	book *registry
	log  *slog.Logger

	mu    sync.Mutex // guards the following; taken before an event's
	watch *watch
}

func newWatchman(book *registry, log *slog.Logger, metrics *prometheus.Registry) *watchman {
	w := &watchman{book: book, log: log, watch: newWatch()}
	metrics.MustRegister(w)
	return w
}

// run looks until ctx ends.
func (w *watchman) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.look(time.Now())
		case <-ctx.Done():
			w.look(time.Now())
			return
		}
	}
}

func (w *watchman) look(now time.Time) {
	w.mu.Lock()
	var seen []seenEvent
	for _, e := range w.book.list() {
		seen = append(seen, e.seen(func(rendition string) live.Number { return w.watch.from(e.id, rendition) }))
	}
	lines := w.watch.look(seen, now)
	w.mu.Unlock()
	for _, l := range lines {
		w.log.Log(context.Background(), l.level, l.text, l.attrs...)
	}
}

// seen is what the watch needs of an event.
func (e *event) seen(from func(rendition string) live.Number) seenEvent {
	v := e.view.Load()
	out := seenEvent{id: e.id, life: e.life}
	for _, p := range v.config().Pipelines {
		out.pipelines = append(out.pipelines, p.Name)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, r := range v.config().Renditions {
		s := seenTrack{rendition: r.Name, timeline: v.timelines[r.Name]}
		if t := e.tracks[r.Name]; t != nil {
			for n := max(from(r.Name), t.newest-seenBehind, 0); n <= t.newest; n++ {
				x := t.slots[n]
				if x == nil {
					continue
				}
				slot := seenSlot{number: n}
				for _, c := range x.candidates {
					slot.by = append(slot.by, c.Pipeline)
				}
				if x.pin != nil {
					slot.served, slot.reason, slot.chosen = x.pin.Pipeline, x.pin.reason, x.pin.At
				}
				s.slots = append(s.slots, slot)
			}
		}
		out.tracks = append(out.tracks, s)
	}
	return out
}

// refused notes that a segment was refused as lost at the live edge: there a
// viewer sees a gap.
func (w *watchman) refused(id live.EventID, rendition string, n live.Number) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watch.note(repeatKey{id, "refused at the live edge", live.ErrLost.Code}, slog.LevelError, rendition, n, 1, time.Now())
}

// refusedControl notes an attempt to change an event that was refused, or to see
// what is not for who asked; by is nil where that is nobody who is known.
func (w *watchman) refusedControl(r *http.Request, by *access.Identity, p *live.Problem) {
	if r.Method == http.MethodGet && p.Code != live.ErrUnauthorized.Code && p.Code != live.ErrForbidden.Code {
		return
	}
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
	w.watch.note(repeatKey{text: "control refused", how: p.Code + ": " + r.Method + " " + path + " from " + host + " by " + who}, slog.LevelWarn, "", 0, 1, time.Now())
}

var (
	silentDesc   = prometheus.NewDesc("headwater_origin_pipeline_silent", "1 where a pipeline has published none of the last two segments of any rendition, else 0.", []string{"event", "pipeline"}, nil)
	deadlineDesc = prometheus.NewDesc("headwater_origin_lost_at_deadline_total", "Segments of renditions of which nothing was published by their deadline.", []string{"event"}, nil)
	switchesDesc = prometheus.NewDesc("headwater_origin_switches_total", "Switches of viewers to another pipeline for a reason other than the order of pipelines.", []string{"event"}, nil)
)

// Describe describes nothing: the names of events are not known beforehand.
func (w *watchman) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (w *watchman) Collect(ch chan<- prometheus.Metric) {
	w.mu.Lock()
	defer w.mu.Unlock()
	type named struct {
		id live.EventID
		*watched
	}
	var all []named
	for id, e := range w.watch.events {
		if now := w.book.get(id); now != nil && now.life == e.life {
			all = append(all, named{id, e})
		}
	}
	slices.SortFunc(all, func(a, b named) int { return cmp.Compare(a.id.String(), b.id.String()) })
	for _, e := range all[:min(len(all), countedEvents)] {
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
