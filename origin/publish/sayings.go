package publish

import (
	"headwater/live"
	"headwater/origin/book"
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

// A saying is a Live-Notifications header of a PUT.
type saying struct {
	live.Notifications
	mark book.Heard
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
	return &saying{n, book.Heard{Sequence: n.Sequence, Said: live.DigestOf([]byte(text)).ETag()}}, nil
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

// maxBrief bounds what a line of the log has of a saying, in bytes.
const maxBrief = 512

// brief is the saying in a line of the log.
func (s *saying) brief() string {
	text, _ := s.Header() // parseSaying had it
	if len(text) > maxBrief {
		text = text[:maxBrief] + "..."
	}
	return text
}
