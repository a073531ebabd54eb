package object

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// A Store is what a Disk keeps objects in: store/disk as a cache.
type Store interface {
	Put(ctx context.Context, r store.Record, item store.Item) error
	Get(ctx context.Context, r store.Record, key string) (store.Item, error)
	Has(r store.Record, key string) bool
	Stats() disk.Stats
	Close() error
}

// A Disk keeps on disk what was filled, for as long as it may be served:
// the DVR window. It may forget anything, and never makes anybody wait: what
// its one writer does not keep up with is dropped, and a read that is late is
// left for the parents. While the disk fails there is only memory.
type Disk struct {
	open    func() (Store, error) // nil: there is no disk
	log     *slog.Logger
	cache   *Cache
	metrics *diskMetrics
	spawn   func(func()) bool
	tokens  *store.Tokens
	most    int64         // bytes that may wait for the writer
	poked   chan struct{} // capacity 1: there is something to write
	opened  chan struct{} // closed after the first attempt to open
	slots   chan struct{} // one per read under way

	mu     sync.Mutex // guards the following
	store  Store      // nil while it is not open
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
	object *Object
	event  live.EventID
	config []byte // event.json of it; nil: it is no more
	etag   string
	keep   time.Duration
}

// A DiskConfig says where a Disk is and how large.
type DiskConfig struct {
	Open    func() (Store, error) // nil: there is no disk
	Queue   int64                 // bytes that may wait for its writer
	Spawn   func(func()) bool     // runs a task, unless all is over
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// OpenDisk opens a directory as a Store of so many bytes.
func OpenDisk(dir string, size int64, now func() time.Time, log *slog.Logger) func() (Store, error) {
	return func() (Store, error) {
		return disk.Open(dir, disk.Options{Cache: true, MaxBytes: size, Now: now, Logger: log})
	}
}

// NewDisk makes the disk beside a cache. Run opens it.
func NewDisk(cfg DiskConfig, c *Cache) *Disk {
	d := &Disk{
		open: cfg.Open, log: cfg.Log, cache: c, spawn: cfg.Spawn, tokens: store.NewTokens(), most: cfg.Queue,
		poked: make(chan struct{}, 1), opened: make(chan struct{}), slots: make(chan struct{}, diskReads),
	}
	if d.open != nil {
		d.faults[opening] = errDiskOpening
	}
	d.metrics = newDiskMetrics(d, cfg.Metrics)
	return d
}

// There reports whether there is a disk, well or not.
func (d *Disk) There() bool { return d.open != nil }

// Run opens the disk, writes what is offered and looks after a disk that
// fails, until ctx ends.
func (d *Disk) Run(ctx context.Context) {
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

// Await waits for the first attempt to open the disk.
func (d *Disk) Await() {
	t := time.NewTimer(diskOpen)
	defer t.Stop()
	select {
	case <-d.opened:
	case <-t.C:
		d.log.Error("the disk takes long to open: memory only until then")
	}
}

func (d *Disk) tryOpen() {
	st, err := d.open()
	d.mu.Lock()
	if err == nil {
		d.store = st
	}
	d.mu.Unlock()
	d.note(opening, err)
}

// probe tries a disk that fails.
func (d *Disk) probe(ctx context.Context) {
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
func (d *Disk) note(s side, err error) {
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
func (d *Disk) fault() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.faultLocked()
}

// faultLocked needs mu.
func (d *Disk) faultLocked() error {
	for _, err := range d.faults {
		if err != nil {
			return err
		}
	}
	return nil
}

// Says is what an operator is told of a disk that fails.
func (d *Disk) Says() string {
	if err := d.fault(); err != nil {
		return "disk: " + err.Error() + ": memory only\n"
	}
	return ""
}

// Offer has a filled object written, where that is worth it.
func (d *Disk) Offer(o *Object) {
	if d.open == nil || o.Status != http.StatusOK || !o.Key.stored() {
		return
	}
	digest, _ := live.ParseDigest(o.Header[live.HeaderContentDigest])
	switch {
	case digest.IsZero():
		d.metrics.drop("undigested")
	case o.Lifetime < diskBrief:
		d.metrics.drop("brief")
	default:
		d.push(diskJob{object: o})
	}
}

// Remember has an event's configuration written, and Forget taken out: without
// one nothing of an event can be served when there are no parents.
func (d *Disk) Remember(id live.EventID, config []byte, etag string, keep time.Duration) {
	d.push(diskJob{event: id, config: config, etag: etag, keep: keep})
}
func (d *Disk) Forget(id live.EventID) { d.push(diskJob{event: id}) }

func (j *diskJob) size() int64 {
	switch {
	case j.object != nil:
		data, _, _ := j.object.Body()
		return overhead + int64(len(data))
	case j.config != nil:
		return overhead + int64(len(j.config))
	}
	return overhead
}

func (d *Disk) push(j diskJob) {
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

func (d *Disk) take() (j diskJob, ok bool) {
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
func (d *Disk) discard(why string) {
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
func (d *Disk) finish(j diskJob) {
	size := j.size()
	d.mu.Lock()
	d.queued -= size
	d.mu.Unlock()
	d.release(j)
}

func (d *Disk) release(j diskJob) {
	if j.object != nil {
		d.cache.Release(j.object)
	}
}

// do is what the writer does with one job.
func (d *Disk) do(ctx context.Context, j diskJob) {
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
	case j.config != nil:
		err = st.Put(ctx, eventRecord(j.event), store.Item{
			Key: eventKey, Token: d.tokens.Next(), Meta: []byte(j.etag), Value: j.config, Expires: time.Now().Add(j.keep),
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
func (d *Disk) write(ctx context.Context, st Store, o *Object) error {
	data, _, err := o.Body()
	if err != nil || time.Since(o.Received) > o.Lifetime-diskBrief/2 {
		return nil // it has waited for too long
	}
	meta, err := o.Head.meta()
	if err != nil {
		return err
	}
	record, key := o.Key.onDisk()
	err = st.Put(ctx, record, store.Item{
		Key: key, Token: d.tokens.Next(), Meta: meta, Value: data, Expires: o.Received.Add(o.Lifetime),
	})
	if err == nil {
		d.metrics.writes.Inc()
		d.metrics.written.Add(float64(len(data)))
	}
	return err
}
