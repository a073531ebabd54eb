// Package audit is the log of what was done and tried by the control API, and of
// what packagers changed of what viewers are told, in the store, so that every node
// tells the same. Only the node that was asked writes an entry, under a key that no
// other has: of a change there is one, however many nodes hear of the change. A change
// is in it when it is answered; where the store does not take it, it is tried again.
// What was refused is written a moment later, so a crash in between loses it, and no
// more of it than the store can take: who guesses cannot fill it.
package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/access"
	"headwater/clock"
	"headwater/live"
	"headwater/origin/metric"
	"headwater/store"
)

// An Entry is one thing that was done or tried.
type Entry struct {
	Time    time.Time `json:"time"`
	Node    string    `json:"node"`
	By      string    `json:"by"`   // who: the name of the credentials; nobody
	From    string    `json:"from"` // the address
	Method  string    `json:"method"`
	Path    string    `json:"path"`
	Event   string    `json:"event,omitempty"`
	Did     string    `json:"did,omitempty"`     // the verb, of a change that was made
	Refused string    `json:"refused,omitempty"` // the problem, of one that was not
	Before  string    `json:"before,omitempty"`
	After   string    `json:"after,omitempty"`
	Unsaid  int       `json:"unsaid,omitempty"` // refusals before this one that were too many to write
}

const (
	// Life is how long entries are kept.
	Life = 90 * 24 * time.Hour
	// RefusalEvery and RefusalBurst bound the refusals that a node writes.
	RefusalEvery = 2 * time.Second
	RefusalBurst = 64
	// maxPending bounds what waits to be written.
	maxPending = 1024
	// MaxDifference bounds what an entry says of a change, in bytes.
	MaxDifference = 16 << 10
	maxPath       = 256
	MaxEntries    = 1000
	Retry         = time.Second
)

// Record holds the entries of one day.
func Record(t time.Time) store.Record {
	return store.Record{Namespace: store.Control, ID: "audit/" + t.UTC().Format(time.DateOnly)}
}

// A Log writes entries.
type Log struct {
	clock   *clock.Clock
	store   store.Store
	tokens  *store.Tokens
	node    string
	timeout time.Duration
	log     *slog.Logger
	written prometheus.Counter
	unsaid  prometheus.Counter
	lost    prometheus.Counter

	mu      sync.Mutex // guards the following
	count   int
	pending []store.Item
	allowed float64 // refusals that may be written now
	since   time.Time
	skipped int
	news    chan struct{}
}

func New(clk *clock.Clock, st store.Store, tokens *store.Tokens, node string, timeout time.Duration, log *slog.Logger, reg *prometheus.Registry) *Log {
	return &Log{clock: clk, store: st, tokens: tokens, node: node, timeout: timeout, log: log, allowed: RefusalBurst, news: make(chan struct{}, 1),
		written: metric.Counter(reg, "audit_entries_total", "Entries of the audit log that were stored."),
		unsaid:  metric.Counter(reg, "audit_unsaid_total", "Refusals that were too many for the audit log: the next entry says how many."),
		lost:    metric.Counter(reg, "audit_lost_total", "Entries of the audit log that the store never took.")}
}

func (a *Log) item(e *Entry) store.Item {
	e.Node = a.node
	b, err := json.Marshal(e)
	if err != nil { // strings, numbers and a time: cannot be
		a.log.Error("audit", "err", err)
	}
	a.mu.Lock()
	a.count++
	key := fmt.Sprintf("%020d-%s-%d", e.Time.UnixNano(), a.node, a.count)
	a.mu.Unlock()
	return store.Item{Key: key, Token: a.tokens.Next(), Value: b, Expires: e.Time.Add(Life)}
}

// Changed stores what was done.
func (a *Log) Changed(ctx context.Context, e Entry) {
	item := a.item(&e)
	if err := a.put(context.WithoutCancel(ctx), item); err != nil { // who asked may be gone
		a.log.Error("the audit log does not take a change yet", "did", e.Did, "event", e.Event, "by", e.By, "from", e.From, "err", err)
		a.later(item)
	}
}

