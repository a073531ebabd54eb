package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"headwater/live"
	"headwater/selection"
	"headwater/store"
)

// A journal is what viewers really got: each choice when this node first served
// it, and each refusal. Requests only enter it in memory; a goroutine writes
// what has gathered in batches, one item for some numbers of an event, under a
// key that no other batch has. So nodes do not meet, a batch that is written
// twice is there once, and all that is read is merged.
type journal struct {
	o    *Origin
	grew chan struct{} // holds one while there is something to write

	mu      sync.Mutex // guards the following
	pending map[entryKey]*entry
	batches []*batch // not written yet
	count   int64    // batches made
	held    int      // entries in both

	written, dropped, overruled prometheus.Counter
}

// The limits of a journal.
const (
	gatherFor      = 400 * time.Millisecond // so that an entry is durable within a second
	maxEntries     = 20_000                 // in memory: what is more is dropped, and counted
	maxBatch       = 1_000                  // entries
	journalWriters = 4
	// journalBlock is how many numbers share a key's: a look at some numbers
	// reads what is under the keys of their blocks.
	journalBlock = 64
)

// An entry says that a node served a choice, or refused a segment.
type entry struct {
	Rendition string      `json:"rendition"`
	Number    live.Number `json:"number"`

	// Of a choice that was served.
	Pipeline string `json:"pipeline,omitempty"`
	Region   string `json:"region,omitempty"`
	Digest   string `json:"digest,omitempty"`  // as Content-Digest
	Defects  string `json:"defects,omitempty"` // as Live-Defects, with those of the seam
	Reason   string `json:"reason,omitempty"`  // "" where another node chose
	Turn     int64  `json:"turn,omitempty"`    // inPlace for what was served and not chosen
	Version  int64  `json:"version,omitempty"`
	Chosen   int64  `json:"chosen,omitempty"` // Unix ns
	By       string `json:"by,omitempty"`     // the node that chose

	// Of refusals.
	Status  int    `json:"status,omitempty"`
	Problem string `json:"problem,omitempty"`
	Count   int64  `json:"count,omitempty"`
	Last    int64  `json:"last,omitempty"` // Unix ns

	First int64 `json:"first"` // Unix ns: when this node first served, or refused
}

// inPlace is the turn of what a node served because it could not have the choice.
const inPlace = -1

// An entryKey is what makes one entry of several.
type entryKey struct {
	event     *event
	rendition string
	number    live.Number
	problem   string      // of a refusal
	digest    live.Digest // of a choice
	turn      int64
}

// A batch is the value of an item of the journal.
type batch struct {
	Life    int64    `json:"life,omitempty"`
	Entries []*entry `json:"entries"`

	event *event
	key   string
}

func newJournal(o *Origin) *journal {
	one := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "headwater", Subsystem: "origin", Name: name, Help: help})
		o.cfg.Metrics.MustRegister(c)
		return c
	}
	j := &journal{o: o, grew: make(chan struct{}, 1), pending: make(map[entryKey]*entry),
		written:   one("journal_written_total", "Entries of the journal that are durable."),
		dropped:   one("journal_dropped_total", "Entries of the journal that were lost, since too many waited to be written."),
		overruled: one("choices_overruled_total", "Segments that this node had served otherwise than another node which chose at the same time, and whose choice stands."),
	}
	o.cfg.Metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "headwater", Subsystem: "origin", Name: "journal_pending", Help: "Entries of the journal that wait to be written."},
		func() float64 { j.mu.Lock(); defer j.mu.Unlock(); return float64(j.held) }))
	return j
}

