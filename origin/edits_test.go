package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/book"
	"headwater/origin/layout"

	"headwater/announce"
	"headwater/live"
	"headwater/store"
	"headwater/store/disk"
	"headwater/store/memory"
)

// A gatedStore lets a node's writes of events wait, after it has read what it
// changes.
type gatedStore struct {
	store.Store
	gate chan struct{} // a write waits for one, where it is not nil
}

func (s *gatedStore) Put(ctx context.Context, r store.Record, item store.Item) error {
	if gate := s.gate; gate != nil && r == layout.Events {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Store.Put(ctx, r, item)
}

// TestEditsOfTwoNodesAtOnce: both read, then both write. What each was told to
// be done is there in the end, on both and after a restart, whichever was the
// later, and whether announcements come or not.
func TestEditsOfTwoNodesAtOnce(t *testing.T) {
	type change struct {
		name string
		make func(r *rig) *httptest.ResponseRecorder
		// there reports whether it was made, to something of which there was one
		// thing of each kind before; version is what it was made under at most.
		there func(v *book.View) bool
	}
	control := func(method, path, body string) func(r *rig) *httptest.ResponseRecorder {
		return func(r *rig) *httptest.ResponseRecorder { return r.control(method, path, body) }
	}
	notified := func(id string) func(v *book.View) bool {
		return func(v *book.View) bool {
			return slices.ContainsFunc(v.Record.Notifications.Set, func(n live.Notification) bool { return n.ID == id })
		}
	}
	masked := func(id string) func(v *book.View) bool {
		return func(v *book.View) bool {
			return slices.ContainsFunc(v.Config().Masks, func(m live.Mask) bool { return m.ID == id })
		}
	}
	invalidated := func(rendition string) func(v *book.View) bool {
		return func(v *book.View) bool {
			return v.Config().FlushVersion > 1 || slices.ContainsFunc(v.Config().Invalidations, func(i live.Invalidation) bool { return i.Rendition == rendition })
		}
	}
	not := func(f func(v *book.View) bool) func(v *book.View) bool {
		return func(v *book.View) bool { return !f(v) }
	}
	configure := func(f func(ev *live.Event)) func(r *rig) *httptest.ResponseRecorder {
		return func(r *rig) *httptest.ResponseRecorder {
			ev := testEvent()
			ev.Start = r.tl.Start(1)
			f(&ev)
			b, _ := json.Marshal(ev)
			return r.control("PUT", "", string(b))
		}
	}
	changes := []change{
		{"notification", control("POST", "/notifications", `{"type":"x","id":"1","from":1}`), notified("1")},
		{"another", control("POST", "/notifications", `{"type":"x","id":"2","from":1}`), notified("2")},
		{"withdrawal", control("DELETE", "/notifications/old", ""), not(notified("old"))},
		{"packager's", func(r *rig) *httptest.ResponseRecorder {
			return r.put("a/v/init.mp4", r.m.inits["v"], "Live-Notifications", `7, x;id="p";from=1`)
		}, notified("p")},
		{"mask", control("POST", "/masks", `{"id":"m","pipeline":"a","from":0}`), masked("m")},
		{"another mask", control("POST", "/masks", `{"id":"n","pipeline":"a","from":9}`), masked("n")},
		{"unmask", control("DELETE", "/masks/old", ""), not(masked("old"))},
		{"invalidation", control("POST", "/invalidations", `{"rendition":"v"}`), invalidated("v")},
		{"another invalidation", control("POST", "/invalidations", `{"rendition":"w"}`), invalidated("w")},
		{"flush", control("POST", "/flush?yes=true", ""), func(v *book.View) bool { return v.Config().FlushVersion > 1 }},
		{"init segment", func(r *rig) *httptest.ResponseRecorder { return r.put("a/v/init.mp4", r.m.inits["v"]) }, func(v *book.View) bool {
			r, _ := v.Config().Rendition("v")
			return r.Codecs != ""
		}},
		{"configuration", configure(func(ev *live.Event) { ev.AllowanceMS = 700 }), func(v *book.View) bool { return v.Config().AllowanceMS == 700 }},
	}
	stores := map[string]func(t *testing.T) store.Store{
		"memory": func(*testing.T) store.Store { return memory.New(memory.Options{}) },
		"disk": func(t *testing.T) store.Store {
			st, err := disk.Open(t.TempDir(), disk.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { st.Close() })
			return st
		},
	}
	notes := func(r *rig) string { return r.set() }
	run := func(t *testing.T, st store.Store, lost bool, first, second change) {
		bus := &lossy{Local: announce.NewLocal()}
		slow := &gatedStore{Store: st}
		one := newRig(t, Config{Store: st, Bus: bus})
		one.want(one.control("POST", "/masks", `{"id":"old","pipeline":"a","from":1,"to":2}`), 200, "")
		one.want(one.control("POST", "/notifications", `{"type":"x","id":"old","from":1}`), 200, "")
		two := openRig(t, Config{Store: slow, Bus: bus})
		two.tl = one.tl
		synctest.Wait() // both listen
		bus.down.Store(lost)
		slow.gate = make(chan struct{})
		done := make(chan *httptest.ResponseRecorder)
		go func() { done <- second.make(two) }()
		synctest.Wait() // it has read, and is about to write
		one.wantBelow(first.make(one), 300)
		synctest.Wait()
		given := map[*rig]int64{one: one.o.book.Get(testID).View().Config().Version}
		close(slow.gate)
		two.wantBelow(<-done, 300)
		time.Sleep(3 * checkVersions) // of virtual time: errands are run
		synctest.Wait()
		three := openRig(t, Config{Store: st, Bus: bus})
		for name, r := range map[string]*rig{"one": one, "two": two, "three": three} {
			v := r.o.book.Get(testID).View()
			if !first.there(v) || !second.there(v) {
				rec, _ := json.Marshal(v.Record)
				t.Errorf("node %s: %s", name, rec)
			}
			if want := one.o.book.Get(testID).View(); string(v.JSON) != string(want.JSON) || notes(r) != notes(one) {
				t.Errorf("node %s does not agree: %s %s\nand %s %s", name, v.JSON, notes(r), want.JSON, notes(one))
			}
			if v.Config().Version < given[one] {
				t.Error("the version goes back")
			}
		}
	}
	for name, open := range stores {
		for _, lost := range []bool{false, true} {
			for i, first := range changes {
				for j, second := range changes {
					if i == j || name == "disk" && (i+j)%5 != 0 || lost && (i+j)%3 != 0 { // what differs by them is the same for all
						continue
					}
					t.Run(fmt.Sprintf("%s, lost %v, %s and %s", name, lost, first.name, second.name), func(t *testing.T) {
						synctest.Test(t, func(t *testing.T) { run(t, open(t), lost, first, second) })
					})
				}
			}
		}
	}
}

// wantBelow checks that a status is one of success.
func (r *rig) wantBelow(w *httptest.ResponseRecorder, status int) {
	r.Helper()
	if w.Code >= status {
		r.Fatalf("%d %s", w.Code, w.Body)
	}
}

// TestInvalidationIsSaidAgain: the table of edits.go. A cache has filled under the
// version that node two gave out when it did not know of the invalidation.
func TestInvalidationIsSaidAgain(t *testing.T) {
	for _, what := range []struct{ name, path, body string }{{"invalidation", "/invalidations", `{"rendition":"w"}`}, {"flush", "/flush?yes=true", ""}} {
		t.Run(what.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				st, bus := memory.New(memory.Options{}), &lossy{Local: announce.NewLocal()}
				slow := &gatedStore{Store: st}
				one := newRig(t, Config{Store: st, Bus: bus})
				two := openRig(t, Config{Store: slow, Bus: bus})
				synctest.Wait()
				slow.gate = make(chan struct{})
				done := make(chan *httptest.ResponseRecorder)
				go func() { done <- two.control("POST", "/invalidations", `{"rendition":"v"}`) }()
				synctest.Wait()
				bus.down.Store(true)
				one.want(one.control("POST", what.path, what.body), 200, "")
				close(slow.gate)
				two.want(<-done, 200, "")
				filled := two.o.book.Get(testID).View().Config().Version
				time.Sleep(3 * checkVersions)
				synctest.Wait()
				for _, r := range []*rig{one, two} {
					c := r.o.book.Get(testID).View().Config()
					if !dropsOf(c, "w", filled) {
						t.Errorf("what was filled under version %d stays: %+v", filled, c)
					}
					if over := c.Version - filled; over > 2 {
						t.Errorf("said again %d times", over)
					}
				}
			})
		})
	}
}

