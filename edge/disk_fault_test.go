package edge

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/edge/object"
	"headwater/live"
	"headwater/store"
	"headwater/store/disk"
)

// A badDisk is a disk that fails as it is told.
type badDisk struct {
	object.Store
	mu  sync.Mutex // guards the following
	put func(context.Context) error
	get func(context.Context) error
}

// errFlip has a read return other bytes.
var errFlip = errors.New("other bytes")

func (b *badDisk) set(put, get func(context.Context) error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put, b.get = put, get
}

func (b *badDisk) Put(ctx context.Context, r store.Record, item store.Item) error {
	b.mu.Lock()
	f := b.put
	b.mu.Unlock()
	if f != nil {
		if err := f(ctx); err != nil {
			return err
		}
	}
	return b.Store.Put(ctx, r, item)
}

func (b *badDisk) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	b.mu.Lock()
	f := b.get
	b.mu.Unlock()
	if f != nil {
		if err := f(ctx); errors.Is(err, errFlip) {
			item, err := b.Store.Get(ctx, r, key)
			if err == nil {
				item.Value[len(item.Value)/2] ^= 1
			}
			return item, err
		} else if err != nil {
			return store.Item{}, err
		}
	}
	return b.Store.Get(ctx, r, key)
}

func failing(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

// runBad runs a test with an edge whose disk can fail.
func runBad(t *testing.T, f func(*rig, *badDisk)) {
	bad, dir := new(badDisk), t.TempDir()
	runBy(t, blocks, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.DVRSeconds = 3600 })
		r.parent.script(lasting(time.Hour))
		r.know()
		r.at(100 * time.Second)
		r.seen(1, 30)
		f(r, bad)
	}, onDisk(dir), func(c *Config) {
		c.openDisk = func() (object.Store, error) {
			st, err := disk.Open(dir, disk.Options{Cache: true})
			bad.Store = st
			return bad, err
		}
	})
}

func (r *rig) ready(want string) {
	r.Helper()
	v := r.get("/readyz")
	if v.status() != 200 || !strings.HasPrefix(v.text(), "ok\n") || want == "" && v.text() != "ok\n" || !strings.Contains(v.text(), want) {
		r.Errorf("/readyz: %d %q, want %q", v.status(), v.text(), want)
	}
}

// TestDiskThatCannotRead: the parents answer instead, at the latest after a
// moment, and when all reads fail the disk is left alone until it works again.
func TestDiskThatCannotRead(t *testing.T) {
	for name, c := range map[string]struct {
		get    func(context.Context) error
		result string
		down   bool
		least  time.Duration
	}{
		"errors":   {failing(store.ErrUnavailable), "error", true, 0},
		"damage":   {failing(store.ErrCorrupt), "corrupt", false, 0},
		"bytes":    {failing(errFlip), "corrupt", false, 0},
		"slowness": {func(ctx context.Context) error { time.Sleep(10 * time.Second); return nil }, "slow", true, diskPatience},
	} {
		t.Run(name, func(t *testing.T) {
			runBad(t, func(r *rig, bad *badDisk) {
				bad.set(nil, c.get)
				for n := 1; n <= diskStrikes; n++ {
					began := time.Now()
					v := r.get(segmentPath(n))
					if v.status() != 200 || v.text() != bodyOf(segmentPath(n)) || !strings.HasSuffix(v.got("Cache-Status"), ";detail=fill") {
						t.Errorf("%d: %d %q", n, v.status(), v.got("Cache-Status"))
					}
					if took := v.ended.Sub(began); took != c.least {
						t.Errorf("%d took %v, want %v", n, took, c.least)
					}
				}
				if n := r.metric("disk_reads_total", "result", c.result); n != diskStrikes {
					t.Errorf("%v reads with %s", n, c.result)
				}
				if up := r.metric("disk_up"); (up == 0) != c.down {
					t.Errorf("up: %v", up)
				}
				if !c.down {
					r.ready("")
					bad.set(nil, nil)
					return
				}
				r.ready("disk: edge: reading")
				began := time.Now()
				if v := r.get(segmentPath(4)); v.status() != 200 || v.ended != began {
					t.Errorf("while the disk is down: %d, after %v", v.status(), v.ended.Sub(began))
				}
				bad.set(nil, nil)
				time.Sleep(30 * time.Second)
				r.ready("")
				r.get(segmentPath(6)).isDiskHit(bodyOf(segmentPath(6)))
			})
		})
	}
}

