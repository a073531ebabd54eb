package world

import (
	"math/rand/v2"
	"sync"
	"time"

	"headwater/announce"
)

// A bus carries announcements between origins over the network: each as late as a
// packet, what a cut keeps is lost, and with luck the bus finds that out and says
// so. Some come twice. From one node they arrive in order, as the contract says, but
// for acts that have some stray or come again long after.
type bus struct {
	net *network

	mu    sync.Mutex // guards the following
	rng   *rand.Rand
	ends  map[string]*busEnd
	flaws flaws
}

// flaws are what acts make of it: shares of messages, and how late.
type flaws struct {
	lose, double float64
	stray, again float64 // what comes after what was sent later, and what comes once more
	late         time.Duration
}

const (
	strayFor = 3 * time.Second  // at most
	againFor = 50 * time.Second // at most
)

func newBus(n *network, rng *rand.Rand) *bus {
	return &bus{net: n, rng: rng, ends: map[string]*busEnd{}}
}

// A busEnd is the bus of one run of a node.
type busEnd struct {
	bus  *bus
	node string

	mu     sync.Mutex // guards the following
	subs   map[int]func(announce.Message)
	next   int
	dead   bool
	last   time.Time // when what was sent to it last arrives
	queue  []announce.Message
	missed time.Time // from when on messages to it were lost; zero: none
	silent time.Time // from when on some were lost that it has not been told of; zero: none
}

func (b *bus) join(node string) *busEnd {
	e := &busEnd{bus: b, node: node, subs: map[int]func(announce.Message){}}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ends[node] = e
	return e
}

func (e *busEnd) kill() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.dead = true
	clear(e.subs)
}

func (e *busEnd) Health() error { return nil }

func (e *busEnd) Announce(m announce.Message) error {
	e.mu.Lock()
	dead := e.dead
	e.mu.Unlock()
	if dead {
		return announce.ErrDropped
	}
	e.tell(m)
	e.bus.mu.Lock()
	defer e.bus.mu.Unlock()
	for _, other := range sorted(e.bus.ends) {
		if other != e.node {
			e.bus.send(e.node, e.bus.ends[other], m)
		}
	}
	return nil
}

// send needs mu.
func (b *bus) send(from string, to *busEnd, m announce.Message) {
	d, cut := b.net.delay(link{from, to.node})
	times := 1
	if b.rng.Float64() < b.flaws.double {
		times = 2
	}
	if cut || b.rng.Float64() < b.flaws.lose {
		to.lose(b.rng.IntN(4) > 0)
		return
	}
	if b.flaws.late > 0 {
		d += time.Duration(b.rng.Int64N(int64(b.flaws.late)))
	}
	if b.rng.Float64() < b.flaws.again {
		b.tellLater(to.node, d+time.Duration(b.rng.Int64N(int64(againFor))), m)
	}
	if b.rng.Float64() < b.flaws.stray {
		b.tellLater(to.node, d+time.Duration(b.rng.Int64N(int64(strayFor))), m)
		return
	}
	to.mu.Lock()
	defer to.mu.Unlock()
	for range times {
		at := time.Now().Add(d)
		if !at.After(to.last) {
			at = to.last.Add(time.Microsecond)
		}
		to.last = at
		to.queue = append(to.queue, m)
		time.AfterFunc(time.Until(at), to.arrive)
	}
}

// tellLater brings a message past all others to a node, perhaps to one of its later runs.
func (b *bus) tellLater(node string, d time.Duration, m announce.Message) {
	time.AfterFunc(d, func() {
		b.mu.Lock()
		e := b.ends[node]
		b.mu.Unlock()
		e.tell(m)
	})
}

// lose notes that a message is lost; where it is found out, the bus says so with
// the next that arrives, else when all is found out.
func (e *busEnd) lose(found bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	since := &e.silent
	if found {
		since = &e.missed
	}
	if since.IsZero() {
		*since = time.Now()
	}
}

// findOut has each node hear of what it has missed and nothing has told it of, as a
// new connection does.
func (b *bus) findOut() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range sorted(b.ends) {
		e := b.ends[name]
		e.mu.Lock()
		since := e.silent
		e.silent = time.Time{}
		e.mu.Unlock()
		if !since.IsZero() {
			e.tell(announce.Message{Kind: announce.Missed, Since: since})
		}
	}
}

func (e *busEnd) arrive() {
	e.mu.Lock()
	m, since := e.queue[0], e.missed
	e.queue, e.missed = e.queue[1:], time.Time{}
	e.mu.Unlock()
	if !since.IsZero() {
		e.tell(announce.Message{Kind: announce.Missed, Event: m.Event, Since: since})
	}
	e.tell(m)
}

func (e *busEnd) tell(m announce.Message) {
	e.mu.Lock()
	var subs []func(announce.Message)
	for _, id := range sorted(e.subs) {
		subs = append(subs, e.subs[id])
	}
	e.mu.Unlock()
	for _, f := range subs {
		f(m)
	}
}

func (e *busEnd) Subscribe(f func(announce.Message)) (cancel func()) {
	e.mu.Lock()
	id := e.next
	e.next++
	e.subs[id] = f
	e.mu.Unlock()
	f(announce.Message{Kind: announce.Missed, Since: time.Now()})
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.subs, id)
	}
}

// set changes the flaws by an act.
func (b *bus) set(change func(*flaws)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.flaws)
}
