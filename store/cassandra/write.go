package cassandra

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"headwater/store"
)

// parallel is how many chunks of one value are under way at once.
const parallel = 8

func (s *Store) put(ctx context.Context, r store.Record, item store.Item) (err error) {
	ctx, sp, end, err := s.begin(ctx, r)
	if err != nil {
		return err
	}
	defer end(&err)
	began, now := time.Now(), s.opt.Now()
	h := &head{token: item.Token, expires: expiryMillis(item.Expires), size: int64(len(item.Value)), meta: item.Meta}
	if !h.live(now) {
		return s.bury(ctx, sp, r, item.Key, h.token)
	}
	ttl := 0
	if h.expires != 0 {
		ttl = seconds(h.expires - now.UnixMilli() + slack.Milliseconds())
	}
	value := map[blob][]byte{}
	if h.inline = len(item.Value) <= inlineSize; h.inline {
		h.sums = []uint32{checksum(item.Value)}
		// A request may outlast Put, the caller's bytes must not.
		value[blob(encodeToken(h.token))] = append([]byte{}, item.Value...)
	} else {
		h.sums = make([]uint32, parts(h.size, false))
	}
	before, err := s.prepare(ctx, sp, r, item, h, ttl)
	if err == nil {
		staged := time.Now()
		store.Trace(ctx, "staged", staged.Sub(began))
		err = s.commit(ctx, sp, r, item.Key, h, value, ttl)
		store.Trace(ctx, "committed", time.Since(staged))
	}
	s.leave(s.opt.ReplacedAge, before...)
	own := left{itemKey: itemKey{sp, r.ID, item.Key}, token: h.token, parts: len(h.sums)}
	switch {
	case h.inline:
	case err != nil:
		s.leave(s.opt.OrphanAge, own) // until then it may be tried again
	case r.Namespace == store.Control:
		s.leave(s.opt.ReplacedAge, own) // another may have come before it, who did not see it
	}
	return err
}

// prepare does what comes before the row is written: it stages the chunks, and beside
// that lists the bucket and, of control, reads what the put replaces.
func (s *Store) prepare(ctx context.Context, sp *space, r store.Record, item store.Item, h *head, ttl int) (before []left, err error) {
	tasks := []func(context.Context) error{
		func(ctx context.Context) error { return s.list(ctx, sp, r.ID, bucketOf(item.Key), h.expires) },
	}
	if r.Namespace == store.Control {
		tasks = append(tasks, func(ctx context.Context) error { before = s.replaced(ctx, sp, r, item.Key); return nil })
	}
	chunks := len(h.sums)
	if h.inline {
		chunks = 0
	}
	err = each(ctx, len(tasks)+chunks, len(tasks)+parallel, func(ctx context.Context, i int) error {
		if i < len(tasks) {
			return tasks[i](ctx)
		}
		i -= len(tasks)
		data := item.Value[i*chunkSize : min((i+1)*chunkSize, len(item.Value))]
		h.sums[i] = checksum(data)
		return s.stage(ctx, sp, r, item.Key, h.token, i, data, ttl)
	})
	return before, err
}

// commit writes the row: what readers see changes here.
func (s *Store) commit(ctx context.Context, sp *space, r store.Record, key string, h *head, value map[blob][]byte, ttl int) error {
	heads := map[blob][]byte{blob(encodeToken(h.token)): h.encode()}
	return s.do(ctx, s.putItem, func(ctx context.Context) error {
		return s.exec(ctx, sp.putItem, h.token.Time, ttl, heads, value, r.ID, bucketOf(key), key)
	})
}

// bury writes a dead version, which ends at a time of its own: many at once
// are not many tombstones at once.
func (s *Store) bury(ctx context.Context, sp *space, r store.Record, key string, t store.Token) error {
	life := deadFor + rand.N(deadFor)
	var before []left
	if r.Namespace == store.Control {
		before = s.replaced(ctx, sp, r, key)
	}
	if err := s.list(ctx, sp, r.ID, bucketOf(key), s.opt.Now().Add(life).UnixMilli()); err != nil {
		return err
	}
	err := s.commit(ctx, sp, r, key, &head{token: t, dead: true}, map[blob][]byte{}, seconds(life.Milliseconds()))
	s.leave(s.opt.ReplacedAge, before...)
	return err
}

// stage writes one chunk. Requests may outlast it, so they get a copy of data,
// which goes back to the pool after the last of them.
func (s *Store) stage(ctx context.Context, sp *space, r store.Record, key string, t store.Token, i int, data []byte, ttl int) error {
	buf := copies.get(data)
	defer buf.release()
	token := []byte(encodeToken(t))
	return s.do(ctx, s.putChunk, func(ctx context.Context) error {
		if !buf.take() {
			return context.Canceled // stage has returned
		}
		defer buf.release()
		return s.exec(ctx, sp.putChunk, r.ID, key, token, i, buf.b, t.Time, ttl)
	})
}

// copies are buffers of one chunk.
var copies copyPool

type copyPool struct{ pool sync.Pool }

// counted is a buffer that goes back to its pool with its last user.
type counted struct {
	b     []byte
	users atomic.Int32
}

func (p *copyPool) get(data []byte) *counted {
	c, ok := p.pool.Get().(*counted)
	if !ok {
		c = &counted{b: make([]byte, 0, chunkSize)}
	}
	c.b = append(c.b[:0], data...)
	c.users.Store(1)
	return c
}

// take adds a user, unless there is none left.
func (c *counted) take() bool {
	for {
		n := c.users.Load()
		if n == 0 {
			return false
		}
		if c.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (c *counted) release() {
	if c.users.Add(-1) == 0 {
		copies.pool.Put(c)
	}
}

func (s *Store) delete(ctx context.Context, r store.Record, t store.Token) (err error) {
	ctx, sp, end, err := s.begin(ctx, r)
	if err != nil {
		return err
	}
	defer end(&err)
	buckets, err := s.bucketsOf(ctx, sp, r.ID, firstBucket, lastBucket)
	if err != nil {
		return err
	}
	return each(ctx, len(buckets), parallel, func(ctx context.Context, i int) error {
		return s.do(ctx, s.deleteBucket, func(ctx context.Context) error {
			return s.exec(ctx, sp.deleteBucket, t.Time, r.ID, buckets[i])
		})
	})
}
