package store_test

import (
	"context"
	"errors"
	"testing"

	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

func TestSplitKeepsTheContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store {
		return store.Split(memory.New(memory.Options{}), memory.New(memory.Options{}))
	})
}

// withoutOpener hides what a store can do besides the contract.
type withoutOpener struct{ store.Store }

func TestSplitKeepsControlApart(t *testing.T) {
	media, control := memory.New(memory.Options{}), memory.New(memory.Options{})
	s := store.Split(withoutOpener{media}, control)
	tokens := store.NewTokens()
	for i, c := range []struct {
		namespace string
		in, out   store.Store
	}{{store.Media, media, control}, {store.Control, control, media}} {
		r := store.Record{Namespace: c.namespace, ID: "r"}
		item := store.Item{Key: "k", Token: tokens.Next(), Value: []byte{byte(i)}}
		if err := s.Put(t.Context(), r, item); err != nil {
			t.Fatal(err)
		}
		if _, err := c.in.Get(t.Context(), r, "k"); err != nil {
			t.Errorf("%s: not where it belongs: %v", c.namespace, err)
		}
		if _, err := c.out.Get(t.Context(), r, "k"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: where it does not belong: %v", c.namespace, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, st := range []store.Store{media, control} {
		if _, err := st.Get(context.Background(), store.Record{Namespace: store.Media, ID: "r"}, "k"); !errors.Is(err, store.ErrClosed) {
			t.Errorf("one of them is open: %v", err)
		}
	}
}