// dropsOf reports whether a cache drops what it filled of a rendition under a version.
func dropsOf(c *live.Config, rendition string, version int64) bool {
	return c.FlushVersion > version || slices.ContainsFunc(c.Invalidations, func(i live.Invalidation) bool {
		return i.Rendition == rendition && i.Version > version
	})
}

// TestEditsGoIntoTheRecord: of however many edits few are items of their own, and
// nothing changes by it, at no node. What another region adds that was cut off is
// not lost.
func TestEditsGoIntoTheRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st, bus := memory.New(memory.Options{}), announce.NewLocal()
		one := newRig(t, Config{Store: st, Bus: bus})
		two := openRig(t, Config{Store: st, Bus: bus})
		synctest.Wait()
		items := func() (n int) {
			for _, err := range store.All(t.Context(), st, layout.Events, store.ScanOptions{}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			return n - 1
		}
		late := one.o.book.Tokens.Next() // of an edit made now, and nowhere to be seen
		const all = 5 * foldAt
		for i := range all {
			r := []*rig{one, two}[i%2]
			r.want(r.control("POST", "/notifications", fmt.Sprintf(`{"type":"x","id":"%d","from":1}`, i%8)), 200, "")
			if i%(all/10) == 0 {
				time.Sleep(keepFolded / 5)
				synctest.Wait()
			}
		}
		if n := items(); n > all*3/4 {
			t.Errorf("%d items of %d edits", n, all)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		want := one.get("event.json")
		for name, r := range map[string]*rig{"two": two, "a new one": openRig(t, Config{Store: st, Bus: bus})} {
			if w := r.get("event.json"); w.Body.String() != want.Body.String() || w.Header().Get("Live-Notifications") != want.Header().Get("Live-Notifications") {
				t.Errorf("%s: %s %v, not %s %v", name, w.Body, w.Header(), want.Body, want.Header())
			}
		}
		if got := one.o.book.Get(testID).View().Record.Notifications.Sequence; got != all {
			t.Errorf("sequence %d", got)
		}
		value := []byte(`{"life": 1, "mask": {"id": "late", "pipeline": "a", "from": 1}}`)
		if err := st.Put(t.Context(), layout.Events, store.Item{Key: testID.String() + "/" + late.String(), Token: one.o.book.Tokens.Next(), Value: value}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * keepHouse)
		synctest.Wait()
		for _, r := range []*rig{one, two} {
			if v := r.o.book.Get(testID).View(); len(v.Config().Masks) != 1 {
				t.Errorf("what came late is lost: %s", v.JSON)
			}
		}
	})
}

