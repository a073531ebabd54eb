package cassandra_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/cassandra"
)

// TestLeftovers: of a process that ended before it looked again, chunks of a put that
// broke off between staging and commit, and of an item that was replaced, do not stay:
// they have the item's time to live, or are removed by another process that sweeps.
func TestLeftovers(t *testing.T) {
	o := optionsFor(t, "leftovers")
	o.OrphanAge, o.ReplacedAge = time.Hour, time.Hour
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

	// What may be of a put under way is left alone, and no orphan.
	if removed, err := st.Sweep(t.Context()); err != nil || removed != 0 {
		t.Errorf("%d chunks were removed that may be of a put under way: %v", removed, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	o.OrphanAge = time.Millisecond
	st = open(t, o)
	if removed, err := st.Sweep(t.Context()); err != nil || removed != 3 {
		t.Errorf("%d chunks were removed of what was replaced, want 3: %v", removed, err)
	}
	session, deadline := raw(t), time.Now().Add(2*time.Minute)
	for left := 0; left != 3; { // what broke off goes by itself
		if left = session.Query("SELECT idx FROM leftovers_control.chunks").Iter().NumRows(); time.Now().After(deadline) {
			t.Fatalf("%d chunks of control are left, want 3", left)
		}
		time.Sleep(50 * time.Millisecond)
	}
	report, err := st.Check(t.Context(), func(p cassandra.Problem) { t.Error(p) }, nil)
	if err != nil || report.Items != 1 || report.Chunks != 3 || report.Orphans != 3 { // those of media
		t.Errorf("%+v, %v", report, err)
	}
	if got, err := st.Get(t.Context(), control, "rewritten"); err != nil || !bytes.Equal(got.Value, kept.Value) {
		t.Errorf("%d bytes, %v", len(got.Value), err)
	}
}

// TestReplacedAreRemoved: of an item of control that several processes replace again and
// again, and that others read, one version is left, and of puts that failed nothing is;
// of media that failed, too.
func TestReplacedAreRemoved(t *testing.T) {
	o := inCommon(t)
	o.ReplacedAge, o.OrphanAge = time.Millisecond, time.Millisecond
	reader := open(t, o)
	defer reader.Close()
	tokens := store.NewTokens()
	control := store.Record{Namespace: store.Control, ID: fmt.Sprintf("%s/%x", t.Name(), rand.Uint64())}
	item := func(key string) store.Item {
		return store.Item{Key: key, Token: tokens.Next(), Value: valueOf(key), Size: 600_000}
	}
	var writers, readers sync.WaitGroup
	written := make(chan struct{})
	var broken atomic.Int32
	for range 3 {
		st := open(t, o)
		defer st.Close()
		writers.Go(func() {
			for i := range 12 {
				if err := st.Put(t.Context(), control, item("k")); err != nil {
					t.Error(err)
				}
				r := control
				if i%2 == 0 {
					r.Namespace = store.Media
				}
				ctx, cancel := context.WithCancel(t.Context())
				ctx = store.WithTrace(ctx, func(step string, _ time.Duration) {
					if step == "staged" {
						cancel()
					}
				})
				x := item("broken")
				if r.Namespace == store.Media {
					x.Expires = time.Now().Add(time.Hour)
				}
				if err := st.Put(ctx, r, x); errors.Is(err, context.Canceled) {
					broken.Add(1)
				} else {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	readers.Go(func() {
		for read := 0; ; read++ {
			select {
			case <-written:
				return
			default:
			}
			got, err := reader.Get(t.Context(), control, "k")
			if errors.Is(err, store.ErrNotFound) && read == 0 {
				read = -1
				continue // nothing is there yet
			}
			if err != nil || !bytes.Equal(got.Value, valueOf("k")) {
				t.Errorf("%d bytes, %v", len(got.Value), err)
				return
			}
		}
	})
	writers.Wait()
	close(written)
	readers.Wait()
	if n := broken.Load(); n != 36 {
		t.Fatalf("%d puts broke off", n)
	}
	newest, err := reader.Get(t.Context(), control, "k")
	if err != nil {
		t.Fatal(err)
	}
	chunks := func(namespace string) (n int) {
		it := raw(t).Query("SELECT idx FROM common_"+namespace+".chunks WHERE record = ? ALLOW FILTERING", control.ID).Iter()
		n = it.NumRows()
		if err := it.Close(); err != nil {
			t.Fatal(err)
		}
		return n
	}
	deadline := time.Now().Add(time.Minute)
	for chunks(store.Control) != 3 || chunks(store.Media) != 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d chunks of control and %d of media are left, want 3 and 0", chunks(store.Control), chunks(store.Media))
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got, err := reader.Get(t.Context(), control, "k"); err != nil || got.Token != newest.Token {
		t.Errorf("%v, %v", got.Token, err)
	}
}

// TestFailedPutOfOneNode: of a put that failed one node knows, and then is away while others
// look for what is left over. When it is back, what the others hear from it can be read.
func TestFailedPutOfOneNode(t *testing.T) {
	c := nodes(t)
	o := inCommon(t)
	o.Timeout = 20 * time.Second
	st := open(t, o)
	tokens := store.NewTokens()
	r := store.Record{Namespace: store.Control, ID: fmt.Sprintf("%s/%x", t.Name(), rand.Uint64())}
	before := store.Item{Key: "k", Token: tokens.Next(), Value: valueOf("before")}
	if err := st.Put(t.Context(), r, before); err != nil {
		t.Fatal(err)
	}
	knows := c.Nodes[0]
	ctx := store.WithTrace(t.Context(), func(step string, _ time.Duration) {
		if step == "staged" {
			for _, n := range c.Nodes[1:] {
				if err := n.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
	})
	failed := store.Item{Key: "k", Token: tokens.Next(), Value: valueOf("failed")}
	if err := st.Put(ctx, r, failed); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("put without a quorum: %v", err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	if err := knows.Pause(); err != nil {
		t.Fatal(err)
	}
	var starting sync.WaitGroup
	for _, n := range c.Nodes[1:] {
		starting.Go(func() {
			if err := n.Start(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	starting.Wait()
	o.Hosts, o.OrphanAge, o.ReplacedAge = []string{c.Nodes[1].Host, c.Nodes[2].Host}, time.Millisecond, time.Millisecond
	st, err := patient(t, func(ctx context.Context) (*cassandra.Store, error) { return cassandra.Open(ctx, o) })
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	// Of other tests it may remove what they replaced.
	if _, err := patient(t, func(ctx context.Context) (int, error) { return st.Sweep(ctx) }); err != nil {
		t.Error(err)
	}
	if err := knows.Resume(); err != nil {
		t.Fatal(err)
	}
	for range 3 { // of each two of three nodes
		got, err := patient(t, func(ctx context.Context) (store.Item, error) { return st.Get(ctx, r, "k") })
		if err != nil || !bytes.Equal(got.Value, valueOf("before")) && !bytes.Equal(got.Value, valueOf("failed")) {
			t.Fatalf("%d bytes, %v", len(got.Value), err)
		}
	}
}
