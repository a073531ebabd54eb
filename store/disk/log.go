package disk

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headwater/store"
	"headwater/store/internal/index"
)

// log is one namespace: its files, the index of what is in them, and the
// pipeline of mutations. A mutation passes
//
//	submit  (the caller's goroutine)  queue ->
//	writer  (one goroutine)           active file -> inflight ->
//	syncer  (one goroutine)           fdatasync -> index -> answer
//
// The writer writes the next mutations while the syncer waits for the disk;
// one sync is for all that was written before it began. Readers see a mutation
// when it is durable.
//
// Lock order: none is taken while another is held.
type log struct {
	namespace string
	dir       string
	fs        FS
	opt       Options // with this namespace's FileBytes
	logger    *slog.Logger
	poke      func()     // wakes the janitor
	manifest  *registrar // nil: none is kept

	mu    sync.RWMutex
	index index.Index[*location] // guarded by mu
	files []*logFile             // guarded by mu; by seq

	postponed  atomic.Int32          // how many files are pending
	pending    []*logFile            // guarded by mu; by seq; those that were not read yet
	wants      chan struct{}         // capacity 1: one of pending is waited for
	left       chan struct{}         // closed when those that are pending are not read any more
	deletes    map[string][]deletion // guarded by mu; by record id; while files are pending
	rangesOwed bool                  // the start's: RANGES does not tell of all
	rangesTurn turn                  // held while RANGES is written

	queueMu sync.Mutex
	queue   []*op         // guarded by queueMu
	closing bool          // guarded by queueMu; no more come
	queued  chan struct{} // capacity 1: queue or closing changed

	flightMu sync.Mutex
	inflight []*op         // guarded by flightMu; written in this order, not yet answered
	drained  bool          // guarded by flightMu; the writer has ended
	written  chan struct{} // capacity 1: inflight or drained changed

	// The writer's own.
	active  *logFile // nil until something must be written
	nextSeq uint64
	stage   []byte // where groups are put together, in blocks
	full    bool   // the last item was refused for want of space
	failing bool   // the last write failed

	short     atomic.Bool  // an item was refused for want of space since the janitor last looked
	bytes     atomic.Int64 // in the files
	lostItems atomic.Int64
	counters  counters
}

func newLog(dir, namespace string, opt Options, manifest *registrar, poke func()) *log {
	l := &log{manifest: manifest, namespace: namespace, dir: dir, fs: opt.FS, opt: opt, poke: poke,
		logger: opt.Logger.With("namespace", namespace),
		stage:  newBlocks(groupBytes + largeBytes), rangesTurn: make(turn, 1), wants: make(chan struct{}, 1), left: make(chan struct{}),
		queued: make(chan struct{}, 1), written: make(chan struct{}, 1)}
	l.index.Removed = func(loc *location) {
		loc.file.refs--
		loc.file.live -= loc.footprint()
	}
	return l
}

// op is one mutation on its way.
type op struct {
	rec      store.Record
	record   record    // what will be in the log; its place is set by the writer
	image    []byte    // it as it will be in the log, with zeros up to whole blocks; from the pool
	note     []byte    // it as it will be in the twin; set by the writer
	moveFrom *location // a compaction's copy of what is there
	retire   bool      // no mutation: retire the active file if its bucket is over, or at the end

	taken bool // guarded by the log's queueMu; the writer has it

	// The writer's.
	file   *logFile // where it was written; nil for a follower
	pad    uint16   // zero bytes written behind it
	leader *op      // an earlier one in flight, beside which this changes nothing, and whose fate it shares

	done chan struct{} // closed when err is set
	err  error
}

func newOp(r store.Record, rec record) *op {
	rec.id, rec.metaLen = r.ID, len(rec.meta)
	return &op{rec: r, record: rec, done: make(chan struct{})}
}

// fill makes the image with a copy of value. It is the only copy of a large
// value on its way to the disk; callers make theirs at the same time.
func (o *op) fill(value []byte) {
	o.record.size = int64(len(value))
	head := o.record.headLen()
	o.image = images.get(int(roundUp(o.record.len())))
	at, sum := head, uint32(0)
	for len(value) > 0 {
		// In parts that the processor still has at hand for the checksum.
		n := copy(o.image[at:], value[:min(len(value), 64<<10)])
		sum = updateSum(sum, o.image[at:at+n])
		at, value = at+n, value[n:]
	}
	clear(o.image[at:])
	o.record.valueSum = sum
	o.record.appendHead(o.image[:0])
}

// bytes returns the image without the zeros at its end.
func (o *op) bytes() []byte { return o.image[:o.record.len()] }

// end is where the op's bytes in the file end, padding included.
func (o *op) end() int64 { return o.record.offset + o.record.len() + int64(o.pad) }

// covers reports whether o, once it has taken effect, leaves p nothing to do: a
// newer item of the same key, and for a compaction's copy the delete of its record.
func (o *op) covers(p *op) bool {
	if o.retire || p.retire || o.moveFrom != nil || p.record.kind == kindDelete || o.rec.ID != p.rec.ID || o.record.token.Compare(p.record.token) < 0 {
		return false
	}
	return o.record.kind == kindPut && o.record.key == p.record.key || o.record.kind == kindDelete && p.moveFrom != nil
}

// stale reports whether the index already leaves o nothing to do. l.mu is held.
func (l *log) stale(o *op) bool {
	switch {
	case o.retire:
		return false
	case o.moveFrom != nil:
		e := l.index.Get(o.rec, o.record.key)
		return e == nil || e.Value != o.moveFrom
	case o.record.kind == kindDelete:
		return false
	}
	return l.index.PutStale(o.rec, o.record.key, o.record.token)
}

// submit runs a mutation to its end, or to the end of ctx. The caller's value
// is not used after it has returned.
func (l *log) submit(ctx context.Context, o *op, value []byte) error {
	if !o.retire {
		last := o.record.key
		if o.record.kind == kindDelete {
			last = ""
		}
		if err := l.await(ctx, o.rec.ID, o.record.key, last); err != nil {
			return err
		}
	}
	l.mu.RLock()
	stale := l.stale(o)
	l.mu.RUnlock()
	if stale {
		return nil
	}
	if !o.retire {
		o.fill(value)
	}
	l.queueMu.Lock()
	l.queue = append(l.queue, o)
	l.queueMu.Unlock()
	wake(l.queued)

	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
		l.withdraw(o)
		return ctx.Err()
	}
}

// withdraw takes o out of the queue, unless the writer has it already: then it
// takes its course with nobody waiting.
func (l *log) withdraw(o *op) {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	if o.taken {
		return
	}
	if i := slices.Index(l.queue, o); i >= 0 {
		l.queue = slices.Delete(l.queue, i, i+1)
		o.free()
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// free gives the image back. Who holds the op does it: its caller until it is
// queued or once it has withdrawn it, the writer once it has taken it.
func (o *op) free() {
	if o.image != nil {
		images.put(o.image)
		o.image = nil
	}
}

func (o *op) finish(err error) {
	o.free()
	o.err = err
	close(o.done)
}

// bucketEnd returns when the bucket of now ends.
func (l *log) bucketEnd(now time.Time) time.Time {
	return now.Truncate(l.opt.Bucket).Add(l.opt.Bucket)
}
