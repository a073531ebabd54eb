package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"runtime"
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

// deaf is a bus that brings nobody anything, and says so.
type deaf struct{ announce.Bus }

func (deaf) Announce(announce.Message) error { return errTest }

func TestHoldsAreReleasedAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next() + 1
		until(r.tl.Due(n))
		const crowd = 3000
		var answers []<-chan *httptest.ResponseRecorder
		for range crowd {
			answers = append(answers, r.ask(t.Context(), "v/"+live.SegmentName(n)))
		}
		until(r.tl.Expected(n))
		synctest.Wait()
		if waiting, _ := r.waiting(); waiting != crowd || int(r.counted("holding")) != crowd {
			t.Fatalf("%d wait, %d are counted", waiting, int(r.counted("holding")))
		}
		r.putSegment("a", "v", n, take{}, 201)
		released := time.Now()
		for _, ch := range answers {
			if w := r.want(<-ch, 200, ""); served(w) != "a;region=east" {
				t.Fatalf("%s is served", served(w))
			}
		}
		if !time.Now().Equal(released) {
			t.Errorf("the last was released %v after the first", time.Since(released))
		}
		if waiting, _ := r.waiting(); waiting != 0 || int(r.counted("holding")) != 0 {
			t.Errorf("%d wait, %d are counted", waiting, int(r.counted("holding")))
		}
	})
}

func TestHoldEndsWithItsClient(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next() + 1
		until(r.tl.Due(n))
		synctest.Wait()
		before := runtime.NumGoroutine()
		_, slots := r.waiting()
		ctx, cancel := context.WithCancel(t.Context())
		const crowd = 1000
		var answers []<-chan *httptest.ResponseRecorder
		for range crowd {
			answers = append(answers, r.ask(ctx, "v/"+live.SegmentName(n)))
			answers = append(answers, r.ask(ctx, "event.json?after="+r.o.book.Get(testID).View().ETag))
		}
		synctest.Wait()
		if int(r.counted("holding")) != 2*crowd {
			t.Fatalf("%d are held", int(r.counted("holding")))
		}
		cancel()
		synctest.Wait()
		for _, ch := range answers {
			if w := <-ch; w.Body.Len() > 0 {
				t.Fatalf("who left was written to: %s", w.Body)
			}
		}
		// One that has ended is counted until it was descheduled.
		for range 1_000_000 {
			if runtime.NumGoroutine() <= before {
				break
			}
			runtime.Gosched()
		}
		waiting, now := r.waiting()
		if waiting != 0 || now != slots || int(r.counted("holding")) != 0 || runtime.NumGoroutine() > before+crowd/100 {
			t.Errorf("%d wait in %d slots, %d before; %d are counted; %d goroutines, %d before", waiting, now, slots, int(r.counted("holding")), runtime.NumGoroutine(), before)
		}
	})
}

func TestHeldToTheDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next() + 1
		until(r.tl.Due(n))
		ch := r.ask(t.Context(), "v/"+live.SegmentName(n))
		until(r.tl.Deadline(n).Add(-time.Nanosecond))
		if w := answered(ch); w != nil {
			t.Fatalf("before the deadline: %d", w.Code)
		}
		time.Sleep(time.Nanosecond)
		w := answered(ch)
		if w == nil || w.Code != 410 || problemOf(w).Code != "lost" || lifetime(w) != r.tl.Segment() {
			t.Fatalf("at the deadline: %v", w)
		}
	})
}

func TestTooManyHolds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{MaxHolds: 4})
		n := r.next() + 1
		until(r.tl.Due(n))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		etag := r.o.book.Get(testID).View().ETag
		for range 2 {
			r.ask(ctx, "event.json?after="+etag)
		}
		synctest.Wait()
		// Whoever waits for the configuration gives way.
		if w := answered(r.ask(ctx, "event.json?after="+etag)); w == nil || problemOf(w).Code != "overloaded" {
			t.Errorf("the third: %v", w)
		}
		for range 2 {
			r.ask(ctx, "v/"+live.SegmentName(n))
		}
		synctest.Wait()
		if w := answered(r.ask(ctx, "v/"+live.SegmentName(n))); w == nil || problemOf(w).Code != "overloaded" {
			t.Errorf("the fifth: %v", w)
		}
		r.want(r.get("event.json"), 200, "")
		cancel()
		synctest.Wait()
		if int(r.counted("holding")) != 0 {
			t.Errorf("%d are counted", int(r.counted("holding")))
		}
	})
}

