package disk

import (
	"errors"
	"fmt"
	"time"

	"headwater/store"
	"headwater/store/internal/index"
)

// sync is the syncer. It ends when the writer has ended and nothing is in flight.
func (l *log) sync() {
	for range l.written {
		for {
			l.flightMu.Lock()
			ops, drained := append([]*op(nil), l.inflight...), l.drained
			l.flightMu.Unlock()
			if len(ops) == 0 {
				if drained {
					return
				}
				break
			}
			l.syncGroup(ops)
		}
	}
}

// syncGroup makes durable what was written so far, shows it to readers and answers.
func (l *log) syncGroup(ops []*op) {
	// Almost always one file; two where the writer went on to the next.
	var last *logFile
	for i, o := range ops {
		if o.file != nil && o.file != last && !o.retire {
			last = o.file
			l.syncFile(last, ops[i:])
		}
	}
	l.mu.Lock()
	for _, o := range ops {
		o.err = l.apply(o)
	}
	l.mu.Unlock()
	for _, o := range ops {
		if o.retire {
			l.seal(o.file)
		}
	}
	// After the index: see standing.
	l.flightMu.Lock()
	n := copy(l.inflight, l.inflight[len(ops):])
	clear(l.inflight[n:])
	l.inflight = l.inflight[:n]
	l.flightMu.Unlock()
	for _, o := range ops {
		o.finish(o.err)
	}
}

func (l *log) syncFile(f *logFile, ops []*op) {
	if f.broken.Load() {
		return
	}
	end, n := int64(0), 0
	for _, o := range ops {
		if o.file == f && !o.retire {
			end, n = o.end(), n+1
		}
	}
	if l.opt.Cache {
		// durable stays where it is: the next start then holds the values of a
		// file without a seal against their checksums.
		return
	}
	begun := time.Now()
	err := f.f.Sync()
	if err != nil {
		// The kernel may have dropped the pages and would call the next sync a
		// success: this file is not written to again, and nothing beyond what
		// was durable before is believed.
		f.failure = fmt.Errorf("%w: %w", outcome(err), errBroken)
		f.broken.Store(true)
		l.counters.syncErrors.Add(1)
		l.logger.Error("sync failed", "file", f.path, "error", err)
		return
	}
	f.durable.Store(end)
	l.note(f, ops)
	l.counters.synced(n, time.Since(begun))
}

var errBroken = errors.New("the log file could not be synced")

// apply puts a durable mutation into the index and returns its answer. l.mu is held.
func (l *log) apply(o *op) error {
	switch {
	case o.retire:
		return nil
	case o.leader != nil:
		return o.leader.err
	case o.file.broken.Load() && o.record.offset >= o.file.durable.Load():
		return o.file.failure
	}
	l.insert(o.file, &o.record, o.pad, o.moveFrom)
	return nil
}

// insert puts a record of f into the index, as a commit or a start does. l.mu is held.
func (l *log) insert(f *logFile, r *record, pad uint16, moveFrom *location) {
	if l.postpones() && f.unread == nil {
		f.cover(r)
	}
	loc := &location{file: f, offset: r.offset, twin: r.twin, size: r.size, head: int32(r.headLen()), meta: uint32(r.metaLen), pad: pad}
	rec := store.Record{Namespace: l.namespace, ID: r.id}
	// Counted first: an entry may replace itself at once.
	f.refs++
	f.live += loc.footprint()
	kept, replaced := false, true
	switch {
	case moveFrom != nil:
		if e := l.index.Get(rec, r.key); e != nil && e.Value == moveFrom {
			kept = l.index.Move(rec, r.key, r.token, loc)
		}
	case r.kind == kindDelete:
		// Nothing refers to it, but what it deleted must not return when it goes.
		l.index.ForgetFunc(rec, func(e *index.Entry[*location]) bool {
			return e.Key >= r.key && (r.to == "" || e.Key < r.to) && e.Token.Compare(r.token) <= 0 && e.Value.file.seq <= f.seq
		})
		f.shadows = true
		l.unmiss(f, rec, r)
		if l.postponed.Load() > 0 {
			if l.deletes == nil {
				l.deletes = make(map[string][]deletion)
			}
			l.deletes[r.id] = append(l.deletes[r.id], deletion{f.seq, r.key, r.to, r.token})
		}
	case l.deleted(f, r.id, r.key, r.token):
	default:
		kept, replaced = l.index.Put(rec, &index.Entry[*location]{Key: r.key, Token: r.token, Expires: r.expires, Value: loc})
		if newer := l.index.Get(rec, r.key).Value.file; newer.seq > f.seq {
			newer.shadows = true // it was read before what it replaced
		}
	}
	if !kept {
		l.index.Removed(loc)
	} else if replaced {
		f.shadows = true
	}
}

