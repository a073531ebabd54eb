package origin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/layout"

	"headwater/live"
	"headwater/origin/control"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

func TestEventLifecycle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := openRig(t, Config{})
		config := func() live.Config {
			t.Helper()
			var c live.Config
			if err := json.Unmarshal(r.want(r.control("GET", "", ""), 200, "").Body.Bytes(), &c); err != nil {
				t.Fatal(err)
			}
			return c
		}
		r.want(r.control("GET", "", ""), 404, "no-such-event")
		r.want(r.control("DELETE", "?yes=true", ""), 404, "no-such-event")
		ev := testEvent()
		put := func(ev live.Event, status int, code string) {
			t.Helper()
			b, err := json.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			r.want(r.control("PUT", "", string(b)), status, code)
		}
		put(ev, 201, "")
		r.tl = ev.Timeline()
		put(ev, 200, "")
		if c := config(); c.Version != 1 {
			t.Errorf("the same again is version %d", c.Version)
		}
		// While nothing is published all may change.
		ev.Start = ev.Start.Add(-time.Minute)
		put(ev, 200, "")
		r.tl = ev.Timeline()
		r.putInits("a")
		r.putSegment("a", "v", r.next(), take{}, 201)
		// What was learnt stays, though the operator does not say it.
		ev.DVRSeconds = 1200
		put(ev, 200, "")
		if c := config(); c.Renditions[0].Codecs == "" || c.Renditions[0].FrameRate != "30" || c.DVRSeconds != 1200 {
			t.Errorf("%+v", c)
		}
		moved := ev
		moved.Start = ev.Start.Add(time.Second)
		put(moved, 409, "event-started")
		moved = ev
		moved.FirstNumber++
		put(moved, 409, "event-started")
		retyped := ev
		retyped.Renditions = append([]live.Rendition{{Name: "v", Type: live.Audio, Bandwidth: 1}}, ev.Renditions[1:]...)
		put(retyped, 409, "event-started")
		// GET's answer can be PUT back.
		r.want(r.control("PUT", "", r.control("GET", "", "").Body.String()), 200, "")
		ev.End = time.Now().Add(time.Minute)
		put(ev, 200, "")

		w := r.want(serve(r.ctl, request("GET", "/v1/events", nil)), 200, "")
		if !strings.Contains(w.Body.String(), `"acme/final"`) || !strings.Contains(w.Body.String(), `"live_edge"`) {
			t.Errorf("list: %s", w.Body)
		}
		before := config().Version
		r.want(r.control("DELETE", "?yes=true", ""), 204, "")
		r.want(r.control("DELETE", "?yes=true", ""), 204, "") // goes on, where there is anything left
		r.want(r.control("POST", "/flush?yes=true", ""), 404, "no-such-event")
		put(ev, 201, "")
		if c := config(); c.Version <= before || c.Renditions[0].Codecs != "" {
			t.Errorf("created again: %+v", c)
		}
	})
}

func TestControlRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for _, c := range []struct {
			method, path, body string
			status             int
			code, detail       string
		}{
			{"PUT", "/v1/events/acme/final", `{`, 400, "bad-event", "cut off"},
			{"PUT", "/v1/events/acme/final", `{"starts": 1}`, 400, "bad-event", "starts"},
			{"PUT", "/v1/events/acme/final", `{"start": "2026-11-23T20:00:00Z"}`, 400, "bad-event", "pipelines"},
			{"PUT", "/v1/events/Acme/final", `{}`, 400, "bad-request", `event "Acme/final"`},
			{"PUT", "/v1/events/acme/final", strings.Repeat(" ", maxControlBody+1), 413, "too-large", ""},
			{"PATCH", "/v1/events/acme/final", `{}`, 405, "method-not-allowed", "PATCH"},
			{"GET", "/v1/events/acme/final/flush", ``, 405, "method-not-allowed", "GET"},
			{"GET", "/v1/nothing", ``, 404, "not-found", "control API"},
			{"POST", "/v1/events/acme/other/masks", `{"from": 1}`, 404, "no-such-event", "acme/other"},
			{"POST", "/v1/events/acme/final/masks", `{"pipeline": "A"}`, 400, "bad-request", "pipeline"},
			{"POST", "/v1/events/acme/final/masks", `{"id": "` + strings.Repeat("x", 65) + `"}`, 400, "bad-request", "id"},
			{"POST", "/v1/events/acme/final/masks", `{"from": 5, "to": 4}`, 400, "bad-request", "to"},
			{"DELETE", "/v1/events/acme/final/masks/x", ``, 404, "not-found", "mask"},
			{"POST", "/v1/events/acme/final/invalidations", `{"rendition": "v", "number": 4}`, 400, "bad-request", "number"},
			{"GET", "/v1/events/acme/final/segments?from=x", ``, 400, "bad-request", "from"},
			{"GET", "/v1/events/acme/final/segments?from=9&to=3", ``, 400, "bad-request", "before from"},
			{"GET", "/v1/events/acme/final/segments?from=0&to=9007199254740992", ``, 400, "bad-request", "rows"},
		} {
			w := serve(r.ctl, request(c.method, c.path, strings.NewReader(c.body)))
			if p := problemOf(w); w.Code != c.status || p.Code != c.code || !strings.Contains(p.Detail, c.detail) {
				t.Errorf("%s %s %.40s: %d %q %q", c.method, c.path, c.body, w.Code, p.Code, p.Detail)
			}
			if c.status == 405 && w.Header().Get("Allow") == "" {
				t.Errorf("%s %s: no Allow", c.method, c.path)
			}
		}
		locked := openRig(t, Config{Access: guard(t, "s3=admin")})
		for auth, status := range map[string]int{"": 401, "Bearer x": 401, "Bearer s3": 404} {
			if w := locked.control("GET", "", "", "Authorization", auth); w.Code != status {
				t.Errorf("%q: %d", auth, w.Code)
			}
		}
		for path, status := range map[string]int{"/healthz": 200, "/readyz": 200, "/metrics": 200} {
			if w := serve(locked.ctl, request("GET", path, nil)); w.Code != status {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	})
}

