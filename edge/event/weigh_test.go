package event

import (
	"testing"
	"time"
)

// What a configuration means that a parent answered with.
func TestWeighConfiguration(t *testing.T) {
	at := func(d time.Duration) time.Time { return time.Unix(1000, 0).Add(d) }
	long, lag := 20*time.Second, lagMost+time.Second
	known := holding{etag: "x", version: 5, told: 5, asked: at(0), now: at(long)}
	for name, c := range map[string]struct {
		edit    func(*holding)
		etag    string
		version int64
		want    weight
	}{
		"the first":                  {func(h *holding) { *h = holding{told: 5, asked: at(0), now: at(0)} }, "x", 5, weight{verdict: anew, enter: true}},
		"the first, but not newest":  {func(h *holding) { *h = holding{told: 6, asked: at(0), now: at(0)} }, "x", 5, weight{verdict: later, enter: true, lags: true, lagged: at(0)}},
		"a newer one":                {nil, "y", 6, weight{verdict: anew, enter: true}},
		"the same, held":             {nil, "x", 5, weight{verdict: anew, confirmed: true}},
		"the same, at once":          {func(h *holding) { h.now = at(followSoon - 1) }, "x", 5, weight{verdict: later, confirmed: true}},
		"the same, but not newest":   {func(h *holding) { h.told = 6 }, "x", 5, weight{verdict: later, lags: true, lagged: at(0)}},
		"of a parent that lags":      {nil, "w", 4, weight{verdict: later, lags: true, lagged: at(0)}},
		"which lags for a while":     {func(h *holding) { h.lagged = at(long - time.Second) }, "w", 4, weight{verdict: later, lags: true, lagged: at(long - time.Second)}},
		"and for so long that":       {func(h *holding) { h.lagged = at(long - lag) }, "w", 4, weight{verdict: anew, enter: true, lags: true, reset: true}},
		"newer, though not newest":   {func(h *holding) { h.told = 9 }, "y", 6, weight{verdict: later, enter: true, lags: true, lagged: at(0)}},
		"it lagged, and has come up": {func(h *holding) { h.lagged = at(0) }, "y", 6, weight{verdict: anew, enter: true}},
	} {
		h := known
		if c.edit != nil {
			c.edit(&h)
		}
		if got := h.weigh(c.etag, c.version); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
