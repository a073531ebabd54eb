package cassandra

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"headwater/store"
)

// Problem is damage that Check found.
type Problem struct {
	Record store.Record
	Key    string
	What   string
}

func (p Problem) String() string { return fmt.Sprintf("%v, key %q: %s", p.Record, p.Key, p.What) }

// CheckReport is what Check looked at.
type CheckReport struct {
	Items  int   // that readers would get
	Chunks int   // of them
	Bytes  int64 // of their values
	Dead   int   // deleted or expired, and not yet forgotten

	// Orphans are chunks that no item names, and that are older than OrphanAge: of a
	// put that broke off, or of an item that was replaced or deleted, by a process that
	// ended before it could look. They end by their time to live, or by Sweep.
	Orphans int

	Problems int
}

// checkParts is how many parts of the ring are read one after the other.
const checkParts = 64

// Check walks the whole ring, reads every item with a quorum, and verifies the
// checksums of its row and of every chunk; then it walks the chunks and counts
// those that no item names. Operations go on beside it. It returns an error if
// it could not look at everything. Where progress is not nil it is told of each
// part of the work that is done.
func (s *Store) Check(ctx context.Context, report func(Problem), progress func(sum CheckReport, share float64)) (CheckReport, error) {
	var sum CheckReport
	parts := 0
	part := func() {
		if parts++; progress != nil {
			progress(sum, float64(parts)/float64(2*checkParts*len(s.opt.Namespaces)))
		}
	}
	for _, namespace := range s.opt.Namespaces {
		c := &checker{s: s, sp: s.spaces[namespace], namespace: namespace, sum: &sum, report: report, part: part}
		if err := c.run(ctx); err != nil {
			return sum, fmt.Errorf("cassandra store: check %s: %w", namespace, err)
		}
	}
	return sum, nil
}

type checker struct {
	s         *Store
	sp        *space
	namespace string
	sum       *CheckReport
	report    func(Problem)
	part      func() // one more is done
}

func (c *checker) problem(record, key, what string) {
	c.sum.Problems++
	c.report(Problem{store.Record{Namespace: c.namespace, ID: record}, key, what})
}

func (c *checker) run(ctx context.Context) error {
	if err := ring(func(from, to int64) error {
		defer c.part()
		return c.items(ctx, from, to)
	}); err != nil {
		return err
	}
	return c.s.chunks(ctx, c.sp, c.part, func(record, key string, t store.Token, _ int) error {
		got, err := c.s.versions(ctx, c.sp, store.Record{Namespace: c.namespace, ID: record}, key)
		if err == nil && newestToken(got.heads) != encodeToken(t) {
			c.sum.Orphans++
		}
		return err
	})
}

// ring calls f for one part of the ring after the other.
func ring(f func(from, to int64) error) error {
	const step = math.MaxUint64/checkParts + 1
	for i := range uint64(checkParts) {
		if err := f(int64(i*step)^math.MinInt64, int64((i+1)*step-1)^math.MinInt64); err != nil {
			return err
		}
	}
	return nil
}

// items verifies the items of a part of the ring.
func (c *checker) items(ctx context.Context, from, to int64) error {
	it := c.s.session.Query(c.sp.checkItems, from, to).IterContext(ctx)
	for {
		var record, key string
		var r row
		if !it.Scan(&record, &key, &r.heads, &r.values) {
			break
		}
		if err := c.item(ctx, record, key, r); err != nil {
			it.Close()
			return err
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

func (c *checker) item(ctx context.Context, record, key string, r row) error {
	h, token, err := newest(r.heads)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		c.problem(record, key, err.Error())
		return nil
	case !h.live(c.s.opt.Now()):
		c.sum.Dead++
		return nil
	}
	_, err = c.s.value(ctx, c.sp, store.Record{Namespace: c.namespace, ID: record}, key, &h, token, r.values[blob(token)], here)
	if errors.Is(err, errMissing) {
		// Replaced or deleted meanwhile?
		_, err = c.s.get(ctx, store.Record{Namespace: c.namespace, ID: record}, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
	}
	if err != nil && !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	if err != nil {
		c.problem(record, key, err.Error())
	}
	c.sum.Items++
	c.sum.Bytes += h.size
	if !h.inline {
		c.sum.Chunks += len(h.sums)
	}
	return nil
}

// chunks calls f for the chunks of a namespace that are too old to be of a put under
// way. It tells part of each part of the ring that it has looked at.
func (s *Store) chunks(ctx context.Context, sp *space, part func(), f func(record, key string, t store.Token, i int) error) error {
	return ring(func(from, to int64) error {
		defer part()
		it := s.session.Query(sp.checkChunks, from, to).IterContext(ctx)
		defer it.Close()
		var record, key string
		var token blob
		var i int
		for it.Scan(&record, &key, &token, &i) {
			t, err := decodeToken(string(token))
			if err != nil || s.opt.Now().Sub(time.Unix(0, t.Time)) < s.opt.OrphanAge {
				continue
			}
			if err := f(record, key, t, i); err != nil {
				return err
			}
		}
		if err := it.Close(); err != nil {
			return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
		}
		return nil
	})
}
