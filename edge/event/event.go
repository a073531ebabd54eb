package event

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headwater/edge/exchange"
	"headwater/live"
)

// An Event is what the edge knows of an event: its configuration, followed from
// the parents, and what their answers told.
type Event struct {
	ID live.EventID

	config  atomic.Pointer[Configuration] // nil until the first came
	tally   atomic.Pointer[tally]         // nil until then
	edge    atomic.Int64                  // newest published number told, -1 before any
	version atomic.Int64                  // highest version told
	used    atomic.Int64                  // Unix ns of the last request
	digests atomic.Int64                  // Unix ns of the last answer with a digest
	told    atomic.Int64                  // counts the changes of what is stamped on answers
	common  atomic.Pointer[stamped]
	lost    lost
	over    atomic.Bool // it is not known by its name any more: whoever has it looks it up anew

	known   atomic.Bool   // the first word of it is there
	refusal *live.Problem // with known: there is no such event, until
	until   time.Time

	mu            sync.Mutex // guards the following
	newest        belief     // edge
	notifications notifications
	news          int           // counts what those who wait for the event are told of
	next          chan struct{} // closed with the next of it
	parked        map[exchange.Parked]struct{}
	interrupt     context.CancelFunc // ends the held request for the configuration; nil while there is none
}

// notifications are the set that is believed to be the newest.
type notifications struct {
	sequence belief
	set      string // as it came
	less     string // that of the most that was said since it is doubted
}

// hear is what is believed after an answer with a set.
func (n notifications) hear(sequence int64, set string, now time.Time) notifications {
	next := notifications{n.sequence.hear(sequence, now), n.set, n.less}
	if !next.sequence.doubted.IsZero() && next.sequence.less == sequence {
		next.less = set
	}
	switch next.sequence.value {
	case n.sequence.value:
	case sequence:
		next.set = set
	default:
		next.set = n.less
	}
	return next
}

// ahead is how far ahead of the parents' clock a segment may begin that they have.
const ahead = time.Minute

// Hear takes what an answer of a parent says of its event, at now and when it was
// theirs by the parents' clock.
func (e *Event) Hear(h http.Header, now, theirs time.Time) {
	if n, err := live.ParseNumber(h.Get(live.HeaderEdge)); err == nil && e.canBe(n, theirs) {
		e.mu.Lock()
		e.newest = e.newest.hear(int64(n), now)
		if edge := e.newest.value; e.edge.Swap(edge) != edge {
			e.told.Add(1)
			if t := e.tally.Load(); t != nil && t.label != otherLabel {
				t.edge.Set(float64(edge))
			}
		}
		e.mu.Unlock()
	}
	if v, err := live.ParseVersion(h.Get(live.HeaderVersion)); err == nil && atomicMax(&e.version, v) {
		// The follower puts interrupt there first and looks at the version
		// then; here it is the other way round. So one of the two sees the other.
		e.mu.Lock()
		if now := e.config.Load(); now != nil && v > now.Version && e.interrupt != nil {
			e.interrupt()
		}
		e.mu.Unlock()
	}
	if vals := h.Values(live.HeaderNotifications); len(vals) > 0 {
		n, err := live.ParseNotifications(vals)
		if err != nil {
			return
		}
		if s, err := n.Header(); err == nil && e.notify(n.Sequence, s, now) {
			e.tell()
		}
	}
}

// canBe reports whether a number may be published when it is theirs.
func (e *Event) canBe(n live.Number, theirs time.Time) bool {
	c := e.config.Load()
	if c == nil {
		return false
	}
	tl := c.Event.Timeline()
	return n <= tl.At(theirs.Add(ahead))
}

// notify takes a set of notifications, and reports whether it is another than was
// believed to be the newest.
func (e *Event) notify(sequence int64, set string, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	was := e.notifications.sequence.value
	e.notifications = e.notifications.hear(sequence, set, now)
	if e.notifications.sequence.value == was {
		return false
	}
	e.told.Add(1)
	return true
}

// Heard returns the sequence number of the newest set of notifications, and how
// much there has been to tell.
func (e *Event) Heard() (sequence int64, news int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.notifications.sequence.value, e.news
}

