package disk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
	"headwater/store/storetest"
)

var (
	media   = store.Record{Namespace: store.Media, ID: "acme/final/v720"}
	control = store.Record{Namespace: store.Control, ID: "acme/final"}
	issued  atomic.Int64
)

// nextToken returns increasing tokens in and outside of synctest bubbles, whose
// clocks differ.
func nextToken() store.Token {
	return store.Token{Time: time.Now().UnixNano() + issued.Add(1), Nonce: rand.Uint64()}
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := Open(t.TempDir(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

// TestContractInSmallFiles: the contract while files are closed, dropped and
// compacted all the time.
func TestContractInSmallFiles(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		return openMem(t, newMemFS(), Options{FileBytes: controlShare * blockSize, SweepInterval: time.Millisecond})
	})
}

// mustOpen opens a store that the test closes at its end, if it has not.
func mustOpen(t testing.TB, fsys FS, dir string, opt Options) *Store {
	t.Helper()
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.NewTextHandler(testWriter{t}, nil))
	}
	opt.FS = fsys
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
			t.Error(err)
		}
	})
	return s
}

func openMem(t testing.TB, m *memFS, opt Options) *Store { t.Helper(); return mustOpen(t, m, "d", opt) }

// testWriter logs to the test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Helper()
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// valueFor returns bytes that only this key and token have.
func valueFor(key string, t store.Token, size int) []byte {
	b := make([]byte, size)
	var seed [32]byte
	copy(seed[:], key)
	copy(seed[16:], t.String())
	rand.NewChaCha8(seed).Read(b)
	return b
}

func newItem(key string, size int) store.Item {
	t := nextToken()
	return store.Item{Key: key, Token: t, Meta: []byte("meta of " + key), Value: valueFor(key, t, size), Size: int64(size)}
}

func mustPut(t testing.TB, s store.Store, r store.Record, items ...store.Item) {
	t.Helper()
	for _, i := range items {
		if err := s.Put(t.Context(), r, i); err != nil {
			t.Fatal(err)
		}
	}
}

func wantItems(t testing.TB, s store.Store, r store.Record, items ...store.Item) {
	t.Helper()
	for _, want := range items {
		got, err := s.Get(t.Context(), r, want.Key)
		if err != nil {
			t.Errorf("%q: %v", want.Key, err)
		} else if got.Token != want.Token || !bytes.Equal(got.Value, want.Value) || !bytes.Equal(got.Meta, want.Meta) {
			t.Errorf("%q: other bytes, or of another token", want.Key)
		}
	}
}

func keysOf(t testing.TB, s store.Store, r store.Record) string {
	t.Helper()
	var keys []string
	for item, err := range store.All(t.Context(), s, r, store.ScanOptions{}) {
		if err != nil {
			t.Error(err)
		}
		keys = append(keys, item.Key)
	}
	return strings.Join(keys, " ")
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestReopen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "dir")
	s := mustOpen(t, osFS{}, dir, Options{})
	kept, gone := newItem("kept", 100_000), newItem("gone", 10)
	config, empty := newItem("config", 300), newItem("empty", 0)
	config.Expires = time.Now().Add(time.Hour).Truncate(time.Millisecond)
	mustPut(t, s, media, kept, gone)
	mustPut(t, s, control, config, empty)
	mustPut(t, s, media, store.Gone("gone", nextToken()))
	for range 3 {
		mustClose(t, s)
		s = mustOpen(t, osFS{}, dir, Options{})
		wantItems(t, s, media, kept)
		wantItems(t, s, control, config, empty)
		if keys := keysOf(t, s, media) + ", " + keysOf(t, s, control); keys != "kept, config empty" {
			t.Errorf("keys %s", keys)
		}
		if got, _ := s.Get(t.Context(), control, "config"); !got.Expires.Equal(config.Expires) {
			t.Errorf("expires %v, want %v", got.Expires, config.Expires)
		}
		// What was deleted stays so when its Put is sent again.
		mustPut(t, s, media, gone)
		st := s.Stats()
		if st.Media.CorruptRecords+st.Control.CorruptRecords+st.Media.TruncatedTails+st.Control.TruncatedTails != 0 {
			t.Errorf("a clean close left %+v", st)
		}
	}
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, osFS{}, dir, Options{})
	_, err := Open(dir, Options{})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	// Whoever tidies up lets nobody else in.
	if err := os.Remove(filepath.Join(dir, lockFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrLocked) {
		t.Errorf("second open without the file: %v", err)
	}
	mustClose(t, s)
	mustOpen(t, osFS{}, dir, Options{})
}

