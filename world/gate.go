package world

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"headwater/store"
)

// A gate is the way of one run of a node to its store: when the node is killed it
// shuts, and nothing that the run still does has any effect.
type gate struct {
	store store.Store
	weak  *weakness // nil: the store has its own
	shut  func()    // what else is shut; may be nil

	mu     sync.Mutex // guards the following
	dead   bool
	killed chan struct{}
}

// A weakness is what is wrong with a store that several nodes share.
type weakness struct {
	mu     sync.Mutex // guards the following
	rng    *rand.Rand
	usual  time.Duration
	slow   time.Duration // more than usual
	fails  float64       // the share of operations that fail, half of them after they took effect
	hangs  int           // acts that have it answer nothing
	mended chan struct{} // closed when it answers again
}

// pageBytes is how much of what all share comes at a time: some hundred keys.
const pageBytes = 16 << 10

func newGate(s store.Store, w *weakness) *gate {
	return &gate{store: s, weak: w, killed: make(chan struct{})}
}

func (g *gate) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.dead {
		g.dead = true
		close(g.killed)
		if g.shut != nil {
			g.shut()
		}
	}
}

// enter waits as long as the store takes. after says that the operation takes
// effect although it fails.
func (g *gate) enter(ctx context.Context) (after bool, err error) {
	w := g.weak
	if w == nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.dead {
			return false, store.ErrUnavailable
		}
		return true, nil
	}
	w.mu.Lock()
	d := w.usual + w.slow
	d += time.Duration(w.rng.Int64N(int64(d)/2 + int64(50*time.Microsecond)))
	fails := w.rng.Float64() < w.fails
	after = w.rng.IntN(2) == 0
	var mended chan struct{}
	if w.hangs > 0 {
		mended = w.mended
	}
	w.mu.Unlock()
	if mended != nil {
		select {
		case <-mended:
		case <-g.killed:
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-g.killed:
	case <-ctx.Done():
		return false, ctx.Err()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.dead {
		return false, store.ErrUnavailable
	}
	if fails {
		return after, store.ErrUnavailable
	}
	return true, nil
}

// hang has the store answer nothing, until it is called with -1 as often.
func (w *weakness) hang(by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hangs == 0 {
		w.mended = make(chan struct{})
	}
	if w.hangs += by; w.hangs == 0 {
		close(w.mended)
	}
}

// A storage is what acts do to where an origin keeps things.
type storage interface {
	slower(by time.Duration)
	hang(by int)
	refuse(by int) // thousandths
}

func (w *weakness) slower(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.slow += by
}

// refuse has so many of a thousand operations fail; of a disk, whoever writes.
func (w *weakness) refuse(by int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fails += float64(by) / 1000
}

func (d *hardDisk) slower(by time.Duration) { d.set(func(d *hardDisk) { d.slow += by }) }

func (d *hardDisk) refuse(by int) {
	d.set(func(d *hardDisk) {
		if by > 0 {
			d.full++
		} else {
			d.full--
		}
	})
}

// storage is that of an origin: its disk, or what all share.
func (w *world) storage(origin string) storage {
	if d := w.disks[origin]; d != nil {
		return d
	}
	return w.weak
}

func (g *gate) Put(ctx context.Context, r store.Record, item store.Item) error {
	does, err := g.enter(ctx)
	if !does {
		return err
	}
	if e := g.store.Put(context.WithoutCancel(ctx), r, item); err == nil {
		err = e
	}
	return err
}

func (g *gate) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	if _, err := g.enter(ctx); err != nil {
		return store.Item{}, err
	}
	return g.store.Get(ctx, r, key)
}

func (g *gate) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	if _, err := g.enter(ctx); err != nil {
		return store.Page{}, err
	}
	if g.weak != nil {
		opt.MaxBytes = pageBytes
	}
	return g.store.Scan(ctx, r, opt)
}

func (g *gate) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	does, err := g.enter(ctx)
	if !does {
		return err
	}
	if e := g.store.DeleteRecord(context.WithoutCancel(ctx), r, t); err == nil {
		err = e
	}
	return err
}

// Close closes nothing: the store outlives its nodes.
func (g *gate) Close() error { return nil }
