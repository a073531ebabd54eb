package index

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headwater/store"
)

// TestListIsASortedMap compares the list with a map.
func TestListIsASortedMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var l list[int]
		model := map[string]int{}
		key := func(n int) string { return fmt.Sprintf("%05d", n) }
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			// Runs of keys, so that thousands of entries take few draws.
			start, step := rapid.IntRange(0, 3000).Draw(t, "start"), rapid.SampledFrom([]int{-3, -1, 1, 2}).Draw(t, "step")
			for i := range rapid.IntRange(0, 3000).Draw(t, "run") {
				k := key(max(0, start+i*step))
				old := l.set(&Entry[int]{Key: k, Value: i})
				if was, ok := model[k]; ok != (old != nil) || ok && old.Value != was {
					t.Fatalf("set %s returned %v, the map had %d, %v", k, old, was, ok)
				}
				model[k] = i
			}
			from, to := key(rapid.IntRange(0, 4000).Draw(t, "from")), key(rapid.IntRange(0, 4000).Draw(t, "to"))
			mod := rapid.IntRange(1, 4).Draw(t, "mod")
			l.removeFunc(from, to, func(e *Entry[int]) bool { return e.Value%mod == 0 })
			maps.DeleteFunc(model, func(k string, v int) bool { return contains(from, to, k) && v%mod == 0 })

			want := slices.Sorted(maps.Keys(model))
			var got []string
			l.ascend("", "", func(e *Entry[int]) bool { got = append(got, e.Key); return true })
			if !slices.Equal(got, want) {
				t.Fatalf("%d keys , want %d", len(got), len(want))
			}
			got, want = nil, slices.DeleteFunc(want, func(k string) bool { return !contains(from, to, k) })
			l.ascend(from, to, func(e *Entry[int]) bool { got = append(got, e.Key); return true })
			if !slices.Equal(got, want) {
				t.Fatalf("[%s, %s) has %d keys, want %d", from, to, len(got), len(want))
			}
			for k, v := range model {
				if e := l.get(k); e == nil || e.Value != v {
					t.Fatalf("get %s is %v, want %d", k, e, v)
				}
			}
		}
	})
}

// TestRemovedIsToldOnceOfEachValue keeps the account that drops files.
func TestRemovedIsToldOnceOfEachValue(t *testing.T) {
	now := time.Now()
	r := store.Record{Namespace: store.Media, ID: "r"}
	rapid.Check(t, func(t *rapid.T) {
		held := map[int]bool{}
		x := Index[int]{Removed: func(v int) {
			if !held[v] {
				t.Fatalf("value %d removed, but it is not held", v)
			}
			delete(held, v)
		}}
		key := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		bound := rapid.SampledFrom([]string{"", "a", "b", "c", "d"})
		for i := range rapid.IntRange(1, 40).Draw(t, "mutations") {
			tok := store.Token{Time: now.UnixNano() + rapid.Int64Range(0, 9).Draw(t, "token"), Nonce: uint64(i)}
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				e := &Entry[int]{Key: key.Draw(t, "key"), Token: tok, Expires: now.Add(time.Hour).UnixMilli(), Value: i}
				stale := x.PutStale(r, e.Key, tok)
				held[i] = true
				if done, _ := x.Put(r, e); done == stale {
					t.Fatalf("put done %v, stale %v", done, stale)
				} else if !done {
					delete(held, i)
				}
			case 1:
				from, to := bound.Draw(t, "from"), bound.Draw(t, "to")
				x.Delete(r, from, to, tok)
				x.Ascend(r, from, to, func(e *Entry[int]) bool {
					if e.Token.Compare(tok) <= 0 && (to == "" || from < to) {
						t.Fatalf("%s is there after the delete of [%s, %s)", e.Key, from, to)
					}
					return true
				})
			case 2:
				if e := x.Get(r, key.Draw(t, "forgotten")); e != nil {
					x.Forget(r, e)
				}
			case 3:
				k := key.Draw(t, "key")
				if e := x.Get(r, k); e != nil {
					held[i] = true
					x.Move(r, k, e.Token, i)
				}
			}
		}
		items := 0
		x.Ascend(r, "", "", func(e *Entry[int]) bool {
			if e.Live(now) {
				items++
			}
			return true
		})
		if items != x.Items() {
			t.Fatalf("%d items, counted %d", items, x.Items())
		}
		x.Sweep(r, now)
		if items > 0 && x.Items() != items {
			t.Fatal("a sweep removed live items")
		}
		x.Sweep(r, now.Add(2*time.Hour))
		if len(held) != 0 || len(x.Records()) != 0 || x.Items() != 0 {
			t.Fatalf("after everything has expired %d values are held, %d records", len(held), len(x.Records()))
		}
	})
}

func contains(from, to, key string) bool { return key >= from && (to == "" || key < to) }
