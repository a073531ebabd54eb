package origin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/book"
	"headwater/origin/layout"

	"headwater/announce"
	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// TestRestart: a new origin over the same store answers as the old one did.
func TestRestart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.putInits("a")
		time.Sleep(time.Second)
		r.want(r.put("b/v/init.mp4", r.m.another("v")), 201, "")
		n := r.next()
		r.putSegment("a", "v", n-2, take{}, 201)
		r.putSegment("a", "v", n-1, take{lose: 30}, 201)
		r.putSegment("b", "v", n-1, take{lose: 20}, 201)
		r.putSegment("a", "v", n, take{lose: 30}, 201)
		r.putSegment("b", "v", n, take{}, 201)
		// A restarted encoder's init segment fits; viewers keep what they have.
		r.want(r.put("a/v/init.mp4", r.m.another("v")), 200, "")
		r.want(r.control("POST", "/notifications", `{"type": "ad-break", "id": "b1", "from": 7, "data": "e30="}`), 200, "")
		r.want(r.control("POST", "/masks", fmt.Sprintf(`{"pipeline": "b", "from": %d, "to": %d}`, n-1, n-1)), 200, "")
		until(r.tl.Deadline(n))

		paths := []string{"event.json", "v/init.mp4", "v/media.m3u8", "manifest.mpd", "main.m3u8",
			"v/" + live.SegmentName(n-3), "v/" + live.SegmentName(n-2), "v/" + live.SegmentName(n-1), "v/" + live.SegmentName(n), "v/" + live.SegmentName(n+5)}
		before := make(map[string]*httptest.ResponseRecorder)
		for _, p := range paths {
			before[p] = r.get(p)
		}
		again := openRig(t, Config{Store: st})
		for _, p := range paths {
			was, is := before[p], again.get(p)
			was.Header().Del("Server-Timing")
			is.Header().Del("Server-Timing")
			if was.Code != is.Code || !bytes.Equal(was.Body.Bytes(), is.Body.Bytes()) || !maps.EqualFunc(was.Header(), is.Header(), func(a, b []string) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
				t.Errorf("%s: %d %v\nthen %d %v", p, was.Code, was.Header(), is.Code, is.Header())
			}
		}
		// Packagers go on where they were.
		again.putSegment("a", "v", n-2, take{}, 200)
		again.putSegment("a", "v", n+1, take{}, 201)
		again.want(again.put("a/v/"+live.SegmentName(n-2), again.m.segment(again.tl, "v", n-2, take{mark: "other"})), 409, "conflict")
		// The sequence goes on, the version too.
		var sets [2]struct{ Sequence int64 }
		for i, body := range []string{`{"type": "x", "id": "1", "from": 1}`, `{"id": "1", "withdraw": true}`} {
			w := again.want(again.control("POST", "/notifications", body), 200, "")
			if err := json.Unmarshal(w.Body.Bytes(), &sets[i]); err != nil {
				t.Fatal(err)
			}
		}
		if sets[0].Sequence != 2 || sets[1].Sequence != 3 {
			t.Errorf("sequences after a restart: %+v", sets)
		}
	})
}

// TestInitStaysWhateverTheClockDoes: the first init segment is the one viewers
// get, also where a later one has an earlier time.
func TestInitStaysWhateverTheClockDoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		e := r.o.book.Get(testID)
		first, err := book.NewInit(r.m.inits["v"], live.Source{Pipeline: "b"}, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		e.LearnInit("v", first)
		r.want(r.put("a/v/init.mp4", r.m.another("v")), 201, "")
		if w := r.get("v/init.mp4"); !bytes.Equal(w.Body.Bytes(), r.m.inits["v"]) {
			t.Error("viewers get another init segment because its node's clock is behind")
		}
	})
}

// TestRepairWhateverTheClockDoes: a repair replaces what it repairs, also where
// that seems to be newer.
func TestRepairWhateverTheClockDoes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		e := r.o.book.Get(testID)
		findings := live.Findings{{Kind: live.Short, MissingMS: 1000}}
		r.o.book.Learn(e, "v", live.Candidate{Pipeline: "a", Number: n, Digest: live.DigestOf([]byte("x")), Findings: findings, Published: time.Now().Add(30 * time.Second)})
		r.putSegment("a", "v", n, take{}, 200)
		if w := r.want(r.getSegment("v", n), 200, ""); served(w) != "a;region=east" {
			t.Errorf("%s is served", served(w))
		}
	})
}

