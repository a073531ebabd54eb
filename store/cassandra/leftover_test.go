package cassandra_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/cassandra"
)

// TestLeftovers: chunks of a put that broke off between staging and commit, and
// of an item that was replaced, do not stay: they have the item's time to live,
// or are swept.
func TestLeftovers(t *testing.T) {
	o := optionsFor(t, "leftovers")
	o.OrphanAge = time.Millisecond
	initialise(t, o)
	st := open(t, o)
	defer st.Close()
	tokens := store.NewTokens()
	item := func(key string) store.Item {
		return store.Item{Key: key, Token: tokens.Next(), Value: valueOf(key), Size: 600_000} // three chunks
	}
	breakOff := func(r store.Record, item store.Item) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ctx = store.WithTrace(ctx, func(step string, _ time.Duration) {
			if step == "staged" {
				cancel()
			}
		})
		if err := st.Put(ctx, r, item); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := st.Get(t.Context(), r, item.Key); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s: %v", item.Key, err)
		}
	}

	media := store.Record{Namespace: store.Media, ID: "r"}
	segment := item("segment")
	segment.Expires = time.Now().Add(time.Hour)
	breakOff(media, segment)
	rows := raw(t).Query("SELECT ttl(data) FROM leftovers_media.chunks").Iter()
	n, ttl := 0, 0
	for rows.Scan(&ttl) {
		if n++; ttl < 3600 || ttl > 3600+2*60 {
			t.Errorf("a chunk that nobody names has %d s to live", ttl)
		}
	}
	if err := rows.Close(); err != nil || n != 3 {
		t.Errorf("%d chunks, %v", n, err)
	}

	control := store.Record{Namespace: store.Control, ID: "r"}
	breakOff(control, item("broken off"))
	var kept store.Item
	for range 2 {
		kept = item("rewritten")
		if err := st.Put(t.Context(), control, kept); err != nil {
			t.Fatal(err)
		}
	}

	for i, want := range []int{6, 0} {
		if removed, err := st.Sweep(t.Context()); err != nil || removed != want {
			t.Errorf("sweep %d removed %d chunks, want %d: %v", i+1, removed, want, err)
		}
	}
	report, err := st.Check(t.Context(), func(p cassandra.Problem) { t.Error(p) }, nil)
	if err != nil || report.Items != 1 || report.Chunks != 3 || report.Orphans != 3 { // those of media
		t.Errorf("%+v, %v", report, err)
	}
	if got, err := st.Get(t.Context(), control, "rewritten"); err != nil || !bytes.Equal(got.Value, kept.Value) {
		t.Errorf("%d bytes, %v", len(got.Value), err)
	}
}
