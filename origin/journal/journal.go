// Package journal keeps what viewers really got.
//
// Locks: Journal.mu alone.
package journal

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

	"headwater/origin/layout"
	"headwater/origin/metric"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"headwater/live"
	"headwater/store"
)

// A Journal is what viewers really got: each choice when this node first served
// it, and each refusal. Requests only enter it in memory; a goroutine writes
// what has gathered in batches, one item for some numbers of an event, under a
// key that no other batch has. So nodes do not meet, a batch that is written
// twice is there once, and all that is read is merged.
type Journal struct {
	Config
	grew chan struct{} // holds one while there is something to write

	mu      sync.Mutex // guards the following
	pending map[entryKey]*Entry
	batches []*batch // not written yet
	count   int64    // batches made
	held    int      // entries in both

	written, dropped prometheus.Counter
}

// A Config is what a journal is built from.
type Config struct {
	Store, Reader store.Store // to write to, and to read from
	Tokens        *store.Tokens
	Node          string
	Timeout       time.Duration // of one store operation
	// Timeline is that of an event, while it lives.
	Timeline func(of Life) (live.Timeline, bool)
	Log      *slog.Logger
	Metrics  *prometheus.Registry
}

// A Life names one of the events that had a name, one after the other.
type Life struct {
	Event live.EventID
	Life  int64
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

// An Entry says that a node served a choice, or refused a segment.
type Entry struct {
	Rendition string      `json:"rendition"`
	Number    live.Number `json:"number"`

	// Of a choice that was served.
	Pipeline string `json:"pipeline,omitempty"`
	Region   string `json:"region,omitempty"`
	Digest   string `json:"digest,omitempty"`  // as Content-Digest
	Defects  string `json:"defects,omitempty"` // as Live-Defects, with those of the seam
	Quality  string `json:"quality,omitempty"` // as Live-Quality, as it was known then
	Reason   string `json:"reason,omitempty"`  // "" where another node chose
	Turn     int64  `json:"turn,omitempty"`    // InPlace for what was served and not chosen, Verdict for what was only said of it
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

// InPlace is the turn of what a node served because it could not have the choice.
const InPlace = -1

// Verdict is the turn of what is no choice: what was said of a candidate's quality
// after it was published. It is not among a batch's entries, where origins that know
// nothing of verdicts would take it for a choice.
const Verdict = -2

// Choice reports whether an entry says what was chosen. Turns below zero that are not
// known here are of a later version, and no choices.
func (e *Entry) Choice() bool { return e.Digest != "" && e.Turn >= 0 }

// An entryKey is what makes one entry of several.
type entryKey struct {
	of        Life
	rendition string
	number    live.Number
	problem   string // of a refusal
	pipeline  string // of a choice, whose bytes may be another's too
	digest    string
	turn      int64
}

// A batch is the value of an item of the journal.
type batch struct {
	Life    int64    `json:"life,omitempty"`
	Entries []*Entry `json:"entries"`
	Said    []*Entry `json:"said,omitempty"` // the verdicts

	of  Life
	key string
}

// New returns a journal that writes nothing before Run.
func New(cfg Config) *Journal {
	j := &Journal{Config: cfg, grew: make(chan struct{}, 1), pending: make(map[entryKey]*Entry),
		written: metric.Counter(cfg.Metrics, "journal_written_total", "Entries of the journal that are durable."),
		dropped: metric.Counter(cfg.Metrics, "journal_dropped_total", "Entries of the journal that were lost, since too many waited to be written."),
	}
	metric.Gauge(cfg.Metrics, "journal_pending", "Entries of the journal that wait to be written.", func() float64 {
		j.mu.Lock()
		defer j.mu.Unlock()
		return float64(j.held)
	})
	return j
}

// Enter takes an entry of an event. Those that are the same but for when and how
// often become one.
func (j *Journal) Enter(of Life, e Entry) {
	k := entryKey{of, e.Rendition, e.Number, e.Problem, e.Pipeline, e.Digest, e.Turn}
	j.mu.Lock()
	defer j.mu.Unlock()
	switch old := j.pending[k]; {
	case old != nil:
		old.Count, old.Last = old.Count+e.Count, max(old.Last, e.Last)
		if e.Turn == Verdict {
			old.Quality = e.Quality // it grows
		}
	case j.held >= maxEntries:
		j.dropped.Inc()
	default:
		j.pending[k] = &e
		j.held++
	}
	j.signal()
}

// signal needs mu.
func (j *Journal) signal() {
	select {
	case j.grew <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends, and then what is left.
func (j *Journal) Run(ctx context.Context) {
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
func (j *Journal) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, j.Timeout)
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
		j.Log.Warn("journal", "batches", left, "entries", held, "err", err)
	}
}

// gather makes batches of what is pending. It needs mu.
func (j *Journal) gather() {
	type block struct {
		of    Life
		first live.Number
	}
	open := make(map[block]*batch)
	for k, e := range j.pending {
		at := block{k.of, k.number - k.number%journalBlock}
		b := open[at]
		if b == nil || b.len() == maxBatch {
			j.count++
			b = &batch{Life: k.of.Life, of: k.of, key: layout.NumberKey(at.first) + j.Node + "-" + strconv.FormatInt(j.count, 10)}
			open[at] = b
			j.batches = append(j.batches, b)
		}
		if e.Turn == Verdict {
			b.Said = append(b.Said, e)
		} else {
			b.Entries = append(b.Entries, e)
		}
	}
	clear(j.pending)
}

func (j *Journal) wrote(b *batch, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil && !errors.Is(err, errOver) {
		j.signal() // to be tried again
		return
	}
	j.held -= b.len()
	j.batches = slices.DeleteFunc(j.batches, func(x *batch) bool { return x == b })
	if err == nil {
		j.written.Add(float64(b.len()))
	}
}

// write stores a batch, for as long as its segments are there.
func (j *Journal) write(ctx context.Context, b *batch) error {
	tl, alive := j.Timeline(b.of)
	if !alive {
		return errOver
	}
	value, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("origin: journal: %w", err)
	}
	block, _ := blockOf(b.key)
	return j.Store.Put(ctx, layout.Journal(b.of.Event), store.Item{Key: b.key, Token: j.Tokens.Next(), Value: value,
		Expires: tl.GoneAt(block + journalBlock - 1).Add(time.Minute)})
}

// blockOf is the first number of the block of a journal's key.
func blockOf(key string) (live.Number, error) {
	n, _, err := layout.ParseSegmentKey(key[:min(len(key), len(layout.NumberKey(0)))] + "x")
	return n, err
}

// Read calls f for what all nodes have entered of an event's numbers from and
// to, inclusive; what this one has not written yet is among it, once.
func (j *Journal) Read(ctx context.Context, of Life, from, to live.Number, f func(*Entry)) error {
	j.mu.Lock()
	j.gather() // into batches, so that each has the key that it is written under
	own := make(map[string]*batch)
	for _, b := range j.batches {
		if b.of == of {
			own[b.key] = b
		}
	}
	j.mu.Unlock()
	err := ReadJournal(ctx, j.Reader, of, from, to, func(key string, x *Entry) {
		delete(own, key)
		f(x)
	})
	for _, b := range own {
		b.each(from, to, f)
	}
	return err
}

func (b *batch) len() int { return len(b.Entries) + len(b.Said) }

func (b *batch) each(from, to live.Number, f func(*Entry)) {
	for _, x := range slices.Concat(b.Entries, b.Said) {
		if x.Number >= from && x.Number <= to {
			f(x)
		}
	}
}

// ReadJournal calls f for what the nodes have written of an event's numbers from
// and to, inclusive, with the key of its batch. What cannot be read is left out.
func ReadJournal(ctx context.Context, s store.Store, of Life, from, to live.Number, f func(key string, x *Entry)) error {
	opt := store.ScanOptions{Values: true}
	opt.From, _ = layout.NumberRange(from - from%journalBlock)
	_, opt.To = layout.NumberRange(to)
	for item, err := range store.All(ctx, s, layout.Journal(of.Event), opt) {
		if errors.Is(err, store.ErrCorrupt) {
			continue
		}
		if err != nil {
			return fmt.Errorf("origin: reading the journal of %v: %w", of.Event, err)
		}
		var b batch
		if json.Unmarshal(item.Value, &b) != nil || b.Life != of.Life {
			continue
		}
		b.each(from, to, func(x *Entry) { f(item.Key, x) })
	}
	return nil
}