// TestRecordIsWrittenSeldom: of an event that is edited all the time the record is not
// written anew for each edit that becomes old enough to go into it.
func TestRecordIsWrittenSeldom(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st, bus := &writesOf{Store: memory.New(memory.Options{}), key: testID.String()}, announce.NewLocal()
		rigs := []*rig{newRig(t, Config{Store: st, Bus: bus}), openRig(t, Config{Store: st, Bus: bus})}
		synctest.Wait()
		before := st.writes.Load()
		for i := range 434 {
			r := rigs[i%2]
			r.want(r.control("POST", "/notifications", fmt.Sprintf(`{"type":"x","id":"%d","from":1}`, i%8)), 200, "")
			time.Sleep(time.Second)
		}
		// Each hundred by one of them, or by both at once.
		if n := st.writes.Load() - before; n < 2 || n > 8 {
			t.Errorf("the record was written %d times", n)
		}
	})
}

// writesOf counts the writes of one item.
type writesOf struct {
	store.Store
	key    string
	writes atomic.Int64
}

func (w *writesOf) Put(ctx context.Context, r store.Record, item store.Item) error {
	if item.Key == w.key {
		w.writes.Add(1)
	}
	return w.Store.Put(ctx, r, item)
}

// TestRecordOfAnOlderVersion: one with everything in it, as it was stored before
// edits were items.
func TestRecordOfAnOlderVersion(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		start := time.Now().UTC().Add(-time.Minute).Truncate(2 * time.Second)
		value := fmt.Sprintf(`{"config": {"start": %q, "first_number": 1, "segment": {"ticks": 2, "timescale": 1}, "dvr_seconds": 600,
			"pipelines": [{"name": "a"}, {"name": "b"}], "renditions": [{"name": "v", "type": "video", "bandwidth": 3000000, "codecs": "avc1.640028"}],
			"version": 9, "flush_version": 3, "masks": [{"id": "m", "pipeline": "b", "from": 4}], "invalidations": [{"id": "i", "version": 8, "from": 2}]},
			"notifications": {"Sequence": 6, "Set": [{"Type": "x", "ID": "1", "From": 1, "To": 0, "Data": "e30="}]},
			"life": 1, "heard": {"a": {"sequence": 4, "said": "s"}}, "edits": [{"Time": 5, "Nonce": 6}, {"Time": 7, "Nonce": 8}]}`, start.Format(time.RFC3339Nano))
		if err := st.Put(t.Context(), layout.Events, store.Item{Key: testID.String(), Token: store.NewTokens().Next(), Value: []byte(value)}); err != nil {
			t.Fatal(err)
		}
		r := openRig(t, Config{Store: st})
		check := func(r *rig, version, sequence int64, masks int) {
			t.Helper()
			v := r.o.book.Get(testID).View()
			c := v.Config()
			if c.Version != version || c.FlushVersion != 3 || len(c.Masks) != masks || c.Invalidations[0].Version != 8 || v.Record.Notifications.Sequence != sequence ||
				c.Renditions[0].Codecs != "avc1.640028" {
				t.Errorf("%s %+v", v.JSON, v.Record)
			}
		}
		check(r, 9, 6, 1)
		r.want(r.control("POST", "/masks", `{"id":"n","pipeline":"a","rendition":"v","from":1,"to":2}`), 200, "")
		r.want(r.control("POST", "/notifications", `{"type":"x","id":"2","from":1}`), 200, "")
		check(r, 10, 7, 2)
		check(openRig(t, Config{Store: st}), 10, 7, 2)
	})
}

