package origin

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"headwater/listen"
	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// A wireRig is a rig whose publish listener is a real one. ended has one for
// each request that its handler is through with.
type wireRig struct {
	*rig
	srv   *httptest.Server
	ended chan struct{}
}

func newWireRig(t *testing.T, cfg Config, side func(*rig) http.Handler, limits ...listen.Limits) *wireRig {
	w := &wireRig{rig: newRig(t, cfg), ended: make(chan struct{}, 100)}
	w.putInits("a", "b")
	h := side(w.rig)
	w.srv = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer func() { w.ended <- struct{}{} }()
		h.ServeHTTP(rw, r)
	}))
	for _, l := range limits {
		l.Turns = w.o.deliver.Turns
		w.srv.Listener, w.srv.Config.ConnContext = listen.Limit(w.srv.Listener, l), listen.WithConn
	}
	w.srv.Start()
	t.Cleanup(w.srv.Close)
	return w
}

func publishing(r *rig) http.Handler { return r.pub }
func delivering(r *rig) http.Handler { return r.del }

// dial opens a connection and writes what is given.
func (w *wireRig) dial(text string, body []byte) *net.TCPConn {
	w.Helper()
	c, err := net.Dial("tcp", w.srv.Listener.Addr().String())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { c.Close() })
	if _, err := c.Write(append([]byte(strings.ReplaceAll(text, "\n", "\r\n")), body...)); err != nil {
		w.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// answer reads one answer.
func (w *wireRig) answer(br *bufio.Reader) (*http.Response, []byte) {
	w.Helper()
	resp, err := http.ReadResponse(br, nil)
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatal(err)
	}
	return resp, b
}

// TestSlowPublisher: a body that does not come is given up, and hurts nobody.
func TestSlowPublisher(t *testing.T) {
	w := newWireRig(t, Config{BodyTimeout: 100 * time.Millisecond, PublishBytes: 32 << 20, TenantPercent: 100}, publishing)
	n := w.next()
	seg := w.m.segment(w.tl, "v", n, take{})
	for _, head := range []string{
		fmt.Sprintf("PUT /acme/final/a/v/%d.m4s HTTP/1.1\nHost: x\nContent-Length: %d\n\n", n, 30<<20),
		fmt.Sprintf("PUT /acme/final/a/v/%d.m4s HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\nfffff\n", n),
		"PUT /acme/final/manifest.mpd HTTP/1.1\nHost: x\nContent-Length: 100\n\n",
		"PUT /acme/other/a/v/1.m4s HTTP/1.1\nHost: x\nContent-Length: 100\n\n", // refused before it has come
		"PUT /nonsense HTTP/1.1\nHost: x\nContent-Length: 100\n\n",
	} {
		c := w.dial(head, []byte("x"))
		// Another publishes meanwhile.
		req, _ := http.NewRequest("PUT", w.srv.URL+"/acme/final/b/v/"+live.SegmentName(n), bytes.NewReader(seg))
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode > 201 {
			t.Fatalf("%v, %v", resp, err)
		}
		resp.Body.Close()
		resp, body := w.answer(bufio.NewReader(c))
		want := 408
		if strings.Contains(head, "other") {
			want = 404
		} else if strings.Contains(head, "nonsense") {
			want = 400
		}
		if resp.StatusCode != want || !resp.Close || resp.Header.Get("Content-Type") != live.ProblemType {
			t.Errorf("%.50s: %s %v %s", head, resp.Status, resp.Header, body)
		}
		<-w.ended
		<-w.ended
	}
	if w.o.publish.Bodies.Used() != 0 {
		t.Errorf("%d bytes are still counted", w.o.publish.Bodies.Used())
	}
}

// TestStoringMayTakeLongerThanTheBody: the body's time ends with the body, for
// a hedge that waits for its twin too.
func TestStoringMayTakeLongerThanTheBody(t *testing.T) {
	st := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
		if op == storetest.Put && rec.Namespace == store.Media {
			return 300 * time.Millisecond, 0
		}
		return 0, 0
	})
	w := newWireRig(t, Config{Store: st, BodyTimeout: 100 * time.Millisecond}, publishing)
	n := w.next()
	seg := w.m.segment(w.tl, "v", n, take{})
	head := fmt.Sprintf("PUT /acme/final/a/v/%d.m4s HTTP/1.1\nHost: x\nContent-Length: %d\n\n", n, len(seg))
	one, two := w.dial(head, seg), w.dial(head, seg)
	br := bufio.NewReader(one)
	first, _ := w.answer(br)
	second, _ := w.answer(bufio.NewReader(two))
	if got := first.StatusCode + second.StatusCode; got != 201+200 {
		t.Fatalf("%s and %s", first.Status, second.Status)
	}
	// And the connection serves the next, after any pause.
	time.Sleep(150 * time.Millisecond)
	if _, err := one.Write(append([]byte(strings.ReplaceAll(head, "\n", "\r\n")), seg...)); err != nil {
		t.Fatal(err)
	}
	if resp, body := w.answer(br); resp.StatusCode != 200 {
		t.Fatalf("%s %s", resp.Status, body)
	}
}