// TestLostAnnouncement: a node that is told nothing finds what was published
// by looking, soon after it is expected, and once for all who wait.
func TestLostAnnouncement(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		// The last look of the guard is a tenth of a second before the deadline.
		one := newRig(t, Config{Store: faulty, Bus: deaf{announce.NewLocal()}}, func(ev *live.Event) { ev.BudgetMS = 2100 })
		one.putInits("a")
		two := openRig(t, Config{Store: faulty, Bus: deaf{announce.NewLocal()}})
		n := one.next() + 1
		until(one.tl.Expected(n))
		var answers []<-chan *httptest.ResponseRecorder
		for range 200 {
			answers = append(answers, two.ask(t.Context(), "v/"+live.SegmentName(n)))
		}
		synctest.Wait()
		time.Sleep(50 * time.Millisecond)
		one.putSegment("a", "v", n, take{}, 201) // the bus fails: the PUT does not
		before := faulty.Count(storetest.Scan)
		until(one.tl.Expected(n).Add(time.Second))
		for _, ch := range answers {
			if w := answered(ch); w == nil || w.Code != 200 {
				t.Fatalf("a second after it is expected: %v", w)
			}
		}
		if looks := faulty.Count(storetest.Scan) - before; looks > 1 {
			t.Errorf("%d looks", looks)
		}
		// Also where nobody waits any more.
		n++
		until(one.tl.Expected(n))
		one.putSegment("a", "v", n, take{}, 201)
		until(one.tl.Deadline(n).Add(time.Second))
		two.want(two.getSegment("v", n), 200, "")
		// And the last moment counts: found by the look at the deadline.
		n = one.next() + 1
		until(one.tl.Expected(n))
		ch := two.ask(t.Context(), "v/"+live.SegmentName(n))
		until(one.tl.Deadline(n).Add(-time.Millisecond))
		synctest.Wait()
		one.putSegment("a", "v", n, take{}, 201)
		two.want(<-ch, 200, "")
	})
}

func TestEventDeletedWhileHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		n := r.next() + 1
		until(r.tl.Due(n))
		seg := r.ask(t.Context(), "v/"+live.SegmentName(n))
		cfg := r.ask(t.Context(), "event.json?after="+r.o.book.Get(testID).View().ETag)
		synctest.Wait()
		r.want(r.control("DELETE", "?yes=true", ""), 204, "")
		for _, ch := range []<-chan *httptest.ResponseRecorder{seg, cfg} {
			w := answered(ch)
			if w == nil || w.Code != 404 || problemOf(w).Code != "no-such-event" || lifetime(w) != 2*time.Second {
				t.Fatalf("held while the event went: %v", w)
			}
		}
		if int(r.counted("holding")) != 0 {
			t.Errorf("%d are counted", int(r.counted("holding")))
		}
	})
}

// TestEventMovedWhileHeld: what is held follows the event's new times.
func TestEventMovedWhileHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		n := r.next() + 1
		until(r.tl.Due(n))
		ch := r.ask(t.Context(), "v/"+live.SegmentName(n))
		synctest.Wait()
		ev := testEvent()
		ev.Start = r.tl.Start(1).Add(time.Hour)
		r.create(ev)
		w := answered(ch)
		if w == nil || w.Code != 404 || problemOf(w).Code != "early" || lifetime(w) != time.Minute {
			t.Fatalf("held while the event moved by an hour: %v", w)
		}
	})
}

func TestRenditionRemovedWhileHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		n := r.next() + 1
		until(r.tl.Due(n))
		ch := r.ask(t.Context(), "w/"+live.SegmentName(n))
		synctest.Wait()
		ev := testEvent()
		ev.Start = r.tl.Start(1)
		ev.Renditions = append(ev.Renditions[:1:1], ev.Renditions[2])
		r.create(ev)
		if w := answered(ch); w == nil || problemOf(w).Code != "no-such-rendition" {
			t.Fatalf("held while its rendition went: %v", w)
		}
	})
}

