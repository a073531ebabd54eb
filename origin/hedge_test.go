package origin

import (
	"bytes"
	"context"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/layout"

	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// slowMedia is a store that takes a second to store a segment.
func slowMedia(s store.Store) store.Store {
	return storetest.NewSlow(s, func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
		if op == storetest.Put && rec.Namespace == store.Media {
			return time.Second, 0
		}
		return 0, 0
	})
}

// TestHedges: however PUTs of one segment overlap, it is stored once, and
// every packager is told the truth.
func TestHedges(t *testing.T) {
	type put struct {
		after    time.Duration // since the first
		pipeline string
		mark     string        // of the take
		leaves   time.Duration // after its beginning; 0: never
		status   int
	}
	for name, c := range map[string]struct {
		puts   []put
		faults []storetest.Fault
		stored int
	}{
		"twins": {puts: []put{{0, "a", "x", 0, 201}, {0, "a", "x", 0, 200}}, stored: 1},
		"a hedge on the way": {
			puts: []put{{0, "a", "x", 0, 201}, {500 * time.Millisecond, "a", "x", 0, 200}, {700 * time.Millisecond, "a", "x", 0, 200}}, stored: 1},
		"the first fails": {
			puts:   []put{{0, "a", "x", 0, 503}, {500 * time.Millisecond, "a", "x", 0, 201}},
			faults: []storetest.Fault{{Op: storetest.Put, Namespace: store.Media, Nth: 1, Err: store.ErrUnavailable}}, stored: 2},
		"the first is stored, and does not know": {
			puts:   []put{{0, "a", "x", 0, 503}, {500 * time.Millisecond, "a", "x", 0, 201}},
			faults: []storetest.Fault{{Op: storetest.Put, Namespace: store.Media, Nth: 1, Err: store.ErrUnavailable, After: true}}, stored: 2},
		"the first leaves while it is stored": {
			puts: []put{{0, "a", "x", 100 * time.Millisecond, 201}, {500 * time.Millisecond, "a", "x", 0, 200}}, stored: 1},
		"the second leaves while it waits": {
			puts: []put{{0, "a", "x", 0, 201}, {500 * time.Millisecond, "a", "x", 100 * time.Millisecond, 400}}, stored: 1},
		"other bytes": {
			puts: []put{{0, "a", "x", 0, 201}, {500 * time.Millisecond, "a", "y", 0, 409}}, stored: 1},
		"pipelines do not wait for each other": {
			puts: []put{{0, "a", "x", 0, 201}, {0, "b", "x", 0, 201}}, stored: 2},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				faulty := storetest.NewFaulty(memory.New(memory.Options{}))
				r := newRig(t, Config{Store: slowMedia(faulty)})
				r.putInits("a", "b")
				n := r.next()
				faulty.Add(c.faults...)
				before := faulty.Count(storetest.Put)
				answers := make([]chan *httptest.ResponseRecorder, len(c.puts))
				began := time.Now()
				for i, p := range c.puts {
					until(began.Add(p.after))
					ctx, cancel := context.WithCancel(t.Context())
					defer cancel()
					req := request("PUT", "/acme/final/"+p.pipeline+"/v/"+live.SegmentName(n), bytes.NewReader(r.m.segment(r.tl, "v", n, take{mark: p.mark})))
					answers[i] = make(chan *httptest.ResponseRecorder, 1)
					go func() { answers[i] <- serve(r.pub, req.WithContext(ctx)) }()
					synctest.Wait() // it has taken its place
					if p.leaves > 0 {
						time.AfterFunc(p.leaves, cancel)
					}
				}
				for i, p := range c.puts {
					if w := <-answers[i]; w.Code != p.status {
						t.Errorf("PUT %d: %d %s, want %d", i, w.Code, w.Body, p.status)
					}
				}
				if took := time.Since(began); name == "pipelines do not wait for each other" && took != time.Second {
					t.Errorf("took %v", took)
				}
				// A frame rate may have been stored too, in a namespace of its own.
				page, err := faulty.Scan(t.Context(), layout.Media(testID, "v"), store.ScanOptions{})
				if err != nil {
					t.Fatal(err)
				}
				pipelines := map[string]bool{}
				for _, p := range c.puts {
					pipelines[p.pipeline] = true
				}
				if len(page.Items) != len(pipelines) {
					t.Errorf("%d items are stored", len(page.Items))
				}
				if puts := faulty.Count(storetest.Put) - before; puts > c.stored+1 || puts < c.stored {
					t.Errorf("%d stored, want %d", puts, c.stored)
				}
				w := r.want(r.getSegment("v", n), 200, "")
				if !bytes.Equal(w.Body.Bytes(), r.m.segment(r.tl, "v", n, take{mark: "x"})) {
					t.Error("other bytes are served")
				}
				if r.o.publish.Bodies.Used() != 0 {
					t.Errorf("%d bytes are left", r.o.publish.Bodies.Used())
				}
			})
		})
	}
}

// TestInitsInParallel: of init segments that come together one is the first,
// and all others fit it or are refused.
func TestInitsInParallel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := storetest.NewSlow(memory.New(memory.Options{}), storetest.Always(100*time.Millisecond))
		r := newRig(t, Config{Store: st})
		answers := make(chan int, 8)
		for i := range 8 {
			go func() {
				pipeline, body := "a", r.m.inits["v"]
				if i%2 == 1 {
					pipeline, body = "b", r.m.inits["w"]
				}
				answers <- r.put(pipeline+"/v/init.mp4", body).Code
			}()
		}
		got := map[int]int{}
		for range 8 {
			got[<-answers]++
		}
		if got[201] != 1 || got[200] != 3 || got[412] != 4 {
			t.Errorf("%v", got)
		}
	})
}

// TestStoreTooSlow: what is not stored in time is not acknowledged.
func TestStoreTooSlow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var delay atomic.Int64
		delay.Store(int64(time.Hour))
		st := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
			if op == storetest.Put && rec.Namespace == store.Media {
				return time.Duration(delay.Load()), 0
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: st})
		r.putInits("a")
		n := r.next()
		began := time.Now()
		w := r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{})), 503, "not-stored")
		if time.Since(began) != 2*time.Second || w.Header().Get("Retry-After") != "1" {
			t.Errorf("after %v, %v", time.Since(began), w.Header())
		}
		if !r.o.book.Get(testID).Ahead("v", n, "a") {
			t.Error("known as if it were stored")
		}
		delay.Store(0)
		r.putSegment("a", "v", n, take{}, 201)
	})
}

// TestStoreFull: packagers are told, viewers notice nothing, and it passes by
// itself.
func TestStoreFull(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: faulty})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		faulty.Add(storetest.Fault{Op: storetest.Put, Err: store.ErrFull})
		for range 3 {
			w := r.want(r.put("a/v/"+live.SegmentName(n+1), r.m.segment(r.tl, "v", n+1, take{})), 503, "not-stored")
			if problemOf(w).Detail != "the store is full" {
				t.Errorf("%q", problemOf(w).Detail)
			}
		}
		r.want(r.put("a/a/"+live.SegmentName(n), webPage), 415, "not-cmaf")
		r.want(r.getSegment("v", n), 200, "")
		faulty.Clear()
		r.putSegment("a", "v", n+1, take{}, 201)
	})
}
