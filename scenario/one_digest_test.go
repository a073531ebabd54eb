package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/announce"
	"headwater/edge"
	"headwater/edge/front"
	"headwater/internal/memnet"
	"headwater/live"
	"headwater/origin"
	"headwater/store/memory"
)

// A farBus is a node's bus to one other, which hears everything a while later.
type farBus struct {
	*announce.Local
	other *farBus
	road  chan farMessage
}

type farMessage struct {
	arrives time.Time
	announce.Message
}

// farFor is how long an announcement is on its way.
const farFor = 8 * time.Millisecond

func newFarBuses() (a, b *farBus) {
	a = &farBus{Local: announce.NewLocal(), road: make(chan farMessage, 1000)}
	b = &farBus{Local: announce.NewLocal(), road: make(chan farMessage, 1000)}
	a.other, b.other = b, a
	return a, b
}

func (f *farBus) Announce(m announce.Message) error {
	_ = f.Local.Announce(m) // it never fails
	f.road <- farMessage{time.Now().Add(farFor), m}
	return nil
}

// carry brings the other node what is announced, until the road is closed.
func (f *farBus) carry() {
	for m := range f.road {
		time.Sleep(time.Until(m.arrives))
		_ = f.other.Local.Announce(m.Message)
	}
}

// TestOneDigestEverywhere: two pipelines with random lag publish to an origin
// each, and three edges that prefer one or the other ask when they like. A number
// is the same bytes at all edges, later too, and healthy pipelines never
// alternate.
func TestOneDigestEverywhere(t *testing.T) {
	count := 1000
	if testing.Short() {
		count = 150
	}
	for _, lag := range []time.Duration{0, 120 * time.Millisecond} {
		t.Run(lag.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { oneDigest(t, count, lag) })
		})
	}
}

func oneDigest(t *testing.T, count int, lag time.Duration) {
	random := rand.New(rand.NewPCG(7, uint64(lag)))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d) + 1)) }
	w := &world{t: t, net: memnet.New()}
	m := newMedium(t, live.Video)
	st := memory.New(memory.Options{})
	defer st.Close()
	var house, carriers sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	var origins []*origin.Origin
	one, two := newFarBuses()
	for i, bus := range []*farBus{one, two} {
		carriers.Go(bus.carry)
		o, err := origin.New(ctx, origin.Config{Store: st, Bus: bus})
		if err != nil {
			t.Fatal(err)
		}
		house.Go(func() { o.Run(ctx) })
		origins = append(origins, o)
		srv := w.serve(fmt.Sprintf("p%d:80", i+1), o.DeliverHandler())
		defer srv.Close()
	}
	synctest.Wait()

	ev := live.Default()
	ev.Start, ev.DVRSeconds = time.Now().UTC(), 60
	ev.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
	ev.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 3_000_000}}
	tl := ev.Timeline()
	do := func(h http.Handler, method, path string, body []byte) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		req := httptest.NewRequest(method, path, bytes.NewReader(body))
		if req.Host = "origin:7003"; strings.HasPrefix(path, "/v1/") {
			req.Header.Set("Content-Type", "application/json")
		}
		h.ServeHTTP(rec, req)
		return rec
	}
	b, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	if rec := do(origins[0].ControlHandler(), "PUT", "/v1/events/t/e", b); rec.Code != 201 {
		t.Fatalf("%d %s", rec.Code, rec.Body)
	}
	time.Sleep(time.Second)
	put := func(o *origin.Origin, path string, body []byte) {
		if rec := do(o.PublishHandler(), "PUT", "/t/e/"+path, body); rec.Code != 201 {
			t.Errorf("PUT %s: %d %s", path, rec.Code, rec.Body)
		}
	}
	put(origins[0], "a/v/init.mp4", m.init)
	time.Sleep(100 * time.Millisecond)
	put(origins[1], "b/v/init.mp4", m.init)

	var edges []*edge.Edge
	for i, parents := range [][]string{{"p1", "p2"}, {"p2", "p1"}, {"p2", "p1"}} {
		ed, err := edge.New(edge.Config{Dial: w.net.Dial, Name: fmt.Sprintf("e%d", i+1), MemoryBytes: 64 << 20,
			Parents: []string{"http://" + parents[0] + ":80", "http://" + parents[1] + ":80"}})
		if err != nil {
			t.Fatal(err)
		}
		edges = append(edges, ed)
	}

	var mu sync.Mutex // guards the following
	digests := make(map[live.Number]map[string]int)
	served := make(map[live.Number]string)
	answers := 0
	get := func(h http.Handler, n live.Number) {
		rec := do(h, "GET", "/t/e/v/"+live.SegmentName(n), nil)
		mu.Lock()
		defer mu.Unlock()
		if rec.Code != 200 || rec.Header().Get(live.HeaderDefects) != "" {
			t.Errorf("GET %d: %d, defects %q, %s", n, rec.Code, rec.Header().Get(live.HeaderDefects), rec.Body)
			return
		}
		if digests[n] == nil {
			digests[n] = make(map[string]int)
		}
		answers++
		digests[n][live.DigestOf(rec.Body.Bytes()).String()]++
		served[n], _, _ = strings.Cut(rec.Header().Get(live.HeaderPipeline), ";")
	}
	var tasks sync.WaitGroup
	later := func(at time.Time, f func()) {
		tasks.Go(func() {
			time.Sleep(time.Until(at))
			f()
		})
	}
	for n := live.Number(1); n <= live.Number(count); n++ {
		time.Sleep(time.Until(tl.Start(n)))
		for i, p := range ev.Pipelines {
			body := m.sized(&ev, n, p.Name[0], 2000, false)
			later(tl.End(n).Add(100*time.Millisecond+upTo(lag)), func() { put(origins[i], p.Name+"/v/"+live.SegmentName(n), body) })
		}
		for _, ed := range edges {
			// Held, or a little after it was published; and again later.
			later(tl.Due(n).Add(upTo(2300*time.Millisecond)), func() { get(front.Handler(ed), n) })
			later(tl.End(n).Add(3*time.Second+upTo(40*time.Second)), func() { get(front.Handler(ed), n) })
		}
		for _, o := range origins {
			later(tl.End(n).Add(100*time.Millisecond+upTo(20*time.Second)), func() { get(o.DeliverHandler(), n) })
		}
	}
	tasks.Wait()
	exceptions, switches, by := 0, 0, map[string]int{}
	for n := live.Number(1); n <= live.Number(count); n++ {
		by[served[n]]++
		if len(digests[n]) != 1 {
			exceptions++
			t.Errorf("segment %d: %d digests", n, len(digests[n]))
		}
		if n > 1 && served[n] != served[n-1] {
			switches++
		}
	}
	if switches > 0 {
		t.Errorf("%d switches between healthy pipelines", switches)
	}
	t.Logf("lag up to %v: %d segments, %d answers of %d edges and %d origins, %d numbers with more than one digest, %d switches, served %v", lag, count, answers, len(edges), len(origins), exceptions, switches, by)

	for _, ed := range edges {
		ed.Close()
	}
	cancel()
	house.Wait()
	close(one.road)
	close(two.road)
	carriers.Wait()
}
