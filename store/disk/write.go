package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"headwater/store"
)

// A group of mutations is written at once: small ones together, a large one alone.
const (
	groupOps   = 64
	groupBytes = 1 << 20
	largeBytes = groupBytes / 8
)

// large reports whether the op is written alone, and from its own image.
func (o *op) large() bool { return len(o.image) >= largeBytes }

// write is the writer. It ends when the log is closing and the queue is empty.
func (l *log) write() {
	for range l.queued {
		for {
			group, closing := l.take()
			if len(group) == 0 {
				if closing {
					l.retire()
					l.flightMu.Lock()
					l.drained = true
					l.flightMu.Unlock()
					wake(l.written)
					return
				}
				break
			}
			l.writeGroup(group)
		}
	}
}

// take takes the next group out of the queue.
func (l *log) take() (group []*op, closing bool) {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	n, size := 0, int64(0)
	for n < len(l.queue) && n < groupOps && !(n > 0 && l.queue[n-1].large()) {
		if size += l.queue[n].record.len(); n > 0 && size > groupBytes || n > 0 && l.queue[n].large() {
			break
		}
		l.queue[n].taken = true
		n++
	}
	group = append(group, l.queue[:n]...)
	m := copy(l.queue, l.queue[n:])
	clear(l.queue[m:])
	l.queue = l.queue[:m]
	return group, l.closing
}

// writeGroup writes what must be written of a group and passes all of it on,
// in order.
func (l *log) writeGroup(group []*op) {
	now := l.opt.Now()
	var accepted []*op
	var size int64
	free, freeErr := l.fs.Free(l.dir)
	for _, o := range group {
		if o.retire {
			if l.active != nil && !now.Before(l.active.until) {
				l.retire()
			}
			o.finish(nil)
			continue
		}
		stale := false
		if o.leader, stale = l.standing(o, accepted); o.leader != nil {
			// Written ops of this group come first in flight.
			accepted = append(accepted, o)
			continue
		} else if stale {
			o.finish(nil)
			continue
		}
		if err := l.room(o, size, free, freeErr); err != nil {
			l.refuse(o, err)
			continue
		}
		accepted = append(accepted, o)
		size += o.record.len()
	}
	if len(accepted) == 0 {
		return
	}
	if size == 0 {
		l.pass(accepted)
		return
	}
	var f *logFile
	err := l.manifest.standing()
	if err == nil {
		f, err = l.activeFile(now)
	}
	if err == nil {
		err = l.append(f, accepted)
	}
	if err != nil {
		l.counters.writeErrors.Add(1)
		if err = outcome(err); !errors.Is(err, store.ErrFull) && !l.failing {
			l.failing = true
			l.logger.Error("write failed, and may go on to fail", "error", err)
		}
		var followers []*op // their fate is that of others in flight
		for _, o := range accepted {
			if o.leader != nil {
				followers = append(followers, o)
				continue
			}
			o.file = nil
			l.refuse(o, err)
		}
		l.pass(followers)
		return
	}
	if l.full && slices.ContainsFunc(accepted, func(o *op) bool { return o.takesSpace(now) }) {
		l.full = false
		l.logger.Info("there is space again")
	}
	if l.failing {
		l.failing = false
		l.logger.Info("writes succeed again")
	}
	l.pass(accepted)
}

// append writes the ops' records behind each other to the end of f.
func (l *log) append(f *logFile, ops []*op) error {
	start := f.size.Load()
	w := stager{f: f.f, start: start, buf: l.stage}
	var last *op
	for _, o := range ops {
		if o.leader != nil {
			continue
		}
		last, o.file, o.record.offset = o, f, w.end()
		place(o.image[:o.record.headLen()], f.id, w.end(), f.durable.Load())
		if !l.opt.Cache {
			o.note = slices.Clone(o.image[:l.inTwin(&o.record)])
		}
		if o.large() {
			w.writeBlocks(o.image)
		} else {
			w.write(o.bytes())
		}
	}
	last.pad = uint16(roundUp(last.record.offset+last.record.len()) - last.record.offset - last.record.len())
	if w.flush(); w.err == nil {
		l.resize(f, w.start)
	} else if err := f.f.Truncate(start); err != nil {
		f.ragged.Store(true)
		// What was written in part stays at the end. A file that is not
		// appended to any more may have such a tail.
		l.logger.Error("a partial write could not be cut back", "file", f.path, "error", err)
		l.retire()
	}
	return w.err
}

// stager writes to a file through a buffer of blocks.
type stager struct {
	f     File
	start int64 // where buf goes
	buf   []byte
	n     int // of buf
	err   error
}

