package origin

import (
	"bytes"
	"fmt"
	"testing"
)

// Whoever has the beginning of a body gets the rest of that one, by its entity tag,
// whatever was chosen; for all others, and in the history, the choice stands.
func TestWhatIsAskedForByItsTag(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		other := r.putSegment("b", "v", n, take{}, 201).Header().Get("ETag")
		r.putSegment("a", "v", n, take{}, 201)
		rest := []string{"Range", "bytes=100-", "If-Range", other}

		// Nothing is chosen by it.
		w := r.want(r.getSegment("v", n, rest...), 206, "")
		part := w.Body.Bytes()
		if got := r.history("v", n); got != " | serve a preferred" {
			t.Error(got)
		}
		if w := r.want(r.getSegment("v", n), 200, ""); served(w) != "a;region=east" {
			t.Fatalf("%s is served", served(w))
		}
		for range 2 {
			w = r.want(r.getSegment("v", n, rest...), 206, "")
			if served(w) != "b;region=west" || w.Header().Get("ETag") != other || !bytes.Equal(w.Body.Bytes(), part) {
				t.Errorf("the rest: %v", w.Header())
			}
		}
		w = r.want(r.getSegment("v", n, "If-Match", other), 200, "")
		if served(w) != "b;region=west" || !bytes.Equal(w.Body.Bytes()[100:], part) || w.Header().Get("Content-Range") != "" {
			t.Errorf("all of it: %v", w.Header())
		}
		if w := r.want(r.getSegment("v", n), 200, ""); served(w) != "a;region=east" {
			t.Errorf("then %s is served", served(w))
		}
		if got := r.history("v", n); got != "a preferred | serve a pinned" {
			t.Error(got)
		}
		if got := r.counted("named_total"); got != 4 {
			t.Errorf("%v were counted", got)
		}

		// A weak tag, one without a range, and one of nothing get the choice.
		for _, headers := range [][]string{{"Range", "bytes=100-", "If-Range", "W/" + other}, {"If-Range", other}, {"Range", "bytes=100-", "If-Range", `"x"`}} {
			if w := r.want(r.getSegment("v", n, headers...), 200, ""); served(w) != "a;region=east" {
				t.Errorf("%v: %s", headers, served(w))
			}
		}
		// What is masked is not served, by whatever name.
		r.want(r.control("POST", "/masks", fmt.Sprintf(`{"pipeline": "b", "from": %d, "to": %d}`, n, n)), 200, "")
		if w := r.want(r.getSegment("v", n, rest...), 200, ""); served(w) != "a;region=east" {
			t.Errorf("masked: %s", served(w))
		}
		if w := r.getSegment("v", n, "If-Match", other); w.Code != 412 {
			t.Errorf("masked: %d", w.Code)
		}
	})
}
