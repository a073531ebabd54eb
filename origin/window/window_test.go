package window

import (
	"testing"

	"headwater/live"
)

// TestWindowIsBounded: the newest segments are in memory, the oldest leave it.
func TestWindowIsBounded(t *testing.T) {
	w := New(100)
	id := live.EventID{Tenant: "acme", Name: "final"}
	key := func(n int) Key {
		return Key{Event: id, Rendition: "v", Number: live.Number(n), Pipeline: "a"}
	}
	for n := range 30 {
		w.Put(key(n), make([]byte, 10))
		w.Put(key(n), make([]byte, 10))
	}
	w.Put(key(99), make([]byte, 101))
	if items, bytes := w.Size(); items != 10 || bytes != 100 {
		t.Errorf("%d items of %d bytes", items, bytes)
	}
	if _, ok := w.Get(key(19)); ok {
		t.Error("the oldest is there")
	}
	if _, ok := w.Get(key(29)); !ok {
		t.Error("the newest is not there")
	}
	w.Forget(live.EventID{Tenant: "acme", Name: "other"})
	w.Forget(id)
	if items, bytes := w.Size(); items != 0 || bytes != 0 || w.order.Len() != 0 {
		t.Errorf("%d items of %d bytes are left", items, bytes)
	}
}
