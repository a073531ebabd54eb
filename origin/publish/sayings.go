package publish

import (
	"slices"

	"headwater/live"
	"headwater/origin/audit"
	"headwater/origin/book"
)

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
	heardForbidden hearing = "forbidden" // others said what it would have changed
)

var hearings = []hearing{heardChanged, heardUnchanged, heardStale, heardRefused, heardForbidden}

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

// entryOf is a saying that changed the event's set, for the audit log.
func (s *Server) entryOf(p *publication, before, after live.Notifications) audit.Entry {
	e := audit.EntryOf(p.r, p.by, s.Clock.Now())
	e.Event, e.Did = p.path.Event.String(), "notify"
	e.Before, e.After = without(before, after.Set), without(after, before.Set)
	return e
}

// without is the header of what a set has and another has not.
func without(n live.Notifications, other []live.Notification) string {
	n.Set = slices.DeleteFunc(slices.Clone(n.Set), func(x live.Notification) bool {
		return slices.ContainsFunc(other, func(y live.Notification) bool { return book.SameNotification(x, y) })
	})
	text, _ := n.Header() // the whole set had one
	return text
}
