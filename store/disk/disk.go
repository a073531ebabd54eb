// Package disk is the embedded store: append-only logs in one directory, one
// for each namespace, with an index in memory.
//
// A Put that returned nil has been synced to disk together with the other
// mutations of that moment. Files are cut by time, and dropped whole when
// everything in them has expired; files that are mostly garbage are compacted.
// At the start the index is read back from the heads of the records; a tail that
// a crash tore is cut off, and damage elsewhere is skipped, counted and logged.
// Every byte that is returned was verified against its checksum.
//
// The index takes about 200 bytes of memory and the key for each item.
//
// The package needs Linux, macOS or FreeBSD.
package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"headwater/store"
	"headwater/store/internal/index"
)

// ErrLocked is wrapped by Open where another process, or another Store, has
// the directory open.
var ErrLocked = errors.New("disk store: in use")

// Store implements store.Store in a directory.
type Store struct {
	dir            string
	media, control *log
	unlock         io.Closer

	poked   chan struct{} // capacity 1: the janitor has something to do
	cancel  context.CancelFunc
	janitor sync.WaitGroup
	workers sync.WaitGroup

	closeMu sync.Mutex
	closed  bool // guarded by closeMu
}

// Open opens the store in dir, which is created if need be. It fails with
// ErrLocked if the directory is in use.
func Open(dir string, opt Options) (*Store, error) { return openFS(osFS{}, dir, opt) }

func openFS(fsys vfs, dir string, opt Options) (*Store, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	s := &Store{dir: dir, poked: make(chan struct{}, 1)}
	if err := s.open(fsys, opt); err != nil {
		for _, l := range s.logs() {
			for _, f := range l.files {
				f.release()
			}
		}
		if s.unlock != nil {
			err = errors.Join(err, s.unlock.Close())
		}
		if errors.Is(err, ErrLocked) {
			return nil, fmt.Errorf("%w: %s", err, dir)
		}
		return nil, fmt.Errorf("disk store: open %s: %w", dir, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	for _, l := range s.logs() {
		s.workers.Go(l.write)
		s.workers.Go(l.sync)
	}
	s.janitor.Go(func() { s.clean(ctx, opt) })
	return s, nil
}

func (s *Store) open(fsys vfs, opt Options) error {
	if err := fsys.mkdir(s.dir); err != nil {
		return err
	}
	var err error
	if s.unlock, err = fsys.lock(filepath.Join(s.dir, "LOCK")); errors.Is(err, errLocked) {
		return fmt.Errorf("%w: %w", ErrLocked, err)
	} else if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	poke := func() { wake(s.poked) }
	s.media = newLog(fsys, filepath.Join(s.dir, store.Media), store.Media, opt, poke)
	opt.FileBytes /= controlShare
	s.control = newLog(fsys, filepath.Join(s.dir, store.Control), store.Control, opt, poke)
	for _, l := range s.logs() {
		if err := l.recover(context.Background()); err != nil {
			return fmt.Errorf("%s: %w", l.namespace, err)
		}
	}
	return nil
}

func (s *Store) logs() []*log {
	var logs []*log
	for _, l := range []*log{s.media, s.control} {
		if l != nil {
			logs = append(logs, l)
		}
	}
	return logs
}

// clean is the janitor.
func (s *Store) clean(ctx context.Context, opt Options) {
	tick := time.NewTicker(opt.SweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.poked:
		}
		for _, l := range s.logs() {
			if err := l.retain(ctx); err != nil && ctx.Err() == nil {
				l.logger.Error("retention failed, and will be tried again", "error", err)
			}
		}
		// Full is said with every Put: once in a while is enough.
		select {
		case <-ctx.Done():
		case <-time.After(min(opt.SweepInterval, time.Second)):
		}
	}
}

// log returns the log of r once the request is known to be good.
func (s *Store) log(ctx context.Context, r store.Record) (*log, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if r.Namespace == store.Control {
		return s.control, nil
	}
	return s.media, nil
}

// Put returns once the item has been synced. It copies the item's bytes at
// once, so it returns at once when ctx ends, too.
func (s *Store) Put(ctx context.Context, r store.Record, item store.Item) error {
	err := item.Validate()
	if err == nil {
		err = s.mutate(ctx, r, record{kind: kindPut, key: item.Key, meta: item.Meta, token: item.Token,
			expires: index.ExpiryOf(item.Expires)}, item.Value)
	}
	if err != nil {
		return fmt.Errorf("disk store: put %v, key %q: %w", r, item.Key, err)
	}
	return nil
}

func (s *Store) mutate(ctx context.Context, r store.Record, rec record, value []byte) error {
	l, err := s.log(ctx, r)
	if err != nil {
		return err
	}
	if err := rec.token.CheckDrift(time.Now()); err != nil {
		return err
	}
	return l.submit(ctx, newOp(r, rec), value)
}

func (s *Store) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	if err := s.mutate(ctx, r, record{kind: kindDelete, token: t, expires: index.Forever}, nil); err != nil {
		return fmt.Errorf("disk store: delete %v: %w", r, err)
	}
	return nil
}

func (s *Store) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	err := store.ValidateKey(key)
	if err == nil {
		var l *log
		if l, err = s.log(ctx, r); err == nil {
			var item store.Item
			if item, err = l.get(r, key); err == nil {
				return item, nil
			}
		}
	}
	return store.Item{}, fmt.Errorf("disk store: get %v, key %q: %w", r, key, err)
}

// Has reports whether there is an item, from memory alone: reading it may
// still fail.
func (s *Store) Has(r store.Record, key string) bool {
	l := s.media
	if r.Namespace == store.Control {
		l = s.control
	}
	now := time.Now()
	l.mu.RLock()
	defer l.mu.RUnlock()
	e := l.index.Get(r, key)
	return e != nil && e.Live(now)
}

func (s *Store) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	err := opt.Validate()
	if err == nil {
		var l *log
		if l, err = s.log(ctx, r); err == nil {
			var page store.Page
			if page, err = l.scan(ctx, r, opt); err == nil {
				return page, nil
			}
		}
	}
	return store.Page{}, fmt.Errorf("disk store: scan %v: %w", r, err)
}

// Close implements store.Store.
func (s *Store) Close() error {
	s.closeMu.Lock()
	closed := s.closed
	s.closed = true
	s.closeMu.Unlock()
	if closed {
		return fmt.Errorf("disk store: close: %w", store.ErrClosed)
	}
	s.cancel()
	s.janitor.Wait()
	for _, l := range s.logs() {
		l.queueMu.Lock()
		l.closing = true
		l.queueMu.Unlock()
		wake(l.queued)
	}
	s.workers.Wait()
	for _, l := range s.logs() {
		l.mu.Lock()
		l.shut = true
		files := l.files
		l.files, l.index = nil, index.Index[*location]{}
		l.mu.Unlock()
		for _, f := range files {
			f.release()
		}
	}
	if err := s.unlock.Close(); err != nil {
		return fmt.Errorf("disk store: close: %w", err)
	}
	return nil
}
