package live

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestServeTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234567 * time.Microsecond) // synctest's clock begins on a whole second
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			w := httptest.NewRecorder()
			ServeTime(w, httptest.NewRequest(method, TimePath, nil), time.Now())
			if got := w.Body.String(); method == http.MethodGet && got != "2000-01-01T00:00:01.234Z" || method == http.MethodHead && got != "" {
				t.Errorf("%s is answered %q", method, got)
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Length") != "24" {
				t.Errorf("%s is answered with %v", method, w.Header())
			}
		}
	})
}

func TestCORS(t *testing.T) {
	h := http.Header{}
	AllowCORS(h)
	if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Timing-Allow-Origin") != "*" {
		t.Errorf("AllowCORS sets %v", h)
	}
	exposed := strings.Split(h.Get("Access-Control-Expose-Headers"), ", ")
	for _, name := range []string{HeaderPipeline, HeaderDefects, HeaderNotifications, HeaderEdge, HeaderVersion, HeaderPublished, HeaderContentDigest} {
		found := false
		for _, e := range exposed {
			found = found || e == name
		}
		if !found {
			t.Errorf("%s is not exposed to pages", name)
		}
	}
	// The values are shared: what one answer adds must not show in the next.
	h.Add("Access-Control-Allow-Origin", "https://example.com")
	again := http.Header{}
	AllowCORS(again)
	if len(again["Access-Control-Allow-Origin"]) != 1 {
		t.Errorf("AllowCORS sets %v", again)
	}
	w := httptest.NewRecorder()
	ServePreflight(w)
	if w.Code != http.StatusNoContent || w.Header().Get("Access-Control-Allow-Methods") != "GET, HEAD, OPTIONS" {
		t.Errorf("a preflight is answered %d %v", w.Code, w.Header())
	}
}

func TestServerTiming(t *testing.T) {
	var timing Timing
	timing.Add("look-up", 1250*time.Microsecond)
	timing.Add("hold", time.Second)
	if got := timing.String(); got != "look-up;dur=1.2, hold;dur=1000.0" {
		t.Errorf("Server-Timing is %q", got)
	}
}

func TestContentTypes(t *testing.T) {
	for m, want := range map[MediaType]string{Video: "video/mp4", Audio: "audio/mp4", Text: "application/mp4"} {
		if got := m.ContentType(); got != want {
			t.Errorf("%s is %s, want %s", m, got, want)
		}
	}
}

func TestTimelineDurations(t *testing.T) {
	e := event(t, "2026-11-23T20:00:00Z", Duration{7, 3})
	tl := e.Timeline()
	if tl.Segment() != 2333333333 || tl.Hold() != 2*time.Second || tl.Budget() != 2*time.Second || tl.DVR() != 4*time.Hour {
		t.Errorf("segment %v, hold %v, budget %v, DVR %v", tl.Segment(), tl.Hold(), tl.Budget(), tl.DVR())
	}
}
