package origin

import (
	"context"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/announce"
	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// hanging is a store whose puts of segments hang while it is told to.
func hanging(s store.Store) (store.Store, *atomic.Bool) {
	hangs := new(atomic.Bool)
	return storetest.NewSlow(s, func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
		if hangs.Load() && op == storetest.Put && rec.Namespace == store.Media {
			return time.Hour, 0
		}
		return 0, 0
	}), hangs
}

// notStored is a rig of which a's segment n was PUT and not stored; restart is the next
// start of it.
func notStored(t *testing.T) (r *rig, n live.Number, hangs *atomic.Bool, restart func() *rig) {
	t.Helper()
	st := memory.New(memory.Options{})
	slow, hangs := hanging(st)
	r, stop := stoppableRig(t, Config{Store: slow})
	r.create(testEvent())
	r.putInits("a", "b")
	n = r.next()
	hangs.Store(true)
	r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: "a"})), 503, "not-stored")
	return r, n, hangs, func() *rig { stop(); return openRig(t, Config{Store: st}) }
}

func unstored(w *httptest.ResponseRecorder) bool {
	return strings.HasSuffix(w.Header().Get("Live-Published"), ";unstored")
}

// A store that is slow does not keep a segment from viewers that this node has in
// memory; the packager is answered when it is durable.
func TestDeliveredAheadOfTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Store: slowMedia(memory.New(memory.Options{}))})
		r.putInits("a", "b")
		n := r.next()
		began := time.Now()
		viewer := r.ask(t.Context(), "v/"+live.SegmentName(n))
		put := make(chan *httptest.ResponseRecorder)
		go func() { put <- r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: "a"})) }()
		w := <-viewer
		if took := time.Since(began); w.Code != 200 || took != 500*time.Millisecond || !unstored(w) {
			t.Errorf("%d after %v: %v", w.Code, took, w.Header())
		}
		if _, err := live.ParsePublished(w.Header().Get("Live-Published")); err != nil {
			t.Error(err)
		}
		w = <-put
		if took := time.Since(began); w.Code != 201 || took != time.Second || unstored(w) {
			t.Errorf("the PUT: %d after %v", w.Code, took)
		}
		if w := r.want(r.getSegment("v", n), 200, ""); unstored(w) {
			t.Errorf("once it is stored: %v", w.Header())
		}
		if got := r.counted("delivered_ahead_total"); got != 1 {
			t.Errorf("%v were counted", got)
		}
	})
}

// What was delivered and is not stored after all is not published: the packager PUTs it
// again as if for the first time, and whatever it then PUTs counts.
func TestDeliveredAheadAndNotStored(t *testing.T) {
	for name, mark := range map[string]string{"the same bytes": "a", "other bytes": "x"} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r, n, hangs, restart := notStored(t)
				first := r.want(r.getSegment("v", n), 200, "")
				if !unstored(first) {
					t.Errorf("%v", first.Header())
				}
				// As often as it fails, it is no news.
				r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: "a"})), 503, "not-stored")
				if got := r.counted("delivered_ahead_total"); got != 1 {
					t.Errorf("%v were counted", got)
				}
				hangs.Store(false)
				r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: mark})), 201, "")
				second := r.want(r.getSegment("v", n), 200, "")
				same := second.Header().Get("ETag") == first.Header().Get("ETag")
				if unstored(second) || same != (mark == "a") {
					t.Errorf("%v, and before %v", second.Header(), first.Header())
				}
				// Where the store is fast, nothing goes ahead of it.
				r.putSegment("b", "v", n, take{}, 201)
				if got := r.counted("delivered_ahead_total"); got != 1 {
					t.Errorf("%v were counted once the store is fast", got)
				}
				// A restart has what was acknowledged.
				r = restart()
				if w := r.want(r.getSegment("v", n), 200, ""); w.Header().Get("ETag") != second.Header().Get("ETag") {
					t.Errorf("after a restart: %v", w.Header())
				}
			})
		})
	}
}

// What was delivered ahead and never stored is gone with this node; another pipeline's
// serves then.
func TestDeliveredAheadAndLost(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r, n, hangs, restart := notStored(t)
		r.want(r.getSegment("v", n), 200, "")
		hangs.Store(false)
		r.putSegment("b", "v", n, take{}, 201)
		if w := r.want(r.getSegment("v", n), 200, ""); served(w) != "a;region=east" {
			t.Errorf("%s serves", served(w))
		}
		r = restart()
		if w := r.want(r.getSegment("v", n), 200, ""); served(w) != "b;region=west" {
			t.Errorf("after a restart %s serves", served(w))
		}
	})
}

// Another node hears of it when it is stored, and not before: it would answer a packager
// that comes to it that it is published.
func TestDeliveredAheadIsThisNodesAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		bus := [2]*slowBus{}
		for i := range bus {
			bus[i] = &slowBus{Local: announce.NewLocal()}
		}
		bus[0].other, bus[1].other = bus[1], bus[0]
		slow, hangs := hanging(memory.New(memory.Options{}))
		one := newRig(t, Config{Store: slow, Bus: bus[0]})
		two := openRig(t, Config{Store: slow, Bus: bus[1]})
		synctest.Wait()
		one.putInits("a", "b")
		n := one.next()
		hangs.Store(true)
		body := one.m.segment(one.tl, "v", n, take{mark: "a"})
		one.want(one.put("a/v/"+live.SegmentName(n), body), 503, "not-stored")
		one.want(one.getSegment("v", n), 200, "") // which chooses it
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if w := <-two.ask(ctx, "v/"+live.SegmentName(n)); w.Code == 200 && w.Body.Len() > 0 {
			t.Errorf("the other node serves it: %v", w.Header())
		}
		hangs.Store(false)
		two.want(two.put("a/v/"+live.SegmentName(n), body), 201, "")
		for _, r := range []*rig{one, two} {
			if w := r.want(r.getSegment("v", n), 200, ""); unstored(w) || served(w) != "a;region=east" {
				t.Errorf("%v", w.Header())
			}
		}
	})
}

// An init segment that is refused meanwhile takes back what was delivered.
func TestDeliveredAheadAndRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Store: slowMedia(memory.New(memory.Options{}))})
		r.putInits("a", "b")
		n := r.next()
		put := make(chan *httptest.ResponseRecorder)
		go func() { put <- r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{mark: "a"})) }()
		time.Sleep(600 * time.Millisecond)
		r.want(r.getSegment("v", n), 200, "")
		r.refuseInit()
		r.want(<-put, 412, "init-differs")
		r.putSegment("b", "v", n, take{}, 201)
		if w := r.want(r.getSegment("v", n), 200, ""); served(w) != "b;region=west" {
			t.Errorf("%s serves", served(w))
		}
	})
}
