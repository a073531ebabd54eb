package window

import (
	"testing"

	"headwater/live"
)

// TestWindowIsBounded: the newest segments are in memory, the oldest leave it.
func TestWindowIsBounded(t *testing.T) {
	w := New(100, 50) // who is alone has all
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
	if items, bytes := w.Size(); items != 0 || bytes != 0 || w.order.Len() != 0 || len(w.tenants) != 0 {
		t.Errorf("%d items of %d bytes are left", items, bytes)
	}
}

// TestOneTenantDoesNotPushOutAnother: whoever has more than its share loses its own.
func TestOneTenantDoesNotPushOutAnother(t *testing.T) {
	w := New(100, 50)
	key := func(tenant string, n int) Key {
		return Key{Event: live.EventID{Tenant: tenant, Name: "final"}, Rendition: "v", Number: live.Number(n), Pipeline: "a"}
	}
	has := func(tenant string) (numbers []int) {
		for n := range 100 {
			if _, ok := w.Get(key(tenant, n)); ok {
				numbers = append(numbers, n)
			}
		}
		return numbers
	}
	for n := range 4 {
		w.Put(key("home", n), make([]byte, 10))
	}
	for n := range 50 {
		w.Put(key("rival", n), make([]byte, 10))
	}
	if home, rival := has("home"), has("rival"); len(home) != 4 || len(rival) != 6 || rival[0] != 44 {
		t.Errorf("there are %v and of the rival %v", home, rival)
	}
	for n := 4; n < 30; n++ {
		w.Put(key("home", n), make([]byte, 10))
	}
	if home, rival := has("home"), has("rival"); len(home) != 5 || home[0] != 25 || len(rival) != 5 {
		t.Errorf("there are %v and of the rival %v", home, rival)
	}
}
