package origin

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/layout"

	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// set is the event's Live-Notifications as viewers get it.
func (r *rig) set() string { return r.get("event.json").Header().Get("Live-Notifications") }

func TestNotificationsByControl(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		if got := r.set(); got != "" {
			t.Errorf("at first %q", got)
		}
		post := func(body string) { t.Helper(); r.want(r.control("POST", "/notifications", body), 200, "") }
		post(`{"type": "ad-break", "id": "b1", "from": 40, "to": 47, "data": "e30="}`)
		post(`{"type": "programme", "id": "p", "from": 50}`)
		want := `2, ad-break;id="b1";from=40;to=47;data=:e30=:, programme;id="p";from=50`
		// The whole set, on every answer of the event.
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		for path, status := range map[string]int{"event.json": 200, "v/init.mp4": 200, "v/media.m3u8": 200, "v/" + live.SegmentName(n): 200,
			"v/" + live.SegmentName(n+9): 404, "v/" + live.SegmentName(n-9): 410, "x/1.m4s": 404} {
			w := r.get(path)
			if got := w.Header().Get("Live-Notifications"); w.Code != status || got != want {
				t.Errorf("%s: %d %q", path, w.Code, got)
			}
		}
		if w := r.put("a/v/x.m4s", nil); w.Header().Get("Live-Notifications") != "" {
			t.Error("on an answer of no event")
		}
		if w := r.putSegment("a", "v", n, take{}, 200); w.Header().Get("Live-Notifications") != want {
			t.Error("not on an acknowledgement")
		}
		post(`{"type": "ad-break", "id": "b1", "from": 41, "to": 48}`) // replaced, in its place
		if got := r.set(); got != `3, ad-break;id="b1";from=41;to=48, programme;id="p";from=50` {
			t.Errorf("replaced: %q", got)
		}
		r.want(r.control("DELETE", "/notifications/b1", ""), 200, "")
		post(`{"id": "p", "withdraw": true}`)
		if got := r.set(); got != "5" {
			t.Errorf("withdrawn: %q", got)
		}
		r.want(r.control("DELETE", "/notifications/b1", ""), 404, "not-found")
		for body, field := range map[string]string{
			`{"type": "a b", "id": "1", "from": 1}`:            "type",
			`{"type": "withdraw", "id": "1", "from": 1}`:       "type",
			`{"type": "x", "id": "", "from": 1}`:               "id",
			`{"type": "x", "id": "1", "from": -1}`:             "from",
			`{"type": "x", "id": "1", "from": 9, "to": 8}`:     "to",
			`{"type": "x", "id": "1", "from": "9"}`:            "from",
			`{"type": "x", "id": "1", "from": 1, "data": "%"}`: "base64",
			`{"type": "x", "id": "1", "from": 1, "until": 2}`:  "until",
			`{"type": "x", "id": "1", "from": 1} {}`:           "after the JSON",
			``:                                                 "empty",
			`{"type": "x", "id": "1", "from": 1, "data": "` + strings.Repeat("AAAA", 400) + `"}`: "data",
		} {
			w := r.want(r.control("POST", "/notifications", body), 400, "bad-request")
			if !strings.Contains(problemOf(w).Detail, field) || strings.Contains(problemOf(w).Detail, "Go") {
				t.Errorf("%.60s: %q does not say %q", body, problemOf(w).Detail, field)
			}
		}
		// Bounded in number and in bytes.
		for i := range live.MaxNotifications {
			post(fmt.Sprintf(`{"type": "x", "id": "%d", "from": 1}`, i))
		}
		r.want(r.control("POST", "/notifications", `{"type": "x", "id": "more", "from": 1}`), 400, "bad-request")
		for i := range 4 {
			post(fmt.Sprintf(`{"type": "x", "id": "%d", "from": 1, "data": "%s"}`, i, strings.Repeat("AAAA", 330)))
		}
		r.want(r.control("POST", "/notifications", fmt.Sprintf(`{"type": "x", "id": "9", "from": 1, "data": "%s"}`, strings.Repeat("AAAA", 330))), 400, "bad-request")
		if n := len(r.set()); n > live.MaxNotificationsLen {
			t.Errorf("%d bytes", n)
		}
	})
}