// seal ends a retired file with a record that says it is whole. Without one,
// the next start reads the values at its end, nothing worse.
func (l *log) seal(f *logFile) {
	if f.broken.Load() {
		if err := f.f.Truncate(f.durable.Load()); err != nil {
			l.logger.Error("a file that could not be synced could not be cut back either", "file", f.path, "error", err)
		} else {
			l.resize(f, f.durable.Load())
		}
	} else if size := f.size.Load(); f.ragged.Load() && f.f.Truncate(size) != nil {
		l.logger.Error("a partial write could not be cut back", "file", f.path)
	} else if f.durable.Load() == size || l.opt.Cache && l.syncWhole(f, size) {
		l.writeSeal(f, size, nil)
	}
	f.f.Retire()
	l.mu.Lock()
	f.sealed = true
	l.mu.Unlock()
	l.writeRanges()
}

// syncWhole syncs a cache's file, once: a seal says that all before it is there.
func (l *log) syncWhole(f *logFile, size int64) bool {
	if err := f.f.Sync(); err != nil {
		l.counters.syncErrors.Add(1)
		l.logger.Warn("sync failed", "file", f.path, "error", err)
		return false
	}
	f.durable.Store(size)
	return true
}

// writeSeal puts a seal behind all that is durable, in the log, then in the twin,
// and then in the manifest.
func (l *log) writeSeal(f *logFile, at int64, torn []stretch) {
	head, sealed := l.appendSeal(f, at, torn)
	if !sealed || l.opt.Cache || !l.noteSeal(f, head) {
		return
	}
	l.list(f, func(x *listed) { x.Sealed, x.Size, x.Records = true, f.size.Load(), f.records })
}

// list changes what the manifest has of a file. Where it has that already nothing is
// written: a start looks at all files.
func (l *log) list(f *logFile, change func(*listed)) {
	was := l.manifest.known(l.namespace, f.id)
	x := was
	if x.ID == 0 {
		x = listed{Namespace: l.namespace, Seq: f.seq, ID: f.id}
	}
	change(&x)
	if x == was {
		return
	}
	if err := l.manifest.change(func(m *manifest) { m.enter(x) }); err != nil {
		l.logger.Warn("the manifest could not be written", "error", err)
	}
}

// appendSeal writes the seal, durably except for a cache, and returns its head.
func (l *log) appendSeal(f *logFile, at int64, torn []stretch) (head []byte, done bool) {
	r := sealRecord(torn)
	head = r.appendHead(nil)
	place(head, f.id, at, at)
	w := stager{f: f.f, start: at, buf: newBlocks(blockSize)}
	w.write(head)
	w.flush()
	if w.err == nil && !l.opt.Cache {
		w.err = f.f.Sync()
	}
	if w.err != nil {
		// Best effort both: a torn seal is a torn tail.
		_ = f.f.Truncate(at)
		return nil, false
	}
	l.resize(f, w.start)
	f.durable.Store(w.start)
	f.sealAt = at
	return head, true
}