func TestLatenessIsLearntAndKept(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.putInits("a")
		publish := func(late time.Duration, count int) {
			t.Helper()
			for range count {
				n := r.next() + 1
				until(r.tl.Expected(n).Add(late))
				r.putSegment("a", "v", n, take{}, 201)
			}
		}
		lateness := func(r *rig) time.Duration {
			return time.Duration(r.o.book.Get(testID).View().Config().LatenessMS["v"]) * time.Millisecond
		}
		etag := r.get("event.json").Header().Get("ETag")
		publish(700*time.Millisecond, 15)
		if d := lateness(r); d != 0 {
			t.Errorf("learnt %v from 15 segments", d)
		}
		ch := r.ask(t.Context(), "event.json?after="+r.get("event.json").Header().Get("ETag"))
		publish(720*time.Millisecond, 1)
		if d := lateness(r); d != 700*time.Millisecond {
			t.Errorf("learnt %v", d)
		}
		// It is handed out at once, and times follow it; the version stays.
		w := answered(ch)
		if w == nil || w.Header().Get("ETag") == etag {
			t.Fatal("the observed lateness is not handed out")
		}
		var cfg live.Config
		if err := json.Unmarshal(w.Body.Bytes(), &cfg); err != nil || cfg.LatenessMS["v"] != 700 {
			t.Errorf("%+v, %v", cfg, err)
		}
		n := r.next() + 4
		if w := r.want(r.getSegment("v", n), 404, "early"); lifetime(w) != time.Until(r.tl.Due(n).Add(700*time.Millisecond)) {
			t.Errorf("early for %v", lifetime(w))
		}
		// One that is early moves it at once: no refusal outlives availability.
		version := r.get("event.json").Header().Get("Live-Version")
		publish(350*time.Millisecond, 1)
		if d := lateness(r); d != 300*time.Millisecond {
			t.Errorf("learnt %v", d)
		}
		// On the border of two steps it stands still.
		views := 0
		for i := range 40 {
			before := r.o.book.Get(testID).View()
			publish(400*time.Millisecond+time.Duration(i%2*8-4)*time.Millisecond, 1)
			if r.o.book.Get(testID).View() != before {
				views++
			}
		}
		if views > 0 || r.get("event.json").Header().Get("Live-Version") != version {
			t.Errorf("%d changes of the configuration", views)
		}
		// A restart does not forget it.
		publish(1500*time.Millisecond, 16)
		if d := lateness(r); d != 1500*time.Millisecond {
			t.Errorf("learnt %v", d)
		}
		if d := lateness(openRig(t, Config{Store: st})); d != 1500*time.Millisecond {
			t.Errorf("after a restart: %v", d)
		}
	})
}

// TestOneBadItemDoesNotStopAStart: an origin starts with what can be read.
func TestOneBadItemDoesNotStopAStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		for _, bad := range []struct {
			record store.Record
			item   store.Item
		}{
			{layout.Media(testID, "v"), store.Item{Key: layout.SegmentKey(n-1, "a"), Meta: []byte("{")}},
			{layout.Media(testID, "v"), store.Item{Key: "x", Meta: []byte("{}")}},
			{layout.Inits(testID, "a"), store.Item{Key: "b", Meta: []byte(`{"digest":""}`), Value: []byte("not an init segment")}},
			{layout.Events, store.Item{Key: "acme/other", Value: []byte("not JSON")}},
			{layout.Events, store.Item{Key: "no event's name"}},
		} {
			bad.item.Token = r.o.book.Tokens.Next()
			if err := st.Put(t.Context(), bad.record, bad.item); err != nil {
				t.Fatal(err)
			}
		}
		again := openRig(t, Config{Store: st})
		again.want(again.getSegment("v", n), 200, "")
		// The event that cannot be read can be created again, and its counts do
		// not go back.
		again.id = live.EventID{Tenant: "acme", Name: "other"}
		again.create(testEvent())
		w := again.want(again.control("POST", "/notifications", `{"type": "x", "id": "1", "from": 1}`), 200, "")
		var set struct{ Sequence int64 }
		if err := json.Unmarshal(w.Body.Bytes(), &set); err != nil || set.Sequence <= time.Now().Add(-time.Hour).Unix() {
			t.Errorf("sequence %d, %v", set.Sequence, err)
		}
	})
}

