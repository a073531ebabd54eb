package s3

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"headwater/store"
)

// readers is how many objects a scan reads at once.
const readers = 16

// margin is the part of a scan's time that is kept for returning what it has.
const margin = 20

func (s *Store) scan(ctx context.Context, r store.Record, opt store.ScanOptions) (page store.Page, err error) {
	defer took(&s.scans, time.Now(), &err)
	sc := &scan{s: s, r: r, opt: opt, prefix: s.itemsOf(r), left: opt.MaxBytes}
	if opt.Page != "" {
		if sc.after, err = parsePageToken(opt.Page); err != nil {
			return page, err
		}
	}
	err = sc.run(ctx)
	return sc.page, err
}

// A scan collects one page.
type scan struct {
	s      *Store
	r      store.Record
	opt    store.ScanOptions
	prefix string
	after  string // the last key of the page before
	left   int    // bytes that may still be returned
	page   store.Page
	full   bool
	last   string // the last key that was decided about
}

func (sc *scan) run(ctx context.Context) error {
	outer := ctx
	if end, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(end)*(margin-1)/margin)
		defer cancel()
	}
	err := sc.collect(ctx)
	if err != nil && len(sc.page.Items)+len(sc.page.Corrupt) > 0 && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, store.ErrUnavailable)) && outer.Err() == nil {
		// On time with what there is, rather than late and complete.
		sc.page.Next = pageToken(sc.last)
		return nil
	}
	if err != nil {
		return err
	}
	if sc.full {
		sc.page.Next = pageToken(sc.last)
	}
	return nil
}

// collect lists the newest versions in key order, in groups of which the
// objects are read at once.
func (sc *scan) collect(ctx context.Context) error {
	list, stop := context.WithCancel(ctx)
	defer stop()
	start := max(sc.opt.From, sc.after)
	opt := minio.ListObjectsOptions{Prefix: sc.prefix, Recursive: true}
	if start != "" {
		// Before the group that start is in: there is nothing that sorts lower
		// than its names' first part.
		_, ordered := keyName(start)
		opt.StartAfter = sc.prefix + ordered
	}
	end := ""
	if sc.opt.To != "" {
		_, end = keyName(sc.opt.To)
	}
	now := sc.s.opt.Now()
	var batch []version
	var bytes int64 // of what is in the batch
	var lastKey string
	for info := range sc.s.api.ListObjectsIter(list, sc.s.opt.Bucket, opt) {
		if info.Err != nil {
			return sc.s.kind(ctx, info.Err)
		}
		v, err := sc.s.version(sc.prefix, info)
		if err != nil {
			sc.s.log.Warn("object left out", "err", err)
			continue
		}
		if end != "" && v.ordered > end {
			break
		}
		if v.key == lastKey {
			continue // an older one
		}
		lastKey = v.key
		if v.expired(now) {
			continue
		}
		// A group of long keys stays together: it is put in order as a whole.
		enough := len(batch) >= readers || sc.opt.Values && bytes > int64(sc.left)
		if enough && len(batch) > 0 && batch[len(batch)-1].ordered != v.ordered {
			if err := sc.take(ctx, batch); err != nil || sc.full {
				return err
			}
			batch, bytes = batch[:0], 0
		}
		batch = append(batch, v)
		bytes += v.size
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return sc.take(ctx, batch)
}

// A found is what was read of a version.
type found struct {
	version
	h     header
	value []byte
	err   error
}

// take adds a batch to the page, as far as it fits.
func (sc *scan) take(ctx context.Context, batch []version) error {
	all := make([]found, len(batch))
	var wg sync.WaitGroup
	slots := make(chan struct{}, readers)
	for i, v := range batch {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			all[i] = sc.read(ctx, v)
		})
	}
	wg.Wait()
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.h.Key, b.h.Key) })
	for _, f := range all {
		if errors.Is(f.err, store.ErrNotFound) {
			continue // replaced or deleted meanwhile, and tidied up
		}
		if f.err != nil && !errors.Is(f.err, store.ErrCorrupt) {
			return f.err
		}
		key := f.h.Key
		if key == "" || key <= sc.after || key < sc.opt.From || sc.opt.To != "" && key >= sc.opt.To {
			continue
		}
		if f.err != nil {
			sc.page.Corrupt = append(sc.page.Corrupt, key)
			sc.last = key
			continue
		}
		item := f.h.item()
		size := len(key) + len(item.Meta)
		if sc.opt.Values {
			item.Value = f.value
			size += len(f.value)
		}
		if size > sc.left && len(sc.page.Items) > 0 {
			sc.full = true
			return nil
		}
		sc.left -= size
		sc.page.Items = append(sc.page.Items, item)
		sc.last = key
	}
	return nil
}

func (sc *scan) read(ctx context.Context, v version) found {
	f := found{version: v}
	if !sc.opt.Values {
		f.h, f.err = sc.s.header(ctx, v.object, v.size)
	} else if data, err := sc.s.read(ctx, v.object, 0); err != nil {
		f.err = err
	} else {
		f.h, f.value, f.err = decodeObject(data)
	}
	if f.err == nil {
		f.err = belongs(&f.h, sc.r, f.h.Key, v.token)
	}
	if f.h.Key == "" || errors.Is(f.err, store.ErrCorrupt) {
		f.h.Key = keyOf(v)
	}
	return f
}