// served enters a choice that is being sent, the first time that this node does.
// Who asks for exactly these bytes, or for none, is no viewer.
func (j *journal) served(d *delivery, findings live.Findings, now time.Time) {
	if d.r.Method != http.MethodGet || d.r.Header["If-Match"] != nil {
		return
	}
	c, p := d.decision.Candidate, d.decision.pin
	chosen := p != nil && p.Pipeline == c.Pipeline && p.Digest == c.Digest
	if chosen && (p.served.Load() != 0 || !p.served.CompareAndSwap(0, now.UnixNano())) {
		return // nearly always: a hit makes no entry
	}
	e := entry{Rendition: d.path.Rendition, Number: c.Number, Pipeline: c.Pipeline, Region: c.Region, Digest: c.Digest.String(),
		Defects: findings.String(), First: now.UnixNano()}
	if chosen {
		e.Reason, e.Turn, e.Version, e.Chosen, e.By = string(p.reason), p.Turn, p.Version, p.At.UnixNano(), p.Node
	} else {
		// In place of a choice that cannot be had here yet. It is none: after a
		// restart it must not stand.
		e.Reason, e.Turn, e.Version, e.Chosen, e.By = string(d.decision.Reason), inPlace, d.view.config().Version, e.First, j.o.node
	}
	j.enter(entryKey{event: d.event, rendition: e.Rendition, number: e.Number, digest: c.Digest, turn: e.Turn}, e)
}

// refused enters that a segment which should be there was not given.
func (j *journal) refused(d *delivery, p *live.Problem) {
	if d.event == nil || d.path.File != live.FileSegment || p.Code != live.ErrLost.Code && p.Status != http.StatusServiceUnavailable {
		return
	}
	now := time.Now().UnixNano()
	j.enter(entryKey{event: d.event, rendition: d.path.Rendition, number: d.path.Number, problem: p.Code},
		entry{Rendition: d.path.Rendition, Number: d.path.Number, Status: p.Status, Problem: p.Code, Count: 1, First: now, Last: now})
}

func (j *journal) enter(k entryKey, e entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch old := j.pending[k]; {
	case old != nil:
		old.Count, old.Last = old.Count+e.Count, max(old.Last, e.Last)
	case j.held >= maxEntries:
		j.dropped.Inc()
	default:
		j.pending[k] = &e
		j.held++
	}
	j.signal()
}

// signal needs mu.
func (j *journal) signal() {
	select {
	case j.grew <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then what is left.
func (j *journal) run(ctx context.Context) {
	pause := time.NewTimer(gatherFor)
	defer pause.Stop()
	for {
		select {
		case <-j.grew:
		case <-ctx.Done():
			j.flush(context.WithoutCancel(ctx))
			return
		}
		pause.Reset(gatherFor)
		select {
		case <-pause.C:
		case <-ctx.Done():
		}
		j.flush(context.WithoutCancel(ctx))
	}
}

// flush writes what has gathered. What cannot be written is tried again the next
// time.
func (j *journal) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, j.o.cfg.StoreTimeout)
	defer cancel()
	var writers errgroup.Group
	writers.SetLimit(journalWriters)
	j.mu.Lock()
	j.gather()
	batches := slices.Clone(j.batches)
	j.mu.Unlock()
	for _, b := range batches {
		writers.Go(func() error {
			err := j.write(ctx, b)
			j.wrote(b, err)
			if errors.Is(err, errNoEvent) {
				return nil // nobody asks for its history any more
			}
			return err
		})
	}
	// One line: while the store is down there are thousands of batches.
	if err := writers.Wait(); err != nil {
		j.mu.Lock()
		left, held := len(j.batches), j.held
		j.mu.Unlock()
		j.o.log.Warn("journal", "batches", left, "entries", held, "err", err)
	}
}

// gather makes batches of what is pending. It needs mu.
func (j *journal) gather() {
	type block struct {
		event *event
		first live.Number
	}
	open := make(map[block]*batch)
	for k, e := range j.pending {
		at := block{k.event, k.number - k.number%journalBlock}
		b := open[at]
		if b == nil || len(b.Entries) == maxBatch {
			j.count++
			b = &batch{Life: k.event.life, event: k.event, key: numberKey(at.first) + j.o.node + "-" + strconv.FormatInt(j.count, 10)}
			open[at] = b
			j.batches = append(j.batches, b)
		}
		b.Entries = append(b.Entries, e)
	}
	clear(j.pending)
}

