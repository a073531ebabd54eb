package s3

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"headwater/store"
)

// remember is how long a delete must stay: for as long as an older mutation may
// still arrive, many times over.
const remember = 10 * store.MaxDrift

// tidy frees the space of what is superseded, deleted or expired, now and then.
// Several may do it at once: what goes has no meaning any more.
func (s *Store) tidy() {
	for {
		timer := time.NewTimer(s.opt.TidyEvery/2 + rand.N(s.opt.TidyEvery))
		select {
		case <-timer.C:
		case <-s.ending.Done():
			timer.Stop()
			return
		}
		removed, err := s.Tidy(s.ending)
		if err != nil && s.ending.Err() == nil {
			s.log.Warn("tidying up", "removed", removed, "err", err)
		} else if removed > 0 {
			s.log.Info("tidied up", "removed", removed)
		}
	}
}

// Tidy removes the objects that have no meaning any more, of all records.
func (s *Store) Tidy(ctx context.Context) (removed int, err error) {
	for _, namespace := range []string{store.Media, store.Control} {
		prefix := s.root + "items/" + namespace + "/"
		for info := range s.api.ListObjectsIter(ctx, s.opt.Bucket, minio.ListObjectsOptions{Prefix: prefix}) {
			if info.Err != nil {
				return removed, s.kind(ctx, info.Err)
			}
			now := s.opt.Now()
			// What has expired still hides what is older and arrives late.
			n, err := s.dropAll(ctx, info.Key, func(v version, superseded bool) bool {
				return superseded || v.expired(now) && now.Sub(time.Unix(0, v.token.Time)) > remember
			})
			if removed += n; err != nil {
				return removed, err
			}
		}
	}
	return removed, ctx.Err()
}

// dropAll drops the versions of a record that which reports: it is told whether
// there is a newer one of the key.
func (s *Store) dropAll(ctx context.Context, prefix string, which func(v version, superseded bool) bool) (removed int, err error) {
	var older, newest []minio.ObjectInfo
	var lastKey string
	for info := range s.api.ListObjectsIter(ctx, s.opt.Bucket, minio.ListObjectsOptions{Prefix: prefix, Recursive: true}) {
		if info.Err != nil {
			return 0, s.kind(ctx, info.Err)
		}
		v, err := s.version(prefix, info)
		if err != nil {
			s.log.Warn("object left out", "err", err)
			continue
		}
		superseded := v.key == lastKey
		lastKey = v.key
		switch {
		case !which(v, superseded):
		case superseded:
			older = append(older, info)
		default:
			newest = append(newest, info)
		}
	}
	if err := ctx.Err(); err != nil {
		return 0, context.Cause(ctx)
	}
	// What is superseded first: where this ends half-way nothing comes back.
	for _, some := range [][]minio.ObjectInfo{older, newest} {
		if err := s.dropMany(ctx, some); err != nil {
			return removed, err
		}
		removed += len(some)
	}
	return removed, nil
}

// dropMany drops objects, a thousand with each request.
func (s *Store) dropMany(ctx context.Context, objects []minio.ObjectInfo) error {
	if len(objects) == 0 {
		return nil
	}
	return s.retry(ctx, func() error {
		results, err := s.api.RemoveObjectsWithIter(ctx, s.opt.Bucket, slices.Values(objects), minio.RemoveObjectsOptions{})
		if err != nil {
			return err
		}
		for r := range results {
			if r.Err != nil && minio.ToErrorResponse(r.Err).Code != minio.NoSuchKey {
				return r.Err
			}
		}
		return ctx.Err()
	})
}

// written remembers what this process wrote last of each key, so that what is
// rewritten all the time leaves no heap behind until all is tidied up.
type written struct {
	slots chan struct{} // of what is being dropped

	mu   sync.Mutex // guards last
	last map[string]lastWritten
}

type lastWritten struct {
	object string
	token  store.Token
}

const (
	maxWritten = 4096
	maxDrops   = 4
)

func newWritten() *written {
	return &written{slots: make(chan struct{}, maxDrops), last: make(map[string]lastWritten)}
}

// note enters what was written, and returns the object that it supersedes.
func (w *written) note(key, object string, t store.Token) (older string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, ok := w.last[key]
	if ok && before.token.Compare(t) >= 0 {
		return "" // the same again, or one that is old itself
	}
	if !ok && len(w.last) >= maxWritten {
		for k := range w.last { // any will do
			delete(w.last, k)
			break
		}
	}
	w.last[key] = lastWritten{object, t}
	return before.object
}

// supersede drops what was written of the key before, if this process knows: in
// the background, or where too much is being dropped already, at once. It needs
// an operation under way.
func (s *Store) supersede(ctx context.Context, prefix, key, object string, t store.Token) {
	name, _ := keyName(key)
	older := s.written.note(prefix+name, object, t)
	if older == "" {
		return
	}
	drop := func(ctx context.Context) {
		if err := s.drop(ctx, older); err != nil && s.ending.Err() == nil {
			s.log.Debug("superseded object is left", "object", older, "err", err)
		}
	}
	select {
	case s.written.slots <- struct{}{}:
		s.tasks.Go(func() {
			defer func() { <-s.written.slots }()
			drop(s.ending)
		})
	default:
		if ctx.Err() == nil {
			drop(ctx)
		}
	}
}

func (s *Store) drop(ctx context.Context, name string) error {
	err := s.retry(ctx, func() error { return s.api.RemoveObject(ctx, s.opt.Bucket, name, minio.RemoveObjectOptions{}) })
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}
