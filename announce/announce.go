// Package announce tells every origin node what was just published or changed.
// Announcements carry metadata, never media. They may be lost: a receiver that
// must be sure looks in the store, and a bus that finds out that some were lost
// says so with [Missed].
package announce

import (
	"errors"
	"fmt"
	"sync"
	"time"

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
	// Pinned: the node chose Candidate to serve its segment, and so shall all.
	Pinned
	// Missed: announcements were lost, or may have been. The bus itself says it,
	// to the subscribers of one process; it is never sent.
	Missed
	kinds
)

func (k Kind) String() string {
	if k < kinds {
		return [...]string{"published", "init", "changed", "pinned", "missed"}[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// A Message is one announcement.
type Message struct {
	// Node is who announces, for as long as its process lives. A bus brings a
	// node its own messages too.
	Node      string
	Kind      Kind
	Event     live.EventID   // Missed: the zero one is all events
	Life      int64          // Published, Init, Pinned: which of the events that had this name, one after the other
	Rendition string         // Published, Init, Pinned
	Candidate live.Candidate // Published, Init, Pinned
	// Stamp, of Changed, is the time of the stored record's token, in Unix
	// nanoseconds: who reads an older one has not read what was announced. Of
	// Pinned it is when the choice was made.
	Stamp int64
	// Turn and Version, of Pinned, are how many choices of the segment this one
	// replaces, and the event's version under which it was made.
	Turn, Version int64
	// Since, of Missed, is from when on announcements may be missing.
	Since time.Time
}

// The errors of Announce.
var (
	// ErrDropped: the message, or an older one in its place, reaches no other
	// node.
	ErrDropped = errors.New("announce: dropped")
	// ErrInvalid: the message cannot be told to others.
	ErrInvalid = errors.New("announce: invalid message")
	// ErrClosed: the bus was closed.
	ErrClosed = errors.New("announce: closed")
)

// A Bus carries announcements. What one node announces of one event arrives in
// that order; a message may arrive twice, or not at all.
type Bus interface {
	// Announce returns once every subscriber in this process has seen the
	// message. It never waits for other nodes. Its errors are ErrDropped,
	// ErrInvalid and ErrClosed; subscribers here have seen it all the same.
	Announce(m Message) error
	// Subscribe calls f for every message from now on, until cancel returns.
	// Calls may overlap. f must not block, nor use the bus. A bus that reaches
	// other nodes begins with Missed: what they announced before is in the store.
	Subscribe(f func(Message)) (cancel func())
	// Health says why announcements do not reach other nodes, or theirs this
	// one; nil where they do.
	Health() error
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
func (l *Local) Announce(m Message) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, f := range l.subs {
		f(m)
	}
	return nil
}

// Health is always good.
func (l *Local) Health() error { return nil }

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
