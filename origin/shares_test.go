package origin

import (
	"bufio"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"headwater/admit"
	"headwater/live"
	"headwater/origin/publish"
)

// TestBegunBodiesCostWhatHasCome: however long a body says it is, and however many
// are begun, each counts as little more than what has come of it.
func TestBegunBodiesCostWhatHasCome(t *testing.T) {
	w := newWireRig(t, Config{}, publishing)
	n := w.next()
	const many = 50
	for i := range many {
		w.dial(fmt.Sprintf("PUT /acme/final/a/v/%d.m4s HTTP/1.1\nHost: x\nContent-Length: 1000000\n\n", int(n)-i%5), []byte("x"))
	}
	for w.o.publish.Publications.Used() < many {
		runtime.Gosched() // they are on their way through the kernel
	}
	if used := w.o.publish.Bodies.Used(); used > many*4<<10 {
		t.Errorf("%d bodies of a byte count as %d bytes", many, used)
	}
}

// TestInitIsMissedBeforeTheBody: a segment whose pipeline has no init segment is
// refused before it has come.
func TestInitIsMissedBeforeTheBody(t *testing.T) {
	w := newWireRig(t, Config{}, publishing)
	w.create(func() live.Event {
		ev := testEvent()
		ev.Pipelines = append(ev.Pipelines, live.Pipeline{Name: "z"})
		return ev
	}())
	c := w.dial(fmt.Sprintf("PUT /acme/final/z/v/%d.m4s HTTP/1.1\nHost: x\nContent-Length: 1000000\n\n", w.next()), make([]byte, 300<<10))
	if resp, body := w.answer(bufio.NewReader(c)); resp.StatusCode != 412 || !strings.Contains(string(body), "init-missing") {
		t.Errorf("%s %s", resp.Status, body)
	}
}

// TestOneAddressHasAShareOfWaiting: requests for another configuration are bounded by
// address, and others' are held meanwhile.
func TestOneAddressHasAShareOfWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{MaxHolds: 100})
		tag := r.get("event.json").Header().Get("ETag")
		path := "event.json?after=" + strings.Trim(tag, `"`)
		ctx := t.Context()
		var held []<-chan *httptest.ResponseRecorder
		for range 8 { // half of 16
			held = append(held, r.ask(ctx, path))
			synctest.Wait()
		}
		if used := r.o.deliver.Watching.Used(); used != 8 {
			t.Fatalf("%d wait", used)
		}
		r.want(r.get(path), 503, "overloaded")
		r.o.Drain()
		for _, h := range held {
			<-h
		}
		if used := r.o.deliver.Watching.Used(); used != 0 {
			t.Errorf("%d wait after all were answered", used)
		}
		n := byte(0)
		for r.o.deliver.Watching.Enter(netip.AddrFrom4([4]byte{10, 0, 0, n}), admit.Rest, 1) {
			n++
		}
		if n != 50 {
			t.Errorf("%d of 100 that may be held can wait for another configuration", n)
		}
	})
}

// TestOnePipelineHasAShareOfBodies: one that holds as much as it may does not keep its tenant's
// others from publishing.
func TestOnePipelineHasAShareOfBodies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		r.putInits("b")
		b, held := publish.Publisher{Tenant: "acme", Pipeline: "b"}, int64(0)
		for r.o.publish.PipelineBodies.Enter(b, admit.Publish, 1<<20) {
			held += 1 << 20
		}
		if held != 256<<20 {
			t.Errorf("it may hold %d bytes", held)
		}
		n := r.next()
		r.putSegment("b", "v", n, take{}, 503)
		r.putSegment("a", "v", n, take{}, 201)
		r.o.publish.PipelineBodies.Leave(b, held)
		r.putSegment("b", "v", n, take{}, 201)
		if used := r.o.publish.Bodies.Used() + r.o.publish.PipelineBodies.Used(); used != 0 {
			t.Errorf("%d bytes are left", used)
		}
	})
}