// Notifications are the set that is believed to be the newest.
func (e *Event) Notifications() live.Notifications {
	e.mu.Lock()
	set := e.notifications.set
	e.mu.Unlock()
	n, _ := live.ParseNotifications([]string{set}) // as it was written when it was heard, or none
	return n
}

func atomicMax(a *atomic.Int64, v int64) (raised bool) {
	for {
		old := a.Load()
		if v <= old {
			return false
		}
		if a.CompareAndSwap(old, v) {
			return true
		}
	}
}

// A stamped is the part of heads that all answers of an event have in common,
// until something else is told.
type stamped struct {
	config *Configuration
	told   int64
	exchange.Shared
}

// Stamp is what every answer of the event carries. The version is that of the
// configuration the answer was looked up under, not one that came since: to another edge
// it says which invalidations were heeded.
func (e *Event) Stamp(c *Configuration) *exchange.Shared {
	told := e.told.Load()
	if s := e.common.Load(); s != nil && s.config == c && s.told == told {
		return &s.Shared
	}
	s := &stamped{config: c, told: told}
	s.Put(live.HeaderVersion, strconv.FormatInt(c.Version, 10))
	if n := e.edge.Load(); n >= 0 {
		s.Put(live.HeaderEdge, strconv.FormatInt(n, 10))
	}
	e.mu.Lock()
	notifications := e.notifications.set
	e.mu.Unlock()
	if notifications != "" {
		s.Put(live.HeaderNotifications, notifications)
	}
	e.common.Store(s)
	return &s.Shared
}

func newEvent(id live.EventID) *Event {
	e := &Event{ID: id, next: make(chan struct{}), newest: belief{value: -1}}
	e.edge.Store(-1)
	return e
}

// Known reports whether there is a first word of the event. Then Refusal says
// whether there is no such event, and for how long.
func (e *Event) Known() bool { return e.known.Load() }

// Refusal is why there is no such event.
func (e *Event) Refusal(now time.Time) Refusal {
	return Refusal{e.refusal, max(e.until.Sub(now), 0)}
}

// Config is the configuration as it is known now.
func (e *Event) Config() *Configuration { return e.config.Load() }

// Over reports whether the event is to be looked up anew.
func (e *Event) Over() bool { return e.over.Load() }

// Newest is the newest published number that was told of, -1 before any.
func (e *Event) Newest() int64 { return e.edge.Load() }

// learnt says that the first word of the event is there.
func (e *Event) learnt() {
	e.known.Store(true)
	e.tell()
}

// tell lets those who wait for the event look again.
func (e *Event) tell() {
	e.mu.Lock()
	e.news++
	close(e.next)
	e.next = make(chan struct{})
	waiting := slices.Collect(maps.Keys(e.parked))
	e.parked = nil
	e.mu.Unlock()
	exchange.WakeAll(waiting)
}

// Park, Unpark and Changed are for those who wait for more to be told than they
// have seen.
func (e *Event) Park(p exchange.Parked, seen int) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.news > seen {
		return false
	}
	if e.parked == nil {
		e.parked = make(map[exchange.Parked]struct{})
	}
	e.parked[p] = struct{}{}
	return true
}

func (e *Event) Unpark(p exchange.Parked) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.parked, p)
}

func (e *Event) Changed(seen int) <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.news > seen {
		return nil
	}
	return e.next
}

// digestFor is how long a digest is missed in other answers of an event.
const digestFor = time.Minute

var errUndigested = errors.New("edge: the answer has no digest, as others of the event have")

// CheckDigest says why an answer with a segment or an init segment is not to be
// trusted: one that has no digest, where others have one, may be anything.
func (e *Event) CheckDigest(resp *http.Response, now time.Time) error {
	switch _, err := live.ParseDigest(resp.Header.Values(live.HeaderContentDigest)); {
	case resp.StatusCode != http.StatusOK:
	case err == nil && len(resp.Header[live.HeaderContentDigest]) > 0:
		e.digests.Store(now.UnixNano())
	case now.Sub(time.Unix(0, e.digests.Load())) < digestFor:
		return errUndigested
	}
	return nil
}
