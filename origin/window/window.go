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
// than the next segment. Bytes in it are immutable and shared.
type Window struct {
	mu    sync.Mutex // guards the following
	limit int64
	bytes int64
	order list.List // of Key, oldest first
	items map[Key]windowItem
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
	at   *list.Element
	data []byte
}

// New returns a window of at most so many bytes.
func New(limit int64) *Window {
	return &Window{limit: limit, items: make(map[Key]windowItem)}
}

// Put keeps bytes, which are not changed any more.
func (w *Window) Put(k Key, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.items[k]; ok || int64(len(data)) > w.limit {
		return
	}
	w.items[k] = windowItem{w.order.PushBack(k), data}
	w.bytes += int64(len(data))
	for w.bytes > w.limit {
		w.drop(w.order.Front().Value.(Key))
	}
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
