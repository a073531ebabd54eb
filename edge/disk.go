package edge

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"headwater/live"
	"headwater/store"
	"headwater/store/disk"
)

const (
	// diskPatience is how long a read of the disk may take before the parents
	// are asked instead.
	diskPatience = 250 * time.Millisecond
	diskReads    = 32              // at once
	diskRetry    = time.Second     // between two tries of a disk that fails
	diskWrite    = 5 * time.Second // a write that takes longer has failed
	diskOpen     = 10 * time.Second
	// diskBrief is the least that is left of an answer's life for it to be
	// worth writing.
	diskBrief = 30 * time.Second
	// diskStrikes is how many reads in a row may fail before no more are tried
	// for a while.
	diskStrikes = 3
)

var (
	errDiskSlow    = errors.New("edge: the disk does not answer")
	errDiskOpening = errors.New("edge: the disk is not open yet")
)

// A diskStore is what the cache on disk is kept in: store/disk as a cache.
type diskStore interface {
	Put(ctx context.Context, r store.Record, item store.Item) error
	Get(ctx context.Context, r store.Record, key string) (store.Item, error)
	Has(r store.Record, key string) bool
	Stats() disk.Stats
	Close() error
}

// A diskCache keeps on disk what was filled, for as long as it may be served:
// the DVR window. It may forget anything, and never makes anybody wait: what
// its one writer does not keep up with is dropped, and a read that is late is
// left for the parents. While the disk fails there is only memory.
type diskCache struct {
	open    func() (diskStore, error) // nil: there is no disk
	log     *slog.Logger
	cache   *cache
	metrics *diskMetrics
	spawn   func(func()) bool
	tokens  *store.Tokens
	most    int64         // bytes that may wait for the writer
	poked   chan struct{} // capacity 1: there is something to write
	opened  chan struct{} // closed after the first attempt to open
	slots   chan struct{} // one per read under way

	mu     sync.Mutex // guards the following
	store  diskStore  // nil while it is not open
	faults [sides]error
	queue  []diskJob
	queued int64
	// Reads that failed in a row, and when the next may be tried.
	strikes int
	after   time.Time
}

// A side of the disk that can fail by itself.
type side uint8

const (
	opening side = iota
	writing
	reading
	sides
)

// A diskJob is one thing for the writer to do: an object to write, which is
// pinned, or what is known of an event.
type diskJob struct {
	object *object
	event  live.EventID
	view   *view // of event; nil: it is no more
}

func newDiskCache(cfg *Config, c *cache, spawn func(func()) bool) *diskCache {
	d := &diskCache{
		open: cfg.openDisk, log: cfg.Log, cache: c, spawn: spawn, tokens: store.NewTokens(), most: cfg.MemoryBytes / 8,
		poked: make(chan struct{}, 1), opened: make(chan struct{}), slots: make(chan struct{}, diskReads),
	}
	if d.open == nil && cfg.Disk != "" {
		dir, opt := cfg.Disk, disk.Options{Cache: true, MaxBytes: cfg.DiskBytes, Logger: cfg.Log}
		d.open = func() (diskStore, error) { return disk.Open(dir, opt) }
	}
	if d.open != nil {
		d.faults[opening] = errDiskOpening
	}
	return d
}

// run opens the disk, writes what is offered and looks after a disk that
// fails, until ctx ends.
func (d *diskCache) run(ctx context.Context) {
	defer func() {
		d.mu.Lock()
		st := d.store
		d.store = nil
		d.mu.Unlock()
		if st != nil {
			if err := st.Close(); err != nil {
				d.log.Error("disk cache", "err", err)
			}
		}
		d.discard("closing")
	}()
	d.tryOpen()
	close(d.opened)
	tick := time.NewTicker(diskRetry)
	defer tick.Stop()
	for ctx.Err() == nil {
		if d.fault() == nil {
			if j, ok := d.take(); ok {
				d.do(ctx, j)
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-d.poked:
		case <-tick.C:
			d.probe(ctx)
		}
	}
}

// await waits for the first attempt to open the disk.
func (d *diskCache) await() {
	t := time.NewTimer(diskOpen)
	defer t.Stop()
	select {
	case <-d.opened:
	case <-t.C:
		d.log.Error("the disk takes long to open: memory only until then")
	}
}

func (d *diskCache) tryOpen() {
	st, err := d.open()
	d.mu.Lock()
	if err == nil {
		d.store = st
	}
	d.mu.Unlock()
	d.note(opening, err)
}

// probe tries a disk that fails.
func (d *diskCache) probe(ctx context.Context) {
	d.mu.Lock()
	st, faults := d.store, d.faults
	d.mu.Unlock()
	record := store.Record{Namespace: store.Media, ID: "probe"}
	switch {
	case st == nil:
		d.tryOpen()
		return
	case faults[writing] == nil && faults[reading] == nil:
		return
	}
	ctx, cancel := context.WithTimeout(ctx, diskWrite)
	defer cancel()
	err := st.Put(ctx, record, store.Item{
		Key: "probe", Token: d.tokens.Next(), Value: make([]byte, 64<<10), Expires: time.Now().Add(10 * diskRetry),
	})
	if d.note(writing, err); err == nil && faults[reading] != nil {
		d.get(ctx, record, "probe")
	}
}

// note enters how an attempt ended, and says so where that is news.
func (d *diskCache) note(s side, err error) {
	d.mu.Lock()
	before := d.faultLocked()
	d.faults[s] = err
	after := d.faultLocked()
	d.mu.Unlock()
	switch {
	case after != nil && (before == nil || before == errDiskOpening):
		d.log.Error("the disk fails: memory only until it works again", "err", after)
		d.discard("failing")
	case before != nil && before != errDiskOpening && after == nil:
		d.log.Info("the disk works again")
	}
}

// fault is why there is only memory at the moment.
func (d *diskCache) fault() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faultLocked()
}

