package packager

import (
	"bytes"
	"context"
	"time"

	"headwater/live"
)

// Viewers have one init segment of a rendition, whichever pipeline serves them.
// A pipeline whose own cannot stand in for it is refused (412 init-differs), and
// its segments would be garbage to every player. So the sender keeps with each
// segment the init segment that it was made for, and sends it only where the
// origin has taken that one:
//
//	encoder        origin                    the segments of that encoder
//	init A         201                       go
//	init B         412 init-differs          are dropped, and counted; B is asked again now and then
//	init A again   200                       go
//	init B         no answer, then C comes   are dropped: nobody knows whether B fitted
//	init B         200 (event made anew,     go from then on; the origin takes those of its
//	               or a generation begun)    generation
const (
	// An init segment that was refused is sent again after these times, doubling:
	// the event may have been deleted and made anew. It is a kilobyte.
	firstRefit = 5 * time.Second
	mostRefit  = 30 * time.Second
)

// A fit is what is known of an init segment.
type fit uint8

const (
	fitPending fit = iota // not answered yet
	fitTaken              // acknowledged, or refused for a reason that segments are refused for too
	fitRefused            // init-differs
	fitUnknown            // another came before it was answered
)

// An initState is an init segment, the newest of its rendition or one that
// segments which are still on their way were made for.
type initState struct {
	seg     *segment
	ctx     context.Context // ends when another takes its place
	replace context.CancelFunc
	settled chan struct{} // closed when it is no longer pending
	turn    chan struct{} // holds one token: who has it sends the init segment again

	// Guarded by sender.mu.
	fit    fit
	detail string // why it was refused
	waits  bool   // for a generation to begin, as was said of a segment
}

// lost reports whether segments made for this init segment may not be sent. It
// is called under sender.mu. Segments of tests may have none.
func (st *initState) lost() bool {
	return st != nil && (st.fit == fitRefused || st.fit == fitUnknown)
}

// newest makes seg the init segment of its rendition. It returns nil where it
// already is, and has not been refused.
func (s *sender) newest(seg *segment, known fit) *initState {
	st := &initState{seg: seg, settled: make(chan struct{}), turn: make(chan struct{}, 1), fit: known}
	st.ctx, st.replace = context.WithCancel(s.ctx)
	st.turn <- struct{}{}
	if known != fitPending {
		close(st.settled)
	}
	s.change(func() {
		old := s.inits[seg.rendition]
		if old != nil && old.fit <= fitTaken && bytes.Equal(old.seg.data, seg.data) {
			st.replace()
			st = nil
			return
		}
		if old != nil {
			old.replace()
			if old.fit == fitPending {
				old.fit = fitUnknown
				close(old.settled)
			}
		}
		s.inits[seg.rendition], seg.of = st, st
		if known == fitPending {
			s.total++
		}
	})
	return st
}

// sendInit makes seg the init segment of its rendition and sends it, until it
// is acknowledged, refused or replaced.
func (s *sender) sendInit(seg *segment) {
	st := s.newest(seg, fitPending)
	if st == nil {
		return
	}
	s.wg.Go(func() {
		defer s.change(func() { s.total-- })
		for st.ctx.Err() == nil && !s.tryInit(st.ctx, st, s.dests, s.budget()) {
		}
	})
}

// holdInit makes seg the init segment of its rendition without sending it: it
// goes when an answer asks for it.
func (s *sender) holdInit(seg *segment) { s.newest(seg, fitTaken) }

// tryInit sends an init segment once, with all its attempts, and reports
// whether it was answered for good.
func (s *sender) tryInit(ctx context.Context, st *initState, dests []*destination, deadline time.Time) bool {
	return s.settleInit(st, s.deliver(ctx, st.seg, deadline, dests))
}

// budget is until when something that has no deadline of its own may take.
func (s *sender) budget() time.Time {
	tl := s.timeline()
	return time.Now().Add(max(tl.Budget(), leastBudget))
}

