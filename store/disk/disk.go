// Package disk is the embedded store: append-only logs in one directory, one
// for each namespace, with an index in memory.
//
// A Put that returned nil has been synced to disk together with the other
// mutations of that moment. Files are cut by time, and dropped whole when
// everything in them has expired; files that are mostly garbage are compacted.
// At the start the index is read back from the twins of the logs, and from the end of
// the last log, those of files that are whole in the background; a tail that a crash tore is cut off, and what is damaged or lost
// elsewhere is told.
// Every byte that is returned was verified against its checksum.
//
// The index takes about 200 bytes of memory and the key for each item.
//
// The package needs Linux, macOS or FreeBSD.
package disk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"headwater/store"
	"headwater/store/internal/index"
)

// ErrLocked is wrapped by Open where another process, or another Store, has
// the directory open.
var ErrLocked = errors.New("disk store: in use")

// ErrReadOnly is wrapped by every mutation of a store whose file system is read only.
var ErrReadOnly = errors.New("disk store: read only")

// Store implements store.Store in a directory.
type Store struct {
	*store.Front
	dir            string
	media, control *log
	manifest       *registrar
	unlock         io.Closer

	poked   chan struct{} // capacity 1: the janitor has something to do
	cancel  context.CancelFunc
	janitor sync.WaitGroup
	workers sync.WaitGroup
}

// Open opens the store in dir, which is created if need be. It fails with
// ErrLocked if the directory is in use.
func Open(dir string, opt Options) (*Store, error) {
	if err := opt.Validate(); err != nil {
		return nil, err
	}
	opt = opt.withDefaults()
	s := &Store{dir: dir, poked: make(chan struct{}, 1)}
	s.Front = store.NewFront(store.Backend{Name: "disk store", Now: opt.Now, Put: s.put, Get: s.get, Scan: s.scan, Delete: s.delete, Close: s.close})
	if err := s.open(opt); err != nil {
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
	// What is left only once of control is there twice again before anything else.
	if s.control.hurt() {
		if err := s.control.retain(ctx); err != nil {
			opt.Logger.Error("control items could not be copied on", "error", err)
		}
	}
	s.janitor.Go(func() { s.media.readPostponed(ctx) })
	s.janitor.Go(func() { s.clean(ctx, opt) })
	return s, nil
}

func (s *Store) open(opt Options) error {
	fsys := opt.FS
	if err := fsys.Mkdir(s.dir); err != nil {
		return err
	}
	var err error
	if s.unlock, err = fsys.Lock(s.dir); errors.Is(err, ErrLocked) {
		return err
	} else if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	if !opt.Cache {
		s.manifest = newRegistrar(fsys, s.dir, opt.Logger)
		err := fsys.Mkdir(filepath.Join(s.dir, twinDir))
		if errors.Is(err, syscall.EROFS) {
			s.manifest.refuse(fmt.Errorf("%w: %w: %w", store.ErrUnavailable, ErrReadOnly, err))
		} else if err == nil {
			err = s.manifest.begin(rand.Text())
		}
		if err != nil && s.manifest.standing() == nil {
			return fmt.Errorf("manifest: %w", err)
		}
	}
	poke := func() { wake(s.poked) }
	s.media = newLog(filepath.Join(s.dir, store.Media), store.Media, opt, s.manifest, poke)
	opt.FileBytes /= controlShare
	s.control = newLog(filepath.Join(s.dir, store.Control), store.Control, opt, s.manifest, poke)
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
		s.manifest.look()
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

func (s *Store) log(r store.Record) *log {
	if r.Namespace == store.Control {
		return s.control
	}
	return s.media
}

// put returns once the item has been synced. It copies the item's bytes at
// once, so it returns at once when ctx ends, too.
func (s *Store) put(ctx context.Context, r store.Record, item store.Item) error {
	rec := record{kind: kindPut, key: item.Key, meta: item.Meta, token: item.Token, expires: index.ExpiryOf(item.Expires)}
	return s.log(r).submit(ctx, newOp(r, rec), item.Value)
}

func (s *Store) delete(ctx context.Context, r store.Record, t store.Token) error {
	return s.log(r).submit(ctx, newOp(r, record{kind: kindDelete, token: t, expires: index.Forever}), nil)
}

func (s *Store) get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	return s.log(r).get(ctx, r, key)
}

func (s *Store) scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	return s.log(r).scan(ctx, r, opt)
}

// Has reports whether there is an item, from memory alone: reading it may
// still fail.
func (s *Store) Has(r store.Record, key string) bool {
	l := s.log(r)
	now := l.opt.Now()
	l.mu.RLock()
	defer l.mu.RUnlock()
	e := l.index.Get(r, key)
	return e != nil && e.Live(now)
}

func (s *Store) close() error {
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
		files := l.files
		l.files, l.index = nil, index.Index[*location]{}
		l.mu.Unlock()
		for _, f := range files {
			f.release()
		}
	}
	return s.unlock.Close()
}
