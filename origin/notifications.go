package origin

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"headwater/announce"
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

// hearNotifications takes what the packager said, once its segment is stored,
// and before it is acknowledged: a 2xx says that both are durable. What would
// make the set too large is left out, for a segment is worth more.
func (o *Origin) hearNotifications(p *publication) error {
	if p.said == nil {
		return nil
	}
	pipeline, mark := p.path.Pipeline, p.said.mark
	if !p.event.hears(pipeline, mark) {
		o.metrics.hearings[heardStale].Inc()
		return nil
	}
	outcome := heardUnchanged
	_, err := o.events.edit(p.r.Context(), p.path.Event, func(rec *eventRecord, exists bool) (edit, error) {
		switch {
		case !exists:
			return edit{}, noEvent(p.path.Event)
		case !mark.newer(rec.Heard[pipeline]):
			outcome = heardStale
			return edit{}, errUnchanged
		case slices.EqualFunc(notified(rec.Notifications.Set, p.said.Set), rec.Notifications.Set, sameNotification):
			return edit{}, errUnchanged
		}
		x := edit{Notify: p.said.Set, Heard: map[string]heard{pipeline: mark}}
		if err := rec.mayNotify(x.Notify, p.received); err != nil {
			return x, err
		}
		outcome = heardChanged
		return x, nil
	})
	switch {
	case errors.Is(err, live.ErrBadRequest):
		outcome = heardRefused
		o.log.Warn("notifications left out", "event", p.path.Event.String(), "pipeline", pipeline, "err", err)
	case errors.Is(err, live.ErrNoEvent):
		return err
	case err != nil:
		return live.ErrNotStored.With(fmt.Sprintf("the segment is stored, its notifications are not: PUT it again: %v", err))
	}
	p.event.hear(pipeline, mark)
	o.metrics.hearings[outcome].Inc()
	if outcome == heardChanged {
		o.log.Info("notifications by a packager", "event", p.path.Event.String(), "pipeline", pipeline, "by", o.publisher(p), "from", p.r.RemoteAddr, "said", p.said.brief())
		p.news = append(p.news, announce.Message{Kind: announce.Changed, Event: p.path.Event, Stamp: o.events.stamp(p.path.Event)})
	}
	return nil
}

// publisher names whose token a publication came with.
func (o *Origin) publisher(p *publication) string {
	if len(o.cfg.PublishTokens) == 0 {
		return "anyone"
	}
	return "publish " + p.path.Event.Tenant
}

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

// notify changes the set by the control API.
func (o *Origin) notify(c *change, f func(set []live.Notification) (live.Notification, error)) error {
	return o.apply(c, nil, existing(c.id, func(rec *eventRecord) (edit, error) {
		n, err := f(rec.Notifications.Set)
		if err != nil {
			return edit{}, err
		}
		said := []live.Notification{n}
		return edit{Notify: said}, rec.mayNotify(said, time.Now())
	}), func(v *view) error { return answerNotifications(c.w, v) })
}
