package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"headwater/store"
	"headwater/store/internal/index"
)

// found is an item that the index knows, with its file held open.
type found struct {
	entry *index.Entry[*location]
}

func (f found) release() { f.entry.Value.file.release() }

// readsMany is from how many items on a scan reads twins, and ahead.
const readsMany = 8

// find returns a live item, which the caller must release.
func (l *log) find(r store.Record, key string) (found, error) {
	now := l.opt.Now()
	l.mu.RLock()
	defer l.mu.RUnlock()
	e := l.index.Get(r, key)
	if e == nil || !e.Live(now) {
		return found{}, store.ErrNotFound
	}
	e.Value.file.users.Add(1)
	return found{e}, nil
}

// read reads the item with or without its value, and verifies what it reads. Log
// and twin stand in for each other. With a twinReader, of who reads many, the twin
// comes first: there the heads lie close together.
func (l *log) read(ctx context.Context, r store.Record, f found, value bool, many *twinReader) (store.Item, error) {
	loc := f.entry.Value
	twin := loc.twin > 0 && loc.file.twin != nil && (!value || loc.size <= twinValue(l.namespace))
	if twin && many != nil {
		if item, why := l.readTwinned(r, f, value, many); why == nil {
			return item, nil
		}
	}
	item, why := l.readLogged(ctx, r, f, value)
	if why == nil {
		return item, nil
	}
	if twin {
		var other error
		if item, other = l.readTwinned(r, f, value, new(twinReader)); other == nil {
			l.counters.mended.Add(1)
			l.logger.Warn("an item is damaged in its log file, and read from the twin", "key", f.entry.Key, "file", loc.file.path, "offset", loc.offset, "why", why)
			return item, nil
		}
	}
	if !errors.Is(why, store.ErrCorrupt) {
		return store.Item{}, outcome(why)
	}
	l.counters.corrupt.Add(1)
	l.logger.Error("damaged item", "key", f.entry.Key, "file", loc.file.path, "offset", loc.offset, "why", why)
	return store.Item{}, fmt.Errorf("%w at %d of %s", why, loc.offset, loc.file.path)
}

// pieceBytes are read at once: some tens of microseconds, where they are in memory.
const pieceBytes = 128 << 10

func (l *log) readLogged(ctx context.Context, r store.Record, f found, value bool) (store.Item, error) {
	loc := f.entry.Value
	if loc.file.f == nil {
		return store.Item{}, fmt.Errorf("%w: the file is gone", store.ErrCorrupt)
	}
	head := int(loc.head)
	n := head
	if value {
		n = int(loc.len())
	}
	b, sum := make([]byte, n), uint32(0)
	for from := 0; from < n; {
		store.Pause(ctx)
		to := min(from+pieceBytes, n)
		if _, err := loc.file.f.ReadAt(b[from:to], loc.offset+int64(from)); err != nil && !errors.Is(err, io.EOF) {
			return store.Item{}, err
		} else if err != nil {
			return store.Item{}, fmt.Errorf("%w: the file is too short", store.ErrCorrupt)
		}
		sum = updateSum(sum, b[min(max(from, head), to):to])
		from = to
	}
	return f.verify(r, b, value, sum)
}

func (l *log) readTwinned(r store.Record, f found, value bool, from *twinReader) (store.Item, error) {
	loc := f.entry.Value
	n := int(loc.head)
	if value {
		n = int(loc.len())
	}
	b := from.bytes(loc.file, loc.twin, n)
	if len(b) < n {
		return store.Item{}, fmt.Errorf("%w: the twin is too short", store.ErrCorrupt)
	}
	return f.verify(r, slices.Clone(b), value, checksum(b[min(int(loc.head), n):n]))
}

// verify makes the item of its bytes; sum is the checksum of those of the value.
func (f found) verify(r store.Record, b []byte, value bool, sum uint32) (store.Item, error) {
	loc := f.entry.Value
	rec, err := parseHead(b[:loc.head])
	switch {
	case err != nil:
		return store.Item{}, fmt.Errorf("%w: %w", store.ErrCorrupt, err)
	case rec.kind != kindPut || rec.id != r.ID || rec.key != f.entry.Key || rec.token != f.entry.Token || rec.size != loc.size:
		return store.Item{}, fmt.Errorf("%w: another record is in its place", store.ErrCorrupt)
	}
	item := store.Item{Key: f.entry.Key, Token: rec.token, Meta: rec.meta, Size: rec.size, Expires: index.ExpiryTime(rec.expires)}
	if value {
		item.Value = b[loc.head:]
		if sum != rec.valueSum {
			return store.Item{}, fmt.Errorf("%w: value checksum", store.ErrCorrupt)
		}
	}
	return item, nil
}

