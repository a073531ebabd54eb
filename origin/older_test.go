package origin

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/announce"
	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
	"headwater/store/memory"
)

// heldScans holds scans of media before a key until it is opened.
type heldScans struct {
	store.Store
	before string
	open   chan struct{}
}

func (h *heldScans) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	if r.Namespace == store.Media && opt.From < h.before {
		select {
		case <-h.open:
		case <-ctx.Done():
			return store.Page{}, ctx.Err()
		}
	}
	return h.Store.Scan(ctx, r, opt)
}

// longEvent is one that goes on for three hours.
func longEvent(ev *live.Event) {
	ev.Start = ev.Start.Add(-3 * time.Hour)
	ev.DVRSeconds = 4 * 3600
}

// TestStartReadsTheLiveWindowFirst: a new origin serves it before what is older is read,
// and who asks for that waits, and gets what the old origin gave.
func TestStartReadsTheLiveWindowFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r, stop := stoppableRig(t, Config{Store: st})
		ev := testEvent()
		longEvent(&ev)
		r.create(ev)
		r.putInits("a", "b")
		n := r.next()
		old := n - 4000
		r.putSegment("b", "v", old, take{}, 201)
		r.want(r.getSegment("v", old), 200, "")
		r.putSegment("a", "v", old, take{}, 201) // would be chosen, if b were not
		r.putSegment("a", "v", n, take{}, 201)
		r.putSegment("a", "w", n-20, take{}, 201)
		time.Sleep(time.Second) // the journal has it
		list := r.want(r.get("v/media.m3u8"), 200, "").Body.String()
		stop()

		h := &heldScans{Store: st, before: layout.NumberKey(n - 1000), open: make(chan struct{})}
		again, stop := stoppableRig(t, Config{Store: h})
		again.want(again.getSegment("v", n), 200, "")
		again.want(again.getSegment("w", n-20), 200, "")
		again.putSegment("a", "v", n+1, take{}, 201)
		again.want(again.get("manifest.mpd"), 200, "")
		again.want(again.getSegment("v", old), 503, "") // in vain for as long as the store may take
		type answer struct {
			what string
			w    *httptest.ResponseRecorder
		}
		answers := make(chan answer, 4)
		ask := func(what string, f func() *httptest.ResponseRecorder) {
			go func() { answers <- answer{what, f()} }()
		}
		ask("segment", func() *httptest.ResponseRecorder { return again.getSegment("v", old) })
		ask("put", func() *httptest.ResponseRecorder {
			return again.put("a/v/"+live.SegmentName(old), r.m.segment(r.tl, "v", old, take{mark: "a"}))
		})
		ask("playlist", func() *httptest.ResponseRecorder { return again.get("v/media.m3u8") })
		ask("dry run", func() *httptest.ResponseRecorder {
			return again.control("POST", "/masks?dry_run=true", fmt.Sprintf(`{"pipeline": "b", "from": %d}`, old))
		})
		synctest.Wait()
		select {
		case x := <-answers:
			t.Fatalf("%s is answered before it is known: %d %s", x.what, x.w.Code, x.w.Body)
		default:
		}
		close(h.open)
		for range 4 {
			x := <-answers
			again.want(x.w, 200, "")
			switch {
			case x.what == "segment" && !strings.HasPrefix(served(x.w), "b;region=west"):
				t.Errorf("another is served than before: %s", served(x.w))
			case x.what == "playlist" && !strings.HasPrefix(x.w.Body.String(), list[:strings.Index(list, "#EXTINF")]):
				t.Errorf("the playlist was\n%.300s\nand is\n%.300s", list, x.w.Body)
			case x.what == "dry run" && !strings.Contains(x.w.Body.String(), `"segments": 1,`):
				t.Errorf("the rehearsal does not know of the old segment: %s", x.w.Body)
			}
		}
		stop()
	})
}

// TestWhatIsNotReadYetIsNotMissed: a look for what came late while the node was not there
// finds what it has yet to read, of which nobody had to tell it.
func TestWhatIsNotReadYetIsNotMissed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r, stop := stoppableRig(t, Config{Store: st})
		ev := testEvent()
		longEvent(&ev)
		r.create(ev)
		r.putInits("a")
		n := r.next()
		older := n - live.Number(9*time.Minute/r.tl.Segment())
		r.putSegment("a", "v", older, take{}, 201)
		r.putSegment("a", "v", n, take{}, 201)
		stop()
		h := &heldScans{Store: st, before: layout.NumberKey(n - 1000), open: make(chan struct{})}
		bus := announce.NewLocal()
		again, stop := stoppableRig(t, Config{Store: h, Bus: deaf{bus}})
		if len(again.o.book.Get(testID).Candidates("v", older)) > 0 {
			t.Fatal("all was read at the start")
		}
		synctest.Wait()
		if err := bus.Announce(announce.Message{Kind: announce.Missed, Since: time.Now()}); err != nil { // as a connection begins
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if len(again.o.book.Get(testID).Candidates("v", older)) == 0 {
			t.Error("it was not looked for what came late")
		}
		if got := again.counted("missed_announcements_total"); got != 0 {
			t.Errorf("%v announcements were missed", got)
		}
		close(h.open)
		stop()
	})
}

// TestDeletedWhileRead: what is left of a deleted event is nobody's.
func TestDeletedWhileRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r, stop := stoppableRig(t, Config{Store: st})
		ev := testEvent()
		longEvent(&ev)
		r.create(ev)
		r.putInits("a")
		n := r.next()
		old := n - 4000
		r.putSegment("a", "v", old, take{}, 201)
		r.putSegment("a", "v", n, take{}, 201)
		stop()
		h := &heldScans{Store: st, before: layout.NumberKey(n - 1000), open: make(chan struct{})}
		again, _ := stoppableRig(t, Config{Store: h})
		e := again.o.book.Get(testID)
		again.want(again.control("DELETE", "?yes=true", ""), 204, "")
		again.create(ev)
		close(h.open)
		<-e.Whole() // nobody waits for it for ever
		synctest.Wait()
		if cs := again.o.book.Get(testID).Candidates("v", old); len(cs) != 0 {
			t.Errorf("the new event has %v", cs)
		}
		again.putInits("a")
		again.putSegment("a", "v", old, take{}, 201)
	})
}