// TestNotificationsEnd: one that ends before the DVR window makes room.
func TestNotificationsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for i := range live.MaxNotifications {
			r.want(r.control("POST", "/notifications", fmt.Sprintf(`{"type": "x", "id": "%d", "from": 1, "to": 5}`, i)), 200, "")
		}
		until(r.tl.GoneAt(5).Add(time.Second))
		r.want(r.control("POST", "/notifications", `{"type": "x", "id": "next", "from": 500}`), 200, "")
		if got := r.set(); got != `33, x;id="next";from=500` {
			t.Errorf("%q", got)
		}
	})
}

func TestNotificationsByPackagers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.putInits("a", "b")
		n := r.next()
		segment := func(r *rig, pipeline, says string) *httptest.ResponseRecorder {
			t.Helper()
			n++
			return r.want(r.put(pipeline+"/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{}), "Live-Notifications", says), 201, "")
		}
		say := func(r *rig, pipeline, says, want string) {
			t.Helper()
			w := segment(r, pipeline, says)
			if got := r.set(); got != want || w.Header().Get("Live-Notifications") != want {
				t.Fatalf("%s says %q: the set is %q, want %q; the acknowledgement has %q", pipeline, says, got, want, w.Header().Get("Live-Notifications"))
			}
		}
		b1 := `ad-break;id="b1";from=40;to=47;data=:e30=:`
		// The packager's own count has nothing to do with the event's.
		say(r, "a", "1000, "+b1, "1, "+b1)
		// The other pipeline says the same: nothing changes.
		say(r, "b", "3, "+b1, "1, "+b1)
		// Said again with every segment: nothing changes. Absence says nothing.
		say(r, "a", "1000, "+b1, "1, "+b1)
		say(r, "a", `1001, cue;id="c";from=50`, "2, "+b1+`, cue;id="c";from=50`)
		// Withdrawn by an operator it stays so, though b goes on saying it.
		r.want(r.control("DELETE", "/notifications/b1", ""), 200, "")
		say(r, "b", "3, "+b1, `3, cue;id="c";from=50`)
		// What was overtaken on its way does not come back.
		say(r, "a", "1000, "+b1, `3, cue;id="c";from=50`)
		// Replaced and withdrawn by id.
		say(r, "a", `1002, cue;id="c";from=60, x;id="x";from=1`, `4, cue;id="c";from=60, x;id="x";from=1`)
		say(r, "a", `1003, withdraw;id="c";from=0, withdraw;id="unknown";from=0`, `5, x;id="x";from=1`)
		// A packager that does not count is heard where it says something else.
		r2 := r
		r.want(r.put("b/a/init.mp4", r.m.inits["a"], "Live-Notifications", `3, y;id="y";from=1`), 200, "") // on an init segment too
		if got := r.set(); got != `6, x;id="x";from=1, y;id="y";from=1` {
			t.Errorf("%q", got)
		}
		// A restart forgets neither the set nor what was said.
		r2 = openRig(t, Config{Store: st})
		say(r2, "a", `1002, cue;id="c";from=60`, `6, x;id="x";from=1, y;id="y";from=1`)
		say(r2, "a", `1004, withdraw;id="x";from=0`, `7, y;id="y";from=1`)
		// A PUT that is refused says nothing; one of the same bytes again does.
		r2.want(r2.put("a/v/"+live.SegmentName(n), r2.m.segment(r2.tl, "v", n, take{mark: "other"}), "Live-Notifications", `1005, z;id="z";from=1`), 409, "")
		if got := r2.set(); got != `7, y;id="y";from=1` {
			t.Errorf("%q", got)
		}
		r2.want(r2.put("a/v/"+live.SegmentName(n), r2.m.segment(r2.tl, "v", n, take{}), "Live-Notifications", `1005, z;id="z";from=1`), 200, "")
		if got := r2.set(); got != `8, y;id="y";from=1, z;id="z";from=1` {
			t.Errorf("%q", got)
		}
		// Too much: the segment counts, what it says does not.
		many := "1006"
		for i := range live.MaxNotifications {
			many += fmt.Sprintf(`, m;id="m%d";from=1`, i)
		}
		say(r2, "a", many, `8, y;id="y";from=1, z;id="z";from=1`)
		say(r2, "a", `1007, withdraw;id="z";from=0`, `9, y;id="y";from=1`)
	})
}

