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

	// Orphans are chunks that no item names: of a put that broke off, or of
	// an item that was replaced or deleted. Where they have a time to live
	// they end by it.
	Orphans int

	Problems int
}

// orphanAge is how old a chunk's token must be for it not to be one of a put under way.
const orphanAge = 10 * time.Minute

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
	for _, walk := range []func(context.Context, int64, int64) error{c.items, c.chunks} {
		const step = math.MaxUint64/checkParts + 1
		for i := range uint64(checkParts) {
			from := int64(i*step) ^ math.MinInt64
			to := int64((i+1)*step-1) ^ math.MinInt64
			if err := walk(ctx, from, to); err != nil {
				return err
			}
			c.part()
		}
	}
	return nil
}

// items verifies the items of a part of the ring.
func (c *checker) items(ctx context.Context, from, to int64) error {
	it := c.s.session.Query(c.sp.checkItems, from, to).IterContext(ctx)
	for {
		var record, key string
		var heads, values map[blobKey][]byte
		if !it.Scan(&record, &key, &heads, &values) {
			break
		}
		if err := c.item(ctx, record, key, row{strings2(heads), strings2(values)}); err != nil {
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
	case !h.live(time.Now()):
		c.sum.Dead++
		return nil
	}
	_, err = c.s.value(ctx, c.sp, store.Record{Namespace: c.namespace, ID: record}, key, &h, token, r.values[token])
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

// chunks counts the orphans of a part of the ring.
func (c *checker) chunks(ctx context.Context, from, to int64) error {
	it := c.s.session.Query(c.sp.checkChunks, from, to).IterContext(ctx)
	for {
		var record, key string
		var token blob
		var i int
		if !it.Scan(&record, &key, &token, &i) {
			break
		}
		t, err := decodeToken(string(token))
		if err != nil || time.Since(time.Unix(0, t.Time)) < orphanAge {
			continue
		}
		_, newest, _, err := c.s.row(ctx, c.sp, store.Record{Namespace: c.namespace, ID: record}, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrCorrupt) {
			it.Close()
			return err
		}
		if newest != string(token) {
			c.sum.Orphans++
		}
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}