func TestDrain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next() + 1
		until(r.tl.Due(n))
		seg := r.ask(t.Context(), "v/"+live.SegmentName(n))
		cfg := r.ask(t.Context(), "event.json?after="+r.o.book.Get(testID).View().ETag)
		synctest.Wait()
		r.want(serve(r.ctl, request("GET", "/readyz", nil)), 200, "")
		r.o.Drain()
		r.o.Drain()
		for _, ch := range []<-chan *httptest.ResponseRecorder{seg, cfg, r.ask(t.Context(), "v/"+live.SegmentName(n))} {
			if w := answered(ch); w == nil || w.Code != 503 || problemOf(w).Code != "draining" || w.Header().Get("Retry-After") == "" {
				t.Fatalf("held while the server drains: %v", w)
			}
		}
		r.want(serve(r.ctl, request("GET", "/readyz", nil)), 503, "draining")
		r.putSegment("a", "v", n, take{}, 201) // what is on its way is taken
		r.want(r.getSegment("v", n), 200, "")
	})
}

// TestConfigIsHeld: event.json?after= is answered when the configuration
// changes, and unchanged after 25 s.
func TestConfigIsHeld(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		w := r.want(r.get("event.json"), 200, "")
		etag := w.Header().Get("ETag")
		if lifetime(w) != time.Second {
			t.Errorf("kept for %v", lifetime(w))
		}
		began := time.Now()
		if w := <-r.ask(t.Context(), "event.json?after="+etag); w.Header().Get("ETag") != etag || time.Since(began) != 25*time.Second {
			t.Errorf("unchanged, after %v", time.Since(began))
		}
		ch := r.ask(t.Context(), "event.json?after="+etag[1:len(etag)-1]) // without its quotes
		synctest.Wait()
		// Notifications are not part of it.
		r.want(r.control("POST", "/notifications", `{"type": "x", "id": "1", "from": 1}`), 200, "")
		if w := answered(ch); w != nil {
			t.Fatalf("answered although nothing changed: %s", w.Body)
		}
		r.want(r.control("POST", "/flush?yes=true", ""), 200, "")
		w = answered(ch)
		if w == nil || w.Header().Get("ETag") == etag {
			t.Fatalf("not answered when it changed: %v", w)
		}
		var cfg live.Config
		if err := json.Unmarshal(w.Body.Bytes(), &cfg); err != nil || cfg.FlushVersion != cfg.Version || fmt.Sprint(cfg.Version) != w.Header().Get("Live-Version") {
			t.Errorf("%+v, %v", cfg, err)
		}
		if w := r.want(<-r.ask(t.Context(), "event.json?after="+etag), 200, ""); w.Header().Get("ETag") == etag {
			t.Error("an old tag is held")
		}
	})
}

// TestStoreTooSlowForTheLook: a hold is not answered "lost" where the store
// could not be asked.
func TestStoreTooSlowForTheLook(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var slow atomic.Bool
		st := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, _ store.Record) (time.Duration, time.Duration) {
			if op == storetest.Scan && slow.Load() {
				return time.Minute, 0
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: st, StoreTimeout: time.Second})
		n := r.next() + 1
		until(r.tl.Due(n))
		slow.Store(true)
		ch := r.ask(t.Context(), "v/"+live.SegmentName(n))
		until(r.tl.Deadline(n).Add(2 * time.Second))
		if w := answered(ch); w == nil || problemOf(w).Code != "store-unavailable" {
			t.Errorf("%v", w)
		}
	})
}

// TestNothingGrows: numbers that are asked for and never published leave
// nothing behind, nor do those that have left the DVR window.
func TestNothingGrows(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, func(ev *live.Event) { ev.Start = ev.Start.Add(-10 * time.Minute) })
		r.putInits("a")
		n := r.next()
		for i := range live.Number(250) {
			r.getSegment("v", n-i)
		}
		r.putSegment("a", "v", n, take{}, 201)
		if _, slots := r.waiting(); slots < 200 {
			t.Fatalf("%d slots", slots)
		}
		time.Sleep(2 * keepHouse)
		if _, slots := r.waiting(); slots != 1 {
			t.Errorf("%d slots after a while", slots)
		}
		time.Sleep(11 * time.Minute)
		if _, slots := r.waiting(); slots != 0 {
			t.Errorf("%d slots after the DVR window", slots)
		}
	})
}