func TestOpenRefuses(t *testing.T) {
	for _, opt := range []Options{{Bucket: time.Millisecond}, {FileBytes: 1}, {MaxBytes: -1}, {SweepInterval: -1}} {
		if _, err := Open(t.TempDir(), opt); err == nil || err.Error() != opt.Validate().Error() {
			t.Errorf("%+v: %v", opt, err)
		}
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(file, Options{}); err == nil {
		t.Error("a file was opened as a directory")
	}
}

// TestOtherFilesAreLeftAlone: what is not a log is neither read nor removed.
func TestOtherFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, mustOpen(t, osFS{}, dir, Options{}))
	for _, name := range []string{"notes.txt", fileName(1, 2) + damagedSuffix} {
		if err := os.WriteFile(filepath.Join(dir, "media", name), []byte("text"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s := mustOpen(t, osFS{}, dir, Options{})
	mustPut(t, s, media, newItem("k", 10))
	mustClose(t, s)
	if names, err := (osFS{}).List(filepath.Join(dir, "media")); err != nil || len(names) != 3 {
		t.Errorf("files %q, %v", names, err)
	}
}

// gate blocks an operation of a memFS until it is opened.
type gate struct {
	arrived chan struct{} // one value for each operation that waits
	pass    chan error    // what the operation returns
}

func gateOn(m *memFS, op string) *gate {
	g := &gate{make(chan struct{}, 100), make(chan error)}
	m.setFault(func(o, _ string) error {
		if o != op {
			return nil
		}
		g.arrived <- struct{}{}
		return <-g.pass
	})
	return g
}

// TestPutWaitsForTheSync: until the disk has it, nobody is told and nobody sees it.
func TestPutWaitsForTheSync(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{})
	g := gateOn(m, "sync")
	item := newItem("k", 1000)
	done := make(chan error, 1)
	go func() { done <- s.Put(t.Context(), media, item) }()
	<-g.arrived
	if _, err := s.Get(t.Context(), media, "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get before the sync: %v", err)
	}
	select {
	case err := <-done:
		t.Errorf("put returned %v before the sync", err)
	default:
	}
	g.pass <- nil
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	m.setFault(nil)
	wantItems(t, s, media, item)
}

// TestGroupCommit: what arrives while a sync goes on shares the next one.
func TestGroupCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		s := openMem(t, m, Options{})
		g := gateOn(m, "sync")
		var wg sync.WaitGroup
		put := func(i store.Item) {
			wg.Go(func() {
				if err := s.Put(t.Context(), media, i); err != nil {
					t.Error(err)
				}
			})
		}
		put(newItem("first", 10))
		<-g.arrived
		var items []store.Item
		for i := range 20 {
			items = append(items, newItem(fmt.Sprint(i), 10_000))
			put(items[i])
		}
		// The rest is written while the first waits for its sync.
		synctest.Wait()
		g.pass <- nil
		<-g.arrived
		g.pass <- nil
		wg.Wait()
		m.setFault(nil)
		if got := s.Stats().Media; got.Syncs != 2 || got.Mutations != 21 || got.GroupSizes != [8]uint64{1, 0, 0, 0, 1} {
			t.Errorf("%d syncs for %d mutations, groups %v", got.Syncs, got.Mutations, got.GroupSizes)
		}
		wantItems(t, s, media, items...)
	})
}

// TestContextEnds: a caller leaves while the disk hangs, wherever its mutation is.
func TestContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		s := openMem(t, m, Options{})
		mustPut(t, s, media, newItem("there", 10))

		g := gateOn(m, "sync")
		ctx, cancel := context.WithCancel(t.Context())
		written := newItem("written", 10)
		done := make(chan error, 1)
		go func() { done <- s.Put(ctx, media, written) }()
		<-g.arrived
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("put while the sync hangs: %v", err)
		}
		g.pass <- nil

		g = gateOn(m, "write")
		busy := make(chan error, 1)
		go func() { busy <- s.Put(t.Context(), media, newItem("busy", 10)) }()
		<-g.arrived
		ctx, cancel = context.WithCancel(t.Context())
		queued := newItem("queued", 10)
		go func() { done <- s.Put(ctx, media, queued) }()
		synctest.Wait()
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("put behind a write that hangs: %v", err)
		}
		m.setFault(nil)
		g.pass <- nil
		if err := <-busy; err != nil {
			t.Error(err)
		}
		if keys := keysOf(t, s, media); keys != "busy there written" {
			t.Errorf("keys %s: what was written stays, what waited does not", keys)
		}
	})
}