// TestDiskThatCannotWrite: the edge is a memory cache until it works again.
func TestDiskThatCannotWrite(t *testing.T) {
	for name, c := range map[string]struct {
		put    func(context.Context) error
		reason string
		says   string
	}{
		"full":    {failing(store.ErrFull), "full", "store: full"},
		"errors":  {failing(store.ErrUnavailable), "error", "unavailable"},
		"hanging": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "slow", "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			runBad(t, func(r *rig, bad *badDisk) {
				bad.set(c.put, nil)
				for n := 31; n <= 45; n++ {
					began := time.Now()
					if v := r.get(segmentPath(n)); v.status() != 200 || v.ended != began {
						t.Errorf("%d: %d after %v", n, v.status(), v.ended.Sub(began))
					}
				}
				time.Sleep(diskWrite)
				synctest.Wait()
				if n := r.metric("disk_drops_total", "reason", c.reason); n < 1 {
					t.Errorf("%v dropped: %s", n, c.reason)
				}
				if r.metric("disk_up") != 0 {
					t.Error("it is said to be up")
				}
				r.ready(c.says)
				r.get(segmentPath(45)) // from memory
				r.get(segmentPath(46))
				if n := r.metric("disk_drops_total", "reason", "failing"); n < 1 {
					t.Errorf("%v dropped while it fails", n)
				}
				// What is there can still be read.
				r.get(segmentPath(1)).isDiskHit(bodyOf(segmentPath(1)))
				bad.set(nil, nil)
				time.Sleep(2*diskRetry + diskWrite)
				r.ready("")
				before := r.metric("disk_writes_total")
				r.get(segmentPath(47))
				synctest.Wait()
				if n := r.metric("disk_writes_total"); n != before+1 {
					t.Errorf("%v written since", n-before)
				}
			})
		})
	}
}

// TestWriterThatIsBehind: what waits for the disk is bounded, and no viewer waits.
func TestWriterThatIsBehind(t *testing.T) {
	runBad(t, func(r *rig, bad *badDisk) {
		gate := make(chan struct{})
		bad.set(func(ctx context.Context) error { <-gate; return nil }, nil)
		for n := 31; n <= 48; n++ {
			if v := r.get(segmentPath(n)); v.status() != 200 {
				t.Errorf("%d: %d", n, v.status())
			}
		}
		if n := r.metric("disk_drops_total", "reason", "behind"); n < 10 {
			t.Errorf("%v dropped", n)
		}
		if b := r.metric("memory_bytes"); b > 512<<10 {
			t.Errorf("%v bytes in memory", b)
		}
		close(gate)
		synctest.Wait()
		if n := r.metric("memory_busy_bytes"); n != 0 {
			t.Errorf("%v bytes are still held", n)
		}
	})
}

// TestDiskThatIsNotThere: an edge starts without its disk, and has it as soon as
// that can be opened: another process may have it, which is about to end.
func TestDiskThatIsNotThere(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	other, err := disk.Open(dir, disk.Options{Cache: true})
	if err != nil {
		t.Fatal(err)
	}
	runBy(t, blocks, 1, func(r *rig) {
		r.parent.script(lasting(time.Hour))
		r.know()
		r.at(10 * time.Second)
		r.get(segmentPath(1)).expect(200, 10*time.Minute)
		r.ready("in use")
		if r.metric("disk_up") != 0 {
			t.Error("it is said to be up")
		}
		other.Close()
		time.Sleep(2 * diskRetry)
		r.ready("")
		r.seen(2, 3)
		if n := r.metric("disk_writes_total"); n != 3 {
			t.Errorf("%v written", n)
		}
	}, onDisk(dir))
}
