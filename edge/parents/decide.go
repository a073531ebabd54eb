package parents

import (
	"net/http"
	"slices"
	"time"

	"headwater/internal/hedge"
)

// A meaning is what a parent's status says of what it was asked for.
type meaning uint8

const (
	anAnswer   meaning = iota
	aRefusal           // for want of something: another may have it
	aFailure           // of the parent
	ofTheAsker         // it does not like how it was asked, and by whom: nothing is known of the object
	ofAnother          // it has something else of that name
)

// means says which. What is about the asker never becomes the answer of an object,
// which many wait for who ask otherwise, and nor does a detour to somewhere else.
func means(status int, ranged, passed bool) meaning {
	switch status {
	case http.StatusOK, http.StatusNotFound, http.StatusGone, http.StatusUnavailableForLegalReasons:
		return anAnswer
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		if ranged {
			return anAnswer
		}
	case http.StatusServiceUnavailable:
		if passed {
			return anAnswer
		}
		return aRefusal
	case http.StatusLoopDetected:
		return ofTheAsker
	}
	if status >= 500 {
		return aFailure
	}
	return ofTheAsker
}

// A Route is where to ask, in order, as things are now.
type Route struct {
	Parents []*Parent
	Ahead   []*Parent // peers that rank before this node, there or not
	Sure    bool      // parents of our own are among them, or need not be
	Again   time.Time // things may look different then; zero: only after a change
	Own     time.Time // own parents are asked beside a peer from then on
}

func (w *Route) isAhead(p *Parent) bool { return slices.Contains(w.Ahead, p) }

// A stage is what is known of a race when it is decided what comes next.
type stage struct {
	running, peers int       // attempts under way, and those of them at peers
	first          bool      // no attempt has failed or was refused
	refused        bool      // one was refused: that may have to do
	spent          bool      // all on the way would say again what they said
	until          time.Time // when no further request is made
	late           time.Time // when what runs is late; zero: never
	notBefore      time.Time // when the next may begin while none runs
	sure           bool      // of the way: parents of our own are on it, or need not be
	again          time.Time // of the way: it may be another then; zero: after news alone
	untried        bool      // somebody on the way is up and was not asked
}

type move = hedge.Move[*Parent]

// decide says what a race does at now. It decides and nothing else.
func (s *stage) decide(now time.Time) move {
	end := s.until.Add(Grace)
	if s.running > 0 {
		switch {
		case !now.Before(end):
			return move{Step: hedge.GiveUp}
		case s.late.IsZero(), !now.Before(s.until), !s.untried:
			return s.look(end)
		case now.Before(s.late):
			return s.look(minTime(s.late, end))
		}
		return move{Step: hedge.Begin}
	}
	switch {
	case s.refused && s.sure && !s.untried, s.spent && s.sure, !s.first && !now.Before(s.until):
		return move{Step: hedge.GiveUp}
	case now.Before(s.notBefore):
		return move{Step: hedge.Wait, At: minTime(s.notBefore, s.until)}
	}
	return move{Step: hedge.Begin}
}

// without says what a race does that found nobody to ask, or nobody who may be
// asked before wait is over.
func (s *stage) without(now time.Time, found bool, wait time.Duration) move {
	switch {
	case !now.Before(s.until):
		return move{Step: hedge.GiveUp}
	case !found:
		return s.look(s.until)
	}
	return move{Step: hedge.Wait, At: minTime(now.Add(wait), s.until)}
}

// look is to look again when the way may be another, at the latest at t.
func (s *stage) look(t time.Time) move {
	if !s.again.IsZero() {
		t = minTime(s.again, t)
	}
	return move{Step: hedge.Wait, At: t}
}

// beside is the way without those who are not asked beside a peer that is
// running: a third one, and parents of our own while the peer may well be waiting
// for what is late for everybody. It decides and nothing else.
func (w Route) beside(peers int, now time.Time) Route {
	if peers == 0 {
		return w
	}
	early := now.Before(w.Own)
	w.Parents = slices.DeleteFunc(slices.Clone(w.Parents), func(p *Parent) bool {
		if p.Peer() {
			return peers > 1
		}
		return early
	})
	if early && (w.Again.IsZero() || w.Own.Before(w.Again)) {
		w.Again = w.Own
	}
	return w
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
