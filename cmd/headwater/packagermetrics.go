package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headwater/listen"
	"headwater/live"
	"headwater/packager"
)

// packagerFigures is a collector of what packagers do, by event and pipeline: one, or of
// each encoder that sends one.
type packagerFigures struct {
	of func() map[string]packager.Stats // by TENANT/EVENT/PIPELINE
}

func packagerDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("headwater_packager_"+name, help, append([]string{"of"}, labels...), nil)
}

var (
	packagerSegments = packagerDesc("segments_total", "Segments: cut, published (acknowledged), of those backfilled, and missed (not acknowledged by their deadline).", "outcome")
	packagerBytes    = packagerDesc("published_bytes_total", "Bytes of segments acknowledged.")
	packagerInits    = packagerDesc("inits_total", "Init segments acknowledged.")
	packagerRefused  = packagerDesc("refused_total", "Answers that are final refusals, by the problem's code.", "problem")
	packagerDropped  = packagerDesc("dropped_total", "Segments never sent, or given up.", "reason")
	packagerFindings = packagerDesc("findings_total", "Segments with a finding.", "kind")
	packagerAttempts = packagerDesc("attempts_total", "Attempts beyond the first of a segment: retried (hedged ones too), hedged, and those held back.", "kind")
	packagerLooks    = packagerDesc("looks_total", "Of --look: segments watched, of them wanting, those unseen, watchers that died, verdicts heard and unheard.", "outcome")
	packagerClock    = packagerDesc("clock_total", "How often the encoder's clock was taken anew (moves) or stepped without that (steps).", "kind")
	packagerUnfit    = packagerDesc("unfit_renditions", "Renditions that are not sent now, since the origin refuses their init segment.")
	packagerWaiting  = packagerDesc("waiting_segments", "Segments being sent now, and queued to be backfilled.", "where")
	packagerQueued   = packagerDesc("queued_bytes", "Bytes of what is queued.")
	packagerNewest   = packagerDesc("newest_segment", "Newest acknowledged number.", "rendition")
	packagerAck      = packagerDesc("ack_seconds", "From when a segment was complete to its acknowledgement, over the last 1,024.", "quantile")
)

// Describe implements prometheus.Collector.
func (c packagerFigures) Describe(ch chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, ch) }

// Collect implements prometheus.Collector.
func (c packagerFigures) Collect(ch chan<- prometheus.Metric) {
	for of, s := range c.of() {
		put := func(desc *prometheus.Desc, kind prometheus.ValueType, v float64, label ...string) {
			ch <- prometheus.MustNewConstMetric(desc, kind, v, append([]string{of}, label...)...)
		}
		count := func(desc *prometheus.Desc, n int64, label ...string) {
			put(desc, prometheus.CounterValue, float64(n), label...)
		}
		gauge := func(desc *prometheus.Desc, v float64, label ...string) {
			put(desc, prometheus.GaugeValue, v, label...)
		}
		for outcome, n := range map[string]int64{"cut": s.Cut, "published": s.Published, "backfilled": s.Backfilled, "missed": s.Missed} {
			count(packagerSegments, n, outcome)
		}
		count(packagerBytes, s.Bytes)
		count(packagerInits, s.Inits)
		for _, p := range live.Problems {
			if _, ok := s.Refused[p.Code]; !ok && p.Status < http.StatusInternalServerError {
				count(packagerRefused, 0, p.Code)
			}
		}
		for code, n := range s.Refused {
			count(packagerRefused, n, code)
		}
		for reason, n := range s.Dropped {
			count(packagerDropped, n, reason)
		}
		for kind, n := range s.Findings {
			count(packagerFindings, n, string(kind))
		}
		for kind, n := range map[string]int64{"retried": s.Retried, "hedged": s.Hedged, "held": s.Held} {
			count(packagerAttempts, n, kind)
		}
		for outcome, n := range map[string]int64{"looked": s.Looked, "wanting": s.Wanting, "unseen": s.Unseen, "died": s.LookDeaths, "heard": s.Verdicts, "unheard": s.Unheard} {
			count(packagerLooks, n, outcome)
		}
		count(packagerClock, s.ClockMoves, "moves")
		count(packagerClock, s.ClockSteps, "steps")
		gauge(packagerUnfit, float64(len(s.Unfit)))
		gauge(packagerWaiting, float64(s.InFlight), "sent")
		gauge(packagerWaiting, float64(s.Queued), "queued")
		gauge(packagerQueued, float64(s.QueuedBytes))
		for rendition, n := range s.Newest {
			gauge(packagerNewest, float64(n), rendition)
		}
		for q, d := range map[float64]float64{0.5: s.AckP50.Seconds(), 0.99: s.AckP99.Seconds(), 1: s.AckMax.Seconds()} {
			gauge(packagerAck, d, strconv.FormatFloat(q, 'g', -1, 64))
		}
	}
}

// showFigures answers /metrics and /healthz at an address, until stop is called.
func showFigures(ctx context.Context, address string, of func() map[string]packager.Stats, log *slog.Logger) (stop func(), err error) {
	if address == "" {
		return func() {}, nil
	}
	metrics := newRegistry()
	metrics.MustRegister(packagerFigures{of})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--metrics: %w", err)
	}
	srv := listen.NewServer(mux, log)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = srv.Serve(l)
	}()
	log.Info("listening", "for", "metrics", "address", l.Addr().String())
	return func() { srv.Close(); <-ended }, nil
}
