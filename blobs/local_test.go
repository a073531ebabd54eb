package blobs

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"headwater/store/memory"
)

// zoned runs f with a cache that has far as its local zone, though it is the second.
func zoned(t *testing.T, maxConns int, f func(t *testing.T, c *Cache)) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(twoZones())
		c := opened(t, Config{Zones: twoZones(), Local: "far", Dial: n.dial, Timeout: budget, MaxConns: maxConns, Metrics: prometheus.NewRegistry()})
		f(t, c)
		c.Close()
		for _, s := range n.servers {
			s.mu.Lock()
			s.cut()
			s.mu.Unlock()
		}
	})
}

// TestLocalZoneIsFirst: whichever place it has in the address, it is the one that is
// read; and what goes to and comes from zones is counted in bytes.
func TestLocalZoneIsFirst(t *testing.T) {
	zoned(t, 16, func(t *testing.T, c *Cache) {
		item, d := blob("a")
		st := memory.New(memory.Options{})
		if err := c.Put(t.Context(), st, segments, item, d); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Get(t.Context(), st, segments, item.Key, d, item.Size); err != nil {
			t.Fatal(err)
		}
		if got, want := counted(c.metrics.reads), map[string]int{"far done": 1}; !maps.Equal(got, want) {
			t.Errorf("reads: %v, want %v", got, want)
		}
		for name, v := range map[string]struct {
			of   *prometheus.CounterVec
			want map[string]int64
		}{"read": {c.metrics.read, map[string]int64{"far": item.Size, "near": 0}}, "written": {c.metrics.written, map[string]int64{"far": item.Size, "near": item.Size}}} {
			for zone, want := range v.want {
				var m dto.Metric
				v.of.WithLabelValues(zone).Write(&m)
				if got := int64(m.GetCounter().GetValue()); got != want {
					t.Errorf("%d bytes %s in %s, want %d", got, name, zone, want)
				}
			}
		}
	})
}

// TestWhoLeavesTheQueueWasNotRefused: of who has left while all connections were in
// use it is not said that they were.
func TestWhoLeavesTheQueueWasNotRefused(t *testing.T) {
	zoned(t, 1, func(t *testing.T, c *Cache) {
		s := c.zones[0].servers[0]
		s.busy <- struct{}{}
		ctx, leave := context.WithCancel(t.Context())
		time.AfterFunc(budget/2, leave)
		_, d := blob("a")
		if _, _, out := s.get(ctx, d, 1); out != unwanted {
			t.Errorf("%v", out)
		}
		if _, _, out := s.get(t.Context(), d, 1); out != busy {
			t.Errorf("%v", out)
		}
		<-s.busy
	})
}

// TestMetricsOfTwoCaches: one registry has one cache.
func TestMetricsOfTwoCaches(t *testing.T) {
	r := prometheus.NewRegistry()
	c := opened(t, Config{Zones: twoZones(), Metrics: r})
	defer c.Close()
	var twice prometheus.AlreadyRegisteredError
	if _, err := New(Config{Zones: twoZones(), Metrics: r}); !errors.As(err, &twice) {
		t.Error(err)
	}
}
