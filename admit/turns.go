package admit

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Turns let few of those work at a time who publish and deliver. Go runs what can run
// in the order in which it became able to, and the system what Go runs; where five
// hundred read requests and write segments, whoever reads a PUT waits behind all of
// them for each piece of it. So everybody works by short pieces and waits here in
// between, where it costs nobody anything, and who is next is decided here.
//
// The highest class that waits is next, and now and then a lower one, and the lowest.
// Of a class the tenants take turns, by the time that theirs took: one whose turns are
// long has fewer (a deficit round robin). Of a tenant the addresses take turns, whatever
// number of connections one has. A turn is over when it is given back, or after the
// lease: who waits for the store, or for a slow reader, takes no time from others.
type Turns struct {
	slots  int
	lease  time.Duration
	urgent atomic.Int64 // when somebody published a piece last, as Unix nanoseconds

	mu      sync.Mutex // guards the following
	running []*Turn    // oldest first
	waiting [classes]queue
	turns   int       // granted
	low     time.Time // when one who may be shed began last
	waited  [classes]waits
	hush    hush
	timer   *time.Timer
}

// A Taker is who takes turns. Where the tenant is not known yet, it is none.
type Taker struct {
	Tenant  string
	Address netip.Addr
}

// A Turn is one that works, or waits to.
type Turn struct {
	of    *Turns
	class Class
	who   Taker
	since time.Time // waits, then works
	ready chan struct{}
}

// waits are how long turns were waited for since it was last asked.
type waits struct {
	sum time.Duration
	n   int
}

const (
	// lowest is how many turns there are before the lowest class has one for sure.
	lowest = 16
	// others is how many turns there are before one is for who does not publish: one
	// tenant's publishing must not end another's delivery.
	others = 4
	// quantum is what a turn is taken to last until it has been given back, and how
	// much a tenant may have with each round.
	quantum = 250 * time.Microsecond

	// quiet is how long who may be shed begins nothing after somebody published a
	// piece: the next one may be there at once.
	quiet = 2 * time.Millisecond
	// calm is how long after it nobody works without a turn: while a segment is stored,
	// too, its publisher waits behind all that can run, several times.
	calm = time.Second
	// atLeast is how often one of them begins all the same.
	atLeast = 20 * time.Millisecond
)

// NewTurns returns turns for so many at a time, each for at most lease.
func NewTurns(slots int, lease time.Duration) *Turns {
	return &Turns{slots: max(slots, 1), lease: lease}
}

// Take waits for a turn of class c. It returns nil when ctx ends first. Each must be
// given back.
func (t *Turns) Take(ctx context.Context, c Class, who Taker) *Turn {
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
		t.waiting[x.class].charge(x.who.Tenant, min(now.Sub(x.since), t.lease)) // more where all stood still
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

// Urgent says that somebody publishes, before whom those who may be shed are to give
// way. It takes no lock: who holds that may be one whom the system lets wait.
func (t *Turns) Urgent() { t.urgent.Store(time.Now().UnixNano()) }

// Calm reports whether nobody publishes: whoever works for some microseconds needs no turn
// then. It takes no lock.
func (t *Turns) Calm() bool { return time.Now().UnixNano()-t.urgent.Load() > int64(calm) }

// gives reports whether a class gives way now. It needs mu.
func (t *Turns) gives(c Class, now time.Time) bool {
	if c == Publish {
		return false
	}
	readers := t.waiting[Live].n + t.waiting[DVR].n + t.waiting[Rest].n
	return t.hush.now(now, readers) || c > Live && now.Before(t.until())
}

func (t *Turns) lastPiece() time.Time { return time.Unix(0, t.urgent.Load()) }

// until is when those who may be shed go on. It needs mu.
func (t *Turns) until() time.Time {
	until, latest := t.lastPiece().Add(quiet), t.low.Add(atLeast)
	if latest.Before(until) {
		return latest
	}
	return until
}

// expire ends the turns that took too long. It needs mu.
func (t *Turns) expire(now time.Time) {
	n := 0
	for n < len(t.running) && now.Sub(t.running[n].since) >= t.lease {
		x := t.running[n]
		t.waiting[x.class].charge(x.who.Tenant, t.lease)
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
		c, ok = k, true
		switch {
		case t.turns%lowest == 0: // the lowest there is
		case t.turns%others == 0 && k == Publish: // the next, where there is one
		default:
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
	if !t.hush.since.IsZero() {
		at = t.hush.until()
	}
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
			longest = max(longest, now.Sub(q.first().since))
		}
		*w = waits{}
	}
	return longest
}

// A queue has those who wait in a class: of each tenant one after the other, and each
// tenant for as long as it has time left.
type queue struct {
	n     int
	order []string // tenants; whose turn is next
	by    map[string]*line
}

func (q *queue) add(x *Turn) {
	l := q.by[x.who.Tenant]
	if l == nil {
		if q.by == nil {
			q.by = make(map[string]*line)
		}
		l = &line{by: make(map[netip.Addr][]*Turn)}
		q.by[x.who.Tenant], q.order = l, append(q.order, x.who.Tenant)
	}
	l.add(x)
	q.n++
}

// first is one of those who wait. There must be somebody.
func (q *queue) first() *Turn {
	l := q.by[q.order[0]]
	return l.by[l.order[0]][0]
}

// take removes who is next. There must be somebody.
func (q *queue) take() *Turn {
	for {
		l := q.by[q.order[0]]
		if l.left > 0 {
			x := l.take()
			l.left -= quantum
			q.dropped(x)
			return x
		}
		l.left += quantum
		q.order = append(q.order[1:], q.order[0])
	}
}

// charge holds against a tenant what its turn took beyond the quantum, or gives back
// what it did not take. One of which nobody waits owes nothing.
func (q *queue) charge(tenant string, took time.Duration) {
	if l := q.by[tenant]; l != nil {
		l.left = min(l.left+quantum-took, quantum)
	}
}

func (q *queue) remove(x *Turn) {
	if l := q.by[x.who.Tenant]; l != nil && l.remove(x) {
		q.dropped(x)
	}
}

// dropped has the queue forget one that its line has forgotten.
func (q *queue) dropped(x *Turn) {
	q.n--
	if name := x.who.Tenant; len(q.by[name].order) == 0 {
		delete(q.by, name)
		q.order = slices.DeleteFunc(q.order, func(other string) bool { return other == name })
	}
}

// A line has those of a tenant who wait, one of each address after the other.
type line struct {
	left  time.Duration // that the tenant may have before the others
	order []netip.Addr  // whose turn is next
	by    map[netip.Addr][]*Turn
}

func (l *line) add(x *Turn) {
	who := x.who.Address
	if len(l.by[who]) == 0 {
		l.order = append(l.order, who)
	}
	l.by[who] = append(l.by[who], x)
}

func (l *line) take() *Turn {
	who := l.order[0]
	x := l.by[who][0]
	l.order = append(l.order[1:], who) // its next one comes after all others'
	l.drop(who, 0)
	return x
}

func (l *line) remove(x *Turn) bool {
	i := slices.Index(l.by[x.who.Address], x)
	if i >= 0 {
		l.drop(x.who.Address, i)
	}
	return i >= 0
}

func (l *line) drop(who netip.Addr, i int) {
	w := l.by[who]
	if i == 0 {
		w[0] = nil
		w = w[1:]
	} else {
		w = slices.Delete(w, i, i+1)
	}
	if l.by[who] = w; len(w) == 0 {
		delete(l.by, who)
		l.order = slices.DeleteFunc(l.order, func(a netip.Addr) bool { return a == who })
	}
}
