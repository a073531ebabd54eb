package edge

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestQueriesAreNoPartOfTheKey has players send what they send of themselves (CTA-5004,
// tokens, what pages add) with each thing there is to ask for: it is one object to the
// edge, which was asked for once, and nothing of a viewer reaches the parent.
func TestQueriesAreNoPartOfTheKey(t *testing.T) {
	run(t, 1, func(r *rig) {
		var mu sync.Mutex // guards the following
		var leaked []string
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			if q.URL.RawQuery != "" {
				leaked = append(leaked, q.URL.String())
			}
			for name := range q.Header {
				if strings.HasPrefix(name, "Cmcd-") || slices.Contains([]string{"Cookie", "Authorization", "Referer", "Cta-Common-Access-Token", "X-Forwarded-For"}, name) {
					leaked = append(leaked, q.URL.Path+" "+name)
				}
			}
			serveBytes(w, q, segment(q))
		})
		time.Sleep(20 * time.Second) // segment 9 is there
		paths := []string{"/t/e/v/9.m4s", "/t/e/v/init.mp4", "/t/e/manifest.mpd", "/t/e/timeline.mpd", "/t/e/main.m3u8", "/t/e/v/media.m3u8"}
		queries := []string{"", "?CMCD=br%3D3200%2Cbl%3D21300%2Csid%3D%22one%22", "?CMCD=br%3D1000%2Csid%3D%22two%22", "?CAT=eyJhbGciOiJIUzI1NiJ9.e30.x", "?session=1&nocache=99", "?", "?after=x&notifications=3", "?a=%zz;b"}
		for _, path := range paths {
			for _, query := range queries {
				a := r.get(path+query, with("CMCD-Session", `sid="one"`), with("CMCD-Request", "bl=21300"), with("CMCD-Object", "br=3200"), with("CMCD-Status", "bs"),
					with("Cookie", "a=b"), with("Authorization", "Bearer x"), with("Referer", "https://page.example/?user=1"), with("CTA-Common-Access-Token", "x"), with("X-Forwarded-For", "192.0.2.1"))
				if a.status() != 200 {
					t.Errorf("%s%s: %d %s", path, query, a.status(), a.text())
				}
			}
			if n := r.parent.asks(path); n != 1 {
				t.Errorf("the parent was asked %d times for %s", n, path)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(leaked) > 0 {
			t.Errorf("of viewers the parent saw %q", leaked)
		}
	})
}
