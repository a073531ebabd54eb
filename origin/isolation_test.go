package origin

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/layout"

	"headwater/announce"
	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

type readyAnswer struct {
	Role         string
	Ready        bool
	Dependencies []dependency
}

type dependency struct {
	Name    string
	Healthy bool
}

// readyz asks each role; it checks that status and body agree.
func (r *rig) readyz() map[string]readyAnswer {
	r.Helper()
	out := make(map[string]readyAnswer)
	for name, h := range map[string]http.Handler{"publish": r.pub, "deliver": r.del, "control": r.ctl} {
		w := serve(h, request("GET", "/readyz", nil))
		var x readyAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &x); err != nil || x.Role != name || x.Ready != (w.Code == 200) {
			r.Fatalf("%s: %d %s, %v", name, w.Code, w.Body, err)
		}
		out[name] = x
	}
	return out
}

func (x readyAnswer) healthy(name string) bool {
	i := slices.IndexFunc(x.Dependencies, func(d dependency) bool { return d.Name == name })
	return i >= 0 && x.Dependencies[i].Healthy
}

// TestReadyByRole: what a role needs decides whether it is ready, and nothing
// else; what it can do without is shown.
func TestReadyByRole(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		bus := &lossy{Local: announce.NewLocal()}
		r := newRig(t, Config{Store: faulty, Bus: bus})
		r.putInits("a")
		for name, x := range r.readyz() {
			if !x.Ready || !x.healthy("announcements") {
				t.Errorf("%s: %+v", name, x)
			}
		}
		bus.down.Store(true)
		for name, x := range r.readyz() {
			if !x.Ready || x.healthy("announcements") {
				t.Errorf("without announcements %s: %+v", name, x)
			}
		}
		bus.down.Store(false)

		faulty.Add(storetest.Fault{Op: storetest.Put, Err: store.ErrFull})
		time.Sleep(freshOutcome)
		if x := r.readyz()["publish"]; !x.Ready || x.healthy("store-writes") {
			t.Errorf("a first failure: %+v", x)
		}
		time.Sleep(unreadyAfter)
		got := r.readyz()
		if got["publish"].Ready || got["control"].Ready || !got["deliver"].Ready {
			t.Errorf("a full store: %+v", got)
		}
		// It is what publications meet, without a probe, that counts.
		faulty.Clear()
		r.putSegment("a", "v", r.next(), take{}, 201)
		faulty.Add(storetest.Fault{Op: storetest.Put, Err: store.ErrUnavailable})
		if got := r.readyz(); !got["publish"].Ready || !got["publish"].healthy("store-writes") {
			t.Errorf("after a publication: %+v", got)
		}
		faulty.Clear()

		faulty.Add(storetest.Fault{Op: storetest.Get, Err: store.ErrUnavailable})
		time.Sleep(freshOutcome)
		r.readyz()
		time.Sleep(unreadyAfter)
		got = r.readyz()
		if !got["publish"].Ready || got["deliver"].Ready || got["deliver"].healthy("store-reads") {
			t.Errorf("a store that is not read: %+v", got)
		}
		faulty.Clear()
		time.Sleep(freshOutcome)
		for name, x := range r.readyz() { // by the probe: nobody publishes
			if !x.Ready {
				t.Errorf("recovered %s: %+v", name, x)
			}
		}
	})
}

// TestSlowStoreShedsTheDVRWindow: where the store is slow those who can wait
// do, live goes on, and publishing is not touched.
func TestSlowStoreShedsTheDVRWindow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var slow atomic.Bool
		st := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
			if op == storetest.Get && rec.Namespace == store.Media && slow.Load() {
				return 1500 * time.Millisecond, 0
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: st, MemoryBytes: 1}, func(ev *live.Event) {
			ev.Start = ev.Start.Add(-2 * time.Minute)
			ev.LiveWindowSeconds = 30
		})
		r.putInits("a")
		newest := r.next()
		for n := newest - 50; n <= newest; n++ {
			r.putSegment("a", "v", n, take{}, 201)
			r.putSegment("a", "w", n, take{}, 201)
		}
		dvr := newest - 50
		r.want(r.getSegment("v", dvr), 200, "")
		slow.Store(true)
		var answers []<-chan *httptest.ResponseRecorder
		for n := newest - 11; n <= newest; n++ {
			answers = append(answers, r.ask(t.Context(), "v/"+live.SegmentName(n)), r.ask(t.Context(), "w/"+live.SegmentName(n)))
		}
		for _, ch := range answers {
			r.want(<-ch, 200, "") // slow, and served
		}
		answers = nil
		refused := 0
		for k := range 90 {
			if answers = append(answers, r.ask(t.Context(), "v/"+live.SegmentName(dvr+live.Number(k%30)))); k%10 < 9 {
				continue
			}
			for _, ch := range answers {
				w := <-ch
				if w.Code == 200 {
					continue
				}
				refused++
				if r.want(w, 503, "overloaded"); w.Header().Get("Retry-After") != "5" || lifetime(w) != 5*time.Second {
					t.Errorf("%v", w.Header())
				}
			}
			answers = nil
		}
		if refused < 30 {
			t.Errorf("%d of 90 are refused", refused)
		}
		r.want(r.getSegment("v", newest), 200, "")
		r.putSegment("a", "v", newest+1, take{}, 201)
		// Once it is fast again, readers of the DVR window are let in again.
		slow.Store(false)
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			r.getSegment("v", newest)
		}
		r.want(r.getSegment("v", dvr), 200, "")
	})
}

