package cassandra_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/cassandra"
	"headwater/store/cassandra/cassandratest"
)

// nodes returns the cluster with nodes that the test may break.
func nodes(t *testing.T) *cassandratest.Cluster {
	t.Helper()
	c := shared.Get(t)
	if os.Getenv(running) != "" {
		t.Fatalf("breaks nodes, so not those of %s", running)
	}
	return c
}

// A load writes and reads items of 600,000 bytes until it is ended, and knows
// what was acknowledged.
type load struct {
	st     *cassandra.Store
	record store.Record
	tokens *store.Tokens
	cancel context.CancelFunc
	wg     sync.WaitGroup

	written atomic.Int64

	mu     sync.Mutex
	acked  []string // guarded by mu, like all below
	writes []time.Duration
	reads  []time.Duration
	errs   []error
}

func valueOf(key string) []byte {
	b := make([]byte, 600_000)
	rand.NewChaCha8(sha256.Sum256([]byte(key))).Read(b)
	return b
}

func startLoad(t *testing.T, st *cassandra.Store, name string, writers int) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{st: st, record: store.Record{Namespace: store.Media, ID: fmt.Sprintf("%s/%x", name, rand.Uint64())}, tokens: store.NewTokens(), cancel: cancel}
	for w := range writers {
		l.wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				l.one(ctx, fmt.Sprintf("%016d/%c", n, 'a'+w))
			}
		})
	}
	return l
}

func (l *load) one(ctx context.Context, key string) {
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	began := time.Now()
	err := l.st.Put(own, l.record, store.Item{Key: key, Token: l.tokens.Next(), Value: valueOf(key), Expires: began.Add(time.Hour)})
	write := time.Since(began)
	began = time.Now()
	if err == nil {
		l.written.Add(1)
		_, err = l.st.Get(own, l.record, key)
		if err != nil {
			err = fmt.Errorf("acknowledged, but: %w", err)
		}
	}
	read := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	l.acked = append(l.acked, key)
	l.writes, l.reads = append(l.writes, write), append(l.reads, read)
}

// more waits until n more are written.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	want := l.written.Load() + n
	limit := time.NewTimer(3 * time.Minute)
	defer limit.Stop()
	for tick := time.NewTicker(10 * time.Millisecond); l.written.Load() < want; {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("%d of %d more were written in three minutes", n-(want-l.written.Load()), n)
		}
	}
}

