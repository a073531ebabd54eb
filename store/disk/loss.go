package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"headwater/store"
)

// A Loss is what the store had, and has not any more: not what a crash tore before
// anybody was told that it is stored.
type Loss struct {
	Record  store.Record
	Key     string // "" where nothing tells what it was
	Bytes   int64
	Expires time.Time // zero: never
	Items   int
	File    string
	Why     string

	token store.Token
}

func (x Loss) String() string {
	if x.Key == "" {
		return fmt.Sprintf("%d records of %s: %s", x.Items, x.File, x.Why)
	}
	return fmt.Sprintf("%v, key %q, %d bytes of %s: %s", x.Record, x.Key, x.Bytes, x.File, x.Why)
}

// Losses returns what is lost and would still be served: it has neither expired nor
// been put again. It waits until all files have been read; where ctx ends before that,
// or a file cannot be, it returns what is known with the error.
func (s *Store) Losses(ctx context.Context) (all []Loss, err error) {
	for _, l := range s.logs() {
		if e := l.awaitAll(ctx); e != nil {
			err = errors.Join(err, fmt.Errorf("disk store: %w", e))
		}
		l.sumUp(l.opt.Now())
		l.mu.RLock()
		for _, f := range l.files {
			all = append(all, f.lost...)
		}
		l.mu.RUnlock()
	}
	return all, err
}

// sumUp forgets the losses that are none any more, and counts the others.
func (l *log) sumUp(now time.Time) {
	n := 0
	l.mu.Lock()
	for _, f := range l.files {
		f.lost = slices.DeleteFunc(f.lost, func(x Loss) bool {
			if x.Key == "" {
				return false
			}
			e := l.index.Get(x.Record, x.Key)
			return !x.Expires.IsZero() && !x.Expires.After(now) || e != nil && e.Token.Compare(x.token) >= 0
		})
		for _, x := range f.lost {
			n += x.Items
		}
	}
	was := l.lostItems.Swap(int64(n))
	l.mu.Unlock()
	if n > int(was) {
		l.logger.Error("DATA LOSS: items that were stored are not there any more; headwater store check lists them", "items", n)
	}
}

// unmiss forgets the losses that a delete in a file makes none. l.mu is held.
func (l *log) unmiss(by *logFile, rec store.Record, r *record) {
	for _, f := range l.files {
		f.lost = slices.DeleteFunc(f.lost, func(x Loss) bool {
			return f.seq <= by.seq && x.Key != "" && x.Record == rec && x.token.Compare(r.token) <= 0 && x.Key >= r.key && (r.to == "" || x.Key < r.to)
		})
	}
}

// hurt reports whether any file is damaged.
func (l *log) hurt() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.ContainsFunc(l.files, func(f *logFile) bool { return f.damaged })
}

// AcceptLosses takes what is lost of control for lost, and what is lost of media where
// nothing tells until when: it is not told of any more. What else is lost of media is
// forgotten when it would have expired.
func (s *Store) AcceptLosses(ctx context.Context) error {
	for _, l := range s.logs() {
		if err := l.awaitAll(ctx); err != nil {
			return fmt.Errorf("disk store: %w", err)
		}
		l.mu.Lock()
		for _, f := range l.files {
			f.lost = slices.DeleteFunc(f.lost, func(x Loss) bool { return l.namespace == store.Control || x.Expires.IsZero() })
		}
		l.mu.Unlock()
		if err := l.retain(ctx); err != nil {
			return fmt.Errorf("disk store: %w", err)
		}
	}
	return nil
}

// Writable is why nothing may be written, if it may not.
func (s *Store) Writable() error { return s.manifest.standing() }

// Condition is why the store is not as it should be: nil, or an error that names
// what is lost or why nothing may be written.
func (s *Store) Condition() error {
	if err := s.Writable(); err != nil {
		return err
	}
	if n := s.media.lostItems.Load() + s.control.lostItems.Load(); n > 0 {
		return fmt.Errorf("%d items that were stored are lost: headwater store check lists them", n)
	}
	return nil
}
