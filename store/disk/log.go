package disk

import (
	"context"
	"log/slog"
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
	fs        vfs
	opt       Options // with this namespace's FileBytes
	logger    *slog.Logger
	poke      func() // wakes the janitor

	mu    sync.RWMutex
	index index.Index[*location] // guarded by mu
	files []*logFile             // guarded by mu; by seq
	shut  bool                   // guarded by mu; reads are refused

	queueMu sync.Mutex
	queue   []*op         // guarded by queueMu
	closing bool          // guarded by queueMu; mutations are refused
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

	bytes    atomic.Int64 // in the files
	counters counters
}

func newLog(fsys vfs, dir, namespace string, opt Options, poke func()) *log {
	l := &log{namespace: namespace, dir: dir, fs: fsys, opt: opt, poke: poke,
		logger: opt.Logger.With("namespace", namespace),
		stage:  newBlocks(int(min(stageBytes, roundUp(opt.FileBytes)))),
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
	record   record // what will be in the log; its place is set by the writer
	head     []byte
	value    []byte    // the caller's
	moveFrom *location // a compaction's copy of what is there
	retire   bool      // no mutation: retire the active file if its bucket is over, or at the end

	taken bool // guarded by the log's queueMu; the writer has it

	// The writer's.
	file     *logFile // where it was written; nil for a follower
	pad      uint16   // zero bytes written behind it
	follower bool     // changes nothing beside an earlier one in flight, and shares its fate
	waiting  bool     // released is open

	released chan struct{} // closed when the caller's bytes are no longer used
	done     chan struct{} // closed when err is set
	err      error
}

func newOp(r store.Record, rec record, value []byte) *op {
	rec.id = r.ID
	rec.metaLen, rec.size = len(rec.meta), int64(len(value))
	return &op{rec: r, record: rec, value: value, waiting: true,
		head:     rec.appendHead(make([]byte, 0, rec.headLen())),
		released: make(chan struct{}), done: make(chan struct{})}
}

// end is where the op's bytes in the file end, padding included.
func (o *op) end() int64 { return o.record.offset + o.record.len() + int64(o.pad) }

// covers reports whether o, once it has taken effect, leaves p nothing to do.
func (o *op) covers(p *op) bool {
	if o.retire || p.retire || o.moveFrom != nil || o.rec.ID != p.rec.ID || o.record.token.Compare(p.record.token) < 0 {
		return false
	}
	if p.record.kind == kindDelete {
		return o.record.kind == kindDelete && o.record.key <= p.record.key &&
			(o.record.to == "" || p.record.to != "" && p.record.to <= o.record.to)
	}
	if o.record.kind == kindDelete {
		return index.Contains(o.record.key, o.record.to, p.record.key)
	}
	return o.record.key == p.record.key
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
		return l.index.DeleteStale(o.rec, o.record.key, o.record.to, o.record.token)
	}
	return l.index.PutStale(o.rec, o.record.key, o.record.token)
}

// submit runs a mutation to its end, or to the end of ctx. It returns only
// when the value's bytes are no longer in use.
func (l *log) submit(ctx context.Context, o *op) error {
	l.mu.RLock()
	stale := l.stale(o)
	l.mu.RUnlock()
	l.queueMu.Lock()
	if l.closing {
		l.queueMu.Unlock()
		return store.ErrClosed
	}
	if stale {
		l.queueMu.Unlock()
		return nil
	}
	l.queue = append(l.queue, o)
	l.queueMu.Unlock()
	wake(l.queued)

	select {
	case <-o.done:
		return o.err
	case <-ctx.Done():
	}
	if l.withdraw(o) {
		return ctx.Err()
	}
	<-o.released
	select {
	case <-o.done:
		return o.err
	default:
		return ctx.Err()
	}
}

// withdraw takes o out of the queue if the writer does not have it yet.
func (l *log) withdraw(o *op) bool {
	l.queueMu.Lock()
	defer l.queueMu.Unlock()
	if o.taken {
		return false
	}
	for i, q := range l.queue {
		if q == o {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			break
		}
	}
	return true
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// free lets the caller have its bytes back.
func (o *op) free() {
	if o.waiting {
		o.waiting = false
		o.value, o.head = nil, nil
		close(o.released)
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
