package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"headwater/announce"
	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
)

// A gatedStore lets a node's writes of events wait, after it has read what it
// changes.
type gatedStore struct {
	store.Store
	gate chan struct{} // a write waits for one, where it is not nil
}

func (s *gatedStore) Put(ctx context.Context, r store.Record, item store.Item) error {
	if gate := s.gate; gate != nil && r == eventsRecord {
		select {
		case <-gate:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Store.Put(ctx, r, item)
}

// TestEditsOfTwoNodesAtOnce: both read, then both write. What each was told to
// be done is there in the end, on both, whichever was the later.
func TestEditsOfTwoNodesAtOnce(t *testing.T) {
	edits := []struct {
		name, method, path, body string
		there                    func(v *view) bool
	}{
		{"notification", "POST", "/notifications", `{"type":"x","id":"1","from":1}`,
			func(v *view) bool {
				return slices.ContainsFunc(v.record.Notifications.Set, func(n live.Notification) bool { return n.ID == "1" })
			}},
		{"another", "POST", "/notifications", `{"type":"x","id":"2","from":1}`,
			func(v *view) bool {
				return slices.ContainsFunc(v.record.Notifications.Set, func(n live.Notification) bool { return n.ID == "2" })
			}},
		{"mask", "POST", "/masks", `{"id":"m","pipeline":"a","from":0}`, func(v *view) bool { return len(v.record.Config.Masks) == 1 }},
		{"invalidation", "POST", "/invalidations", `{"pipeline":"b"}`, func(v *view) bool {
			return slices.ContainsFunc(v.record.Config.Invalidations, func(i live.Invalidation) bool { return i.Pipeline == "b" }) ||
				v.record.Config.FlushVersion > 1
		}},
		{"flush", "POST", "/flush?yes=true", "", func(v *view) bool { return v.record.Config.FlushVersion > 1 }},
	}
	for i, first := range edits {
		for j, second := range edits {
			if i == j {
				continue
			}
			t.Run(first.name+" and "+second.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					st, bus := memory.New(memory.Options{}), announce.NewLocal()
					slow := &gatedStore{Store: st}
					one := newRig(t, Config{Store: st, Bus: bus})
					two := openRig(t, Config{Store: slow, Bus: bus})
					synctest.Wait() // both listen
					slow.gate = make(chan struct{})
					done := make(chan *httptest.ResponseRecorder)
					go func() { done <- two.control(second.method, second.path, second.body) }()
					synctest.Wait() // it has read, and is about to write
					one.want(one.control(first.method, first.path, first.body), 200, "")
					synctest.Wait()
					close(slow.gate)
					two.want(<-done, 200, "")
					time.Sleep(100 * time.Millisecond) // of virtual time: errands are run
					synctest.Wait()
					a, b := one.o.events.get(testID).view.Load(), two.o.events.get(testID).view.Load()
					for name, v := range map[string]*view{"one": a, "two": b} {
						if !first.there(v) || !second.there(v) {
							rec, _ := json.Marshal(v.record)
							t.Errorf("node %s: %s", name, rec)
						}
					}
					if a.token != b.token {
						t.Error("the nodes do not agree")
					}
				})
			})
		}
	}
}

// TestEditAfterAnothersIsNotMadeAgain: what another node takes back, having
// seen it, stays taken back.
func TestEditAfterAnothersIsNotMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, bus := memory.New(memory.Options{}), announce.NewLocal()
		one := newRig(t, Config{Store: st, Bus: bus})
		two := openRig(t, Config{Store: st, Bus: bus})
		synctest.Wait() // both listen
		for i := range 2 * maxEdits {
			one.want(one.control("POST", "/notifications", `{"type":"x","id":"1","from":1}`), 200, "")
			two.want(two.control("POST", "/notifications", `{"id":"1","withdraw":true}`), 200, "")
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			for _, r := range []*rig{one, two} {
				if set := r.o.events.get(testID).view.Load().record.Notifications.Set; len(set) != 0 {
					t.Fatalf("round %d: %v", i, set)
				}
			}
		}
		var rec storedEvent
		item, err := st.Get(t.Context(), eventsRecord, testID.String())
		if err != nil || json.Unmarshal(item.Value, &rec) != nil || len(rec.Edits) > maxEdits {
			t.Errorf("%d edits are named, %v", len(rec.Edits), err)
		}
	})
}

// TestMergeKeepsBoth: of changes to different things none is lost, in either order.
func TestMergeKeepsBoth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := eventRecord{Config: live.Config{Event: testEventAt(time.Unix(1e9, 0)), Version: 5, FlushVersion: 1}, Life: 1}
		for i := range rapid.IntRange(0, 4).Draw(t, "set") {
			base.Notifications.Set = append(base.Notifications.Set, live.Notification{Type: "x", ID: fmt.Sprint("old", i), From: 1})
		}
		edit := func(who string) eventRecord {
			rec := base
			for i := range rapid.IntRange(1, 4).Draw(t, who) {
				id := fmt.Sprint(who, i)
				switch rapid.IntRange(0, 3).Draw(t, "kind") {
				case 0:
					rec.Notifications = live.Notifications{Sequence: rec.Notifications.Sequence + 1, Set: append(slices.Clone(rec.Notifications.Set), live.Notification{Type: "x", ID: id, From: 1})}
				case 1:
					rec.Config.Masks = append(slices.Clone(rec.Config.Masks), live.Mask{ID: id})
					rec.Config.Version++
				case 2:
					rec.invalidate(live.Scope{Rendition: id})
				case 3:
					rec.Config.Renditions = append(slices.Clone(rec.Config.Renditions), live.Rendition{Name: strings.ToLower(id), Type: live.Audio, Bandwidth: 1})
					rec.Config.Version++
				}
			}
			return rec
		}
		a, b := edit("a"), edit("b")
		ab, _ := merge(base, b, a) // b's made again on a's
		ba, _ := merge(base, a, b)
		names := func(rec eventRecord) (list []string) {
			for _, n := range rec.Notifications.Set {
				list = append(list, "n"+n.ID)
			}
			for _, m := range rec.Config.Masks {
				list = append(list, "m"+m.ID)
			}
			for _, i := range rec.Config.Invalidations {
				list = append(list, "i"+i.Scope.Rendition)
			}
			for _, r := range rec.Config.Renditions {
				list = append(list, "r"+r.Name)
			}
			slices.Sort(list)
			return list
		}
		want := append(names(a), names(b)...)
		slices.Sort(want)
		want = slices.Compact(want)
		if got := names(ab); !slices.Equal(got, want) {
			t.Errorf("b on a: %v, want %v", got, want)
		}
		if got := names(ba); !slices.Equal(got, want) {
			t.Errorf("a on b: %v, want %v", got, want)
		}
		for _, m := range []eventRecord{ab, ba} {
			if m.Config.Version < max(a.Config.Version, b.Config.Version) || m.Notifications.Sequence < max(a.Notifications.Sequence, b.Notifications.Sequence) {
				t.Errorf("it goes back: %d, %d", m.Config.Version, m.Notifications.Sequence)
			}
		}
		if _, changed := merge(base, b, ab); changed {
			t.Error("what is there is made again")
		}
	})
}

func testEventAt(start time.Time) live.Event {
	ev := testEvent()
	ev.Start = start.UTC()
	return ev
}
