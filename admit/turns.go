package admit

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Turns let few of those who deliver work at a time. Go runs what can run in the
// order in which it became able to; where five hundred write segments, whoever reads
// a PUT waits behind all of them for each piece of it. So those who deliver do it by
// short pieces and wait here in between, where it costs nobody anything: who
// publishes takes no turns, and finds before it only the few whose turn it is.
//
// The highest class that waits is next, and now and then the lowest; of a class the
// addresses take turns, whatever number of connections one has. A turn is over
// when it is given back, or after the lease: who waits for the store, or for a slow
// reader, takes no time from others.
type Turns struct {
	slots int
	lease time.Duration

	mu      sync.Mutex // guards the following
	running []*Turn    // oldest first
	waiting [classes]queue
	turns   int       // granted
	urgent  time.Time // when somebody who takes no turns worked last
	low     time.Time // when one who may be shed began last
	waited  [classes]waits
	timer   *time.Timer
}

// A Turn is one that works, or waits to.
type Turn struct {
	of    *Turns
	class Class
	who   netip.Addr
	since time.Time // waits, then works
	ready chan struct{}
}

// waits are how long turns were waited for since it was last asked.
type waits struct {
	sum time.Duration
	n   int
}

// lowest is how many turns there are before the lowest class has one for sure.
const lowest = 16

const (
	// quiet is how long who may be shed begins nothing after somebody published a
	// piece: the next one may be there at once.
	quiet = 2 * time.Millisecond
	// atLeast is how often one of them begins all the same.
	atLeast = 20 * time.Millisecond
)

// NewTurns returns turns for so many at a time, each for at most lease.
func NewTurns(slots int, lease time.Duration) *Turns {
	return &Turns{slots: max(slots, 1), lease: lease}
}

// Take waits for a turn of class c for that address. It returns nil when ctx ends
// first. Each must be given back.
func (t *Turns) Take(ctx context.Context, c Class, who netip.Addr) *Turn {
	now := time.Now()
	x := &Turn{of: t, class: c, who: who, since: now}
	t.mu.Lock()
	t.expire(now)
	if len(t.running) < t.slots && !t.gives(c, now) { // then nobody waits whose turn it is
		t.start(x, now)
		t.mu.Unlock()
		return x
	}
	x.ready = make(chan struct{})
	t.waiting[c].add(x)
	t.arm(now)
	t.mu.Unlock()
	select {
	case <-x.ready:
		return x
	case <-ctx.Done():
		x.Give()
		return nil
	}
}

// Give ends the turn, or the waiting for it. It may be called more than once, and
// for no turn.
func (x *Turn) Give() {
	if x == nil {
		return
	}
	t := x.of
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.running, x); i >= 0 {
		t.running = slices.Delete(t.running, i, i+1)
		t.next(now)
	} else if x.ready != nil {
		t.waiting[x.class].remove(x)
	}
}

// start needs mu.
func (t *Turns) start(x *Turn, now time.Time) {
	w := &t.waited[x.class]
	w.sum += now.Sub(x.since)
	w.n++
	t.turns++
	x.since = now
	if x.class > Live {
		t.low = now
	}
	t.running = append(t.running, x)
}

// Urgent says that somebody is working who takes no turns, and before whom those who
// may be shed are to give way.
func (t *Turns) Urgent() {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.urgent = now
}

// gives reports whether a class gives way now. It needs mu.
func (t *Turns) gives(c Class, now time.Time) bool {
	return c > Live && now.Before(t.until())
}

// until is when those who may be shed go on. It needs mu.
func (t *Turns) until() time.Time {
	until, latest := t.urgent.Add(quiet), t.low.Add(atLeast)
	if latest.Before(until) {
		return latest
	}
	return until
}

// expire ends the turns that took too long. It needs mu.
func (t *Turns) expire(now time.Time) {
	n := 0
	for n < len(t.running) && now.Sub(t.running[n].since) >= t.lease {
		n++
	}
	if n > 0 {
		t.running = slices.Delete(t.running, 0, n)
		t.next(now)
	}
}

// next starts those who wait. It needs mu.
func (t *Turns) next(now time.Time) {
	for len(t.running) < t.slots {
		c, ok := t.pick(now)
		if !ok {
			break
		}
		x := t.waiting[c].take()
		t.start(x, now)
		close(x.ready)
	}
	t.arm(now)
}

// pick is the class whose turn it is. It needs mu.
func (t *Turns) pick(now time.Time) (c Class, ok bool) {
	for k := range Classes {
		k := Class(k)
		if t.waiting[k].n == 0 || t.gives(k, now) {
			continue
		}
		if c, ok = k, true; t.turns%lowest != 0 {
			return c, ok
		}
	}
	return c, ok
}

// arm sees to it that who waits goes on when a lease has ended, or when it has given
// way. It needs mu.
func (t *Turns) arm(now time.Time) {
	if !slices.ContainsFunc(t.waiting[:], func(q queue) bool { return q.n > 0 }) {
		return
	}
	at := t.until()
	if len(t.running) == t.slots {
		at = t.running[0].since.Add(t.lease)
	}
	d := max(at.Sub(now), 0)
	if t.timer != nil {
		t.timer.Reset(d)
		return
	}
	t.timer = time.AfterFunc(d, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		now := time.Now()
		t.expire(now)
		t.next(now)
	})
}

// Waited is how long who may be shed waited for a turn since it was last asked, in
// the mean; or has waited, where nobody got one.
func (t *Turns) Waited(now time.Time) (longest time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range []Class{DVR, Rest} {
		w := &t.waited[c]
		if w.n > 0 {
			longest = max(longest, w.sum/time.Duration(w.n))
		} else if q := &t.waiting[c]; q.n > 0 {
			longest = max(longest, now.Sub(q.by[q.order[0]][0].since))
		}
		*w = waits{}
	}
	return longest
}

// A queue has those who wait, one of each address after the other.
type queue struct {
	n     int
	order []netip.Addr // whose turn is next
	by    map[netip.Addr][]*Turn
}

func (q *queue) add(x *Turn) {
	if q.by == nil {
		q.by = make(map[netip.Addr][]*Turn)
	}
	if len(q.by[x.who]) == 0 {
		q.order = append(q.order, x.who)
	}
	q.by[x.who] = append(q.by[x.who], x)
	q.n++
}

// take removes who is next. There must be somebody.
func (q *queue) take() *Turn {
	who := q.order[0]
	x := q.by[who][0]
	q.order = append(q.order[1:], who) // its next one comes after all others'
	q.drop(who, 0)
	return x
}

func (q *queue) remove(x *Turn) {
	if i := slices.Index(q.by[x.who], x); i >= 0 {
		q.drop(x.who, i)
	}
}

func (q *queue) drop(who netip.Addr, i int) {
	q.n--
	w := q.by[who]
	if i == 0 {
		w[0] = nil
		w = w[1:]
	} else {
		w = slices.Delete(w, i, i+1)
	}
	if q.by[who] = w; len(w) == 0 {
		delete(q.by, who)
		q.order = slices.DeleteFunc(q.order, func(a netip.Addr) bool { return a == who })
	}
}
