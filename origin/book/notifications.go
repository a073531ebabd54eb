package book

import (
	"slices"
	"time"

	"headwater/live"
)

// How an event's notifications change: by the control API, and by what
// packagers say in the Live-Notifications header of a PUT.
//
// A packager's header has the form of an answer's, but its sequence number is
// the packager's own count and has nothing to do with the event's: it tells
// what the packager says now from what it said before, since PUTs are repeated,
// hedged and overtaken. The members are added to the event's set, in place of
// those of the same id; a member of the type "withdraw" takes the one of its id
// out. Absence says nothing, since every pipeline speaks for itself only.

// WithdrawType is the type of a member that withdraws.
const WithdrawType = "withdraw"

// Heard is the mark of what a pipeline said: its own sequence number, and what
// tells apart two sayings of a packager that does not count.
type Heard struct {
	Sequence int64  `json:"sequence"`
	Said     string `json:"said"`
}

// Newer reports whether h is not what was already heard.
func (h Heard) Newer(than Heard) bool {
	return h.Sequence > than.Sequence || h.Sequence == than.Sequence && h.Said != than.Said
}

// Hears reports whether a pipeline says something new.
func (e *Event) Hears(pipeline string, mark Heard) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, ok := e.heard[pipeline]
	return !ok || mark.Newer(before)
}

// Hear notes what a pipeline said, unless it has said something newer.
func (e *Event) Hear(pipeline string, mark Heard) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if before, ok := e.heard[pipeline]; !ok || mark.Newer(before) {
		e.heard[pipeline] = mark
	}
}

// Notified is a set after what was said: members are added, in place of those of
// the same id, and taken out by those that withdraw. It changes neither.
func Notified(set, said []live.Notification) []live.Notification {
	set = slices.Clone(set)
	for _, n := range said {
		i := slices.IndexFunc(set, func(x live.Notification) bool { return x.ID == n.ID })
		switch {
		case n.Type == WithdrawType && i >= 0:
			set = slices.Delete(set, i, i+1)
		case n.Type == WithdrawType:
		case i >= 0:
			set[i] = n
		default:
			set = append(set, n)
		}
	}
	return set
}

// SameNotification reports whether two say the same.
func SameNotification(a, b live.Notification) bool {
	return a.Type == b.Type && a.ID == b.ID && a.From == b.From && a.To == b.To && string(a.Data) == string(b.Data) && a.At.Equal(b.At) && a.Length == b.Length
}

// MayNotify refuses what would make the set too large.
func (rec *Record) MayNotify(said []live.Notification, now time.Time) error {
	return fits(live.Notifications{Sequence: rec.Notifications.Sequence + 1, Set: rec.current(Notified(rec.Notifications.Set, said), now)})
}
