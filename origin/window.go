package origin

import (
	"container/list"
	"sync"

	"headwater/live"
)

// A window keeps the bytes of the newest segments in memory, bounded by bytes.
// What was published first leaves first: at the live edge nothing is worth more
// than the next segment. Bytes in it are immutable and shared.
type window struct {
	mu    sync.Mutex // guards the following
	limit int64
	bytes int64
	order list.List // of windowKey, oldest first
	items map[windowKey]windowItem
}

type windowKey struct {
	event     live.EventID
	rendition string
	number    live.Number
	pipeline  string
	digest    live.Digest // a repair is another object
}

type windowItem struct {
	at   *list.Element
	data []byte
}

func newWindow(limit int64) *window {
	return &window{limit: limit, items: make(map[windowKey]windowItem)}
}

func (w *window) put(k windowKey, data []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := w.items[k]; ok || int64(len(data)) > w.limit {
		return
	}
	w.items[k] = windowItem{w.order.PushBack(k), data}
	w.bytes += int64(len(data))
	for w.bytes > w.limit {
		w.drop(w.order.Front().Value.(windowKey))
	}
}

func (w *window) get(k windowKey) ([]byte, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	it, ok := w.items[k]
	return it.data, ok
}

// drop needs mu.
func (w *window) drop(k windowKey) {
	it := w.items[k]
	w.order.Remove(it.at)
	delete(w.items, k)
	w.bytes -= int64(len(it.data))
}

// forget drops everything of an event.
func (w *window) forget(id live.EventID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.items {
		if k.event == id {
			w.drop(k)
		}
	}
}

func (w *window) size() (items int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.items), w.bytes
}
