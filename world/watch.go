package world

import (
	"hash/fnv"
	"net/http"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"

	"headwater/live"
)

// A ledger is what the world knows better than any node: what was made, what was
// acknowledged, and what viewers got.
type ledger struct {
	mu     sync.Mutex // guards the following
	acked  map[slot]map[live.Digest]time.Time
	served map[live.Number]live.Digest
	counts map[string]int
	named  time.Time // until then numbers may become other bytes, by an operator
	edits  []porcupine.Operation
	trace  uint64
}

// A slot is a number of one pipeline.
type slot struct {
	pipeline string
	number   live.Number
}

func newLedger() *ledger {
	return &ledger{acked: map[slot]map[live.Digest]time.Time{}, served: map[live.Number]live.Digest{}, counts: map[string]int{}}
}

// mark goes into the trace: two runs that came the same way have the same one.
// Needs mu.
func (l *ledger) mark(what string) {
	h := fnv.New64a()
	h.Write([]byte(what))
	l.trace = l.trace*1099511628211 ^ h.Sum64()
}

// has reports whether a number was acknowledged of any pipeline before. What was lost in
// all is filled for as long as anybody asks. Needs mu.
func (l *ledger) has(n live.Number, before time.Time) bool {
	for _, pipeline := range []string{"a", "b"} {
		for _, at := range l.acked[slot{pipeline, n}] {
			if at.Before(before) {
				return true
			}
		}
	}
	return false
}

// acknowledged writes down what a publish listener acknowledges, when it does: from
// then on it must not be lost, whether the packager hears of it or not.
func (w *world) acknowledged(node string, g *gate, h http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(&ackWriter{ResponseWriter: rw, w: w, node: node, g: g, r: r}, r)
	})
}

type ackWriter struct {
	http.ResponseWriter
	w    *world
	node string
	g    *gate
	r    *http.Request
}

// Unwrap is for http.ResponseController.
func (a *ackWriter) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *ackWriter) WriteHeader(status int) {
	a.g.mu.Lock()
	dead := a.g.dead
	a.g.mu.Unlock()
	if !dead {
		a.w.published(a.node, a.r, status)
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *ackWriter) Write(b []byte) (int, error) { return a.ResponseWriter.Write(b) }

func (w *world) published(node string, r *http.Request, status int) {
	p, err := live.ParsePublishPath(r.URL.Path)
	if err != nil || r.Method != http.MethodPut {
		return
	}
	l := w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark(time.Since(w.began).String() + r.URL.Path)
	l.counts["put "+http.StatusText(status)]++
	if status != http.StatusOK && status != http.StatusCreated || p.File != live.FileSegment {
		return
	}
	d, err := live.ParseDigest(r.Header.Values(live.HeaderContentDigest))
	if err != nil {
		return
	}
	s := slot{p.Pipeline, p.Number}
	if l.acked[s] == nil {
		l.acked[s] = map[live.Digest]time.Time{}
	}
	l.acked[s][d] = time.Now()
	w.acks(node)
}
