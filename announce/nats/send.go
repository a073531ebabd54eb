package nats

import (
	"math/rand/v2"
	"sync"
	"time"

	"headwater/announce"
	"headwater/live"
)

func randomUpTo(d time.Duration) time.Duration { return rand.N(d + 1) }

// A packet is a message ready to go.
type packet struct {
	subject string
	data    []byte
}

// A queue holds what is to be sent, bounded: where it is full the oldest goes,
// for the newest segment is what viewers wait for.
type queue struct {
	ready chan struct{} // holds one while there may be something

	mu    sync.Mutex // guards the following
	ring  []packet
	first int
	count int
}

func newQueue(limit int) *queue {
	return &queue{ready: make(chan struct{}, 1), ring: make([]packet, limit)}
}

// put reports whether the oldest had to go.
func (q *queue) put(p packet) (dropped bool) {
	q.mu.Lock()
	if dropped = q.count == len(q.ring); dropped {
		q.first, q.count = (q.first+1)%len(q.ring), q.count-1
	}
	q.ring[(q.first+q.count)%len(q.ring)] = p
	q.count++
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
	return dropped
}

func (q *queue) take() (packet, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.count == 0 {
		return packet{}, false
	}
	p := q.ring[q.first]
	q.ring[q.first] = packet{}
	q.first, q.count = (q.first+1)%len(q.ring), q.count-1
	return p, true
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.count
}

// send is the sender's goroutine. When the bus closes it sends what waits.
func (b *Bus) send() {
	for {
		p, ok := b.queue.take()
		if ok {
			if !b.deliver(p) {
				break
			}
			continue
		}
		select {
		case <-b.queue.ready:
		case <-b.closing:
			if b.queue.len() > 0 {
				continue
			}
			_ = b.conn.FlushTimeout(closeTimeout) // they look in the store
			return
		}
	}
	// Closed, and no server to send to.
	for lost := 1; ; lost++ {
		if _, ok := b.queue.take(); !ok {
			b.metrics.dropped[dropClosed].Add(float64(lost))
			return
		}
	}
}

// retry is how long the sender waits for a connection before it tries again.
const retry = 20 * time.Millisecond

// deliver hands a message to the connection, as soon as there is one. It
// reports false when the bus was closed before.
func (b *Bus) deliver(p packet) bool {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var end <-chan time.Time
	for {
		if b.conn.IsConnected() {
			if err := b.conn.Publish(p.subject, p.data); err == nil {
				b.metrics.sent.Inc()
				return true
			}
		}
		closing := b.closing
		if end != nil {
			closing = nil
		}
		timer.Reset(retry)
		select {
		case <-timer.C:
		case <-closing:
			end = time.After(closeTimeout)
		case <-end:
			return false
		}
	}
}

// maxPlaces bounds the events of which places are remembered.
const maxPlaces = 100_000

// A sentLog numbers what each node of this process announces of each event.
type sentLog struct {
	mu     sync.Mutex // guards places; held while a message is queued, so that numbers go in order
	places map[source]*place
}

// A source is whose numbers those are.
type source struct {
	node  string
	event live.EventID
}

type place struct {
	seq  uint64
	last time.Time // of the last message
	told time.Time // the last beat
}

func newSentLog() *sentLog { return &sentLog{places: make(map[source]*place)} }

// next calls f with m under its number. What f refuses as invalid takes none.
func (l *sentLog) next(m announce.Message, f func(announce.Wire) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := source{m.Node, m.Event}
	p := l.places[key]
	if p == nil {
		p = new(place)
	}
	err := f(announce.Wire{Seq: p.seq + 1, Message: m})
	if isInvalid(err) {
		return err
	}
	p.seq, p.last = p.seq+1, time.Now()
	if l.places[key] == nil && len(l.places) >= maxPlaces {
		clear(l.places) // receivers take the numbers that begin again for a gap, and look
	}
	l.places[key] = p
	return err
}

// due returns the beats to send now.
func (l *sentLog) due(now time.Time) []announce.Wire {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []announce.Wire
	for key, p := range l.places {
		if idle := now.Sub(p.last); idle < beatEvery || idle > beatFor || now.Sub(p.told) < beatEvery {
			continue
		}
		p.told = now
		out = append(out, announce.Wire{Seq: p.seq, Beat: true, Message: announce.Message{Node: key.node, Event: key.event}})
	}
	return out
}

// beat tells receivers the last number of what has just been announced, and
// looks for senders that fell silent.
func (b *Bus) beat() {
	tick := time.NewTicker(beatEvery / 4)
	defer tick.Stop()
	for {
		select {
		case <-b.closing:
			return
		case now := <-tick.C:
			if b.Health() != nil {
				continue // who is not connected has not been told, and is told all
			}
			for _, w := range b.sent.due(now) {
				if data, err := announce.Encode(w); err == nil {
					b.queue.put(packet{b.subject(w.Event), data})
				}
			}
			for event, since := range b.seen.silent(now) {
				b.miss(missSilence, event, since)
			}
		}
	}
}