// TestStepsAreTold: a PUT says what took its time, and so do the metrics.
func TestStepsAreTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := tracing{memory.New(memory.Options{})}
		r := newRig(t, Config{Store: st})
		r.putInits("a")
		w := r.putSegment("a", "v", r.next(), take{}, 201)
		if got := w.Header().Get("Server-Timing"); got != "read;dur=0.0, inspect;dur=0.0, store;dur=30.0, staged;dur=20.0, committed;dur=10.0, cache;dur=0.0, announce;dur=0.0" {
			t.Error(got)
		}
		if got := r.counted("publications_over_goal_total"); got != 0 {
			t.Errorf("%v over the goal", got)
		}
	})
}

// tracing is a store that stages and commits.
type tracing struct{ store.Store }

func (s tracing) Put(ctx context.Context, r store.Record, item store.Item) error {
	if r.Namespace == store.Media {
		time.Sleep(20 * time.Millisecond)
		store.Trace(ctx, "staged", 20*time.Millisecond)
		time.Sleep(10 * time.Millisecond)
		store.Trace(ctx, "committed", 10*time.Millisecond)
	}
	return s.Store.Put(ctx, r, item)
}

// TestDeliveryHasItsOwnClient: what delivery reads it reads by its own client
// of the store, and nothing of it by publishing's.
func TestDeliveryHasItsOwnClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		ours, theirs := storetest.NewFaulty(st), storetest.NewFaulty(st)
		r := newRig(t, Config{Store: ours, DeliverStore: theirs, MemoryBytes: 1})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		gets, scans := ours.Count(storetest.Get), ours.Count(storetest.Scan)
		r.want(r.getSegment("v", n), 200, "")
		r.want(r.getSegment("v", n-3), 410, "lost")
		if ours.Count(storetest.Get) != gets || ours.Count(storetest.Scan) != scans {
			t.Error("delivery reads by publishing's client")
		}
		if theirs.Count(storetest.Get) != 1 || theirs.Count(storetest.Scan) != 1 || theirs.Count(storetest.Put) != 0 {
			t.Errorf("delivery's client: %d, %d, %d", theirs.Count(storetest.Get), theirs.Count(storetest.Scan), theirs.Count(storetest.Put))
		}
		// Publishing goes on while delivery's client hangs.
		theirs.Add(storetest.Fault{Err: store.ErrUnavailable})
		r.putSegment("a", "v", n+1, take{}, 201)
	})
}

// TestTenantsHaveTheirOwnShare: one tenant's storm is its own.
func TestTenantsHaveTheirOwnShare(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{MaxHolds: 10, TenantPercent: 50})
		n := r.next() + 1
		until(r.tl.Due(n))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		for range 5 {
			r.ask(ctx, "v/"+live.SegmentName(n))
		}
		synctest.Wait()
		if w := answered(r.ask(ctx, "v/"+live.SegmentName(n))); w == nil || problemOf(w).Code != "overloaded" {
			t.Errorf("the sixth of one tenant: %v", w)
		}
		r.id = live.EventID{Tenant: "other", Name: "final"}
		r.create(testEvent())
		if w := answered(r.ask(ctx, "v/"+live.SegmentName(n))); w != nil {
			t.Errorf("another tenant's first: %d", w.Code)
		}
		cancel()
		synctest.Wait()
	})
}

