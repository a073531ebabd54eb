package through

import (
	"testing"
	"time"

	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// TestConfirm: an entry that is too old to be believed costs a look at the
// store's metadata and not the bytes, and is then believed again.
func TestConfirm(t *testing.T) {
	zones, _ := twoZones(t)
	faulty := storetest.NewFaulty(memory.New(memory.Options{}))
	node := opened(t, faulty, Config{Zones: zones, FreshFor: time.Second})
	mustPut(t, node, value("v"))
	until(t, func() bool { wantSeen(t, "v", node); return node.Stats().StoreChecks > 0 })
	idle(t, node)
	scans := faulty.Count(storetest.Scan)
	wantSeen(t, "v", node)
	if gets, more := faulty.Count(storetest.Get), faulty.Count(storetest.Scan)-scans; gets != 0 || more != 0 {
		t.Errorf("%d values read from the store, and %d looks at once after one", gets, more)
	}
}

// TestGetFresh reads what the zones do not know of, and mends them.
// signalling is a store that tells how it is doing.
type signalling struct{ store.Store }

func (signalling) Signals() []store.Signal { return []store.Signal{{Op: "get item"}} }

// TestSignals: who sheds by how the store is doing sees it through the cache.
func TestSignals(t *testing.T) {
	c, err := New(signalling{memory.New(memory.Options{})}, Config{Zones: []Zone{{Name: "a", Servers: []string{"127.0.0.1:1"}}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := store.SignalsOf(c); len(got) != 1 || got[0].Op != "get item" {
		t.Errorf("%v", got)
	}
}

func TestGetFresh(t *testing.T) {
	zones, _ := twoZones(t)
	below := memory.New(memory.Options{})
	node := opened(t, below, Config{Zones: zones})
	mustPut(t, node, value("old"))
	mustPut(t, below, value("new")) // past the cache
	wantSeen(t, "old", node)
	item, err := node.GetFresh(t.Context(), segments, "k")
	if err != nil || string(item.Meta) != "new" {
		t.Fatalf("%q, %v", item.Meta, err)
	}
	idle(t, node)
	wantSeen(t, "new", node)
}

// TestRangeDeleteCoversWhatComesLater: a write that a range delete of another
// node covered is not put into the cache, though nothing is known of its key.
func TestRangeDeleteCoversWhatComesLater(t *testing.T) {
	zones, _ := twoZones(t)
	below := &shared{Store: memory.New(memory.Options{})}
	one := opened(t, below, Config{Zones: zones})
	two := opened(t, below, Config{Zones: zones, Local: "zone-1"})
	late := value("late")
	if err := two.DeleteRange(t.Context(), segments, "a", "z", tokens.Next()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, one, late)
	wantSeen(t, "none", one, two)
}
