package world

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"time"

	"headwater/live"
)

// A Violation is an invariant that did not hold.
type Violation struct {
	At        time.Duration `json:"at"`
	Invariant string        `json:"invariant"`
	What      string        `json:"what"`
}

// violate writes down that an invariant did not hold. Many of one kind are one bug:
// the first are enough.
func (w *world) violate(at time.Time, invariant, format string, a ...any) {
	w.story.mu.Lock()
	defer w.story.mu.Unlock()
	same := 0
	for _, v := range w.violations {
		if v.Invariant == invariant {
			same++
		}
	}
	if same < 3 {
		v := Violation{at.Sub(w.began), invariant, fmt.Sprintf(format, a...)}
		w.violations = append(w.violations, v)
		w.story.lines = append(w.story.lines, Line{v.At, "VIOLATED " + invariant + ": " + v.What})
	}
}

// answered holds what a viewer got against what there is.
func (w *world) answered(a answer) {
	quiet := w.plan.Quiet(a.edge, a.from.Sub(w.began), a.to.Sub(w.began))
	l := w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark(fmt.Sprint(a.to.Sub(w.began), a))
	what := fmt.Sprint(a.status, " ", a.problem)
	switch {
	case a.status == 0:
		what = "no answer"
	case a.err != nil:
		what = "broken"
	case a.filled:
		what += "filled"
	}
	l.counts["get "+what]++
	switch {
	case errors.Is(a.err, context.DeadlineExceeded):
		if quiet {
			w.violate(a.to, "every held request ends", "%v", a)
		}
	case a.status == http.StatusOK && a.err == nil:
		w.right(a)
		if a.filled && quiet && (w.alone(a.number) || l.has(a.number, a.from)) {
			w.violate(a.to, "nothing is filled that is well", "%v", a)
		}
	case quiet && a.status == http.StatusGone && (w.plan.Gap || w.renewed) && !w.alone(a.number) && !l.has(a.number, a.from):
	case quiet:
		// Everything is well, and was for a while: nothing is refused that is there.
		if a.number >= w.tl.First() {
			w.violate(a.to, "nothing is refused that is well", "%v", a)
		}
	default:
		w.story.add("%v", a)
	}
	if !quiet && a.number >= w.tl.First() && w.covered(a) {
		l.counts["gets beside one fault"]++
		if a.status != http.StatusOK || a.err != nil || a.filled {
			w.violate(a.to, "one fault costs viewers nothing", "%v", a)
		}
	}
	if a.status == http.StatusOK && quiet && a.to.After(w.tl.Deadline(a.number)) && a.from.Before(w.tl.Expected(a.number)) {
		w.violate(a.to, "the budget is kept", "%v", a)
	}
}

// right holds the bytes of an answer against what was made. Needs ledger.mu.
func (w *world) right(a answer) {
	switch {
	case !a.filled && !w.ofNumber(a.number, a.digest):
		w.violate(a.to, "wrong bytes", "%v: not what any packager made of it", a)
	case a.filled && !w.fills(a.number, a.digest):
		w.violate(a.to, "wrong bytes", "%v: not made of what any packager made before it", a)
	}
	before, ok := w.ledger.served[a.number]
	if ok && before != a.digest && w.alone(a.number) && time.Now().After(w.ledger.named) {
		w.violate(a.to, "one digest per number", "%v: other bytes than were served before", a)
	}
	if !a.filled { // what stands in is replaced, by what it is made of and by a backfill
		w.ledger.served[a.number] = a.digest
	}
}

// alone reports whether nothing could keep origins from agreeing on a number, or make
// one forget what it chose: of two that choose at once no rule can keep both from
// serving, and what was chosen last is written down a moment later.
func (w *world) alone(n live.Number) bool {
	at := w.tl.Start(n).Sub(w.began)
	return w.plan.Quiet("", at, at+w.plan.Segment+5*time.Second)
}

// covered reports whether one fault at most, of those that there is a spare for, could
// keep an answer from being what it should be: when it was asked for, and when it was
// published.
func (w *world) covered(a answer) bool {
	at := w.tl.Start(a.number).Sub(w.began)
	return w.plan.Covered(a.edge, a.from.Sub(w.began), a.to.Sub(w.began)) && w.plan.Covered(a.edge, at, w.tl.Deadline(a.number).Sub(w.began))
}

// ofNumber reports whether some encoder made these bytes of the number. Needs ledger.mu.
func (w *world) ofNumber(n live.Number, d live.Digest) bool {
	for _, mark := range w.marks() {
		if w.medium.digest(&w.tl, n, mark) == d {
			if strings.HasSuffix(mark, renewed) {
				w.ledger.counts["gets of a new generation"]++
			}
			return true
		}
	}
	return false
}

// fills reports whether these bytes stand in for the number: made of what some
// encoder made of a number before it, as long as one may stand in.
func (w *world) fills(n live.Number, d live.Digest) bool {
	for m := n - 1; m >= w.tl.First() && m >= n-live.Number(live.MaxFilled/w.tl.Segment()); m-- {
		for _, mark := range w.marks() {
			if w.medium.filler(&w.tl, m, n, mark) == d {
				return true
			}
		}
	}
	return false
}

