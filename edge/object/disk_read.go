package object

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"headwater/live"
	"headwater/store"
)

// What is on disk: in the media namespace a record for each flush version and
// rendition, with an item for each segment and one for each init segment; in the
// control namespace a record for each event, with its configuration.

const (
	firstInit = "init"
	eventKey  = live.ConfigName
)

// initKey is the key of a generation's init segment.
func initKey(generation int) string {
	if generation == 0 {
		return firstInit
	}
	return firstInit + "-" + strconv.Itoa(generation)
}

// stored reports whether objects of that kind are kept on disk. Key frames alone are not: an
// origin has them at hand.
func (k Key) stored() bool {
	return k.Path.File == live.FileSegment && !k.Path.Key || k.Path.File == live.FileInit
}

// onDisk names an object there.
func (k Key) onDisk() (store.Record, string) {
	p := k.Path
	r := store.Record{Namespace: store.Media, ID: fmt.Sprintf("%d/%s/%s/%s", k.Flush, p.Event.Tenant, p.Event.Name, p.Rendition)}
	if p.File == live.FileInit {
		return r, initKey(p.Generation)
	}
	return r, fmt.Sprintf("%016x", int64(p.Number))
}

func eventRecord(id live.EventID) store.Record {
	return store.Record{Namespace: store.Control, ID: id.Tenant + "/" + id.Name}
}

// A diskMeta is the head of an object on disk.
type diskMeta struct {
	Header   http.Header `json:"header"`
	Pipeline string      `json:"pipeline,omitempty"`
	Region   string      `json:"region,omitempty"`
	Made     int64       `json:"made"`     // configuration version
	Received int64       `json:"received"` // ns of Unix time; the next is ns too
	Age      int64       `json:"age,omitempty"`
	Lifetime int64       `json:"lifetime"`
	Plain    int64       `json:"plain"`
}

func (h *Head) meta() ([]byte, error) {
	b, err := json.Marshal(diskMeta{
		Header: h.Header, Pipeline: h.Source.Pipeline, Region: h.Source.Region, Made: h.Made,
		Received: h.Received.UnixNano(), Age: int64(h.Age), Lifetime: int64(h.Lifetime), Plain: int64(h.Plain),
	})
	if err != nil {
		return nil, fmt.Errorf("edge: metadata: %w", err)
	}
	return b, nil
}

// restore is the head that meta wrote.
func restore(b []byte) (h Head, err error) {
	var m diskMeta
	if err := json.Unmarshal(b, &m); err != nil {
		return h, fmt.Errorf("edge: metadata: %w", err)
	}
	return Head{
		Status: http.StatusOK, Header: m.Header, Source: live.Source{Pipeline: m.Pipeline, Region: m.Region}, OnDisk: true,
		Made: m.Made, Received: time.Unix(0, m.Received), Age: time.Duration(m.Age), Lifetime: time.Duration(m.Lifetime), Plain: time.Duration(m.Plain),
	}, nil
}

// Read gets what an object is to be from the disk. It reports false where the disk
// does not have it, or not in time, or not as it should be.
func (d *Disk) Read(o *Object, c *live.Config) (h Head, body []byte, ok bool) {
	if d.open == nil || !o.Key.stored() {
		return h, nil, false
	}
	result, item := d.load(o)
	if result == "hit" {
		h, result = check(o.Key.Path, item, c, time.Now())
	}
	d.metrics.reads.WithLabelValues(result).Inc()
	return h, item.Value, result == "hit"
}

// check says whether an item that was read may be served, and with which head.
func check(p live.Path, item store.Item, c *live.Config, now time.Time) (h Head, result string) {
	h, err := restore(item.Meta)
	if err != nil {
		return h, "corrupt"
	}
	h.Size = int64(len(item.Value))
	digest, _ := live.ParseDigest(h.Header[live.HeaderContentDigest])
	switch {
	case live.DigestOf(item.Value) != digest:
		return h, "corrupt"
	case now.Sub(h.Received) >= h.Lifetime, h.Received.After(now):
		// Received in the future: the clock was set back, and how old it is
		// nobody can tell.
		return h, "stale"
	case withdrawn(c, p, h.Made, &h.Source):
		return h, "withdrawn"
	}
	return h, "hit"
}

// load reads an object, if the disk has it and is well.
func (d *Disk) load(o *Object) (result string, item store.Item) {
	now := time.Now()
	d.mu.Lock()
	st := d.store
	switch {
	case st == nil:
	case d.faults[reading] == nil:
	case now.Before(d.after):
		st = nil
	default:
		d.after = now.Add(diskRetry) // this is the one try until then
	}
	d.mu.Unlock()
	if st == nil {
		return "down", item
	}
	record, key := o.Key.onDisk()
	if !st.Has(record, key) {
		return "miss", item
	}
	return d.get(o.Ctx, record, key)
}

// get reads an item. It does not wait for a disk that hangs.
func (d *Disk) get(ctx context.Context, r store.Record, key string) (result string, item store.Item) {
	d.mu.Lock()
	st := d.store
	d.mu.Unlock()
	select {
	case d.slots <- struct{}{}:
	default:
		return "busy", item
	}
	type answer struct {
		item store.Item
		err  error
	}
	answers := make(chan answer, 1)
	if st == nil || !d.spawn(func() {
		defer func() { <-d.slots }()
		item, err := st.Get(ctx, r, key)
		answers <- answer{item, err}
	}) {
		<-d.slots
		return "down", item
	}
	t := time.NewTimer(diskPatience)
	defer t.Stop()
	var err error
	select {
	case a := <-answers:
		item, err = a.item, a.err
	case <-t.C:
		err = errDiskSlow
	case <-ctx.Done():
		return "left", item
	}
	switch {
	case err == nil:
		d.struck(nil)
		return "hit", item
	case errors.Is(err, store.ErrNotFound):
		return "miss", item
	case errors.Is(err, store.ErrCorrupt):
		// The rest may be well. What is filled now takes its place.
		return "corrupt", item
	case errors.Is(err, context.Canceled), errors.Is(err, store.ErrClosed):
		return "left", item
	}
	d.struck(err)
	if errors.Is(err, errDiskSlow) {
		return "slow", item
	}
	return "error", item
}

// struck counts reads that fail.
func (d *Disk) struck(err error) {
	d.mu.Lock()
	if d.strikes++; err == nil {
		d.strikes = 0
	}
	news := err == nil && d.faults[reading] != nil || d.strikes >= diskStrikes
	if d.strikes >= diskStrikes {
		d.after = time.Now().Add(diskRetry)
	}
	d.mu.Unlock()
	if !news {
		return
	}
	if err != nil {
		err = fmt.Errorf("edge: reading from the disk: %w", err)
	}
	d.note(reading, err)
}

// Recall reads the configuration of an event that no parent tells of.
func (d *Disk) Recall(ctx context.Context, id live.EventID) (config []byte, etag string) {
	d.mu.Lock()
	st := d.store
	d.mu.Unlock()
	if st == nil || !st.Has(eventRecord(id), eventKey) {
		return nil, ""
	}
	if result, item := d.get(ctx, eventRecord(id), eventKey); result == "hit" {
		return item.Value, string(item.Meta)
	}
	return nil, ""
}