// TestPublisherLeaves: a body that is cut off leaves nothing behind.
func TestPublisherLeaves(t *testing.T) {
	w := newWireRig(t, Config{}, publishing)
	n := w.next()
	seg := w.m.segment(w.tl, "v", n, take{size: 500_000})
	c := w.dial(fmt.Sprintf("PUT /acme/final/a/v/%d.m4s HTTP/1.1\nHost: x\nContent-Length: %d\n\n", n, len(seg)), seg[:400_000])
	c.Close()
	<-w.ended
	if w.o.publish.Bodies.Used() != 0 {
		t.Errorf("%d bytes are still counted", w.o.publish.Bodies.Used())
	}
	if _, known := w.o.book.Get(testID).Candidate("v", n, "a"); known {
		t.Error("half a segment is known")
	}
	w.putSegment("a", "v", n, take{}, 201)
}

// TestRefusedConnectionGoesOn: a small body that was refused does not cost the
// connection; a large one is not read to its end.
func TestRefusedConnectionGoesOn(t *testing.T) {
	w := newWireRig(t, Config{}, publishing)
	n := w.next()
	seg := w.m.segment(w.tl, "v", n, take{})
	c := w.dial(fmt.Sprintf("PUT /acme/other/a/v/%d.m4s HTTP/1.1\nHost: x\nContent-Length: %d\n\n", n, len(seg)), seg)
	br := bufio.NewReader(c)
	if resp, _ := w.answer(br); resp.StatusCode != 404 || resp.Close {
		t.Fatalf("%s, close %v", resp.Status, resp.Close)
	}
	fmt.Fprintf(c, "PUT /acme/final/a/v/%d.m4s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", n, len(seg), seg)
	if resp, body := w.answer(br); resp.StatusCode != 201 {
		t.Fatalf("%s %s", resp.Status, body)
	}
	fmt.Fprintf(c, "PUT /acme/other/a/v/%d.m4s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", n, 1<<30, make([]byte, maxSkipped))
	if resp, _ := w.answer(br); resp.StatusCode != 404 || !resp.Close {
		t.Fatalf("%s, close %v", resp.Status, resp.Close)
	}
	// Whoever asks first is answered first.
	c = w.dial(fmt.Sprintf("PUT /acme/other/a/v/%d.m4s HTTP/1.1\nHost: x\nExpect: 100-continue\nContent-Length: %d\n\n", n, len(seg)), nil)
	if resp, _ := w.answer(bufio.NewReader(c)); resp.StatusCode != 404 {
		t.Fatalf("asked for a body that is not wanted: %s", resp.Status)
	}
}

// TestMalformedChunks: a body whose framing is wrong is incomplete.
func TestMalformedChunks(t *testing.T) {
	w := newWireRig(t, Config{}, publishing)
	c := w.dial(fmt.Sprintf("PUT /acme/final/a/v/%d.m4s HTTP/1.1\nHost: x\nTransfer-Encoding: chunked\n\n5\nabcde\nnonsense\n", w.next()), nil)
	if resp, body := w.answer(bufio.NewReader(c)); resp.StatusCode != 400 || !strings.Contains(string(body), "incomplete-body") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// TestSlowReader: a client that stops reading is given up.
func TestSlowReader(t *testing.T) {
	w := newWireRig(t, Config{}, delivering, listen.Limits{WriteTimeout: 100 * time.Millisecond})
	n := w.next()
	w.putSegment("a", "v", n, take{size: 24 << 20}, 201)
	c := w.dial(fmt.Sprintf("GET /acme/final/v/%d.m4s HTTP/1.1\nHost: x\n\n", n), nil)
	c.SetReadBuffer(4096)
	<-w.ended // without the time-out it never ends
	// One that reads in time is served.
	w.putSegment("a", "v", n-1, take{}, 201)
	resp, err := http.Get(w.srv.URL + "/acme/final/v/" + live.SegmentName(n-1))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || len(body) == 0 {
		t.Fatalf("%s, %d bytes, %v", resp.Status, len(body), err)
	}
}

// TestViewerLeavesOnTheWire: a hold ends when its connection does.
func TestViewerLeavesOnTheWire(t *testing.T) {
	w := newWireRig(t, Config{}, delivering)
	w.create(func() live.Event { // for ever due
		ev := testEvent()
		ev.HoldMS, ev.BudgetMS, ev.DVRSeconds = 600_000, 600_000, 3600
		return ev
	}())
	n := w.next()
	ctx, cancel := context.WithCancel(t.Context())
	req, _ := http.NewRequestWithContext(ctx, "GET", w.srv.URL+"/acme/final/w/"+live.SegmentName(n), nil)
	done := make(chan error, 1)
	go func() {
		_, err := http.DefaultClient.Do(req)
		done <- err
	}()
	for w.o.deliver.Holds.Used() == 0 {
		runtime.Gosched() // the request is on its way through the kernel
	}
	cancel()
	<-done
	<-w.ended
	if waiting, _ := w.waiting(); waiting != 0 || w.o.deliver.Holds.Used() != 0 {
		t.Errorf("%d wait, %d are counted", waiting, w.o.deliver.Holds.Used())
	}
}
