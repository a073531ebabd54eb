package main

import (
	"log/slog"
	"strings"
	"testing"
	"time"
)

// TestCacheFlags: a cache that is down is opened all the same, once for each
// role, and counts.
func TestCacheFlags(t *testing.T) {
	reg := newRegistry()
	f := cacheFlags{address: "memcached://a=127.0.0.1:1,127.0.0.1:2;b=127.0.0.1:3", zone: "b", timeout: 50 * time.Millisecond}
	for _, role := range []string{"publish", "deliver"} {
		c, err := f.open(role, slog.New(slog.DiscardHandler), reg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, m := range families {
		if strings.HasPrefix(m.GetName(), "headwater_cache_") {
			seen++
		}
	}
	if seen < 10 {
		t.Errorf("%d metrics of the cache", seen)
	}
}
