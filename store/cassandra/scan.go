package cassandra

import (
	"context"
	"errors"
	"time"

	"headwater/store"
)

const (
	scanRows = 256 // rows asked for at once, at most
	leastRow = 16
	smallRow = 64 // bytes of key and metadata: few are smaller

	// keepBack is the part of the caller's time that a scan does not use, so
	// that it is on time.
	keepBack     = 10 // a tenth
	mostKeepBack = 50 * time.Millisecond
)

// scanner is a scan under way.
type scanner struct {
	s      *Store
	sp     *space
	record store.Record
	opt    store.ScanOptions

	from  string // where to go on: the last key looked at and a NUL, less than any other after it
	last  string // key looked at
	bytes int
	page  store.Page
}

// scan returns a page, whose token is the last key that it has looked at.
func (s *Store) scan(ctx context.Context, r store.Record, opt store.ScanOptions) (page store.Page, err error) {
	if opt.Page != "" {
		if err := store.ValidateKey(opt.Page); err != nil {
			return page, err
		}
	}
	ctx, sp, end, err := s.begin(ctx, r)
	if err != nil {
		return page, err
	}
	defer end(&err)
	sc := &scanner{s: s, sp: sp, record: r, opt: opt, from: opt.From}
	if opt.Page != "" {
		sc.from = max(sc.from, opt.Page+"\x00")
	}
	if opt.To != "" && sc.from >= opt.To {
		return page, nil
	}
	inTime := ctx
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		inTime, cancel = context.WithTimeout(ctx, left-min(left/keepBack, mostKeepBack))
		defer cancel()
	}
	more, err := sc.run(inTime)
	if err != nil {
		if len(sc.page.Items)+len(sc.page.Corrupt) == 0 {
			return page, err
		}
		// What there is, and the rest later. An error that stays comes then.
		more = true
	}
	if more {
		sc.page.Next = sc.last
	}
	return sc.page, nil
}

// run fills the page, and reports whether there is more.
func (sc *scanner) run(ctx context.Context) (more bool, err error) {
	first, last := bucketRange(sc.from, sc.opt.To)
	if sc.from != "" {
		// Often enough: of a page in the middle, and of a range within a bucket.
		if more, err = sc.bucket(ctx, first); err != nil || more {
			return more, err
		}
		first++
	}
	if first > last {
		return false, nil
	}
	buckets, err := sc.s.bucketsOf(ctx, sc.sp, sc.record.ID, first, last)
	if err != nil {
		return false, err
	}
	for _, b := range buckets {
		if more, err = sc.bucket(ctx, b); err != nil || more {
			return more, err
		}
	}
	return false, nil
}

// bucket takes the rows of a bucket until the page is full.
func (sc *scanner) bucket(ctx context.Context, b int64) (full bool, err error) {
	for {
		rows, whole, err := sc.rows(ctx, b)
		if err != nil {
			return false, err
		}
		for _, r := range rows {
			if full, err := sc.take(ctx, r); err != nil || full {
				return full, err
			}
		}
		if whole {
			return false, nil
		}
	}
}

type scanned struct {
	key string
	row
}

// rows reads the next rows of a bucket, and whether they are its last.
func (sc *scanner) rows(ctx context.Context, bucket int64) (rows []scanned, whole bool, err error) {
	n := sc.opt.MaxBytes/smallRow + 1
	if taken := len(sc.page.Items); taken > 0 && sc.bytes > 0 {
		n = (sc.opt.MaxBytes-sc.bytes)*taken/sc.bytes + 1 // as many as should fit, and one
	} else if sc.opt.Values {
		n = leastRow
	}
	n = min(max(n, leastRow), scanRows)
	statement, args := sc.sp.scanHeads, []any{sc.record.ID, bucket, sc.from}
	if sc.opt.To != "" {
		statement, args = sc.sp.scanHeadsTo, append(args, sc.opt.To)
	}
	if sc.opt.Values {
		statement = map[bool]string{false: sc.sp.scanAll, true: sc.sp.scanAllTo}[sc.opt.To != ""]
	}
	args = append(args, n)
	rows, err = ask(ctx, sc.s, sc.s.scanItems, func(ctx context.Context) ([]scanned, error) {
		it, done := sc.s.rows(ctx, statement, args...)
		defer done()
		var rows []scanned
		for {
			var r scanned
			dest := []any{&r.key, &r.heads}
			if sc.opt.Values {
				dest = append(dest, &r.values)
			}
			if !it.Scan(dest...) {
				return rows, it.Close()
			}
			rows = append(rows, r)
		}
	})
	return rows, len(rows) < n, err
}

// take adds a row to the page, and reports whether the page was full without it.
func (sc *scanner) take(ctx context.Context, r scanned) (full bool, err error) {
	h, token, err := newest(r.heads)
	if err == nil && !h.live(sc.s.opt.Now()) || errors.Is(err, store.ErrNotFound) {
		sc.passed(r.key)
		return false, nil
	}
	if err != nil {
		return false, sc.corrupt(r.key, err)
	}
	item := h.item(r.key)
	bytes := len(item.Key) + len(item.Meta)
	if sc.opt.Values {
		bytes += int(item.Size)
	}
	if sc.bytes+bytes > sc.opt.MaxBytes && len(sc.page.Items) > 0 {
		return true, nil
	}
	if sc.opt.Values {
		item.Value, err = sc.s.value(ctx, sc.sp, sc.record, r.key, &h, token, r.values[blob(token)], here)
		if errors.Is(err, errMissing) {
			// As Get has it: replaced since the row was read, or not here yet.
			item, err = sc.s.get(ctx, sc.record, r.key)
			if errors.Is(err, store.ErrNotFound) {
				sc.passed(r.key)
				return false, nil
			}
		}
		if err != nil {
			return false, sc.corrupt(r.key, err)
		}
	}
	sc.bytes += bytes
	sc.page.Items = append(sc.page.Items, item)
	sc.passed(r.key)
	return false, nil
}

// corrupt leaves an item out, unless the error is another.
func (sc *scanner) corrupt(key string, err error) error {
	if !errors.Is(err, store.ErrCorrupt) {
		return err
	}
	sc.page.Corrupt = append(sc.page.Corrupt, key)
	sc.passed(key)
	return nil
}

func (sc *scanner) passed(key string) { sc.last, sc.from = key, key+"\x00" }