// TestDeletedLifeStaysDead: of a deleted event nothing is served once another
// has its name, whatever the store still has of it.
func TestDeletedLifeStaysDead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: faulty})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.want(r.control("POST", "/notifications", `{"type": "x", "id": "1", "from": 1}`), 200, "")
		var old live.Config
		if err := json.Unmarshal(r.get("event.json").Body.Bytes(), &old); err != nil {
			t.Fatal(err)
		}
		faulty.Add(storetest.Fault{Op: storetest.DeleteRecord, Err: store.ErrUnavailable})
		r.want(r.control("DELETE", "?yes=true", ""), 503, "not-stored")
		r.want(r.getSegment("v", n), 404, "no-such-event")
		r.want(r.control("GET", "", ""), 404, "no-such-event")

		r.create(testEvent())
		again := openRig(t, Config{Store: faulty})
		for _, r := range []*rig{r, again} {
			until(r.tl.Deadline(n))
			r.want(r.getSegment("v", n), 410, "lost")
			r.want(r.get("v/init.mp4"), 404, "no-init")
			if seq := r.get("event.json").Header().Get("Live-Notifications"); seq != "1" {
				t.Errorf("notifications %q of another life", seq)
			}
			var cfg live.Config
			if err := json.Unmarshal(r.get("event.json").Body.Bytes(), &cfg); err != nil || cfg.Version <= old.Version || cfg.FlushVersion != cfg.Version {
				t.Errorf("version %d, flushed %d, was %d", cfg.Version, cfg.FlushVersion, old.Version)
			}
		}
		// Deleting again goes on where it stopped.
		r.want(r.control("DELETE", "?yes=true", ""), 503, "")
		faulty.Clear()
		r.want(r.control("DELETE", "?yes=true", ""), 204, "")
		page, err := faulty.Scan(t.Context(), layout.Media(testID, "v"), store.ScanOptions{})
		if err != nil || len(page.Items) > 0 {
			t.Errorf("%d items are left, %v", len(page.Items), err)
		}
	})
}

// TestDeletedWhileStoring: a segment that is being stored while its event goes
// is not acknowledged. What is left of it expires, and is never served of the
// next event of that name.
func TestDeletedWhileStoring(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
			if op == storetest.Put && rec.Namespace == store.Media {
				return time.Second, 0
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: st})
		r.putInits("a")
		n := r.next()
		done := make(chan *httptest.ResponseRecorder, 1)
		go func() { done <- r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{})) }()
		synctest.Wait()
		r.want(r.control("DELETE", "?yes=true", ""), 204, "")
		r.create(testEvent())
		r.want(<-done, 404, "no-such-event")
		page, err := st.Scan(t.Context(), layout.Media(testID, "v"), store.ScanOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Items {
			if item.Expires.IsZero() {
				t.Errorf("%q is left for ever", item.Key)
			}
		}
		r.putInits("a")
		for _, again := range []*rig{r, openRig(t, Config{Store: st})} {
			again.want(again.getSegment("v", n), 410, "lost")
		}
	})
}

// TestChangeOfUnknownOutcome: a change that the store took although it said
// otherwise neither is lost nor gives its number to another.
func TestChangeOfUnknownOutcome(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: faulty})
		faulty.Add(storetest.Fault{Op: storetest.Put, Nth: 1, Err: store.ErrUnavailable, After: true})
		r.want(r.control("POST", "/notifications", `{"type": "x", "id": "1", "from": 1}`), 503, "not-stored")
		if got := r.get("event.json").Header().Get("Live-Notifications"); got != "" {
			t.Errorf("shown before it is known to be durable: %q", got)
		}
		w := r.want(r.control("POST", "/notifications", `{"type": "y", "id": "2", "from": 1}`), 200, "")
		if got := r.get("event.json").Header().Get("Live-Notifications"); got != `2, x;id="1";from=1, y;id="2";from=1` {
			t.Errorf("%q, %s", got, w.Body)
		}
	})
}

