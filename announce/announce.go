// Package announce tells every origin node what was just published or changed.
// Announcements carry metadata, never media. They may be lost: a receiver that
// must be sure looks in the store.
package announce

import (
	"context"
	"sync"

	"headwater/live"
)

// A Kind says what a message is about.
type Kind uint8

// The kinds.
const (
	// Published: Candidate is durable, new or repaired.
	Published Kind = iota
	// Init: the rendition has an init segment from Candidate.Pipeline. It is
	// in the store.
	Init
	// Changed: the event's configuration, masks or notifications changed, or
	// it was created or deleted. What it is now is in the store.
	Changed
)

// A Message is one announcement.
type Message struct {
	// Node is who announces. A bus brings a node its own messages too.
	Node      string
	Kind      Kind
	Event     live.EventID
	Life      int64          // Published: which of the events that had this name, one after the other
	Rendition string         // Published, Init
	Candidate live.Candidate // Published, Init
}

// A Bus carries announcements. Announce returns when every subscriber in this
// process has seen the message, and every other node has been sent it.
type Bus interface {
	Announce(ctx context.Context, m Message) error
	// Subscribe calls f for every message from now on, until cancel returns.
	// Calls may overlap. f must not block, nor use the bus.
	Subscribe(f func(Message)) (cancel func())
}

// Local is a Bus within one process.
type Local struct {
	mu   sync.RWMutex // guards the following; held for reading while subscribers are called
	next int
	subs map[int]func(Message)
}

// NewLocal returns a bus without subscribers.
func NewLocal() *Local { return &Local{subs: make(map[int]func(Message))} }

// Announce calls every subscriber. It never fails.
func (l *Local) Announce(_ context.Context, m Message) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, f := range l.subs {
		f(m)
	}
	return nil
}

// Subscribe adds a subscriber.
func (l *Local) Subscribe(f func(Message)) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.next
	l.next++
	l.subs[id] = f
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.subs, id)
	}
}
