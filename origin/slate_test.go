package origin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
	"headwater/origin/book"
	"headwater/origin/layout"
	"headwater/store"
	"headwater/store/memory"
)

// slates has what is lost replaced by a clip.
func slates(ev *live.Event) { ev.OnLost = live.LostSlate }

// clipOf is a clip of a rendition that lasts for so many segments.
func (r *rig) clipOf(rendition string, segments int, k take) []byte {
	if k.mark == "" {
		k.mark = "slate"
	}
	file := bytes.Clone(r.m.inits[rendition])
	for i := range segments {
		file = append(file, r.m.segment(r.tl, rendition, r.tl.First()+live.Number(i), k)...)
	}
	return file
}

// upload gives a clip for a rendition.
func (r *rig) upload(rendition string, file []byte, query ...string) *httptest.ResponseRecorder {
	return r.control("PUT", "/slates/"+rendition+strings.Join(query, ""), string(file), "Content-Type", "video/mp4")
}

// isSlate checks that an answer is a piece of the clip with a mark.
func (r *rig) isSlate(w *httptest.ResponseRecorder, rendition string, n live.Number, mark string) {
	r.Helper()
	r.want(w, 200, "")
	h := w.Header()
	if h.Get("Live-Defects") != "filled;ms=2000, slate" || h.Get("Live-Pipeline") != "" || h.Get("Live-Published") != "" || h.Get("ETag") == "" {
		r.Errorf("segment %d: %v", n, h)
	}
	if lifetime(w) != r.tl.Segment() || strings.Contains(h.Get("Cache-Control"), "live-max-age-ms") {
		r.Errorf("segment %d: %s", n, h.Get("Cache-Control"))
	}
	if !bytes.Contains(w.Body.Bytes(), []byte(mark)) {
		r.Errorf("segment %d is not of %s", n, mark)
	}
}

// TestLostIsSlated: what both pipelines lost is piece n mod K of the clip, also where
// nothing is before it and far behind what is; a backfill serves as soon as it is there, and
// what has no clip is filled. The event says which have none.
func TestLostIsSlated(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, slates)
		r.want(r.upload("v", r.clipOf("v", 3, take{})), 400, "bad-request") // it has to fit an init segment
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.putSegment("a", "w", n, take{}, 201)
		got := r.want(r.upload("v", r.clipOf("v", 3, take{})), 200, "").Body.String()
		if !strings.Contains(got, `"segments": 3`) || !strings.Contains(got, `"generation": 0`) {
			t.Errorf("%s", got)
		}
		until(r.tl.Due(n + 1))
		ch := r.ask(t.Context(), "v/"+live.SegmentName(n+1))
		until(r.tl.Deadline(n + 1).Add(-1))
		if w := answered(ch); w != nil {
			t.Fatalf("%d before its deadline", w.Code)
		}
		until(r.tl.Deadline(n + 1))
		piece := func(n live.Number) string { return fmt.Sprintf("slate/%d/", r.tl.First()+n%3) }
		r.isSlate(answered(ch), "v", n+1, piece(n+1))
		r.isFiller(r.getSegment("w", n+1), "w", n+1)
		r.isSlate(r.getSegment("v", n-5), "v", n-5, piece(n-5)) // nothing is before it
		far := n + live.Number(2*live.MaxFilled/r.tl.Segment())
		until(r.tl.Deadline(far + 1))
		r.isSlate(r.getSegment("v", far), "v", far, piece(far))
		r.want(r.getSegment("w", far), 410, "lost")
		for rendition, want := range map[string]bool{"v": false, "w": true} {
			if list := r.want(r.get(rendition+"/media.m3u8"), 200, "").Body.String(); strings.Contains(list, "#EXT-X-GAP\n"+live.SegmentName(far)) != want || !strings.Contains(list, live.SegmentName(far)) {
				t.Errorf("%s: %s", rendition, list)
			}
		}
		if got := r.history("v", n+1); got != "slate filled;ms=2000, slate | serve  slate" {
			t.Errorf("%s", got)
		}
		if a, b := r.counted(`decisions_total{event="acme/final",reason="slate"}`), r.counted(`unslated_total`); a != 3 || b != 0 {
			t.Errorf("%v are counted as of a slate, %v as filled for want of it", a, b)
		}
		var event struct {
			Slates []struct{ Rendition string }
			Needed []struct{ Rendition, Why string } `json:"slates_needed"`
		}
		doc := r.want(r.control("GET", "", ""), 200, "").Body.Bytes()
		if err := json.Unmarshal(doc, &event); err != nil || len(event.Slates) != 1 || len(event.Needed) != 2 || event.Needed[0].Rendition != "w" || event.Needed[1].Rendition != "a" {
			t.Errorf("%s", doc)
		}
		r.want(r.control("PUT", "", string(doc)), 200, "")
		r.putSegment("b", "v", far, take{}, 201)
		if w := r.want(r.getSegment("v", far), 200, ""); served(w) != "b;region=west late" {
			t.Errorf("%v", w.Header())
		}
		// Operators take segments out, and then there is nothing.
		r.want(r.control("POST", "/masks?yes=true", fmt.Sprintf(`{"all": true, "from": %d, "to": %[1]d}`, n+2)), 200, "")
		r.want(r.getSegment("v", n+2), 410, "lost")
		// The other policies do not look at clips.
		for _, policy := range []string{"fill", "gap"} {
			r.want(r.control("PUT", "", strings.Replace(string(doc), `"on_lost": "slate"`, `"on_lost": "`+policy+`"`, 1)), 200, "")
			if w := r.getSegment("v", n+1); policy == "gap" && w.Code != 410 || policy == "fill" && served(w) != "a;region=east filled;ms=2000" {
				t.Errorf("%s: %d %v", policy, w.Code, w.Header())
			}
		}
	})
}

