package origin

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/live"
)

// A logbook is a log that a test reads.
type logbook struct {
	mu  sync.Mutex // guards the following
	buf bytes.Buffer
}

func (l *logbook) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// take is what was logged since the last time, less what differs each time.
func (l *logbook) take(lines ...string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.buf.String()
	l.buf.Reset()
	var out []string
	for line := range strings.Lines(text) {
		for _, s := range lines {
			if strings.Contains(line, s) {
				out = append(out, regexp.MustCompile(`time=\S+ `).ReplaceAllString(line, ""))
				break
			}
		}
	}
	return strings.Join(out, "")
}

func (l *logbook) log() *slog.Logger { return slog.New(slog.NewTextHandler(io.Writer(l), nil)) }

// TestBothPipelinesDie: within five seconds the log and the metrics say so,
// though no viewer asks.
func TestBothPipelinesDie(t *testing.T) {
	bubble(t, func(t *testing.T) {
		book := new(logbook)
		r := newRig(t, Config{Log: book.log()}, func(ev *live.Event) { ev.Start = time.Now().UTC() })
		r.putInits("a", "b")
		publish := func(n live.Number) {
			t.Helper()
			until(r.tl.End(n).Add(200 * time.Millisecond))
			for _, p := range []string{"a", "b"} {
				for _, rendition := range []string{"v", "w", "a"} {
					r.putSegment(p, rendition, n, take{}, 201)
				}
			}
		}
		n := live.Number(1)
		for i := range live.Number(5) {
			publish(n + i)
		}
		n += 4                                       // the last
		until(r.tl.End(n + 1).Add(time.Millisecond)) // they die just before they publish again, between two looks
		if got := book.take("WARN", "ERROR"); got != "" {
			t.Errorf("while all was well: %s", got)
		}
		died := time.Now()
		time.Sleep(5 * time.Second)
		want := fmt.Sprintf(`level=WARN msg="a pipeline is silent" event=acme/final pipeline=a last=%[1]d for=4.3s
level=WARN msg="a pipeline is silent" event=acme/final pipeline=b last=%[1]d for=4.3s
level=ERROR msg="nothing was published by the deadline" event=acme/final renditions=v,w,a from=%[2]d to=%[2]d count=3
`, n, n+1)
		if got := book.take("pipeline is", "deadline"); got != want {
			t.Errorf("after %v:\n%swant\n%s", time.Since(died), got, want)
		}
		metrics := func(want ...string) {
			t.Helper()
			body := serve(r.ctl, request("GET", "/metrics", nil)).Body.String()
			for _, s := range want {
				if !strings.Contains(body, s+"\n") {
					t.Errorf("metrics lack %q", s)
				}
			}
		}
		metrics(`headwater_origin_pipeline_silent{event="acme/final",pipeline="a"} 1`, `headwater_origin_pipeline_silent{event="acme/final",pipeline="b"} 1`,
			`headwater_origin_lost_at_deadline_total{event="acme/final"} 6`, `headwater_origin_switches_total{event="acme/final"} 0`)
		time.Sleep(15 * time.Second)
		book.take()
		publish(r.next() + 1)
		time.Sleep(time.Second)
		got := book.take("pipeline is back")
		if strings.Count(got, "\n") != 2 || !strings.Contains(got, "pipeline=a") || !strings.Contains(got, "pipeline=b") || !strings.Contains(got, "missed=11") || strings.Count(got, "silent=24s") != 2 {
			t.Errorf("back: %s", got)
		}
		metrics(`headwater_origin_pipeline_silent{event="acme/final",pipeline="a"} 0`)
	})
}

// TestRefusalsAreOneLine: however many viewers are refused at the live edge.
func TestRefusalsAreOneLine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		book := new(logbook)
		r := newRig(t, Config{Log: book.log()})
		r.putInits("a")
		n := r.next() + 1
		until(r.tl.Deadline(n).Add(time.Millisecond)) // between two looks
		for range 100 {
			r.want(r.getSegment("v", n), 410, "lost")
		}
		time.Sleep(2 * lookEvery)
		want := fmt.Sprintf("level=ERROR msg=\"refused at the live edge\" event=acme/final how=lost renditions=v from=%[1]d to=%[1]d count=100\n", n)
		if got := book.take("refused at"); got != want {
			t.Errorf("%swant\n%s", got, want)
		}
		// In the DVR window it is no news.
		until(r.tl.Deadline(n).Add(40 * time.Second))
		r.want(r.getSegment("v", n), 410, "lost")
		time.Sleep(2 * sumUp)
		if got := book.take("refused at"); got != "" {
			t.Error(got)
		}
	})
}