// TestReplayBehindItself: a hedge that overtakes nothing waits for the disk as
// the first request does, and fails with it.
func TestReplayBehindItself(t *testing.T) {
	for _, diskErr := range []error{nil, errors.New("disk error")} {
		synctest.Test(t, func(t *testing.T) {
			m := newMemFS()
			s := openMem(t, m, Options{})
			g := gateOn(m, "sync")
			item := newItem("k", 10)
			done := make(chan error, 3)
			put := func(i store.Item) { go func() { done <- s.Put(t.Context(), media, i) }() }
			put(item)
			<-g.arrived
			put(item)
			older := item
			older.Token.Time--
			put(older)
			synctest.Wait()
			select {
			case err := <-done:
				t.Errorf("one returned %v before the sync", err)
			default:
			}
			m.setFault(nil)
			g.pass <- diskErr
			for range 3 {
				if err := <-done; (diskErr == nil) != (err == nil) || err != nil && !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("disk says %v, put says %v", diskErr, err)
				}
			}
			if m.count("write") != 2 { // the file header and one item
				t.Errorf("%d writes", m.count("write"))
			}
		})
	}
}

// TestReplaysOfAFailedWrite: all who sent it are told, together or one behind
// the other.
func TestReplaysOfAFailedWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		s := openMem(t, m, Options{})
		mustPut(t, s, media, newItem("there", 10))
		g := gateOn(m, "write")
		done := make(chan error, 4)
		put := func(i store.Item) { go func() { done <- s.Put(t.Context(), media, i) }(); synctest.Wait() }
		put(newItem("busy", 10))
		<-g.arrived
		item := newItem("k", 10)
		for range 3 {
			put(item) // all in the next group
		}
		g.pass <- nil
		if err := <-done; err != nil {
			t.Error(err)
		}
		<-g.arrived
		m.setFault(nil)
		g.pass <- errors.New("disk error")
		for range 3 {
			if err := <-done; !errors.Is(err, store.ErrUnavailable) {
				t.Errorf("put: %v", err)
			}
		}
		mustPut(t, s, media, item)
		wantItems(t, s, media, item)
	})
}

// TestFailedSync: those who wait are told, nothing more goes to that file, and
// the next Put goes to a new one.
func TestFailedSync(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{})
	before, lost, after := newItem("before", 5000), newItem("lost", 5000), newItem("after", 5000)
	mustPut(t, s, media, before)
	broken := errors.New("medium error")
	m.setFault(func(op, _ string) error {
		if op == "sync" {
			return broken
		}
		return nil
	})
	err := s.Put(t.Context(), media, lost)
	if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, broken) {
		t.Fatalf("put: %v", err)
	}
	m.setFault(nil)
	if _, err := s.Get(t.Context(), media, "lost"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get of what was not synced: %v", err)
	}
	mustPut(t, s, media, after)
	if st := s.Stats().Media; st.Files != 2 || st.SyncErrors != 1 {
		t.Errorf("%+v", st)
	}
	wantItems(t, s, media, before, after)
	// The same token again is not taken for done.
	mustPut(t, s, media, lost)
	wantItems(t, s, media, before, lost, after)
	m.off()
	s.Close()
	s = openMem(t, m.after(rand.New(rand.NewPCG(1, 1))), Options{})
	wantItems(t, s, media, before, lost, after)
}

func TestFailedCreate(t *testing.T) {
	for _, op := range []string{"create", "write", "syncdir"} {
		m := newMemFS()
		s := openMem(t, m, Options{})
		m.setFault(func(o, _ string) error {
			if o == op {
				return errors.New("no")
			}
			return nil
		})
		if err := s.Put(t.Context(), media, newItem("k", 10)); !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("%s fails: %v", op, err)
		}
		m.setFault(nil)
		item := newItem("k", 10)
		mustPut(t, s, media, item)
		wantItems(t, s, media, item)
		mustClose(t, s)
		s = openMem(t, m, Options{})
		wantItems(t, s, media, item)
		mustClose(t, s)
	}
}

// TestCloseWhilePutting: each Put is either done, or told that it is not.
func TestCloseWhilePutting(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{})
	var mu sync.Mutex
	var acked []store.Item
	var wg sync.WaitGroup
	started := make(chan struct{}, 8)
	for w := range 8 {
		wg.Go(func() {
			for n := 0; ; n++ {
				item := newItem(fmt.Sprintf("%d/%d", w, n), 5000)
				err := s.Put(t.Context(), media, item)
				if errors.Is(err, store.ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked = append(acked, item)
				mu.Unlock()
				if n == 0 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 8 {
		<-started
	}
	mustClose(t, s)
	wg.Wait()
	s = openMem(t, m, Options{})
	wantItems(t, s, media, acked...)
	if s.Stats().Media.Items != len(acked) {
		t.Errorf("%d items, %d acknowledged", s.Stats().Media.Items, len(acked))
	}
}