// TestListsAreBounded: what event.json carries does not grow without end, and
// what is forgotten of it covers more, never less.
func TestListsAreBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for i := range 2*maxInvalidations + 1 {
			r.want(r.control("POST", "/invalidations", fmt.Sprintf(`{"from": %d, "to": %d}`, i, i)), 200, "")
		}
		c := r.o.book.Get(testID).View().Config()
		if len(c.Invalidations) > maxInvalidations || c.FlushVersion != c.Invalidations[0].Version-1 {
			t.Errorf("%d invalidations from version %d, flushed at %d", len(c.Invalidations), c.Invalidations[0].Version, c.FlushVersion)
		}
		for i := range maxMasks {
			r.want(r.control("POST", "/masks", fmt.Sprintf(`{"id": "%d", "pipeline": "a", "from": %d, "to": %d}`, i, i, i)), 200, "")
		}
		r.want(r.control("POST", "/masks", `{"pipeline": "a", "from": 9}`), 400, "bad-request")
		r.want(r.control("POST", "/masks?yes=true", `{"id": "0", "pipeline": "b", "from": 9}`), 200, "") // in place of another
		if n := len(r.get("event.json").Body.Bytes()); n > 64<<10 {
			t.Errorf("event.json has %d bytes", n)
		}
	})
}

func TestSegmentsList(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		r.want(r.control("GET", "/segments", ""), 200, "")
		n := r.next()
		r.putSegment("a", "v", n, take{lose: 30}, 201)
		r.putSegment("b", "v", n, take{}, 201)
		var list control.SegmentList
		w := r.want(r.control("GET", fmt.Sprintf("/segments?from=%d", n), ""), 200, "")
		if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Segments) != 3 {
			t.Fatalf("%v, %s", err, w.Body)
		}
		row := list.Segments[0]
		if row.Rendition != "v" || row.Serves != "b" || row.Reason != "preferred-defective" || row.Candidates[0].Defects != "short;ms=1000" || row.Place != "due" {
			t.Errorf("%+v", row)
		}
	})
}

// TestControlStoreHangs: an operator's change ends after the store's time, and
// one event that hangs holds up no other, and no publication.
func TestControlStoreHangs(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var hang atomic.Bool
		st := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, rec store.Record) (time.Duration, time.Duration) {
			if hang.Load() && op == storetest.Put && rec == layout.Events {
				return time.Hour, 0
			}
			return 0, 0
		})
		r := newRig(t, Config{Store: st})
		r.putInits("a")
		hang.Store(true)
		began := time.Now()
		done := make(chan int, 1)
		go func() { done <- r.control("POST", "/flush?yes=true", "").Code }()
		synctest.Wait()
		// The frame rate cannot be learnt, the segment is acknowledged all the same.
		flushed := make(flushes, 1)
		n := r.next()
		go r.pub.ServeHTTP(flushed.recorder(), request("PUT", "/acme/final/a/v/"+live.SegmentName(n), strings.NewReader(string(r.m.segment(r.tl, "v", n, take{})))))
		if <-flushed; !time.Now().Equal(began) {
			t.Errorf("acknowledged after %v", time.Since(began))
		}
		if status := <-done; status != 503 || time.Since(began) != 2*time.Second {
			t.Errorf("%d after %v", status, time.Since(began))
		}
		hang.Store(false)
		r.want(r.control("POST", "/flush?yes=true", ""), 200, "")
	})
}

// flushes tells when an answer is on its way.
type flushes chan struct{}

type flushRecorder struct {
	header http.Header
	flushes
}

func (f flushes) recorder() http.ResponseWriter      { return &flushRecorder{make(http.Header), f} }
func (f *flushRecorder) Header() http.Header         { return f.header }
func (f *flushRecorder) WriteHeader(int)             {}
func (f *flushRecorder) Write(b []byte) (int, error) { return len(b), nil }
func (f *flushRecorder) Flush()                      { f.flushes <- struct{}{} }

func TestConfigValidate(t *testing.T) {
	st := memory.New(memory.Options{})
	for name, c := range map[string]Config{
		"no store":             {},
		"PublishBytes":         {Store: st, PublishBytes: 10, MaxSegmentBytes: 11},
		"MaxSegmentBytes":      {Store: st, MaxSegmentBytes: store.MaxValueBytes + 1},
		"MaxHolds is negative": {Store: st, MaxHolds: -1},
		"GuardInterval":        {Store: st, GuardInterval: -1},
	} {
		if _, err := New(t.Context(), c); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
