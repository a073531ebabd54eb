package edge

import (
	"slices"
	"time"
)

// A stage is what is known of a race when it is decided what comes next.
type stage struct {
	running, peers int       // attempts under way, and those of them at peers
	first          bool      // no attempt has failed or was refused
	refused        bool      // one was refused: that may have to do
	until          time.Time // when no further request is made
	late           time.Time // when what runs is late; zero: never
	notBefore      time.Time // when the next may begin while none runs
	sure           bool      // of the way: parents of our own are on it, or need not be
	again          time.Time // of the way: it may be another then; zero: after news alone
	untried        bool      // somebody on the way is up and was not asked
}

// A move is what a race does next.
type move struct {
	what what
	at   time.Time
}

type what uint8

const (
	look    what = iota // again at some time, or after news
	tryNext             // parent on the way
	giveUp
)

// decide says what a race does at now. It decides and nothing else.
func (s *stage) decide(now time.Time) move {
	end := s.until.Add(grace)
	if s.running > 0 {
		switch {
		case !now.Before(end):
			return move{giveUp, now}
		case s.late.IsZero(), !now.Before(s.until), !s.untried:
			return s.look(end)
		case now.Before(s.late):
			return s.look(minTime(s.late, end))
		}
		return move{tryNext, now}
	}
	switch {
	case s.refused && s.sure && !s.untried, !s.first && !now.Before(s.until):
		return move{giveUp, now}
	case now.Before(s.notBefore):
		return move{look, minTime(s.notBefore, s.until)}
	}
	return move{tryNext, now}
}

// without says what a race does that found nobody to ask, or nobody who may be
// asked before wait is over.
func (s *stage) without(now time.Time, found bool, wait time.Duration) move {
	switch {
	case !now.Before(s.until):
		return move{giveUp, now}
	case !found:
		return s.look(s.until)
	}
	return move{look, minTime(now.Add(wait), s.until)}
}

// look is to look again when the way may be another, at the latest at t.
func (s *stage) look(t time.Time) move {
	if s.again.IsZero() {
		return move{look, t}
	}
	return move{look, minTime(s.again, t)}
}

// beside is the way without those who are not asked beside a peer that is
// running: a third one, and parents of our own while the peer may well be waiting
// for what is late for everybody. It decides and nothing else.
func (w route) beside(peers int, now time.Time) route {
	if peers == 0 {
		return w
	}
	early := now.Before(w.own)
	w.parents = slices.DeleteFunc(slices.Clone(w.parents), func(p *parent) bool {
		if p.peer != nil {
			return peers > 1
		}
		return early
	})
	if early && (w.again.IsZero() || w.own.Before(w.again)) {
		w.again = w.own
	}
	return w
}