// TestUnreadableEdit: it counts all the same, so that no version goes back.
func TestUnreadableEdit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.want(r.control("POST", "/masks", `{"id":"m","pipeline":"b","from":1}`), 200, "")
		v := r.o.book.Get(testID).View()
		page, err := st.Scan(t.Context(), layout.Events, store.ScanOptions{From: testID.String() + "/"})
		if err != nil || len(page.Items) != 1 {
			t.Fatal(page, err)
		}
		if err := st.Put(t.Context(), layout.Events, store.Item{Key: page.Items[0].Key, Token: r.o.book.Tokens.Next(), Value: []byte("{")}); err != nil {
			t.Fatal(err)
		}
		if is := openRig(t, Config{Store: st}).o.book.Get(testID).View(); is.Config().Version != v.Config().Version {
			t.Errorf("version %d, was %d", is.Config().Version, v.Config().Version)
		}
	})
}

// TestUnreadableRecord: that of a running event is written anew.
func TestUnreadableRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.want(r.control("POST", "/masks", `{"id":"m","pipeline":"b","from":1}`), 200, "")
		if err := st.Put(t.Context(), layout.Events, store.Item{Key: testID.String(), Token: r.o.book.Tokens.Next(), Value: []byte("{")}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * keepHouse)
		synctest.Wait()
		want := r.get("event.json").Body.String()
		if got := openRig(t, Config{Store: st}).get("event.json").Body.String(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}
