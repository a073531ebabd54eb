package disk

import (
	"context"
	"errors"
	"fmt"
	"io"

	"headwater/store"
	"headwater/store/internal/index"
)

// found is an item that the index knows, with its file held open.
type found struct {
	entry *index.Entry[*location]
}

func (f found) release() { f.entry.Value.file.release() }

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

// read reads the item with or without its value, and verifies what it reads.
func (l *log) read(r store.Record, f found, value bool) (store.Item, error) {
	loc := f.entry.Value
	n := int64(loc.head)
	if value {
		n = loc.len()
	}
	b := make([]byte, n)
	if _, err := loc.file.f.ReadAt(b, loc.offset); err != nil && !errors.Is(err, io.EOF) {
		return store.Item{}, outcome(err)
	} else if err != nil {
		return store.Item{}, l.corrupt(f, "the file is too short")
	}
	rec, err := parseHead(b[:loc.head])
	switch {
	case err != nil:
		return store.Item{}, l.corrupt(f, err.Error())
	case rec.kind != kindPut || rec.id != r.ID || rec.key != f.entry.Key || rec.token != f.entry.Token || rec.size != loc.size:
		return store.Item{}, l.corrupt(f, "another record is in its place")
	}
	item := store.Item{Key: f.entry.Key, Token: rec.token, Meta: rec.meta, Size: rec.size, Expires: index.ExpiryTime(rec.expires)}
	if value {
		item.Value = b[loc.head:]
		if checksum(item.Value) != rec.valueSum {
			return store.Item{}, l.corrupt(f, "value checksum")
		}
	}
	return item, nil
}

func (l *log) corrupt(f found, why string) error {
	loc := f.entry.Value
	l.counters.corrupt.Add(1)
	l.logger.Error("damaged item", "key", f.entry.Key, "file", loc.file.path, "offset", loc.offset, "why", why)
	return fmt.Errorf("%w: %s at %d of %s", store.ErrCorrupt, why, loc.offset, loc.file.path)
}

func (l *log) get(r store.Record, key string) (store.Item, error) {
	f, err := l.find(r, key)
	if err != nil {
		return store.Item{}, err
	}
	defer f.release()
	return l.read(r, f, true)
}

func (l *log) scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
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

	for i, f := range todo {
		if err := ctx.Err(); err != nil {
			if errors.Is(err, context.DeadlineExceeded) && i > 0 {
				page.Next = f.entry.Key
				return page, nil
			}
			return store.Page{}, err
		}
		item, err := l.read(r, f, opt.Values)
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