// TestTwoNodes: what one node does the other knows, by announcements or, where
// the bus is down, when house is kept.
func TestTwoNodes(t *testing.T) {
	for name, bus := range map[string]announce.Bus{"bus": announce.NewLocal(), "no bus": deaf{announce.NewLocal()}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				st := memory.New(memory.Options{})
				one := openRig(t, Config{Store: st, Bus: bus})
				two := openRig(t, Config{Store: st, Bus: bus})
				synctest.Wait() // both listen
				settle := func() {
					if synctest.Wait(); name == "no bus" {
						time.Sleep(keepHouse + time.Millisecond)
					}
					synctest.Wait()
				}
				one.create(testEvent())
				settle()
				two.tl = one.tl
				two.want(two.get("event.json"), 200, "")
				one.want(one.put("a/v/init.mp4", one.m.inits["v"]), 201, "")
				synctest.Wait()
				two.want(two.get("v/init.mp4"), 200, "")
				n := one.next()
				two.putSegment("a", "v", n, take{}, 201) // the init segment came by the other node
				synctest.Wait()
				until(one.tl.Expected(n).Add(time.Second))
				one.want(one.getSegment("v", n), 200, "")

				// Each changes the event; neither's change is lost.
				one.want(one.control("POST", "/notifications", `{"type": "x", "id": "1", "from": 1}`), 200, "")
				two.want(two.control("POST", "/notifications", `{"type": "y", "id": "2", "from": 1}`), 200, "")
				two.want(two.control("POST", "/masks", `{"id": "m", "pipeline": "b", "from": 1}`), 200, "")
				settle()
				want := `2, x;id="1";from=1, y;id="2";from=1`
				for _, r := range []*rig{one, two} {
					if got := r.get("event.json").Header().Get("Live-Notifications"); got != want {
						t.Errorf("%q, want %q", got, want)
					}
				}
				if a, b := one.get("event.json"), two.get("event.json"); a.Body.String() != b.Body.String() {
					t.Errorf("one has %s, two %s", a.Body, b.Body)
				}
				two.want(two.control("DELETE", "?yes=true", ""), 204, "")
				settle()
				one.want(one.get("event.json"), 404, "no-such-event")
				two.create(testEvent())
				settle()
				one.want(one.get("event.json"), 200, "")
				one.want(one.getSegment("v", n), 410, "lost")
			})
		})
	}
}

func TestStoreIsReadOrNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}), storetest.Fault{Op: storetest.Scan, Err: store.ErrUnavailable})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := New(ctx, Config{Store: faulty}); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("an origin starts without its events: %v", err)
		}
		if n := faulty.Count(storetest.Scan); n < 5 {
			t.Errorf("the store was asked %d times in 5 s", n)
		}
		time.AfterFunc(3*time.Second, faulty.Clear)
		o, err := New(t.Context(), Config{Store: faulty})
		if err != nil {
			t.Fatalf("the store is there again: %v", err)
		}
		o.Drain()
	})
}

// TestMediaOfALostEvent: where an event's record is gone or cannot be read, whoever
// creates the event again is told of its media, and says whether it is his.
func TestMediaOfALostEvent(t *testing.T) {
	for _, c := range []struct {
		name string
		lose func(st store.Store, tokens *store.Tokens) error
	}{
		{"unreadable", func(st store.Store, tokens *store.Tokens) error {
			return st.Put(t.Context(), layout.Events, store.Item{Key: testID.String(), Token: tokens.Next(), Value: []byte("{")})
		}},
		{"gone", func(st store.Store, tokens *store.Tokens) error {
			return st.DeleteRecord(t.Context(), layout.Events, tokens.Next())
		}},
	} {
		for _, means := range []string{"adopt", "replace"} {
			t.Run(c.name+" "+means, func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					st := memory.New(memory.Options{})
					r, stop := stoppableRig(t, Config{Store: st})
					r.create(testEvent())
					r.putInits("a")
					n := r.next()
					r.putSegment("a", "v", n, take{}, 201)
					stop()
					if err := c.lose(st, r.o.book.Tokens); err != nil {
						t.Fatal(err)
					}
					r = openRig(t, Config{Store: st})
					ev := testEvent()
					b, err := json.Marshal(ev)
					if err != nil {
						t.Fatal(err)
					}
					w := r.want(r.control("PUT", "", string(b)), 409, "in-use")
					if s := w.Body.String(); !strings.Contains(s, "?adopt=true") || !strings.Contains(s, "?replace=true") {
						t.Error(s)
					}
					r.want(r.control("PUT", "?dry_run=true", string(b)), 409, "in-use")
					r.want(r.control("PUT", "?"+means+"=true", string(b)), 201, "")
					r.tl = ev.Timeline()
					until(r.tl.Deadline(n))
					if means == "adopt" {
						r.want(r.getSegment("v", n), 200, "")
						r.want(r.get("v/init.mp4"), 200, "")
					} else {
						r.want(r.getSegment("v", n), 410, "lost")
					}
					// It is so after the next start, too.
					r = openRig(t, Config{Store: st})
					if w := r.getSegment("v", n); (w.Code == 200) != (means == "adopt") {
						t.Errorf("after a start %d", w.Code)
					}
				})
			})
		}
	}
}