// A listing is by slot which candidates origins say they have, and by number which
// pipelines they say serve.
type listing struct {
	has    map[slot]map[string]bool
	serves map[live.Number][]string
}

// add asks an origin what it has of the numbers.
func (l *listing) add(ctx context.Context, w *world, origin string, oldest, newest live.Number) error {
	for from := oldest; from <= newest; from += 500 {
		var out struct {
			Segments []struct {
				Number     live.Number
				Candidates []struct{ Pipeline, Digest string }
				Now        struct{ Serves string }
			}
		}
		path := fmt.Sprintf("/segments?rendition=%s&from=%d&to=%d", rendition, from, min(from+499, newest))
		if err := w.control(ctx, origin, http.MethodGet, path, nil, &out); err != nil {
			return err
		}
		for _, s := range out.Segments {
			for _, c := range s.Candidates {
				k := slot{c.Pipeline, s.Number}
				if l.has[k] == nil {
					l.has[k] = map[string]bool{}
				}
				l.has[k][c.Digest] = true
			}
			if p := s.Now.Serves; p != "" && !slices.Contains(l.serves[s.Number], p) {
				l.serves[s.Number] = append(l.serves[s.Number], p)
			}
		}
	}
	return nil
}

// nothingLost asks origins what they have of what was acknowledged: one of them has to
// have it.
func (w *world) nothingLost(ctx context.Context, origins ...string) {
	now := time.Now()
	oldest := w.tl.Oldest(now.Add(30 * time.Second))
	newest := w.tl.At(now) - 3
	l := listing{map[slot]map[string]bool{}, map[live.Number][]string{}}
	for _, o := range origins {
		if err := l.add(ctx, w, o, oldest, newest); err != nil {
			w.violate(time.Now(), "all is well", "%s: %v", o, err)
			return
		}
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	if w.plan.told(now.Sub(w.began)) {
		for n := range w.ledger.served {
			if len(l.serves[n]) > 1 {
				w.violate(time.Now(), "origins come to agree on what serves", "of %d they say %v", n, l.serves[n])
			}
			w.ledger.counts["served segments compared between origins"]++
		}
	}
	lost := 0
	for _, n := range sortedNumbers(w.ledger.acked) {
		for _, pipeline := range []string{"a", "b"} {
			k := slot{pipeline, n}
			if n < oldest || n > newest || len(w.ledger.acked[k]) == 0 || w.plan.expired(w.tl.GoneAt(n).Sub(w.began)) {
				continue
			}
			kept := false
			for d := range w.ledger.acked[k] {
				kept = kept || l.has[k][hex.EncodeToString(d[:8])]
			}
			if d := w.disks[origins[0]]; !kept && d != nil && lost < d.rotten {
				lost++ // one for each sector that changed on the disk
				w.ledger.counts["acknowledged segments destroyed on the disk"]++
				kept = true
			}
			if !kept {
				w.violate(time.Now(), "no acknowledged segment is lost", "%v: nobody has %d of pipeline %s", origins, n, pipeline)
			}
			w.ledger.counts["acknowledged segments looked for"]++
		}
	}
}

// lookEvery is how often, of the DVR window, it is looked for what was acknowledged while
// a world goes on: each segment twice, where all is well then.
const lookEvery = 2

// on lets time pass, and looks meanwhile for what was acknowledged.
func (w *world) on(ctx context.Context, at time.Duration) {
	for w.looked < at {
		w.until(w.looked)
		if !w.plan.Quiet("", w.looked-time.Second, w.looked+time.Second) {
			w.looked += 5 * time.Second
			continue
		}
		w.nothingLost(ctx, w.plan.origins()...)
		w.looked += min(max(w.plan.DVR/lookEvery, time.Minute), time.Hour)
	}
	w.until(at)
}

// heapMost is what a world may take: what its nodes, of which there are four at most, may
// keep of segments (8 MB each), and as much again for all else; and what is none's: the
// disks, what all share, and what the world knows of each segment.
const heapMost = 64 << 20

// bounded looks at what is in memory when all has been well for a while.
func (w *world) bounded() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	most := uint64(heapMost)
	if w.plan.Long {
		for _, d := range w.disks {
			most += d.bytes()
		}
		most += w.medium.bytes()
	}
	if w.heap = m.HeapAlloc; w.heap > most {
		w.violate(time.Now(), "memory is bounded", "%d bytes are in use", w.heap)
	}
}

// control asks an origin for something of the event, over the network.
func (w *world) control(ctx context.Context, origin, method, path string, body, out any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+origin+":7003/v1/events/"+w.id.String()+path, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.operator.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		var p struct{ Type, Detail string }
		json.NewDecoder(resp.Body).Decode(&p)
		return fmt.Errorf("%s %s: %s %s %s", method, path, resp.Status, p.Type, p.Detail)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
