package main

import (
	"log/slog"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headwater/announce/nats/natstest"
	"headwater/edge"
	"headwater/internal/need"
	"headwater/origin"
	"headwater/store"
	"headwater/store/memory"
)

// signalling is a store that tells about itself, as those over a network do.
type signalling struct{ store.Store }

func (signalling) Signals() []store.Signal { return []store.Signal{{Op: "put"}, {Op: "get"}} }

// TestMetricsAreClean: promtool has nothing to say about what any listener
// answers at /metrics, and what is wanted of it is there.
func TestMetricsAreClean(t *testing.T) {
	promtool := need.Program(t, "promtool")
	log := slog.New(slog.DiscardHandler)

	ofOrigin := newRegistry()
	open := opening{log: log, metrics: ofOrigin}
	st, err := openStores(t.Context(), "disk:"+t.TempDir(), "disk:"+t.TempDir(), open)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	memcached := cacheFlags{address: "memcached://a=127.0.0.1:1", timeout: time.Millisecond}
	cache, err := memcached.open("publish", log, ofOrigin)
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	announce := announceFlags{servers: natstest.Start(t).URL()}
	bus, closeBus, err := announce.open(log, ofOrigin)
	if err != nil {
		t.Fatal(err)
	}
	defer closeBus()
	if _, err := origin.New(t.Context(), origin.Config{Store: st, Cache: cache, Bus: bus, Metrics: ofOrigin}); err != nil {
		t.Fatal(err)
	}

	ofNetwork := newRegistry() // an origin's whose store is over a network
	ofNetwork.MustRegister(storeSignals{signalling{memory.New(memory.Options{})}})

	ofEdge := newRegistry()
	ed, err := edge.New(edge.Config{Parents: []string{"http://127.0.0.1:1"}, Disk: t.TempDir(), Log: log, Metrics: ofEdge})
	if err != nil {
		t.Fatal(err)
	}
	defer ed.Close()

	for _, c := range []struct {
		name string
		reg  *prometheus.Registry
		want []string
	}{
		{"origin", ofOrigin, []string{"headwater_build_info{", "headwater_origin_events ", `headwater_store_disk_bytes{namespace="media",store="store"}`,
			`headwater_store_disk_free_bytes{store="store"}`, `headwater_store_disk_bytes{namespace="control",store="control-store"}`, "headwater_announce_connected"}},
		{"store", ofNetwork, []string{"headwater_store_p99_seconds{"}},
		{"edge", ofEdge, []string{"headwater_build_info{", "headwater_edge_disk_bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			promhttp.HandlerFor(c.reg, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
			text := w.Body.String()
			if w.Code != 200 {
				t.Fatalf("%d %s", w.Code, text)
			}
			for _, want := range c.want {
				if !strings.Contains(text, "\n"+want) {
					t.Errorf("no %s", want)
				}
			}
			cmd := exec.CommandContext(t.Context(), promtool, "check", "metrics")
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("promtool: %v\n%s", err, out)
			}
		})
	}
}
