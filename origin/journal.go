package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"headwater/live"
	"headwater/store"
)

// A journal is what viewers really got: each choice when this node first served
// it, and each refusal. Requests only enter it in memory; a goroutine writes
// what has gathered in batches, one item for some numbers of an event, under a
// key that no other batch has. So nodes do not meet, a batch that is written
// twice is there once, and all that is read is merged.
type journal struct {
	journalConfig
	grew chan struct{} // holds one while there is something to write

	mu      sync.Mutex // guards the following
	pending map[entryKey]*entry
	batches []*batch // not written yet
	count   int64    // batches made
	held    int      // entries in both

	written, dropped prometheus.Counter
}

// A journalConfig is what a journal is built from.
type journalConfig struct {
	store, reader store.Store // to write to, and to read from
	tokens        *store.Tokens
	node          string
	timeout       time.Duration // of one store operation
	// timeline is that of an event, while it lives.
	timeline func(of life) (live.Timeline, bool)
	log      *slog.Logger
	metrics  *prometheus.Registry
}

// A life names one of the events that had a name, one after the other.
type life struct {
	event live.EventID
	life  int64
}

// errOver is what writing for an event returns that is no more.
var errOver = errors.New("origin: the event is over")

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
	of        life
	rendition string
	number    live.Number
	problem   string // of a refusal
	digest    string // of a choice
	turn      int64
}

// A batch is the value of an item of the journal.
type batch struct {
	Life    int64    `json:"life,omitempty"`
	Entries []*entry `json:"entries"`

	of  life
	key string
}

func newJournal(cfg journalConfig) *journal {
	j := &journal{journalConfig: cfg, grew: make(chan struct{}, 1), pending: make(map[entryKey]*entry),
		written: newCounter(cfg.metrics, "journal_written_total", "Entries of the journal that are durable."),
		dropped: newCounter(cfg.metrics, "journal_dropped_total", "Entries of the journal that were lost, since too many waited to be written."),
	}
	newGauge(cfg.metrics, "journal_pending", "Entries of the journal that wait to be written.", func() float64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return float64(j.held)
	})
	return j
}

// enter takes an entry of an event. Those that are the same but for when and how
// often become one.
func (j *journal) enter(of life, e entry) {
	k := entryKey{of, e.Rendition, e.Number, e.Problem, e.Digest, e.Turn}
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
	ctx, cancel := context.WithTimeout(ctx, j.timeout)
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
			if errors.Is(err, errOver) {
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
		j.log.Warn("journal", "batches", left, "entries", held, "err", err)
	}
}

// gather makes batches of what is pending. It needs mu.
func (j *journal) gather() {
	type block struct {
		of    life
		first live.Number
	}
	open := make(map[block]*batch)
	for k, e := range j.pending {
		at := block{k.of, k.number - k.number%journalBlock}
		b := open[at]
		if b == nil || len(b.Entries) == maxBatch {
			j.count++
			b = &batch{Life: k.of.life, of: k.of, key: numberKey(at.first) + j.node + "-" + strconv.FormatInt(j.count, 10)}
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
	if err != nil && !errors.Is(err, errOver) {
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
	tl, alive := j.timeline(b.of)
	if !alive {
		return errOver
	}
	value, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("origin: journal: %w", err)
	}
	block, _ := blockOf(b.key)
	return j.store.Put(ctx, journalRecord(b.of.event), store.Item{Key: b.key, Token: j.tokens.Next(), Value: value,
		Expires: tl.GoneAt(block + journalBlock - 1).Add(time.Minute)})
}

// blockOf is the first number of the block of a journal's key.
func blockOf(key string) (live.Number, error) {
	n, _, err := parseSegmentKey(key[:min(len(key), len(numberKey(0)))] + "x")
	return n, err
}

// read calls f for what all nodes have entered of an event's numbers from and
// to, inclusive; what this one has not written yet is among it, once.
func (j *journal) read(ctx context.Context, of life, from, to live.Number, f func(*entry)) error {
	j.mu.Lock()
	j.gather() // into batches, so that each has the key that it is written under
	own := make(map[string]*batch)
	for _, b := range j.batches {
		if b.of == of {
			own[b.key] = b
		}
	}
	j.mu.Unlock()
	err := readJournal(ctx, j.reader, of, from, to, func(key string, x *entry) {
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
func readJournal(ctx context.Context, s store.Store, of life, from, to live.Number, f func(key string, x *entry)) error {
	opt := store.ScanOptions{Values: true}
	opt.From, _ = numberRange(from - from%journalBlock)
	_, opt.To = numberRange(to)
	for item, err := range store.All(ctx, s, journalRecord(of.event), opt) {
		if errors.Is(err, store.ErrCorrupt) {
			continue
		}
		if err != nil {
			return fmt.Errorf("origin: reading the journal of %v: %w", of.event, err)
		}
		var b batch
		if json.Unmarshal(item.Value, &b) != nil || b.Life != of.life {
			continue
		}
		b.each(from, to, func(x *entry) { f(item.Key, x) })
	}
	return nil
}