// TestSlatesOfNodes: all nodes send the same bytes, also after a start; a clip is replaced
// and taken back everywhere, and what was of it leaves the store.
func TestSlatesOfNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t, slates)
		n := d.one.next()
		d.one.want(d.one.upload("v", d.one.clipOf("v", 2, take{})), 200, "")
		d.one.want(d.one.upload("a", d.one.clipOf("a", 2, take{})), 200, "")
		until(d.one.tl.Deadline(n))
		third := openRig(t, Config{Store: d.one.o.look.Store})
		for _, rendition := range []string{"v", "a"} {
			w := d.one.getSegment(rendition, n)
			d.one.isSlate(w, rendition, n, "slate/")
			for _, other := range []*rig{d.two, third} {
				if x := other.getSegment(rendition, n); !bytes.Equal(x.Body.Bytes(), w.Body.Bytes()) || x.Header().Get("ETag") != w.Header().Get("ETag") {
					t.Errorf("%s of two nodes differs", rendition)
				}
			}
		}
		d.two.want(d.two.upload("v", d.one.clipOf("v", 3, take{mark: "other"})), 200, "")
		time.Sleep(2 * time.Second)
		d.one.isSlate(d.one.getSegment("v", n), "v", n, "other/")
		d.one.want(d.one.control("DELETE", "/slates/v", ""), 204, "")
		d.one.want(d.one.control("DELETE", "/slates/v", ""), 404, "not-found")
		time.Sleep(2 * time.Second)
		d.two.want(d.two.getSegment("v", n), 410, "lost") // nothing is before it
		d.one.isSlate(d.one.getSegment("a", n), "a", n, "slate/")
	})
}

// TestSlatesOfGenerations: a clip is of the init segment that it was given for.
func TestSlatesOfGenerations(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, slates)
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		clip := r.clipOf("v", 2, take{})
		r.want(r.upload("v", clip), 200, "")
		other := r.m.otherTimescale("v")
		r.want(r.put("a/v/init.mp4", other), 412, "init-differs")
		w := r.want(r.control("POST", "/generations", `{"rendition": "v"}`), 200, "")
		var g live.Generation
		if err := json.Unmarshal(w.Body.Bytes(), &g); err != nil {
			t.Fatal(err)
		}
		until(r.tl.Deadline(g.From))
		r.isSlate(r.getSegment("v", g.From-1), "v", g.From-1, "slate/")
		r.want(r.getSegment("v", g.From), 410, "lost") // of its own nothing is there
		if doc := r.want(r.control("GET", "", ""), 200, "").Body.String(); !strings.Contains(doc, "its clip is of generation 0: upload one for generation 1") {
			t.Errorf("%s", doc)
		}
		p := r.want(r.upload("v", clip), 400, "bad-request")
		if detail := problemOf(p).Detail; !strings.Contains(detail, "timescale is") {
			t.Errorf("%s", detail)
		}
	})
}

