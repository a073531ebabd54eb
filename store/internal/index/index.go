// Package index is the part of the store contract that decides which mutation
// wins, kept in memory: the newest token for each key, also of what has expired,
// for as long as an older mutation may still arrive. Backends that live in one
// process keep their items, or where these are, in an Index.
package index

import (
	"time"

	"headwater/store"
)

// Index maps records to entries in key order. It has no lock of its own.
type Index[V any] struct {
	// Removed, unless nil, is told of every value that ceases to be referred
	// to: the entry that it came with was replaced, deleted or forgotten.
	Removed func(V)

	records map[store.Record]*list[V]
	items   int
}

// Entry is an item, or for as long as it must be remembered, one that has expired.
type Entry[V any] struct {
	Key     string
	Token   store.Token
	Expires int64 // Unix milliseconds; Forever if it does not
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
	return e.Expires == Forever || now.UnixMilli() < e.Expires
}

// Items returns how many entries there are; some may have expired.
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
		return rec.get(key)
	}
	return nil
}

// Ascend calls yield for the entries of [from, to) in key order, expired ones
// included, until it returns false.
func (x *Index[V]) Ascend(r store.Record, from, to string, yield func(*Entry[V]) bool) {
	if rec := x.records[r]; rec != nil {
		rec.ascend(from, to, yield)
	}
}

// PutStale reports whether Put with this token would change nothing.
func (x *Index[V]) PutStale(r store.Record, key string, t store.Token) bool {
	e := x.Get(r, key)
	return e != nil && e.Token.Compare(t) >= 0
}

// Put makes e the entry of its key unless it is stale. It reports whether it
// did, and whether it replaced an older one.
func (x *Index[V]) Put(r store.Record, e *Entry[V]) (done, replaced bool) {
	if x.PutStale(r, e.Key, e.Token) {
		return false, false
	}
	rec := x.records[r]
	if rec == nil {
		if x.records == nil {
			x.records = make(map[store.Record]*list[V])
		}
		rec = new(list[V])
		x.records[r] = rec
	}
	old := rec.set(e)
	x.items++
	if old != nil {
		x.drop(old)
	}
	return true, old != nil
}

// Move replaces the value of key if its entry has exactly this token. It
// reports whether it did.
func (x *Index[V]) Move(r store.Record, key string, t store.Token, v V) bool {
	e := x.Get(r, key)
	if e == nil || e.Token != t {
		return false
	}
	// Readers may hold the entry: it is replaced, not modified.
	moved := *e
	moved.Value = v
	x.records[r].set(&moved)
	x.removed(e.Value)
	return true
}

// ForgetFunc removes the entries that which reports, without a trace.
func (x *Index[V]) ForgetFunc(r store.Record, which func(*Entry[V]) bool) { x.remove(r, "", "", which) }

// Forget removes e if it still is the entry of its key, without a trace.
func (x *Index[V]) Forget(r store.Record, e *Entry[V]) {
	// No key is between one and the same with a NUL, which none holds.
	x.remove(r, e.Key, e.Key+"\x00", func(is *Entry[V]) bool { return is == e })
}

// Delete removes what is in [from, to) and not newer than t.
func (x *Index[V]) Delete(r store.Record, from, to string, t store.Token) {
	if to == "" || from < to {
		x.remove(r, from, to, func(e *Entry[V]) bool { return e.Token.Compare(t) <= 0 })
	}
}

// Sweep forgets what r holds that is no item at the time now and that no
// mutation which would still be accepted can need: it is older than twice
// MaxDrift, which leaves a clock that steps back some room.
func (x *Index[V]) Sweep(r store.Record, now time.Time) {
	old := now.Add(-2 * store.MaxDrift).UnixNano()
	x.remove(r, "", "", func(e *Entry[V]) bool { return !e.Live(now) && e.Token.Time < old })
}

// remove drops the entries of [from, to) that which reports, and the record if
// that leaves nothing.
func (x *Index[V]) remove(r store.Record, from, to string, which func(*Entry[V]) bool) {
	rec := x.records[r]
	if rec == nil {
		return
	}
	rec.removeFunc(from, to, func(e *Entry[V]) bool {
		gone := which(e)
		if gone {
			x.drop(e)
		}
		return gone
	})
	if rec.empty() {
		delete(x.records, r)
	}
}

func (x *Index[V]) drop(e *Entry[V]) {
	x.items--
	x.removed(e.Value)
}

func (x *Index[V]) removed(v V) {
	if x.Removed != nil {
		x.Removed(v)
	}
}