func (s *stager) end() int64 { return s.start + int64(s.n) }

func (s *stager) write(b []byte) {
	for len(b) > 0 && s.err == nil {
		n := copy(s.buf[s.n:], b)
		s.n += n
		if b = b[n:]; s.n == len(s.buf) {
			s.flush()
		}
	}
}

// writeBlocks writes whole blocks from where they are. Nothing is staged.
func (s *stager) writeBlocks(b []byte) {
	s.err = s.f.WriteBlocks(s.start, b)
	s.start += int64(len(b))
}

// flush writes what there is, padded to whole blocks.
func (s *stager) flush() {
	n := int(roundUp(int64(s.n)))
	if n == 0 || s.err != nil {
		return
	}
	clear(s.buf[s.n:n])
	s.err = s.f.WriteBlocks(s.start, s.buf[:n])
	s.start, s.n = s.start+int64(n), 0
}

// standing returns whether the op has nothing to do, durably, or the one in flight
// beside which it will have nothing to do if that succeeds.
func (l *log) standing(o *op, accepted []*op) (leader *op, stale bool) {
	for _, a := range accepted {
		if a.covers(o) {
			return a, false
		}
	}
	l.flightMu.Lock()
	for _, a := range l.inflight {
		if a.covers(o) {
			leader = a
			break
		}
	}
	l.flightMu.Unlock()
	// What leaves inflight is in the index before: this order misses nothing.
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.stale(o) {
		return nil, true
	}
	return leader, false
}

// takesSpace reports whether the op is not one that makes space in the end, as a
// delete does, and an item that takes another away.
func (o *op) takesSpace(now time.Time) bool {
	return o.record.kind == kindPut && o.moveFrom == nil && o.leader == nil && o.record.expires > now.UnixMilli()
}

// room returns an error unless there is space for o after size bytes of others.
// Deletes and compaction, which make space, are refused by the disk alone.
func (l *log) room(o *op, size, free int64, freeErr error) error {
	if !o.takesSpace(l.opt.Now()) {
		return nil
	}
	need, reserve := size+o.record.len(), l.opt.ReserveBytes
	if l.namespace == store.Control {
		reserve /= 2
	} else if used := l.bytes.Load(); l.opt.MaxBytes > 0 && used+need > l.opt.MaxBytes {
		return fmt.Errorf("%w: %d of at most %d bytes, %d more", store.ErrFull, used, l.opt.MaxBytes, need)
	}
	if freeErr == nil && free-need < reserve {
		return fmt.Errorf("%w: %d bytes free on the disk with %d in reserve, %d more", store.ErrFull, free, reserve, need)
	}
	return nil
}

func (l *log) refuse(o *op, err error) {
	if errors.Is(err, store.ErrFull) {
		l.counters.full.Add(1)
		l.short.Store(true)
		if !l.full {
			l.full = true
			l.logger.Warn("full: items are refused until space returns", "error", err)
		}
		l.poke()
	}
	o.finish(err)
}

// pass hands written ops, and followers of them, to the syncer.
func (l *log) pass(ops []*op) {
	for _, o := range ops {
		o.free()
	}
	l.flightMu.Lock()
	l.inflight = append(l.inflight, ops...)
	l.flightMu.Unlock()
	wake(l.written)
}

// activeFile returns the file to append to, a new one where the last is full,
// past its bucket, or broken.
func (l *log) activeFile(now time.Time) (*logFile, error) {
	if f := l.active; f != nil {
		if !f.broken.Load() && f.size.Load() < l.opt.FileBytes && now.Before(f.until) {
			return f, nil
		}
		l.retire()
	}
	f, err := l.createFile(rand.Uint64(), now)
	if err != nil {
		return nil, err
	}
	l.nextSeq++
	f.until = l.bucketEnd(now)
	l.active = f
	l.mu.Lock()
	l.files = append(l.files, f)
	l.mu.Unlock()
	l.bytes.Add(f.size.Load())
	if l.opt.Cache {
		l.poke() // an old one may have to go
	}
	return f, nil
}

// resize records how long a file has become.
func (l *log) resize(f *logFile, size int64) { l.bytes.Add(size - f.size.Swap(size)) }

// retire ends appending to the active file. The syncer seals it when all that
// is in flight for it is done.
func (l *log) retire() {
	if l.active == nil {
		return
	}
	o := &op{retire: true, file: l.active, done: make(chan struct{})}
	l.active = nil
	l.flightMu.Lock()
	l.inflight = append(l.inflight, o)
	l.flightMu.Unlock()
	wake(l.written)
}
