package nats

import (
	"errors"
	"maps"
	"sync"
	"time"

	client "github.com/nats-io/nats.go"

	"headwater/announce"
	"headwater/live"
)

func isInvalid(err error) bool { return errors.Is(err, announce.ErrInvalid) }

// receive takes one message off the network. The client library calls it one
// at a time.
func (b *Bus) receive(m *client.Msg) {
	w, err := announce.Decode(m.Data)
	switch {
	case errors.Is(err, announce.ErrVersion):
		b.metrics.refused[refuseVersion].Inc()
		return
	case err != nil:
		b.metrics.refused[refuseMalformed].Inc()
		b.log.Warn("announcement refused", "subject", m.Subject, "err", err)
		return
	case m.Subject != b.subject(w.Event):
		b.metrics.refused[refuseSubject].Inc()
		b.log.Warn("announcement refused", "subject", m.Subject, "event", w.Event.String())
		return
	}
	missing, known, since := b.seen.note(&w, time.Now())
	if !w.Beat {
		b.metrics.received.Inc()
		b.tell(w.Message)
	}
	switch {
	case !known:
		b.miss(missFirst, w.Event, since)
	case missing > 0:
		b.metrics.missed.Add(float64(missing))
		b.miss(missGap, w.Event, since)
	}
}

// miss tells the subscribers that announcements may be missing.
func (b *Bus) miss(reason missReason, event live.EventID, since time.Time) {
	b.metrics.misses[reason].Inc()
	if reason != missFirst {
		b.log.Warn("announcements may be missing", "reason", string(reason), "event", event.String(), "since", since)
	}
	b.tell(announce.Message{Kind: announce.Missed, Event: event, Since: since})
}

// tell brings the subscribers here what came from others, until the bus is closed.
func (b *Bus) tell(m announce.Message) {
	b.told.RLock()
	defer b.told.RUnlock()
	if !b.closed {
		_ = b.local.Announce(m) // it never fails
	}
}

func (b *Bus) connected(nc *client.Conn, again bool) {
	b.mu.Lock()
	// Before a connection ends it may have been dead for as long as pings take.
	since := b.since.Add(-pingEvery * (maxPings + 1))
	b.since, b.lastErr = time.Time{}, nil
	b.mu.Unlock()
	if again {
		b.metrics.reconnects.Inc()
	}
	b.log.Info("announcements connected", "server", nc.ConnectedUrlRedacted())
	b.miss(missConnection, live.EventID{}, since)
}

func (b *Bus) disconnected(err error) {
	if err == nil {
		err = errors.New("closed")
	}
	b.mu.Lock()
	if b.since.IsZero() {
		b.since = time.Now()
	}
	b.lastErr = err
	b.mu.Unlock()
	b.log.Warn("announcements disconnected", "err", err)
}

// failed is told of what the client library finds wrong.
func (b *Bus) failed(err error) {
	if !errors.Is(err, client.ErrSlowConsumer) {
		b.log.Warn("announcements", "err", err)
		return
	}
	now, err := b.sub.Dropped()
	if err != nil {
		return // the bus is being closed
	}
	b.mu.Lock()
	n := now - b.dropped
	b.dropped = now
	b.mu.Unlock()
	b.metrics.dropped[dropSlow].Add(float64(max(n, 0)))
	b.miss(missSlow, live.EventID{}, time.Now().Add(-beatFor))
}

// A seenLog remembers the places of others.
type seenLog struct {
	mu     sync.Mutex // guards places
	places map[source]*heard
}

type heard struct {
	seq     uint64
	message time.Time // when the last message came
	last    time.Time // when the last message or beat came
	silent  bool      // it was said that it fell silent
}

func newSeenLog() *seenLog { return &seenLog{places: make(map[source]*heard)} }

// note enters what came. missing is how many messages before it did not come;
// known is whether that can be said. since is when the last one did come.
func (l *seenLog) note(w *announce.Wire, now time.Time) (missing uint64, known bool, since time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := source{w.Node, w.Event}
	h := l.places[key]
	if h == nil {
		if len(l.places) >= maxPlaces {
			l.forget(now)
		}
		// The first of all misses nothing.
		l.places[key] = &heard{seq: w.Seq, message: now, last: now}
		return 0, w.Seq == 1 && !w.Beat, now.Add(-beatFor)
	}
	since, known = h.last, true
	next := h.seq + 1
	if w.Beat {
		next = h.seq
	}
	switch {
	case w.Seq > next:
		missing = w.Seq - next
	case w.Seq < next && w.Seq == 1 && !w.Beat:
		known, h.seq = false, 0 // it counts anew
	}
	h.seq, h.last, h.silent = max(h.seq, w.Seq), now, false
	if !w.Beat {
		h.message = now
	}
	return missing, known, since
}

// silent returns the events of which a node should have beaten and has not, and
// when it last did.
func (l *seenLog) silent(now time.Time) map[live.EventID]time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out map[live.EventID]time.Time
	for key, h := range l.places {
		if h.silent || now.Sub(h.last) < silentAfter || h.last.Sub(h.message) > beatFor-silentAfter {
			continue
		}
		if out == nil {
			out = make(map[live.EventID]time.Time)
		}
		h.silent, out[key.event] = true, h.last
	}
	return out
}

// forget makes room. Of what is forgotten nothing is known when it comes again.
func (l *seenLog) forget(now time.Time) {
	maps.DeleteFunc(l.places, func(_ source, h *heard) bool { return now.Sub(h.last) > beatFor })
	if len(l.places) >= maxPlaces {
		clear(l.places)
	}
}