// settleInit notes the answer to an init segment.
func (s *sender) settleInit(st *initState, a answer) bool {
	to := fitTaken
	switch {
	case a.verdict == acked:
		s.count.with(func(c *Stats) { c.Inits++ })
	case a.verdict != refused:
		return false
	default:
		s.count.with(func(c *Stats) { c.Refused[a.code]++ })
		if a.code == live.ErrInitDiffers.Code {
			to = fitRefused
		}
	}
	var was fit
	s.change(func() {
		was, st.fit, st.detail = st.fit, to, a.detail
		if was == fitPending {
			close(st.settled)
		}
	})
	args := []any{"rendition", st.seg.rendition, "to", a.from.base, "code", a.code, "detail", a.detail}
	switch {
	case a.verdict == acked && was == fitRefused:
		s.log.Info("the init segment fits again: the rendition goes on", args[:4]...)
	case a.verdict == acked:
		s.log.Info("init segment published", args[:4]...)
	case to == fitRefused && was != fitRefused && was != fitUnknown:
		s.log.Error("init segment refused: the rendition stops until the encoder fits what viewers have", args...)
		begun := s.generation() // before who waits for the answer has it
		s.wg.Go(func() { s.refit(st, begun) })
	default:
		s.log.Error("init segment refused", args...)
	}
	return true
}

// refit sends a refused init segment again now and then, until it is taken or
// replaced: at once when a generation has begun since it was sent.
func (s *sender) refit(st *initState, begun <-chan struct{}) {
	for fails := 1; ; fails++ {
		select {
		case <-time.After(backoff(fails, firstRefit, mostRefit)):
		case <-begun:
			fails = 0 // it may have begun with this one
		case <-st.ctx.Done():
			return
		}
		begun = s.generation()
		if s.tryInit(st.ctx, st, s.dests, s.budget()); !s.isUnfit(st.seg) {
			return
		}
	}
}

// generation is closed when the event has another generation than now.
func (s *sender) generation() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.renewed
}

// renew says that there is one.
func (s *sender) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.renewed)
	s.renewed = make(chan struct{})
}

// askAgain sends the init segments that were taken once more: a generation was taken
// back, and of one that was taken for it an operator learns, and may begin another with
// it, once it is refused.
func (s *sender) askAgain() {
	var taken []*initState
	s.change(func() {
		for _, st := range s.inits {
			if st.fit == fitTaken {
				taken = append(taken, st)
			}
		}
		s.total += len(taken)
	})
	for _, st := range taken {
		s.wg.Go(func() {
			defer s.change(func() { s.total-- })
			for st.ctx.Err() == nil && !s.tryInit(st.ctx, st, s.dests, s.budget()) {
			}
		})
	}
}

// initAgain sends the init segment that a segment was made for once more, to
// the destination that misses it. Segments that miss it together send it once
// each, one after the other: it is small, and the same bytes again do no harm.
func (s *sender) initAgain(ctx context.Context, seg *segment, to *destination, deadline time.Time) {
	st := seg.of
	if st == nil {
		return
	}
	select {
	case <-st.turn:
	case <-ctx.Done():
		return
	}
	defer func() { st.turn <- struct{}{} }()
	if !s.isUnfit(seg) {
		s.tryInit(ctx, st, []*destination{to}, deadline)
	}
}

// isUnfit reports whether a segment may not be sent.
func (s *sender) isUnfit(seg *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return seg.of.lost()
}

// unfit drops a segment whose init segment was not taken.
func (s *sender) unfit(seg *segment) {
	s.dropped(DropInit, seg.rendition, seg.number)
}

// refusedInits are the renditions that have stopped, and why.
func (s *sender) refusedInits() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for name, st := range s.inits {
		if st.fit == fitRefused {
			out[name] = st.detail
		}
	}
	return out
}