func (j *journal) wrote(b *batch, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil && !errors.Is(err, errNoEvent) {
		j.signal() // to be tried again
		return
	}
	j.held -= len(b.Entries)
	j.batches = slices.DeleteFunc(j.batches, func(x *batch) bool { return x == b })
	if err == nil {
		j.written.Add(float64(len(b.Entries)))
	}
}

// write stores a batch, for as long as its segments are there.
func (j *journal) write(ctx context.Context, b *batch) error {
	if j.o.events.get(b.event.id) != b.event {
		return errNoEvent
	}
	value, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("origin: journal: %w", err)
	}
	tl := b.event.view.Load().config().Event.Timeline()
	block, _ := blockOf(b.key)
	return j.o.store.Put(ctx, journalRecord(b.event.id), store.Item{Key: b.key, Token: j.o.tokens.Next(), Value: value,
		Expires: tl.GoneAt(block + journalBlock - 1).Add(time.Minute)})
}

// blockOf is the first number of the block of a journal's key.
func blockOf(key string) (live.Number, error) {
	n, _, err := parseSegmentKey(key[:min(len(key), len(numberKey(0)))] + "x")
	return n, err
}

// read calls f for what all nodes have entered of an event's numbers from and
// to, inclusive; what this one has not written yet is among it, once.
func (j *journal) read(ctx context.Context, e *event, from, to live.Number, f func(*entry)) error {
	j.mu.Lock()
	j.gather() // into batches, so that each has the key that it is written under
	own := make(map[string]*batch)
	for _, b := range j.batches {
		if b.event == e {
			own[b.key] = b
		}
	}
	j.mu.Unlock()
	err := readJournal(ctx, j.o.reader, e, from, to, func(key string, x *entry) {
		delete(own, key)
		f(x)
	})
	for _, b := range own {
		b.each(from, to, f)
	}
	return err
}

func (b *batch) each(from, to live.Number, f func(*entry)) {
	for _, x := range b.Entries {
		if x.Number >= from && x.Number <= to {
			f(x)
		}
	}
}

// readJournal calls f for what the nodes have written of an event's numbers from
// and to, inclusive, with the key of its batch. What cannot be read is left out.
func readJournal(ctx context.Context, s store.Store, e *event, from, to live.Number, f func(key string, x *entry)) error {
	opt := store.ScanOptions{Values: true}
	opt.From, _ = numberRange(from - from%journalBlock)
	_, opt.To = numberRange(to)
	for item, err := range store.All(ctx, s, journalRecord(e.id), opt) {
		if errors.Is(err, store.ErrCorrupt) {
			continue
		}
		if err != nil {
			return fmt.Errorf("origin: reading the journal of %v: %w", e.id, err)
		}
		var b batch
		if json.Unmarshal(item.Value, &b) != nil || b.Life != e.life {
			continue
		}
		b.each(from, to, func(x *entry) { f(item.Key, x) })
	}
	return nil
}

// readPins brings back from the journal which choices stand.
func readPins(ctx context.Context, s store.Store, e *event, from, to live.Number) error {
	return readJournal(ctx, s, e, from, to, func(_ string, x *entry) {
		digest, err := live.ParseDigest([]string{x.Digest})
		if x.Digest == "" || x.Turn == inPlace || err != nil {
			return
		}
		e.adopt(x.Rendition, x.Number, &pin{reason: selection.Reason(x.Reason), Pin: selection.Pin{Pipeline: x.Pipeline, Region: x.Region, Digest: digest,
			Turn: x.Turn, At: time.Unix(0, x.Chosen).UTC(), Node: x.By, Version: x.Version}})
	})
}