// end stops the load and checks that everything acknowledged is there.
func (l *load) end(t *testing.T, what string) {
	t.Helper()
	l.stop()
	var wg sync.WaitGroup
	const readers = 8
	for w := range readers {
		wg.Go(func() {
			for i := w; i < len(l.acked); i += readers {
				key := l.acked[i]
				item, err := patient(t, func(ctx context.Context) (store.Item, error) { return l.st.Get(ctx, l.record, key) })
				if err != nil || !bytes.Equal(item.Value, valueOf(key)) {
					t.Errorf("%s: acknowledged, now %d bytes, %v", key, len(item.Value), err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%s: %d items acknowledged and there; write p50 %v, p99 %v, max %v; read p50 %v, p99 %v, max %v", what, len(l.acked),
		at(l.writes, 50), at(l.writes, 99), at(l.writes, 100), at(l.reads, 50), at(l.reads, 99), at(l.reads, 100))
}

// patient asks again while the answer is that there is none: a cluster that has
// just lost or found nodes on a busy machine takes its time.
func patient[T any](t *testing.T, f func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for {
		v, err := f(ctx)
		if !errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
			return v, err
		}
	}
}

func (l *load) stop() {
	l.cancel()
	l.wg.Wait()
}

func at(all []time.Duration, percent int) time.Duration {
	if len(all) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(all))
	return s[(len(s)-1)*percent/100].Round(100 * time.Microsecond)
}

func hedges(st *cassandra.Store) string {
	var parts []string
	for _, s := range st.Signals() {
		if s.Hedges+s.Retries+s.HedgesHeld > 0 {
			parts = append(parts, fmt.Sprintf("%s %d of %d (%d won, %d held back, %d retries)", s.Op, s.Hedges, s.Operations, s.HedgesWon, s.HedgesHeld, s.Retries))
		}
	}
	return strings.Join(parts, ", ")
}

// TestNodePaused: a node that answers nothing for five seconds. The figures are
// for reading, the test is that nothing fails.
func TestNodePaused(t *testing.T) {
	c := nodes(t)
	o := inCommon(t)
	st := open(t, o)
	l := startLoad(t, st, "paused", 2)
	l.more(t, 60) // enough for what is usual to be known
	l.mu.Lock()
	t.Logf("all well: write p50 %v, p99 %v; read p50 %v, p99 %v", at(l.writes, 50), at(l.writes, 99), at(l.reads, 50), at(l.reads, 99))
	l.writes, l.reads = nil, nil
	l.mu.Unlock()
	if err := c.Nodes[2].Pause(); err != nil {
		t.Fatal(err)
	}
	pause := time.NewTimer(5 * time.Second)
	<-pause.C
	l.stop()
	if err := c.Nodes[2].Resume(); err != nil {
		t.Fatal(err)
	}
	l.end(t, "one of three nodes paused for 5 s")
	for _, err := range l.errs {
		if !errors.Is(err, store.ErrUnavailable) {
			t.Error(err)
		}
		t.Log(err)
	}
	t.Logf("hedges: %s", hedges(st))
	if err := st.Close(); err != nil {
		t.Error(err)
	}
}

// TestNodeKilled: writes go on without one of three nodes, and nothing that was
// acknowledged is lost.
func TestNodeKilled(t *testing.T) {
	c := nodes(t)
	o := inCommon(t)
	st := open(t, o)
	defer st.Close()
	l := startLoad(t, st, "killed", 2)
	l.more(t, 40)
	if err := c.Nodes[1].Kill(); err != nil {
		t.Fatal(err)
	}
	l.more(t, 60)
	if err := c.Nodes[1].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.more(t, 40)
	l.end(t, "one of three nodes killed and started")
	t.Logf("hedges: %s", hedges(st))
	// On a machine with time to spare there are none. That it says no is honest.
	for _, err := range l.errs {
		if errors.Is(err, store.ErrUnavailable) {
			t.Logf("refused: %v", err)
		} else {
			t.Errorf("refused: %v", err)
		}
	}
}

// TestTwoNodesKilled: without a quorum writes are refused, honestly and in time;
// with one they go on by themselves.
func TestTwoNodesKilled(t *testing.T) {
	c := nodes(t)
	o := inCommon(t)
	o.Timeout = 3 * time.Second // for what is refused
	st := open(t, o)
	defer st.Close()
	l := startLoad(t, st, "killed2", 2)
	l.more(t, 20)
	l.stop()
	for _, n := range c.Nodes[1:] {
		if err := n.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	item := store.Item{Key: "0000000000000000/x", Token: l.tokens.Next(), Value: []byte("x")}
	began := time.Now()
	err := st.Put(t.Context(), l.record, item)
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("put without a quorum: %v", err)
	}
	t.Logf("refused after %v: %v", time.Since(began).Round(time.Millisecond), err)
	if _, err := st.Get(t.Context(), l.record, l.acked[0]); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("get without a quorum: %v", err)
	}
	if _, err := st.Scan(t.Context(), l.record, store.ScanOptions{}); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("scan without a quorum: %v", err)
	}
	var wg sync.WaitGroup
	for _, n := range c.Nodes[1:] {
		wg.Go(func() {
			if err := n.Start(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	began = time.Now()
	if _, err := patient(t, func(ctx context.Context) (none struct{}, err error) {
		item.Token = l.tokens.Next()
		return none, st.Put(ctx, l.record, item)
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("took writes %v after both nodes served again", time.Since(began).Round(time.Millisecond))
	l.end(t, "two of three nodes killed and started")
}
