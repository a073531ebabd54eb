package announce

import (
	"context"
	"testing"

	"headwater/live"
)

func TestLocal(t *testing.T) {
	bus := NewLocal()
	var a, b []Message
	cancelA := bus.Subscribe(func(m Message) { a = append(a, m) })
	defer bus.Subscribe(func(m Message) { b = append(b, m) })()

	m := Message{Kind: Published, Event: live.EventID{Tenant: "t", Name: "e"}, Rendition: "v"}
	if err := bus.Announce(context.Background(), m); err != nil {
		t.Fatal(err)
	}
	// Announce has returned, so everybody has seen it.
	if len(a) != 1 || len(b) != 1 || a[0].Rendition != "v" {
		t.Fatalf("a saw %v, b saw %v", a, b)
	}
	cancelA()
	bus.Announce(context.Background(), m)
	if len(a) != 1 || len(b) != 2 {
		t.Fatalf("after a left: a saw %d, b saw %d", len(a), len(b))
	}
}
