package edge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"headwater/live"
	"headwater/store"
)

// What is on disk: in the media namespace a record for each flush version and
// rendition, with an item for each segment and one for the init segment; in the
// control namespace a record for each event, with its configuration.

const (
	initKey  = "init"
	eventKey = live.ConfigName
	// eventAgain is how often an event's configuration is written although it
	// did not change: what nobody follows any more shall expire.
	eventAgain = time.Hour
)

// onDisk names an object there.
func (k key) onDisk() (store.Record, string) {
	p := k.path
	r := store.Record{Namespace: store.Media, ID: fmt.Sprintf("%d/%s/%s/%s", k.flush, p.Event.Tenant, p.Event.Name, p.Rendition)}
	if p.File == live.FileInit {
		return r, initKey
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

// meta needs an object whose head is there.
func (o *object) meta() ([]byte, error) {
	b, err := json.Marshal(diskMeta{
		Header: o.header, Pipeline: o.source.Pipeline, Region: o.source.Region, Made: o.made,
		Received: o.received.UnixNano(), Age: int64(o.age), Lifetime: int64(o.lifetime), Plain: int64(o.plain),
	})
	if err != nil {
		return nil, fmt.Errorf("edge: metadata: %w", err)
	}
	return b, nil
}

// restore takes the head from what meta wrote.
func (o *object) restore(b []byte) error {
	var m diskMeta
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("edge: metadata: %w", err)
	}
	o.status, o.header = http.StatusOK, m.Header
	o.source = live.Source{Pipeline: m.Pipeline, Region: m.Region}
	o.made, o.received, o.age = m.Made, time.Unix(0, m.Received), time.Duration(m.Age)
	o.lifetime, o.plain = time.Duration(m.Lifetime), time.Duration(m.Plain)
	return nil
}

// fill fills an object from the disk. It reports false where the disk does not
// have it, or not in time, or not as it should be.
func (ed *Edge) fillFromDisk(e *event, o *object) bool {
	d := ed.disk
	if d.open == nil || o.key.path.File != live.FileSegment && o.key.path.File != live.FileInit {
		return false
	}
	result, item := d.load(o)
	from := object{key: o.key}
	if result == "hit" {
		result = from.check(e.view.Load(), item)
	}
	d.metrics.reads.WithLabelValues(result).Inc()
	if result != "hit" {
		return false
	}
	size := int64(len(item.Value))
	if !ed.cache.charge(o, size) {
		ed.shed(o)
		return true
	}
	o.status, o.header, o.source, o.made = from.status, from.header, from.source, from.made
	o.received, o.age, o.lifetime, o.plain = from.received, from.age, from.lifetime, from.plain
	o.size, o.onDisk = size, true
	o.sending = ed.metrics.sending(e, o)
	o.finish(item.Value, nil)
	o.open()
	return true
}

// check makes the head of an item that was read the object's, and says whether
// the item may be served.
func (o *object) check(v *view, item store.Item) string {
	if o.restore(item.Meta) != nil {
		return "corrupt"
	}
	digest, _ := live.ParseDigest(o.header[live.HeaderContentDigest])
	switch now := time.Now(); {
	case live.DigestOf(item.Value) != digest:
		return "corrupt"
	case now.Sub(o.received) >= o.lifetime, o.received.After(now):
		// Received in the future: the clock was set back, and how old it is
		// nobody can tell.
		return "stale"
	case v.withdrewAnswer(o.key.path, o.made, &o.source):
		return "withdrawn"
	}
	return "hit"
}

// load reads an object, if the disk has it and is well.
func (d *diskCache) load(o *object) (result string, item store.Item) {
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
	record, key := o.key.onDisk()
	if !st.Has(record, key) {
		return "miss", item
	}
	return d.get(o.ctx, record, key)
}

// get reads an item. It does not wait for a disk that hangs.
func (d *diskCache) get(ctx context.Context, r store.Record, key string) (result string, item store.Item) {
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
func (d *diskCache) struck(err error) {
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

// recall reads the configuration of an event that no parent tells of.
func (d *diskCache) recall(ctx context.Context, id live.EventID) *view {
	d.mu.Lock()
	st := d.store
	d.mu.Unlock()
	if st == nil || !st.Has(eventRecord(id), eventKey) {
		return nil
	}
	result, item := d.get(ctx, eventRecord(id), eventKey)
	if result != "hit" {
		return nil
	}
	v, err := newView(item.Value, string(item.Meta))
	if err != nil {
		d.log.Error("disk cache", "event", id.String(), "err", err)
		return nil
	}
	return v
}
