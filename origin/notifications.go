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
	_, err := o.events.edit(p.r.Context(), p.path.Event, func(rec *eventRecord, exists bool) error {
		if !exists {
			return noEvent(p.path.Event)
		}
		if !mark.newer(rec.Heard[pipeline]) {
			outcome = heardStale
			return errUnchanged
		}
		set := p.said.apply(rec.Notifications.Set)
		if slices.EqualFunc(set, rec.Notifications.Set, sameNotification) {
			return errUnchanged
		}
		if err := rec.notify(set, p.received); err != nil {
			return err
		}
		all := make(map[string]heard, len(rec.Heard)+1)
		for _, x := range rec.Config.Pipelines { // bounded: only of those there are
			if h, ok := rec.Heard[x.Name]; ok {
				all[x.Name] = h
			}
		}
		all[pipeline] = mark
		rec.Heard, outcome = all, heardChanged
		return nil
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

// apply returns the set after the saying.
func (s *saying) apply(set []live.Notification) []live.Notification {
	set = slices.Clone(set)
	for _, n := range s.Set {
		if n.Type == withdrawType {
			set = without(set, n.ID)
		} else {
			set = with(set, n)
		}
	}
	return set
}

// with returns the set with n, in place of the one of its id. It may change set.
func with(set []live.Notification, n live.Notification) []live.Notification {
	if i := slices.IndexFunc(set, func(x live.Notification) bool { return x.ID == n.ID }); i >= 0 {
		set[i] = n
		return set
	}
	return append(set, n)
}

// without returns the set without the one of that id. It may change set.
func without(set []live.Notification, id string) []live.Notification {
	return slices.DeleteFunc(set, func(x live.Notification) bool { return x.ID == id })
}

func sameNotification(a, b live.Notification) bool {
	return a.Type == b.Type && a.ID == b.ID && a.From == b.From && a.To == b.To && string(a.Data) == string(b.Data)
}

// notify makes set the event's current one, under the next sequence number,
// without those that end before the DVR window: no viewer can be there.
func (rec *eventRecord) notify(set []live.Notification, now time.Time) error {
	tl := rec.Config.Event.Timeline()
	oldest := tl.Oldest(now)
	set = slices.DeleteFunc(set, func(n live.Notification) bool { return n.To != 0 && n.To < oldest })
	if len(set) > live.MaxNotifications {
		return live.ErrBadRequest.With(fmt.Sprintf("%d notifications, at most %d", len(set), live.MaxNotifications))
	}
	rec.Notifications = live.Notifications{Sequence: rec.Notifications.Sequence + 1, Set: set}
	if _, err := rec.Notifications.Header(); err != nil {
		return live.ErrBadRequest.With(err.Error())
	}
	return nil
}

// editNotifications changes the set by the control API.
func (o *Origin) editNotifications(c *change, f func(set []live.Notification) ([]live.Notification, error)) error {
	return o.apply(c, nil, existing(c.id, func(rec *eventRecord) error {
		set, err := f(slices.Clone(rec.Notifications.Set))
		if err != nil {
			return err
		}
		return rec.notify(set, time.Now())
	}), func(v *view) error { return answerNotifications(c.w, v) })
}