// Refused notes what was not done.
func (a *Log) Refused(e Entry) {
	a.mu.Lock()
	a.allowed = min(a.allowed+float64(e.Time.Sub(a.since))/float64(RefusalEvery), RefusalBurst)
	a.since = e.Time
	if a.allowed < 1 {
		a.skipped++
		a.mu.Unlock()
		a.unsaid.Inc()
		return
	}
	a.allowed--
	e.Unsaid, a.skipped = a.skipped, 0
	a.mu.Unlock()
	a.later(a.item(&e))
}

// later has Run write an entry.
func (a *Log) later(item store.Item) {
	a.mu.Lock()
	if len(a.pending) >= maxPending {
		a.pending = a.pending[1:]
		a.lost.Inc()
	}
	a.pending = append(a.pending, item)
	a.mu.Unlock()
	select {
	case a.news <- struct{}{}:
	default:
	}
}

func (a *Log) put(ctx context.Context, item store.Item) error {
	ctx, cancel := context.WithTimeout(ctx, a.timeout)
	defer cancel()
	err := a.store.Put(ctx, Record(item.Expires.Add(-Life)), item)
	if err == nil {
		a.written.Inc()
	}
	return err
}

// Run writes what waits, until ctx ends; then once more.
func (a *Log) Run(ctx context.Context) {
	for {
		select {
		case <-a.news:
		case <-ctx.Done():
			if !a.flush(context.WithoutCancel(ctx)) {
				a.mu.Lock()
				a.log.Error("the audit log ends without entries that the store does not take", "entries", len(a.pending))
				a.mu.Unlock()
			}
			return
		}
		if !a.flush(ctx) {
			t := time.NewTimer(Retry)
			select {
			case <-t.C:
				select {
				case a.news <- struct{}{}:
				default:
				}
			case <-ctx.Done():
				t.Stop()
			}
		}
	}
}

// flush writes what waits, and reports whether all of it went.
func (a *Log) flush(ctx context.Context) bool {
	for {
		a.mu.Lock()
		if len(a.pending) == 0 {
			a.mu.Unlock()
			return true
		}
		item := a.pending[0]
		a.mu.Unlock()
		if err := a.put(ctx, item); err != nil {
			return false
		}
		a.mu.Lock()
		// What was full meanwhile has let the first go.
		if len(a.pending) > 0 && a.pending[0].Key == item.Key {
			a.pending = a.pending[1:]
		}
		a.mu.Unlock()
	}
}

// Read returns the newest entries of a time that match, oldest first, at most limit.
func (a *Log) Read(ctx context.Context, from, to time.Time, limit int, match func(*Entry) bool) ([]Entry, error) {
	// Each day is a look into the store: only those of which there can be any.
	if oldest := a.clock.Now().Add(-Life); from.Before(oldest) {
		from = oldest
	}
	if newest := a.clock.Now().Add(store.MaxDrift); to.After(newest) {
		to = newest
	}
	var out []Entry
	lower := fmt.Sprintf("%020d", from.UnixNano())
	upper := fmt.Sprintf("%020d", to.UnixNano())
	for day := to; !day.UTC().Truncate(24 * time.Hour).Before(from.UTC().Truncate(24 * time.Hour)); day = day.Add(-24 * time.Hour) {
		var of []Entry
		for item, err := range store.All(ctx, a.store, Record(day), store.ScanOptions{From: lower, To: upper, Values: true}) {
			if errors.Is(err, store.ErrCorrupt) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("reading the audit log: %w", err)
			}
			var e Entry
			if json.Unmarshal(item.Value, &e) == nil && match(&e) {
				of = append(of, e)
				of = of[max(len(of)-limit, 0):]
			}
		}
		out = append(of, out...)
		if len(out) >= limit {
			break
		}
	}
	slices.SortStableFunc(out, func(x, y Entry) int { return cmp.Compare(x.Time.UnixNano(), y.Time.UnixNano()) })
	return out[max(len(out)-limit, 0):], nil
}

// EntryOf begins that of a request.
func EntryOf(r *http.Request, by *access.Identity, now time.Time) Entry {
	e := Entry{Time: now, By: "nobody", From: r.RemoteAddr, Method: r.Method, Path: r.URL.Path}
	if by != nil {
		e.By = by.Name
	}
	if len(e.Path) > maxPath {
		e.Path = e.Path[:maxPath]
	}
	if t, n := r.PathValue("tenant"), r.PathValue("event"); live.ValidName(t) && live.ValidName(n) {
		e.Event = t + "/" + n
	}
	return e
}
