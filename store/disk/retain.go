package disk

import (
	"context"
	"errors"

	"headwater/store"
	"headwater/store/internal/index"
)

// What a record replaced or deleted must not return when the record is gone
// and the log is read again. Such older records are only ever in the same file
// or in older ones: mutations that change nothing are not written, and
// compaction copies only what is there. So the oldest file can always go once
// the index needs nothing in it, and a later one only if it shadows nothing.

// retain forgets what has expired, drops files and compacts.
func (l *log) retain(ctx context.Context) error {
	if l.postponed.Load() > 0 {
		return nil // what is not read yet may be needed, or shadowed by what seems to be needed by nobody
	}
	now := l.opt.Now()
	l.mu.RLock()
	records := l.index.Records()
	l.mu.RUnlock()
	for _, r := range records {
		l.mu.Lock() // for one record at a time: readers wait little
		l.index.Sweep(r, now)
		l.mu.Unlock()
	}
	l.sumUp(now)
	// A bucket that is over gets no more records, also where none arrive.
	o := &op{retire: true, done: make(chan struct{})}
	if err := l.submit(ctx, o, nil); err != nil {
		return err
	}
	if err := l.drop(); err != nil {
		return err
	}
	if l.opt.Cache && l.namespace == store.Media {
		return l.evict()
	}
	if l.manifest.standing() != nil {
		return nil
	}
	for {
		f := l.sparse()
		if f == nil {
			return nil
		}
		if err := l.compact(ctx, f); err != nil {
			return err
		}
		before := l.counters.dropped.Load() + l.counters.setAside.Load()
		if err := l.drop(); err != nil {
			return err
		}
		if before == l.counters.dropped.Load()+l.counters.setAside.Load() {
			return nil // something in it is remembered for some time yet
		}
	}
}

// drop removes the files that nothing needs, oldest first.
func (l *log) drop() error {
	for {
		f := l.droppable()
		if f == nil {
			return nil
		}
		// The name goes first, durably, so that no older record outlives what
		// shadows it; only then the file is forgotten. Before that the manifest
		// lets it go, so that it is not missed.
		err := l.manifest.change(func(m *manifest) { m.strike(l.namespace, f.id) })
		if err != nil && !errors.Is(outcome(err), store.ErrFull) {
			return err
		}
		if err = l.removeFile(f); err != nil {
			return err
		}
		err = l.fs.SyncDir(l.dir)
		l.mu.Lock()
		for i := range l.files {
			if l.files[i] == f {
				l.files = append(l.files[:i:i], l.files[i+1:]...)
				break
			}
		}
		l.mu.Unlock()
		l.bytes.Add(-f.size.Load())
		f.release()
		if err != nil {
			return err
		}
	}
}

// removeFile takes a file and its twin away, or aside.
func (l *log) removeFile(f *logFile) (err error) {
	aside := f.damaged && l.namespace == store.Control
	switch {
	case f.gone:
	case aside:
		// Control items do not expire: the damage may hide one of value.
		err = l.fs.Rename(f.path, f.path+damagedSuffix)
	default:
		err = l.fs.Remove(f.path)
	}
	if err != nil {
		return err
	}
	if f.twin != nil && aside {
		err = l.fs.Rename(f.twinPath, f.twinPath+damagedSuffix)
	} else if f.twin != nil {
		err = l.fs.Remove(f.twinPath)
	}
	if err != nil {
		l.logger.Warn("a twin could not be removed", "file", f.twinPath, "error", err)
	}
	if aside {
		l.counters.setAside.Add(1)
	} else {
		l.counters.dropped.Add(1)
	}
	return nil
}

func (l *log) droppable() *logFile {
	l.mu.RLock()
	defer l.mu.RUnlock()
	oldest := true
	for _, f := range l.files {
		// A file that could not be synced may hold records that the index
		// does not know; nothing may go that might shadow them.
		if f.broken.Load() && f.durable.Load() != f.size.Load() && !oldest {
			return nil
		}
		if f.sealed && f.refs == 0 && (oldest || !f.shadows) && len(f.lost) == 0 {
			return f
		}
		// Of one that is gone with its twin, and is only missed, nothing can return.
		oldest = oldest && f.gone && f.twin == nil
	}
	return nil
}