// faultLocked needs mu.
func (d *diskCache) faultLocked() error {
	for _, err := range d.faults {
		if err != nil {
			return err
		}
	}
	return nil
}

// says is what an operator is told of a disk that fails.
func (d *diskCache) says() string {
	if err := d.fault(); err != nil {
		return "disk: " + err.Error() + ": memory only\n"
	}
	return ""
}

// offer has a filled object written, where that is worth it.
func (d *diskCache) offer(o *object) {
	if d.open == nil || o.status != 200 || o.key.path.File != live.FileSegment && o.key.path.File != live.FileInit {
		return
	}
	digest, _ := live.ParseDigest(o.header[live.HeaderContentDigest])
	switch {
	case digest.IsZero():
		d.metrics.drop("undigested")
	case o.lifetime < diskBrief:
		d.metrics.drop("brief")
	default:
		d.push(diskJob{object: o})
	}
}

// remember has an event's configuration written, and forget taken out: without
// one nothing of an event can be served when there are no parents.
func (d *diskCache) remember(id live.EventID, v *view) { d.push(diskJob{event: id, view: v}) }
func (d *diskCache) forget(id live.EventID)            { d.push(diskJob{event: id}) }

func (j *diskJob) size() int64 {
	switch {
	case j.object != nil:
		data, _, _, _ := j.object.view()
		return overhead + int64(len(data))
	case j.view != nil:
		return overhead + int64(len(j.view.json))
	}
	return overhead
}

func (d *diskCache) push(j diskJob) {
	if d.open == nil {
		return
	}
	size := j.size()
	if j.object != nil {
		d.cache.pin(j.object)
	}
	d.mu.Lock()
	why := ""
	switch {
	case d.store == nil || d.faultLocked() != nil:
		why = "failing"
	case d.queued > 0 && d.queued+size > d.most:
		why = "behind"
	default:
		d.queue = append(d.queue, j)
		d.queued += size
	}
	d.mu.Unlock()
	if why != "" {
		d.metrics.drop(why)
		d.release(j)
		return
	}
	select {
	case d.poked <- struct{}{}:
	default:
	}
}

func (d *diskCache) take() (j diskJob, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue) == 0 {
		return j, false
	}
	j = d.queue[0]
	d.queue[0] = diskJob{}
	d.queue = d.queue[1:]
	return j, true
}

// discard empties the queue.
func (d *diskCache) discard(why string) {
	for {
		j, ok := d.take()
		if !ok {
			return
		}
		d.metrics.drop(why)
		d.finish(j)
	}
}

// finish ends a job that was taken from the queue.
func (d *diskCache) finish(j diskJob) {
	size := j.size()
	d.mu.Lock()
	d.queued -= size
	d.mu.Unlock()
	d.release(j)
}

func (d *diskCache) release(j diskJob) {
	if j.object != nil {
		d.cache.release(j.object)
	}
}

// do is what the writer does with one job.
func (d *diskCache) do(ctx context.Context, j diskJob) {
	defer d.finish(j)
	d.mu.Lock()
	st := d.store
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, diskWrite)
	defer cancel()
	var err error
	switch {
	case j.object != nil:
		err = d.write(ctx, st, j.object)
	case j.view != nil:
		err = st.Put(ctx, eventRecord(j.event), store.Item{
			Key: eventKey, Token: d.tokens.Next(), Meta: []byte(j.view.etag), Value: j.view.json,
			// Whoever is followed is written again long before.
			Expires: time.Now().Add(time.Duration(j.view.config.DVRSeconds)*time.Second + 2*eventAgain),
		})
	default:
		err = st.Put(ctx, eventRecord(j.event), store.Gone(eventKey, d.tokens.Next()))
	}
	switch {
	case errors.Is(err, context.Canceled):
		return
	case errors.Is(err, context.DeadlineExceeded):
		err = errDiskSlow
		d.metrics.drop("slow")
	case errors.Is(err, store.ErrTooLarge), errors.Is(err, store.ErrInvalid):
		d.metrics.drop("error")
		return // that is its own fault
	case errors.Is(err, store.ErrFull):
		d.metrics.drop("full")
	case err != nil:
		d.metrics.drop("error")
	}
	if err != nil {
		err = fmt.Errorf("edge: writing to the disk: %w", err)
	}
	d.note(writing, err)
}

// write writes an object.
func (d *diskCache) write(ctx context.Context, st diskStore, o *object) error {
	data, _, _, err := o.view()
	if err != nil || time.Since(o.received) > o.lifetime-diskBrief/2 {
		return nil // it has waited for too long
	}
	meta, err := o.meta()
	if err != nil {
		return err
	}
	record, key := o.key.onDisk()
	err = st.Put(ctx, record, store.Item{
		Key: key, Token: d.tokens.Next(), Meta: meta, Value: data, Expires: o.received.Add(o.lifetime),
	})
	if err == nil {
		d.metrics.writes.Inc()
		d.metrics.written.Add(float64(len(data)))
	}
	return err
}
