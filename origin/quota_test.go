package origin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
	"headwater/store/memory"
)

// named is an event of that many renditions.
func named(renditions int) live.Event {
	ev := testEvent()
	ev.Renditions = nil
	for i := range renditions {
		ev.Renditions = append(ev.Renditions, live.Rendition{Name: fmt.Sprintf("v%d", i), Type: live.Video, Bandwidth: 1})
	}
	return ev
}

func TestTenantHasSoManyEventsAndRenditions(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{TenantEvents: 3, TenantRenditions: 300})
		put := func(event string, ev live.Event, status int, code string) {
			t.Helper()
			body, err := json.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			r.want(serve(r.ctl, request("PUT", "/v1/events/"+event, bytes.NewReader(body))), status, code)
		}
		put("acme/two", named(128), 201, "")
		put("acme/three", named(128), 201, "")
		put("acme/four", named(1), 403, "quota")
		put("other/one", named(128), 201, "") // is another's
		put("acme/three", named(120), 200, "")
		put("acme/three", named(128), 200, "")
		r.want(serve(r.ctl, request("DELETE", "/v1/events/acme/two?yes=true", nil)), 204, "")
		put("acme/four", named(128), 201, "")
		if n := r.counted(`tenant_refusals_total{problem="quota",tenant="acme"}`); n != 1 {
			t.Errorf("%v refusals are counted", n)
		}
	})
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{TenantRenditions: 130}) // the event of tests has three
		body, _ := json.Marshal(named(128))
		r.want(serve(r.ctl, request("PUT", "/v1/events/acme/two", bytes.NewReader(body))), 403, "quota")
	})
}

// One tenant may be given many: 512 renditions, of four events.
func TestTenantIsGivenMany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		body, _ := json.Marshal(named(128))
		for i := range 4 {
			r.want(serve(r.ctl, request("PUT", fmt.Sprintf("/v1/events/many/e%d", i), bytes.NewReader(body))), 201, "")
		}
	})
}

// Who has published more than his rate is refused before his next body comes, and
// nobody else; in a while he may again.
func TestTenantPublishesAtARate(t *testing.T) {
	w := newWireRig(t, Config{TenantRate: 64 << 10, TenantBytes: 1 << 40}, publishing)
	n := w.next()
	// No media, and it has come all the same.
	c := w.dial(fmt.Sprintf("PUT /acme/final/a/v/%d.m4s HTTP/1.1\nHost: x\nContent-Length: 200000\n\n", n), make([]byte, 200_000))
	if resp, body := w.answer(bufio.NewReader(c)); resp.StatusCode != 415 {
		t.Fatalf("%s %s", resp.Status, body)
	}
	c = w.dial(fmt.Sprintf("PUT /acme/final/a/v/%d.m4s HTTP/1.1\nHost: x\nContent-Length: 1000000\n\n", n), []byte("x"))
	if resp, body := w.answer(bufio.NewReader(c)); resp.StatusCode != 429 || !strings.Contains(string(body), "publish-rate") || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("%s %s", resp.Status, body)
	}
}

func TestTenantStoresSoMuch(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{TenantBytes: 1})
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201) // what is there counts from then on
		w := r.put(fmt.Sprintf("a/v/%d.m4s", n-1), []byte("never read"))
		r.want(w, 507, "tenant-full")
		r.putSegment("a", "v", n, take{}, 200) // a repeat costs nothing
		r.putSegment("a", "v", n, take{mark: "other"}, 507)
		if n := r.counted(`tenant_refusals_total{problem="tenant-full",tenant="acme"}`); n != 2 {
			t.Errorf("%v refusals are counted", n)
		}
		u := r.o.book.Usage("acme", "")
		if u.Events != 1 || u.Bytes == 0 {
			t.Errorf("%+v", u)
		}
		time.Sleep(5 * time.Hour) // it leaves the DVR window
		if u := r.o.book.Usage("acme", ""); u.Bytes != 0 {
			t.Errorf("%+v when all has left", u)
		}
	})
}

// TestWhatWasStoredCountsAfterAStart: what a tenant has stored counts from the start on,
// before it was read; but not what has left the DVR window meanwhile.
func TestWhatWasStoredCountsAfterAStart(t *testing.T) {
	for _, away := range []time.Duration{0, 2 * time.Hour} {
		t.Run(away.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				st := memory.New(memory.Options{})
				r, stop := stoppableRig(t, Config{Store: st, TenantBytes: 1 << 40})
				ev := testEvent()
				longEvent(&ev)
				r.create(ev)
				r.putInits("a", "b")
				n := r.next()
				for i := range live.Number(4) { // these have left after two hours
					r.putSegment("a", "v", n-4000-i, take{}, 201)
				}
				r.putSegment("a", "v", n-1900, take{}, 201) // and this has not
				r.putSegment("b", "v", n, take{}, 201)
				stored := r.o.book.Usage("acme", "").Bytes
				size := int64(len(r.m.segment(r.tl, "v", n, take{mark: "b"})))
				time.Sleep(70 * time.Second) // it is written down
				stop()
				time.Sleep(away)

				h := &heldScans{Store: st, before: layout.NumberKey(n - 1000), open: make(chan struct{})}
				again, stop := stoppableRig(t, Config{Store: h, TenantBytes: stored})
				want := stored
				if away > 0 {
					want = stored / 6 * 2
				}
				if got := again.o.book.Usage("acme", "").Bytes; got < want-size/2 || got > want+size/2 {
					t.Errorf("%d bytes count, of %d that are in the window and %d that were stored", got, want, stored)
				}
				m := again.next()
				if w := again.put(fmt.Sprintf("a/v/%d.m4s", m), r.m.segment(r.tl, "v", m, take{mark: "a"})); (w.Code == 507) != (away == 0) {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				close(h.open)
				<-again.o.book.Get(testID).Whole()
				if got := again.o.book.Usage("acme", "").Bytes; away == 0 && got != stored {
					t.Errorf("%d bytes count when all is read, of %d", got, stored)
				}
				stop()
			})
		})
	}
}

// stuckUsage never takes down what is stored of events.
type stuckUsage struct {
	store.Store
	tries atomic.Int64
}

func (s *stuckUsage) Put(ctx context.Context, r store.Record, item store.Item) error {
	if r != layout.Usage {
		return s.Store.Put(ctx, r, item)
	}
	s.tries.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

// TestSlowUsageHoldsNothingUp: who keeps house for all events waits once for a store that
// does not take what is stored of them, and not for each.
func TestSlowUsageHoldsNothingUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := &stuckUsage{Store: memory.New(memory.Options{})}
		r := openRig(t, Config{Store: st, TenantBytes: 1 << 40})
		for i := range 4 {
			r.id.Name = fmt.Sprintf("e%d", i)
			r.create(testEvent())
			r.putInits("a")
			r.putSegment("a", "v", r.next(), take{}, 201)
		}
		time.Sleep(100 * time.Second)
		if n := st.tries.Load(); n != 1 {
			t.Errorf("%d were waited for", n)
		}
		time.Sleep(time.Minute)
		if n := st.tries.Load(); n != 2 {
			t.Errorf("%d were waited for a minute later", n)
		}
	})
}