// TestNotificationsAreDurable: a PUT whose notifications could not be stored is
// not acknowledged, and makes up for it when it is repeated.
func TestNotificationsAreDurable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: faulty})
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n-1, take{}, 201) // the frame rate is known
		faulty.Add(storetest.Fault{Op: storetest.Put, Namespace: store.Control, Err: store.ErrFull})
		put := func() *httptest.ResponseRecorder {
			return r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{}), "Live-Notifications", `1, x;id="x";from=1`)
		}
		w := r.want(put(), 503, "not-stored")
		if !strings.Contains(problemOf(w).Detail, "notifications") {
			t.Errorf("%q", problemOf(w).Detail)
		}
		r.want(r.getSegment("v", n), 200, "")
		if r.set() != "" {
			t.Errorf("shown before it is durable: %q", r.set())
		}
		faulty.Clear()
		r.want(put(), 200, "")
		if r.set() != `1, x;id="x";from=1` {
			t.Errorf("%q", r.set())
		}
	})
}

// TestNotificationsInParallel: whoever changes the set at the same time, all
// changes count and each has a number of its own.
func TestNotificationsInParallel(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
			if op == storetest.Put && rec.Namespace == store.Control {
				return time.Millisecond, time.Millisecond
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: st})
		r.putInits("a", "b")
		seen := make(chan string, 64)
		for i := range 10 {
			go func() {
				w := r.control("POST", "/notifications", fmt.Sprintf(`{"type": "x", "id": "c%d", "from": 1}`, i))
				seen <- fmt.Sprint(w.Code)
			}()
			for _, p := range []string{"a", "b"} {
				go func() {
					n := r.next() - live.Number(i)
					// Each says something of its own with the same count.
					w := r.put(p+"/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{}), "Live-Notifications", fmt.Sprintf(`0, x;id="%s%d";from=1`, p, i))
					seen <- fmt.Sprint(w.Code)
				}()
			}
		}
		for range 30 {
			if s := <-seen; s != "200" && s != "201" {
				t.Errorf("status %s", s)
			}
		}
		synctest.Wait()
		var set struct {
			Sequence      int64
			Notifications []struct{ ID string }
		}
		if err := json.Unmarshal(r.control("GET", "/notifications", "").Body.Bytes(), &set); err != nil {
			t.Fatal(err)
		}
		if set.Sequence != 30 || len(set.Notifications) != 30 {
			t.Errorf("sequence %d, %d notifications", set.Sequence, len(set.Notifications))
		}
	})
}

// TestNotificationsOvertaken: of two sayings that are being taken at the same
// time the older does not undo the newer.
func TestNotificationsOvertaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
			if op == storetest.Put && rec == layout.Events {
				return 100 * time.Millisecond, 0
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: st})
		r.putInits("a")
		done := make(chan int, 2)
		for i, says := range []string{`6, new;id="n";from=1`, `5, old;id="o";from=1`} {
			n := r.next() - live.Number(i)
			go func() {
				done <- r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{}), "Live-Notifications", says).Code
			}()
			synctest.Wait()
		}
		if a, b := <-done, <-done; a != 201 || b != 201 {
			t.Errorf("%d, %d", a, b)
		}
		if got := r.set(); got != `1, new;id="n";from=1` {
			t.Errorf("%q", got)
		}
	})
}

// TestNotificationsMakeNoRoom: what a packager may not take back makes no room for
// what it says besides.
func TestNotificationsMakeNoRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Access: guard(t, "p=publish:acme")})
		p := []string{"Authorization", "Bearer p"}
		for i := range live.MaxNotifications {
			r.want(r.control("POST", "/notifications", fmt.Sprintf(`{"type": "x", "id": "%d", "from": 1}`, i), "Authorization", "Bearer root"), 200, "")
		}
		was := r.set()
		r.want(r.put("a/v/init.mp4", r.m.inits["v"], append(p, live.HeaderNotifications, `1, withdraw;id="0";from=0, x;id="new";from=1`)...), 201, "")
		if is := r.set(); is != was {
			t.Errorf("%s, was %s", is, was)
		}
		if n := r.counted(`packager_notifications_total{outcome="refused"}`); n != 1 {
			t.Errorf("%v were refused", n)
		}
	})
}
