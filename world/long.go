package world

import (
	"cmp"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"slices"
	"testing/synctest"
	"time"
)

// A long world is an event of hours, as most are: nearly all of the time all is well and
// few watch. It has what an event of minutes does not come to: DVR windows of up to a day,
// media that expires, files that are full, checkpoints, starts over hours of what is stored.
//
// Its faults come in knots of a few. Its viewers come before each and stay until all must
// be well again, and look in now and then besides: where nobody asks no invariant can be
// seen to fail. In most edges rest while nobody watches, and start empty.

// A Span is a time in a world.
type Span struct {
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
}

const (
	early   = 20 * time.Second // that viewers come before a knot
	staying = 30 * time.Second // after all must be well again
	startUp = 15 * time.Second // that edges have before viewers come
	leaving = 10 * time.Second // that the last request of who leaves may take
	visit   = time.Minute      // of those who look in
)

// NewLongPlan makes the long world of a seed.
func NewLongPlan(seed uint64, length time.Duration) Plan {
	r := rand.New(rand.NewPCG(seed, 7))
	p := Plan{
		Seed: seed, Length: length, Long: true,
		Segment: time.Duration(6+r.IntN(7)) * time.Second,
		DVR:     []time.Duration{10 * time.Minute, 45 * time.Minute, 2 * time.Hour, 24 * time.Hour}[r.IntN(4)],
		Latency: time.Duration(1+r.IntN(30)) * time.Millisecond,
		Origins: 1 + r.IntN(2), Edges: 1 + r.IntN(2), Viewers: 1 + r.IntN(2),
	}
	p.setUp(r)
	rests := r.IntN(4) > 0
	gap := time.Duration(15+r.IntN(75)) * time.Minute
	p.Watches = append(p.Watches, Span{0, time.Minute})
	for at := time.Minute; ; {
		at += time.Duration(r.ExpFloat64() * float64(gap))
		if at >= length {
			break
		}
		first := len(p.Acts)
		for range 1 + r.IntN(5) {
			if at += time.Duration(r.ExpFloat64() * float64(20*time.Second)); at < length {
				p.act(r, at)
			}
		}
		for _, a := range p.Acts[first:] {
			p.Watches = append(p.Watches, Span{a.At - early, a.At + a.For + p.recovery(a) + staying})
		}
	}
	for at := time.Duration(0); at < length; {
		at += 10*time.Minute + time.Duration(r.Int64N(int64(20*time.Minute)))
		p.Watches = append(p.Watches, Span{at, at + visit})
	}
	p.Watches = joined(append(p.Watches, Span{length - early, length + settling + staying}), 2*startUp)
	if rests {
		for i, s := range p.Watches[:len(p.Watches)-1] {
			for _, edge := range p.edges() {
				p.Acts = append(p.Acts, Act{Kind: "rest", Node: edge, At: s.To + leaving, For: p.Watches[i+1].From - startUp - s.To - leaving})
			}
		}
	}
	return p
}

// joined are spans in order, those that are less than some time apart made one.
func joined(all []Span, apart time.Duration) []Span {
	slices.SortFunc(all, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	var out []Span
	for _, s := range all {
		if n := len(out); n > 0 && s.From < out[n-1].To+apart {
			out[n-1].To = max(out[n-1].To, s.To)
		} else {
			out = append(out, s)
		}
	}
	return out
}

// watched is when viewers watch next, at that time or later: 0 from now on, and for
// ever where they always do; negative: never again.
func (p *Plan) watched(at time.Duration) time.Duration {
	if !p.Long {
		return 0
	}
	for _, s := range p.Watches {
		if at < s.To {
			return max(s.From-at, 0)
		}
	}
	return -1
}

// A world's garbage is collected where a seed comes to each time, and not when the
// collector would: now and then, when there is much and everybody waits.
const (
	tidyEvery = time.Minute
	tidyFrom  = 256 << 20
)

func (w *world) tidy() {
	in := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	if metrics.Read(in); in[0].Value.Uint64() > tidyFrom {
		synctest.Wait()
		runtime.GC()
	}
}