// TestAbsentIsWaitedFor: what was announced and is not in this region's store
// yet is waited for; in the meantime another pipeline's will do.
func TestAbsentIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := &lossy{Local: announce.NewLocal()}
		east, west := memory.New(memory.Options{}), memory.New(memory.Options{})
		one := newRig(t, Config{Store: east, Bus: bus})
		two := newRig(t, Config{Store: west, Bus: bus})
		synctest.Wait()
		one.putInits("a", "b")
		two.put("b/v/init.mp4", two.m.inits["v"])
		n := one.next()
		one.putSegment("a", "v", n, take{}, 201)
		synctest.Wait()
		if got := two.o.book.Get(testID).Candidates("v", n); len(got) != 1 {
			t.Fatalf("announced: %v", got)
		}
		began := time.Now()
		two.want(two.getSegment("v", n), 503, "store-unavailable")
		if d := time.Since(began); d > arrivalWait+2*arrivalPause {
			t.Errorf("waited %v", d)
		}
		// Another pipeline's, in this region, is there.
		two.putSegment("b", "v", n, take{}, 201)
		if w := two.want(two.getSegment("v", n), 200, ""); served(w) != "b;region=west" {
			t.Errorf("%s is served", served(w))
		}
		// It arrives, while it is waited for.
		ch := two.ask(t.Context(), "v/"+live.SegmentName(n))
		time.Sleep(arrivalWait / 2)
		item, err := east.Get(t.Context(), layout.Media(testID, "v"), layout.SegmentKey(n, "a"))
		if err != nil || west.Put(t.Context(), layout.Media(testID, "v"), item) != nil {
			t.Fatal(err)
		}
		if w := two.want(<-ch, 200, ""); served(w) != "a;region=east" {
			t.Errorf("%s is served", served(w))
		}
	})
}

// TestFallback: a region that does not have what was announced, or whose store
// is slow, brings it from another: once for all who ask, exactly what was asked
// for, and never in a circle.
func TestFallback(t *testing.T) {
	bus := &lossy{Local: announce.NewLocal()}
	var asked atomic.Int64
	var spoil atomic.Bool
	var handlers [2]atomic.Value
	var urls [2]string
	for i := range handlers {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if spoil.Load() {
				w.Write([]byte("not what was asked for"))
				return
			}
			handlers[i].Load().(http.Handler).ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		urls[i] = s.URL
	}
	var slow atomic.Bool
	west := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
		if op == storetest.Get && rec.Namespace == store.Media && slow.Load() {
			return time.Minute, 0
		}
		return 0, 0
	})
	east := memory.New(memory.Options{})
	one := newRig(t, Config{Store: east, Bus: bus, Region: "east", Fallback: []string{urls[1]}, FallbackAfter: 20 * time.Millisecond, MemoryBytes: 1})
	two := newRig(t, Config{Store: west, Bus: bus, Region: "west", Fallback: []string{urls[0]}, FallbackAfter: 20 * time.Millisecond, MemoryBytes: 1},
		func(ev *live.Event) { ev.Start = one.o.book.Get(testID).View().Config().Event.Start })
	handlers[0].Store(http.Handler(one.del))
	handlers[1].Store(http.Handler(two.del))
	for bus.subscribers.Load() < 2 {
		time.Sleep(time.Millisecond)
	}
	one.putInits("a")
	two.putInits("a")
	n := one.next()

	one.putSegment("a", "v", n, take{}, 201)
	var answers []<-chan *httptest.ResponseRecorder
	for range 20 {
		answers = append(answers, two.ask(t.Context(), "v/"+live.SegmentName(n)))
	}
	for _, ch := range answers {
		w := two.want(<-ch, 200, "")
		if served(w) != "a;region=west" || !strings.Contains(w.Header().Get("Server-Timing"), "store;dur=") {
			t.Errorf("%v", w.Header())
		}
	}
	if got := two.counted(`fallbacks_total{outcome="served"}`); got == 0 || got > 20 || int64(got) != asked.Load() {
		t.Errorf("%v served, %d asked", got, asked.Load())
	}
	// Slow.
	two.putSegment("a", "v", n-1, take{}, 201)
	one.putSegment("a", "v", n-1, take{}, 200)
	item, err := west.Get(t.Context(), layout.Media(testID, "v"), layout.SegmentKey(n-1, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := east.Put(t.Context(), layout.Media(testID, "v"), item); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	two.want(two.getSegment("v", n-1), 200, "")
	slow.Store(false)
	// Wrong bytes are not passed on.
	spoil.Store(true)
	two.want(two.getSegment("v", n), 503, "store-unavailable")
	if got := two.counted(`fallbacks_total{outcome="wrong"}`); got != 1 {
		t.Errorf("%v counted as wrong", got)
	}
	spoil.Store(false)
	// Gone from both: each asks the other once, and neither asks on.
	if err := east.Put(t.Context(), layout.Media(testID, "v"), store.Gone(layout.SegmentKey(n, "a"), one.o.book.Tokens.Next())); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	two.want(two.getSegment("v", n), 503, "store-unavailable")
	if got := asked.Load() - before; got != 1 {
		t.Errorf("%d requests went between the regions", got)
	}
	w := serve(two.del, request("GET", "/acme/final/v/"+live.SegmentName(n), nil, "CDN-Loop", "edge;x=1, "+loopMember))
	if two.want(w, 503, ""); asked.Load()-before != 1 {
		t.Error("a request of another origin is passed on")
	}
}
