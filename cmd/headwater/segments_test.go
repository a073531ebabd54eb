package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestSegmentsAreReadable: what viewers got, in the order of time, beside what
// there is and what would be served now.
func TestSegmentsAreReadable(t *testing.T) {
	const answer = `{"segments": [{
  "rendition": "v720", "number": 25, "start": "2026-11-23T20:00:48Z", "place": "past",
  "action": "serve", "reason": "pinned", "serves": "b", "now": {"action": "serve", "reason": "pinned", "serves": "b"},
  "served": [
    {"pipeline": "a", "digest": "00112233445566aa", "reason": "least-bad-time-up", "defects": "short;ms=1000", "chosen_at": "2026-11-23T20:00:51.5Z", "first_served_at": "2026-11-23T20:00:51.501Z", "node": "N1"},
    {"pipeline": "b", "digest": "00112233445566bb", "reason": "preferred-defective", "quality": "frozen;ms=500", "chosen_at": "2026-11-23T20:00:53Z", "first_served_at": "2026-11-23T20:00:53.001Z", "node": "N2"}],
  "refused": [{"status": 503, "problem": "store-unavailable", "count": 3, "first_at": "2026-11-23T20:00:51Z", "last_at": "2026-11-23T20:00:51.25Z"}],
  "candidates": [
    {"pipeline": "a", "digest": "00112233445566aa", "defects": "short;ms=1000", "missing_ms": 1000, "size": 361822, "published": "2026-11-23T20:00:50.481Z", "masked": true},
    {"pipeline": "b", "digest": "00112233445566bb", "missing_ms": 0, "quality": "black;ms=2000", "size": 748113, "published": "2026-11-23T20:00:52.9Z"}]},
 {"rendition": "v720", "number": 26, "start": "2026-11-23T20:00:50Z", "place": "due", "now": {"action": "wait", "reason": "await-any"}, "served": [], "refused": [], "candidates": []}]}`
	const want = `v720 25, 2026-11-23 20:00:48.000, past
  published  20:00:50.481  a    00112233445566aa   short;ms=1000, 361822 bytes, masked
  published  20:00:52.900  b    00112233445566bb   clean, quality black;ms=2000, 748113 bytes
  served     20:00:51.501  a    00112233445566aa   short;ms=1000: least-bad-time-up, chosen 20:00:51.500 by N1
  served     20:00:53.001  b    00112233445566bb   clean, quality frozen;ms=500: preferred-defective, chosen 20:00:53.000 by N2
  refused    20:00:51.000  503  store-unavailable  3 times, last 20:00:51.250
  now                      b                       serve: pinned
v720 26, 2026-11-23 20:00:50.000, due
  now    -    wait: await-any
`
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.String() != "/v1/events/acme/final/segments?from=25&to=26" {
			t.Error(r.URL)
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer srv.Close()
	args := []string{"event", "segments", "acme/final", "--from", "25", "--to", "26", "--control", srv.URL}
	if code, out, errs := invoke(t, t.Context(), nil, "", args...); code != exitDone || out != want {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
	if code, out, errs := invoke(t, t.Context(), nil, "", append(args, "--json")...); code != exitDone || out != answer {
		t.Errorf("exit %d: %s\n%s", code, errs, out)
	}
}