// TestRefusedSlatesAreNotStored: nothing of a clip that is refused stays in the store, also
// where that is found only when the event is to name it.
func TestRefusedSlatesAreNotStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := &editedMeanwhile{Store: memory.New(memory.Options{})}
		r := newRig(t, Config{Store: st}, slates)
		r.putInits("a")
		stored := func() (n int) {
			for _, err := range store.All(t.Context(), st, layout.Slates(testID), store.ScanOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			return n
		}
		fill := func(bytes int64) {
			t.Helper()
			if _, err := r.o.book.Edit(t.Context(), testID, func(*book.Record, bool) (book.Edit, error) {
				return book.Edit{Slate: &book.Slate{Rendition: "w", ID: "large", Bytes: bytes}}, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		fill(512 << 20)
		clip := r.clipOf("v", 2, take{})
		st.meanwhile = func() { t.Error("something is stored") }
		r.want(r.upload("v", clip), 400, "bad-request")
		fill(0)
		st.meanwhile = func() { fill(512 << 20) } // at another node
		r.want(r.upload("v", clip), 400, "bad-request")
		if n := stored(); n != 0 {
			t.Errorf("%d pieces are stored of a clip that was refused", n)
		}
		fill(0)
		st.meanwhile = func() {}
		r.want(r.upload("v", clip), 200, "")
		if n := stored(); n != 2 {
			t.Errorf("%d pieces are stored", n)
		}
	})
}

// editedMeanwhile has something else happen before a piece of a clip is stored.
type editedMeanwhile struct {
	store.Store
	meanwhile func()
}

func (s *editedMeanwhile) Put(ctx context.Context, r store.Record, item store.Item) error {
	if r == layout.Slates(testID) && len(item.Value) > 0 {
		s.meanwhile()
	}
	return s.Store.Put(ctx, r, item)
}

// TestSlatesThatAreRefused says what is wrong, and nothing is changed.
func TestSlatesThatAreRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, slates, func(ev *live.Event) {
			ev.Renditions = append(ev.Renditions, live.Rendition{Name: "t", Type: live.Text, Bandwidth: 1000})
		})
		r.putInits("a")
		good := r.clipOf("v", 2, take{})
		for _, c := range []struct {
			rendition, kind string
			file            []byte
			status          int
			code, detail    string
		}{
			{"x", "video/mp4", good, 404, "not-found", "no rendition"},
			{"t", "video/mp4", good, 400, "bad-request", "is text"},
			{"v", "application/json", good, 415, "not-cmaf", "send video/mp4"},
			{"v", "video/mp4", []byte("no MP4 at all, but text"), 415, "not-cmaf", ""},
			{"v", "video/mp4", good[:len(good)-5], 400, "bad-request", "malformed"},
			{"a", "video/mp4", good, 400, "bad-request", "it has no audio track"},
			{"v", "video/mp4", r.clipOf("v", 2, take{noKey: true}), 400, "bad-request", "it does not begin with a key frame"},
			{"v", "video/mp4", r.clipOf("v", 1, take{lose: 20}), 400, "bad-request", "it lasts for"},
			{"v", "video/mp4", append(bytes.Clone(good), make([]byte, 32<<20)...), 413, "too-large", ""},
		} {
			w := r.control("PUT", "/slates/"+c.rendition, string(c.file), "Content-Type", c.kind)
			r.want(w, c.status, c.code)
			if detail := problemOf(w).Detail; !strings.Contains(detail, c.detail) {
				t.Errorf("%s: %s", c.detail, detail)
			}
		}
		r.want(r.upload("v", good, "?dry_run=true"), 200, "")
		if doc := r.want(r.control("GET", "", ""), 200, "").Body.String(); strings.Contains(doc, `"slates":`) {
			t.Errorf("%s", doc)
		}
	})
}