// TestSwitchIsALine: viewers of a go on with b when a does not publish.
func TestSwitchIsALine(t *testing.T) {
	bubble(t, func(t *testing.T) {
		book := new(logbook)
		r := newRig(t, Config{Log: book.log()})
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.want(r.getSegment("v", n), 200, "")
		until(r.tl.End(n + 1))
		r.putSegment("b", "v", n+1, take{}, 201)
		r.want(<-r.ask(t.Context(), "v/"+live.SegmentName(n+1)), 200, "")
		time.Sleep(2 * lookEvery)
		if got := book.take("another pipeline"); !strings.Contains(got, "a to b") || strings.Count(got, "\n") != 1 {
			t.Errorf("%q", got)
		}
	})
}

// TestControlIsLogged: what was done, by whom, from where, and what is different;
// what was refused, too, but not each time.
func TestControlIsLogged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		book := new(logbook)
		r := openRig(t, Config{Log: book.log(), Access: guard(t, "s3=admin")})
		do := func(method, path, body string, status int) *httptest.ResponseRecorder {
			t.Helper()
			return r.want(r.control(method, path, body, "Authorization", "Bearer s3"), status, "")
		}
		ev := fmt.Sprintf(`{"start": %q, "pipelines": [{"name": "a"}, {"name": "b"}], "renditions": [{"name": "v", "type": "video", "bandwidth": 1}]`,
			time.Now().UTC().Format(time.RFC3339))
		wants := func(want string) {
			t.Helper()
			if got := book.take("msg=control"); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
		}
		do("PUT", "", ev+"}", 201)
		if got := book.take("msg=control"); !strings.HasPrefix(got, `level=INFO msg=control did=configure event=acme/final by=admin from=192.0.2.1:1234 before="" after="`) || !strings.Contains(got, "pipelines=") {
			t.Error(got)
		}
		do("PUT", "", ev+`, "dvr_seconds": 60}`, 200)
		wants("level=INFO msg=control did=configure event=acme/final by=admin from=192.0.2.1:1234 before=\"dvr_seconds=14400\" after=\"dvr_seconds=60\"\n")
		do("POST", "/masks", `{"id": "m", "pipeline": "a", "from": 7}`, 200)
		if got := book.take("msg=control"); !strings.Contains(got, "did=mask") || !strings.Contains(got, `masks=[{\"id\":\"m\",\"pipeline\":\"a\",\"from\":7}]`) || !strings.Contains(got, `before=""`) {
			t.Error(got)
		}
		do("POST", "/masks", `{"id": "n", "pipeline": "a", "from": 9, "to": 9}`, 200)
		if got := book.take("msg=control"); strings.Contains(got, `\"m\"`) || !strings.Contains(got, `\"n\"`) {
			t.Errorf("what did not change is said: %s", got)
		}
		do("DELETE", "/masks/n", "", 200)
		if got := book.take("msg=control"); !strings.Contains(got, `did=unmask`) || !strings.Contains(got, `before="masks=[{\"id\":\"n\"`) {
			t.Error(got)
		}
		do("POST", "/notifications", `{"type": "x", "id": "1", "from": 3}`, 200)
		if got := book.take("msg=control"); !strings.Contains(got, `did=notify`) || !strings.Contains(got, `notifications=`) {
			t.Error(got)
		}
		do("POST", "/flush?dry_run=true", "", 200)
		do("GET", "/segments", "", 200)
		wants("")
		do("POST", "/flush?yes=true", "", 200)
		if got := book.take("msg=control"); !strings.Contains(got, `did=flush`) || !strings.Contains(got, `flush_version=`) {
			t.Error(got)
		}
		for range 50 {
			r.want(r.control("DELETE", "?yes=true", ""), 401, "unauthorized")
			r.want(r.control("GET", "", ""), 401, "unauthorized")
		}
		do("POST", "/masks", `{"from": 7}`, 400)
		time.Sleep(2 * lookEvery)
		if got := book.take(`msg="control refused"`); strings.Count(got, "\n") != 3 || strings.Count(got, "count=50") != 2 || !strings.Contains(got, "unauthorized: DELETE /v1/events/acme/final from 192.0.2.1 by nobody") ||
			!strings.Contains(got, "bad-request: POST /v1/events/acme/final/masks from 192.0.2.1 by admin") || strings.Contains(got, "s3") {
			t.Error(got)
		}
		do("DELETE", "?yes=true", "", 204)
		if got := book.take("msg=control"); !strings.Contains(got, "did=delete") || !strings.Contains(got, `after=""`) {
			t.Error(got)
		}
	})
}
