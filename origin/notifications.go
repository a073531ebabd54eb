package origin

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

// How an event's notifications change: by the control API, and by what
// packagers say in the Live-Notifications header of a PUT.
//
// A packager's header has the form of an answer's, but its sequence number is
// the packager's own count and has nothing to do with the event's: it tells
// what the packager says now from what it said before, since PUTs are repeated,
// hedged and overtaken. The members are added to the event's set, in place of
// those of the same id; a member of the type "withdraw" takes the one of its id
// out. Absence says nothing, since every pipeline speaks for itself only.

// withdrawType is the type of a member that withdraws.
const withdrawType = "withdraw"

// A saying is a Live-Notifications header of a PUT.
type saying struct {
	live.Notifications
	mark heard
}

// heard is the mark of what a pipeline said: its own sequence number, and what
// tells apart two sayings of a packager that does not count.
type heard struct {
	Sequence int64  `json:"sequence"`
	Said     string `json:"said"`
}

// newer reports whether h is not what was already heard.
func (h heard) newer(than heard) bool {
	return h.Sequence > than.Sequence || h.Sequence == than.Sequence && h.Said != than.Said
}

// parseSaying returns nil where nothing is said.
func parseSaying(values []string) (*saying, error) {
	if len(values) == 0 {
		return nil, nil
	}
	n, err := live.ParseNotifications(values)
	if err != nil {
		return nil, err
	}
	text, err := n.Header()
	if err != nil {
		return nil, err
	}
	return &saying{n, heard{n.Sequence, live.DigestOf([]byte(text)).ETag()}}, nil
}

// A hearing is what became of what a packager said. Counters share the names.
type hearing string

const (
	heardChanged   hearing = "changed"   // the event's set is another
	heardUnchanged hearing = "unchanged" // it already was so
	heardStale     hearing = "stale"     // said before, or older than what was
	heardRefused   hearing = "refused"   // the set would have been too large
)

var hearings = []hearing{heardChanged, heardUnchanged, heardStale, heardRefused}

// brief is the saying in a line of the log.
func (s *saying) brief() string {
	text, _ := s.Header() // parseSaying had it
	return brief([]string{text})
}

// hears reports whether a pipeline says something new.
func (e *event) hears(pipeline string, mark heard) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	before, ok := e.heard[pipeline]
	return !ok || mark.newer(before)
}

func (e *event) hear(pipeline string, mark heard) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if before, ok := e.heard[pipeline]; !ok || mark.newer(before) {
		e.heard[pipeline] = mark
	}
}

// notified is a set after what was said: members are added, in place of those of
// the same id, and taken out by those that withdraw. It changes neither.
func notified(set, said []live.Notification) []live.Notification {
	set = slices.Clone(set)
	for _, n := range said {
		i := slices.IndexFunc(set, func(x live.Notification) bool { return x.ID == n.ID })
		switch {
		case n.Type == withdrawType && i >= 0:
			set = slices.Delete(set, i, i+1)
		case n.Type == withdrawType:
		case i >= 0:
			set[i] = n
		default:
			set = append(set, n)
		}
	}
	return set
}

func sameNotification(a, b live.Notification) bool {
	return a.Type == b.Type && a.ID == b.ID && a.From == b.From && a.To == b.To && string(a.Data) == string(b.Data)
}

// mayNotify refuses what would make the set too large.
func (rec *eventRecord) mayNotify(said []live.Notification, now time.Time) error {
	return fits(live.Notifications{Sequence: rec.Notifications.Sequence + 1, Set: rec.current(notified(rec.Notifications.Set, said), now)})
}