// A clip counts for its tenant, and one that is refused leaves nothing in the store.
func TestSlatesHaveRoom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{TenantBytes: 10_000}, slates)
		r.putInits("a", "b")
		size := int64(0)
		for n := 1; ; n++ {
			w := r.upload("v", r.clipOf("v", n, take{}))
			if w.Code == 507 {
				r.want(w, 507, "tenant-full")
				break
			}
			r.want(w, 200, "")
			size = r.slatesStored()
			if u := r.o.book.Usage("acme", ""); u.Bytes != size || size == 0 || n > 1000 {
				t.Fatalf("%+v, with %d bytes stored", u, size)
			}
		}
		if got := r.slatesStored(); size == 0 || got != size {
			t.Errorf("%d bytes are stored after one was refused, %d before", got, size)
		}
	})
}

// A clip that comes while its event is deleted and created anew is of neither.
func TestSlatesOfAnEventThatIsGone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, slates)
		r.putInits("a", "b")
		doc := r.want(r.control("GET", "", ""), 200, "").Body.String()
		meanwhile := readerFunc(func([]byte) (int, error) {
			r.want(r.control("DELETE", "?yes=true", ""), 204, "")
			r.want(r.control("PUT", "", doc), 201, "")
			return 0, io.EOF
		})
		body := io.MultiReader(bytes.NewReader(r.clipOf("v", 3, take{})), meanwhile)
		w := serve(r.ctl, request("PUT", "/v1/events/"+r.id.String()+"/slates/v", body, "Content-Type", "video/mp4"))
		r.want(w, 409, "in-use")
		if n := r.slatesStored(); n != 0 {
			t.Errorf("%d bytes stay in the store", n)
		}
		if doc := r.want(r.control("GET", "", ""), 200, "").Body.String(); strings.Contains(doc, `"slates"`) {
			t.Errorf("%s", doc)
		}
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// slatesStored is how many bytes of clips are in the store.
func (r *rig) slatesStored() (sum int64) {
	for item, err := range store.All(r.Context(), r.o.look.Store, layout.Slates(r.id), store.ScanOptions{Values: true}) {
		if err != nil {
			r.Error(err)
		}
		sum += int64(len(item.Value))
	}
	return sum
}

// hungClips is a store of which no clip can be read.
type hungClips struct {
	store.Store
	reads atomic.Int64
}

func (s *hungClips) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	if r != layout.Slates(testID) {
		return s.Store.Get(ctx, r, key)
	}
	s.reads.Add(1)
	<-ctx.Done()
	return store.Item{}, context.Cause(ctx)
}

// TestSlateThatIsNotToBeRead: it is read once for all who ask, who leaves does not wait for
// it, and who stays gets a filler.
func TestSlateThatIsNotToBeRead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := &hungClips{Store: memory.New(memory.Options{})}
		r := newRig(t, Config{Store: s}, slates)
		r.putInits("a")
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.want(r.upload("v", r.clipOf("v", 3, take{})), 200, "")
		until(r.tl.Deadline(n + 1))
		ctx, leave := context.WithCancel(t.Context())
		gone, stays := r.ask(ctx, "v/"+live.SegmentName(n+1)), r.ask(t.Context(), "v/"+live.SegmentName(n+1))
		time.Sleep(10 * time.Millisecond)
		leave()
		synctest.Wait()
		if w := answered(gone); w == nil || w.Body.Len() > 0 {
			t.Error("who left waits for the clip")
		}
		if w := answered(stays); w != nil {
			t.Fatalf("%d at once", w.Code)
		}
		r.isFiller(<-stays, "v", n+1)
		if reads, unslated := s.reads.Load(), r.counted("unslated_total"); reads != 1 || unslated != 1 {
			t.Errorf("it was read %d times, %v are filled for want of it", reads, unslated)
		}
	})
}
