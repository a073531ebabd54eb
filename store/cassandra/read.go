package cassandra

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"headwater/store"
)

// blob is bytes that can be compared, such as the key of a map<blob, blob>.
type blob string

// MarshalCQL implements gocql.Marshaler.
func (b blob) MarshalCQL(gocql.TypeInfo) ([]byte, error) { return []byte(b), nil }

// UnmarshalCQL implements gocql.Unmarshaler.
func (b *blob) UnmarshalCQL(_ gocql.TypeInfo, data []byte) error {
	*b = blob(data)
	return nil
}

// row is what an item's row holds, by token.
type row struct{ heads, values map[blob][]byte }

// missingFor is how long a chunk may be missing of an item that is there: it
// may come from another data centre a little later. After that it is lost.
const missingFor = time.Minute

var (
	// errMissing says that a chunk is not there.
	errMissing = errors.New("a chunk is missing")
	// errNotAsked says that another data centre did not say whether it has it.
	errNotAsked = errors.New("another data centre was not to be asked for it")
)

// A place is whom chunks are asked of: a quorum of this data centre, or of each. What another
// one has written comes row by row, once that is reachable again, and long after that
// where there is much of it: a row may be here before its chunks are.
type place bool

const (
	here       place = false
	everywhere place = true
)

func (s *Store) get(ctx context.Context, r store.Record, key string) (item store.Item, err error) {
	ctx, sp, end, err := s.begin(ctx, r)
	if err != nil {
		return item, err
	}
	defer end(&err)
	err = s.whole(ctx, func(ctx context.Context, from place) (t store.Token, err error) {
		h, token, v, err := s.row(ctx, sp, r, key)
		if err != nil {
			return t, err
		}
		if !h.live(s.opt.Now()) {
			return t, store.ErrNotFound
		}
		item = h.item(key)
		item.Value, err = s.value(ctx, sp, r, key, &h, token, v, from)
		return h.token, err
	})
	return item, err
}

// whole reads an item whose row may name chunks that are not there:
//
//	a chunk is missing                     then
//	the first time                         read again: the item was replaced between the two reads
//	again                                  every data centre is asked, once each time; and however long
//	                                       the first reading took
//	one of them was not to be asked        unavailable
//	nobody has it, and it is not old       unavailable: it may be on its way
//	nobody has it, and it is               corrupt
func (s *Store) whole(ctx context.Context, read func(ctx context.Context, from place) (store.Token, error)) error {
	began := time.Now()
	again := time.NewTimer(0)
	defer again.Stop()
	for from := here; ; from = everywhere {
		token, err := read(ctx, from)
		if !errors.Is(err, errMissing) || from == everywhere && time.Since(began) > retryFor {
			return missing(err, token, s.opt.Now())
		}
		again.Reset(mostBackoff / 4)
		select {
		case <-again.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func missing(err error, t store.Token, now time.Time) error {
	if !errors.Is(err, errMissing) {
		return err
	}
	if now.Sub(time.Unix(0, t.Time)) > missingFor && !errors.Is(err, errNotAsked) {
		return fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	}
	return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
}

// row reads an item's row: its newest version, and that one's inline value.
func (s *Store) row(ctx context.Context, sp *space, r store.Record, key string) (h head, token string, inline []byte, err error) {
	got, err := s.versions(ctx, sp, r, key)
	if err != nil {
		return h, "", nil, err
	}
	h, token, err = newest(got.heads)
	return h, token, got.values[blob(token)], err
}

// versions reads an item's row, which may be empty.
func (s *Store) versions(ctx context.Context, sp *space, r store.Record, key string) (row, error) {
	return ask(ctx, s, s.getItem, func(ctx context.Context) (got row, err error) {
		if err = s.one(ctx, []any{&got.heads, &got.values}, sp.getItem, r.ID, bucketOf(key), key); errors.Is(err, gocql.ErrNotFound) {
			return row{}, nil
		}
		return got, err
	})
}

// value returns a version's value, read and verified.
func (s *Store) value(ctx context.Context, sp *space, r store.Record, key string, h *head, token string, inline []byte, from place) ([]byte, error) {
	if h.inline {
		if int64(len(inline)) != h.size || checksum(inline) != h.sums[0] {
			return nil, fmt.Errorf("%w: value of %d bytes in the row, of %d", store.ErrCorrupt, len(inline), h.size)
		}
		return inline, nil
	}
	value := make([]byte, h.size)
	err := each(ctx, len(h.sums), parallel, func(ctx context.Context, i int) error {
		return s.chunk(ctx, sp, r, key, token, i, h.sums[i], value[i*chunkSize:min((i+1)*chunkSize, len(value))], from)
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

// chunk reads one chunk into dst: from here, and where it is not here from everywhere, if
// that is to be asked.
func (s *Store) chunk(ctx context.Context, sp *space, r store.Record, key, token string, i int, sum uint32, dst []byte, from place) error {
	c := &chunkTarget{dst: dst, sum: sum}
	found, err := ask(ctx, s, s.getChunk, func(ctx context.Context) (*chunkAnswer, error) {
		a := &chunkAnswer{target: c}
		err := s.one(ctx, []any{a}, sp.getChunk, r.ID, key, []byte(token), i)
		if errors.Is(err, gocql.ErrNotFound) {
			return nil, nil
		}
		return a, err
	})
	if err == nil && found == nil && from == everywhere {
		// Asked once, and not as a request that somebody hedges, as named does.
		a := &chunkAnswer{target: c}
		err := s.session.Query(sp.getChunk, r.ID, key, []byte(token), i).Consistency(gocql.EachQuorum).ScanContext(ctx, a)
		if err != nil && !errors.Is(err, gocql.ErrNotFound) {
			return fmt.Errorf("%w: number %d: %w: %w", errMissing, i, errNotAsked, err)
		}
		if err == nil {
			found = a
		}
	}
	switch {
	case err != nil:
		return err
	case found == nil:
		return fmt.Errorf("%w: number %d", errMissing, i)
	case found.bad:
		return fmt.Errorf("%w: chunk %d of %d bytes fails its checksum", store.ErrCorrupt, i, found.size)
	}
	return nil
}

// chunkTarget is where one of several answers is copied to.
type chunkTarget struct {
	sum uint32

	mu    sync.Mutex // held while dst is written: who answers second waits
	dst   []byte
	taken bool // by the first good answer, which alone writes to dst
}

type chunkAnswer struct {
	target *chunkTarget
	size   int
	bad    bool
}

// UnmarshalCQL implements gocql.Unmarshaler: data is the driver's, so this is
// the one copy.
func (a *chunkAnswer) UnmarshalCQL(_ gocql.TypeInfo, data []byte) error {
	t := a.target
	a.size = len(data)
	if a.bad = len(data) != len(t.dst) || checksum(data) != t.sum; a.bad {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.taken {
		t.taken = true
		copy(t.dst, data)
	}
	return nil
}
