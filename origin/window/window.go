// Package window keeps the bytes of the newest segments in memory.
//
// Locks: Window.mu alone.
package window

import (
	"container/list"
	"sync"

	"headwater/live"
)

// A Window keeps the bytes of the newest segments in memory, bounded by bytes.
// What was published first leaves first: at the live edge nothing is worth more
// than the next segment. But a tenant that has more than its share loses its own before
// anybody else does: what one publishes does not push out what others' viewers wait for. Bytes
// in it are immutable and shared.
type Window struct {
	limit, share int64

	mu      sync.Mutex // guards the following
	bytes   int64
	order   list.List // of Key, oldest first
	items   map[Key]windowItem
	tenants map[string]*held
}

// held is what there is of a tenant.
type held struct {
	bytes int64
	order list.List // of Key, oldest first
}

// A Key names the bytes of one pipeline's segment.
type Key struct {
	Event     live.EventID
	Rendition string
	Number    live.Number
	Pipeline  string
	Digest    live.Digest // a repair is another object
}

type windowItem struct {
	at, own *list.Element // in the order of all, and in that of its tenant
	data    []byte
}

// New returns a window of at most so many bytes, of which percent are one tenant's share;
// 0 and 100 are all.
func New(limit int64, percent int) *Window {
	w := &Window{limit: limit, share: limit, items: make(map[Key]windowItem), tenants: make(map[string]*held)}
	if percent > 0 && percent < 100 {
		w.share = limit * int64(percent) / 100
	}
	return w
}

// Put keeps bytes, which are not changed any more.
func (w *Window) Put(k Key, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.items[k]; ok || int64(len(data)) > w.limit {
		return
	}
	t := w.tenants[k.Event.Tenant]
	if t == nil {
		t = &held{}
		w.tenants[k.Event.Tenant] = t
	}
	w.items[k] = windowItem{w.order.PushBack(k), t.order.PushBack(k), data}
	w.bytes += int64(len(data))
	t.bytes += int64(len(data))
	for w.bytes > w.limit {
		w.drop(w.first().Front().Value.(Key))
	}
}

// first is the order by which something leaves: that of the tenant which is furthest beyond its
// share, or that of all. It needs mu.
func (w *Window) first() *list.List {
	order, most := &w.order, w.share
	for _, t := range w.tenants {
		if t.bytes > most {
			order, most = &t.order, t.bytes
		}
	}
	return order
}

// Get returns them, where they are there.
func (w *Window) Get(k Key) ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	it, ok := w.items[k]
	return it.data, ok
}

// drop needs mu.
func (w *Window) drop(k Key) {
	it := w.items[k]
	w.order.Remove(it.at)
	delete(w.items, k)
	w.bytes -= int64(len(it.data))
	t := w.tenants[k.Event.Tenant]
	t.order.Remove(it.own)
	if t.bytes -= int64(len(it.data)); t.order.Len() == 0 {
		delete(w.tenants, k.Event.Tenant)
	}
}

// Forget drops everything of an event.
func (w *Window) Forget(id live.EventID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.items {
		if k.Event == id {
			w.drop(k)
		}
	}
}

// Size is how much is in it.
func (w *Window) Size() (items int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.items), w.bytes
}
