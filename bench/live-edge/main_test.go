//go:build linux

package main

import (
	"strings"
	"testing"
	"time"

	"headwater/internal/need"
)

// TestMedians: what is printed is the middle one with its range.
func TestMedians(t *testing.T) {
	rounds := []result{{p99: 30 * time.Millisecond}, {p99: 10 * time.Millisecond, missed: 1}, {p99: 20 * time.Millisecond, missed: 2}}
	if got := times(rounds, func(r result) time.Duration { return r.p99 }); got != "20.0 (10.0-30.0)" {
		t.Error(got)
	}
	if got := sum(rounds).notes(); got != "3 missed" {
		t.Error(got)
	}
}

// TestComparison runs everything, small.
func TestComparison(t *testing.T) {
	need.Long(t, "needs nginx and varnish")
	var out strings.Builder
	if err := compare(t.Context(), &out, flags{viewers: 50, held: 50, rounds: 1, segments: 1, size: 10000, heldSize: 1000, segment: time.Second, only: "headwater,nginx,varnish-held"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"proxy_cache_lock", "headwater edge", "50 requests held"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "missed") || strings.Contains(out.String(), "wrong") {
		t.Error(out.String())
	}
}
