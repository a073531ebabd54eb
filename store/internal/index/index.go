// Package index is the part of the store contract that decides which mutation
// wins, kept in memory: the newest token for each key, and for as long as an
// older mutation may still arrive, the deletes. Backends that live in one
// process keep their items, or where these are, in an Index.
package index

import (
	"slices"
	"strings"
	"time"

	"headwater/store"
)

// Index maps records to entries in key order. It has no lock of its own.
type Index[V any] struct {
	// Removed, unless nil, is told of every value that ceases to be referred
	// to: the entry, or the delete, that it came with was replaced, deleted or
	// forgotten.
	Removed func(V)

	records map[store.Record]*record[V]
	items   int
}

// Entry is an item, or for as long as it must be remembered, its absence.
type Entry[V any] struct {
	Key     string
	Token   store.Token
	Expires int64 // Unix milliseconds; Forever if it does not
	Dead    bool  // deleted, by a mutation with this token
	Value   V
}

// Forever is the expiry of what does not expire.
const Forever int64 = 1<<63 - 1

// ExpiryOf returns t as an entry holds it.
func ExpiryOf(t time.Time) int64 {
	if t.IsZero() {
		return Forever
	}
	return min(t.UnixMilli(), Forever-1)
}

// ExpiryTime is the inverse of ExpiryOf, to the millisecond.
func ExpiryTime(ms int64) time.Time {
	if ms == Forever {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// Live reports whether the entry is an item at the time now.
func (e *Entry[V]) Live(now time.Time) bool {
	return !e.Dead && (e.Expires == Forever || now.UnixMilli() < e.Expires)
}

type record[V any] struct {
	entries list[V]
	deletes []rangeDelete[V]
}

type rangeDelete[V any] struct {
	from, to string
	token    store.Token
	value    V
}

// ItemRange returns the range that holds key and no other: keys hold no NUL.
func ItemRange(key string) (from, to string) { return key, key + "\x00" }

// itemOf is the inverse of ItemRange.
func itemOf(from, to string) (key string, ok bool) {
	return from, len(to) == len(from)+1 && strings.HasPrefix(to, from) && to[len(from)] == 0
}

// Contains reports whether key is in [from, to).
func Contains(from, to, key string) bool { return key >= from && (to == "" || key < to) }

// Items returns how many entries are not Dead; some may have expired.
func (x *Index[V]) Items() int { return x.items }

// Len returns how many records hold anything.
func (x *Index[V]) Len() int { return len(x.records) }

// Records returns the records that hold anything, in no order.
func (x *Index[V]) Records() []store.Record {
	records := make([]store.Record, 0, len(x.records))
	for r := range x.records {
		records = append(records, r)
	}
	return records
}

// Get returns the entry of key, or nil. The entry is read-only.
func (x *Index[V]) Get(r store.Record, key string) *Entry[V] {
	if rec := x.records[r]; rec != nil {
		return rec.entries.get(key)
	}
	return nil
}

// Ascend calls yield for the entries of [from, to) in key order, dead and
// expired ones included, until it returns false.
func (x *Index[V]) Ascend(r store.Record, from, to string, yield func(*Entry[V]) bool) {
	if rec := x.records[r]; rec != nil {
		rec.entries.ascend(from, to, yield)
	}
}

// PutStale reports whether Put with this token would change nothing.
func (x *Index[V]) PutStale(r store.Record, key string, t store.Token) bool {
	rec := x.records[r]
	return rec != nil && rec.putStale(key, t)
}

func (rec *record[V]) putStale(key string, t store.Token) bool {
	if e := rec.entries.get(key); e != nil && e.Token.Compare(t) >= 0 {
		return true
	}
	for i := range rec.deletes {
		if d := &rec.deletes[i]; d.token.Compare(t) >= 0 && Contains(d.from, d.to, key) {
			return true
		}
	}
	return false
}

// Put makes e the entry of its key unless it is stale. It reports whether it
// did, and whether it replaced an older one.
func (x *Index[V]) Put(r store.Record, e *Entry[V]) (done, replaced bool) {
	rec := x.record(r)
	if rec.putStale(e.Key, e.Token) {
		return false, false
	}
	old := rec.entries.set(e)
	x.count(e, 1)
	x.drop(old)
	return true, old != nil
}

// Move replaces the value of key if its entry has exactly this token. It
// reports whether it did.
func (x *Index[V]) Move(r store.Record, key string, t store.Token, v V) bool {
	e := x.Get(r, key)
	if e == nil || e.Dead || e.Token != t {
		return false
	}
	// Readers may hold the entry: it is replaced, not modified.
	moved := *e
	moved.Value = v
	x.records[r].entries.set(&moved)
	x.removed(e.Value)
	return true
}

// Forget removes e if it still is the entry of its key, without a trace.
func (x *Index[V]) Forget(r store.Record, e *Entry[V]) {
	if rec := x.records[r]; rec != nil {
		from, to := ItemRange(e.Key)
		rec.entries.removeFunc(from, to, func(is *Entry[V]) bool {
			if is == e {
				x.drop(e)
			}
			return is == e
		})
	}
}

// DeleteStale reports whether Delete of this range with this token would change nothing.
func (x *Index[V]) DeleteStale(r store.Record, from, to string, t store.Token) bool {
	if to != "" && from >= to {
		return true
	}
	rec := x.records[r]
	return rec != nil && rec.deleteStale(from, to, t)
}

func (rec *record[V]) deleteStale(from, to string, t store.Token) bool {
	if key, ok := itemOf(from, to); ok {
		return rec.putStale(key, t)
	}
	return slices.ContainsFunc(rec.deletes, func(d rangeDelete[V]) bool {
		return d.token.Compare(t) >= 0 && d.from <= from && (d.to == "" || to != "" && to <= d.to)
	})
}

// Delete deletes what is in [from, to) and not newer than t, and remembers to
// refuse what arrives later. It reports whether it was not stale.
func (x *Index[V]) Delete(r store.Record, from, to string, t store.Token, v V) bool {
	if x.DeleteStale(r, from, to, t) {
		return false
	}
	rec := x.record(r)
	if key, ok := itemOf(from, to); ok {
		x.drop(rec.entries.set(&Entry[V]{Key: key, Token: t, Expires: Forever, Dead: true, Value: v}))
		return true
	}
	rec.entries.removeFunc(from, to, func(e *Entry[V]) bool {
		if e.Token.Compare(t) > 0 {
			return false
		}
		x.drop(e)
		return true
	})
	rec.deletes = slices.DeleteFunc(rec.deletes, func(d rangeDelete[V]) bool {
		within := d.token.Compare(t) <= 0 && from <= d.from && (to == "" || d.to != "" && d.to <= to)
		if within {
			x.removed(d.value)
		}
		return within
	})
	rec.deletes = append(rec.deletes, rangeDelete[V]{from, to, t, v})
	return true
}

// Sweep forgets what r holds that is no item at the time now and that no
// mutation which would still be accepted can need: it is older than twice
// MaxDrift, which leaves a clock that steps back some room.
func (x *Index[V]) Sweep(r store.Record, now time.Time) {
	rec := x.records[r]
	if rec == nil {
		return
	}
	old := now.Add(-2 * store.MaxDrift).UnixNano()
	rec.entries.removeFunc("", "", func(e *Entry[V]) bool {
		if e.Live(now) || e.Token.Time >= old {
			return false
		}
		x.drop(e)
		return true
	})
	rec.deletes = slices.DeleteFunc(rec.deletes, func(d rangeDelete[V]) bool {
		if d.token.Time >= old {
			return false
		}
		x.removed(d.value)
		return true
	})
	if rec.entries.n == 0 && len(rec.deletes) == 0 {
		delete(x.records, r)
	}
}

func (x *Index[V]) record(r store.Record) *record[V] {
	rec := x.records[r]
	if rec == nil {
		if x.records == nil {
			x.records = make(map[store.Record]*record[V])
		}
		rec = new(record[V])
		x.records[r] = rec
	}
	return rec
}

func (x *Index[V]) drop(e *Entry[V]) {
	if e != nil {
		x.count(e, -1)
		x.removed(e.Value)
	}
}

func (x *Index[V]) count(e *Entry[V], n int) {
	if !e.Dead {
		x.items += n
	}
}

func (x *Index[V]) removed(v V) {
	if x.Removed != nil {
		x.Removed(v)
	}
}