func (l *log) get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	if err := l.await(ctx, r.ID, key, key); err != nil {
		return store.Item{}, err
	}
	f, err := l.find(r, key)
	if err != nil {
		return store.Item{}, err
	}
	defer f.release()
	item, err := l.read(ctx, r, f, true, nil)
	if errors.Is(err, store.ErrCorrupt) && l.namespace == store.Control {
		if older, ok := l.older(r, key, f.entry.Token); ok {
			return older, nil
		}
	}
	return item, err
}

// older returns the newest version of a control item that is older than one of
// which neither copy can be read: better than nothing. It reads all files.
func (l *log) older(r store.Record, key string, than store.Token) (best store.Item, ok bool) {
	l.mu.RLock()
	files := append([]*logFile(nil), l.files...)
	for _, f := range files {
		f.users.Add(1)
	}
	l.mu.RUnlock()
	var deleted store.Token
	consider := func(rec *record, whole []byte) {
		switch {
		case rec.id != r.ID || rec.token.Compare(than) >= 0:
		case rec.kind == kindDelete && rec.token.Compare(deleted) > 0:
			deleted = rec.token
		case rec.kind == kindPut && rec.key == key && (!ok || rec.token.Compare(best.Token) > 0):
			head := rec.headLen()
			if value := whole[head:]; checksum(value) == rec.valueSum {
				ok, best = true, store.Item{Key: key, Token: rec.token, Meta: whole[head-rec.metaLen : head : head], Value: value, Size: rec.size, Expires: index.ExpiryTime(rec.expires)}
			}
		}
	}
	for _, f := range files {
		if f.twin != nil {
			b := make([]byte, f.twinEnd.Load())
			n, _ := f.twin.ReadAt(b, 0)
			for _, e := range parseTwin(b[:n], f.id, l.namespace).entries {
				if e.whole() {
					consider(&e.record, e.raw)
				}
			}
		}
		if f.f != nil {
			_ = newScanner(f.f, f.id, f.durable.Load()).walk(context.Background(), fileHeaderSize, func(rec record) error {
				b := make([]byte, rec.len())
				if n, _ := f.f.ReadAt(b, rec.offset); n == len(b) {
					consider(&rec, b)
				}
				return nil
			}, func(int64, int64) error { return nil })
		}
		f.release()
	}
	if ok = ok && best.Token.Compare(deleted) > 0 && (best.Expires.IsZero() || best.Expires.After(l.opt.Now())); ok {
		l.logger.Error("the newest version of an item cannot be read: an older one is used", "record", r.ID, "key", key, "of", time.Unix(0, best.Token.Time).UTC())
	}
	return best, ok
}

func (l *log) scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	if err := l.await(ctx, r.ID, max(opt.From, opt.Page), opt.To); err != nil {
		return store.Page{}, err
	}
	var page store.Page
	var todo []found
	defer func() {
		for _, f := range todo {
			f.release()
		}
	}()

	now, size := l.opt.Now(), int64(0)
	l.mu.RLock()
	// The token of a page is the key that it begins with.
	l.index.Ascend(r, max(opt.From, opt.Page), opt.To, func(e *index.Entry[*location]) bool {
		if !e.Live(now) {
			return true
		}
		size += int64(len(e.Key)) + int64(e.Value.meta)
		if opt.Values {
			size += e.Value.size
		}
		if size > int64(opt.MaxBytes) && len(todo) > 0 {
			page.Next = e.Key
			return false
		}
		e.Value.file.users.Add(1)
		todo = append(todo, found{e})
		return true
	})
	l.mu.RUnlock()

	var many *twinReader
	if len(todo) > readsMany {
		many = new(twinReader)
	}
	for i, f := range todo {
		if err := ctx.Err(); err != nil {
			if errors.Is(err, context.DeadlineExceeded) && i > 0 {
				page.Next = f.entry.Key
				return page, nil
			}
			return store.Page{}, err
		}
		item, err := l.read(ctx, r, f, opt.Values, many)
		if errors.Is(err, store.ErrCorrupt) && l.namespace == store.Control {
			if older, ok := l.older(r, f.entry.Key, f.entry.Token); ok {
				item, err = older, nil
			}
		}
		switch {
		case err == nil:
			page.Items = append(page.Items, item)
		case errors.Is(err, store.ErrCorrupt):
			page.Corrupt = append(page.Corrupt, f.entry.Key)
		default:
			return store.Page{}, err
		}
	}
	return page, nil
}