// evict drops a cache's oldest files until there is room for one more, or for
// what was refused.
func (l *log) evict() error {
	short := l.short.Swap(false)
	for short || l.opt.MaxBytes > 0 && l.bytes.Load() > l.opt.MaxBytes-l.opt.FileBytes {
		short = false
		l.mu.RLock()
		var f *logFile
		if len(l.files) > 0 && l.files[0].sealed {
			f = l.files[0]
		}
		l.mu.RUnlock()
		if f == nil {
			return nil
		}
		l.forget(f)
		l.counters.evicted.Add(1)
		if err := l.drop(); err != nil {
			return err
		}
	}
	return nil
}

// forget takes what is in f out of the index.
func (l *log) forget(f *logFile) {
	l.mu.RLock()
	records := l.index.Records()
	l.mu.RUnlock()
	for _, r := range records {
		l.mu.Lock() // for one record at a time: readers wait little
		l.index.ForgetFunc(r, func(e *index.Entry[*location]) bool { return e.Value.file == f })
		l.mu.Unlock()
	}
}

// controlFiles is how many small files of the control namespace are left alone.
const controlFiles = 16

// sparse returns the oldest file if the log has more garbage than live bytes,
// and a file's worth of garbage beyond. Copying the oldest file's live records
// makes it droppable, and frees those after it that waited for it.
func (l *log) sparse() *logFile {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var live, size int64
	for _, f := range l.files {
		live += f.live
		size += f.size.Load()
	}
	if len(l.files) == 0 || !l.files[0].sealed {
		return nil
	}
	// What is damaged of control is there only once: it is copied on, from where it
	// is good, and the file set aside.
	if l.namespace == store.Control {
		for _, f := range l.files {
			if f.damaged && f.sealed && f.refs > 0 {
				return f
			}
		}
	}
	// Many restarts leave many small files. Those of media go with time.
	many := l.namespace == store.Control && len(l.files) > controlFiles && size < int64(len(l.files))*l.opt.FileBytes/2
	if many || size-live > live+l.opt.FileBytes {
		return l.files[0]
	}
	return nil
}

// compact copies the live items of f to the end of the log, each from where it can
// be read.
func (l *log) compact(ctx context.Context, f *logFile) error {
	f.users.Add(1)
	defer f.release()
	type item struct {
		rec store.Record
		found
	}
	var todo []item
	now := l.opt.Now()
	l.mu.RLock()
	for _, r := range l.index.Records() {
		l.index.Ascend(r, "", "", func(e *index.Entry[*location]) bool {
			if e.Value.file == f && e.Live(now) {
				todo = append(todo, item{r, found{e}})
			}
			return true
		})
	}
	l.mu.RUnlock()
	for _, x := range todo {
		got, err := l.read(ctx, x.rec, x.found, true, nil)
		if errors.Is(err, store.ErrCorrupt) {
			if older, ok := l.older(x.rec, x.entry.Key, x.entry.Token); ok && l.namespace == store.Control {
				got, err = older, nil // under the token of what it stands for
			} else {
				// It can be neither served nor copied. Its file is going.
				l.mu.Lock()
				f.damaged = true
				l.index.Forget(x.rec, x.entry)
				l.mu.Unlock()
				continue
			}
		}
		if err != nil {
			return err
		}
		o := newOp(x.rec, record{kind: kindPut, key: x.entry.Key, meta: got.Meta, token: x.entry.Token, expires: index.ExpiryOf(got.Expires)})
		o.moveFrom = x.entry.Value
		if err := l.submit(ctx, o, got.Value); err != nil {
			return err
		}
		l.counters.compactedBytes.Add(x.entry.Value.len())
	}
	return nil
}
