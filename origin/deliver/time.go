package deliver

import (
	"context"
	"net"

	"headwater/clock"
	"headwater/live"
)

// tellTime answers with the time, and hears what the asker's clock says. Of a clock that
// is known to be off nobody is told.
func (s *Server) tellTime(d *delivery) error {
	if said, ok := live.ParseClock(d.r.Header[live.HeaderClock]); ok {
		host, _, _ := net.SplitHostPort(d.r.RemoteAddr)
		s.Clock.Message(clock.Edge, host+said.ID, said.Time, d.came)
	}
	if !s.Clock.Trusted() {
		return errOff
	}
	live.ServeTime(d.w, d.r, s.Clock.Now())
	return nil
}

var errOff = live.ErrDraining.With("the clock of this origin is off, and it cannot tell by how much: ask another")

// sure waits, once for each request, before anything is refused by the clock: after the
// start until others have confirmed it.
func (s *Server) sure(d *delivery) error {
	if !s.Clock.Trusted() {
		return errOff
	}
	select {
	case <-s.Clock.Settled():
		return nil
	default:
	}
	d.turn.Give()
	select {
	case <-s.Clock.Settled():
		return nil
	case <-d.r.Context().Done():
		return context.Cause(d.r.Context())
	case <-s.Draining:
		return live.ErrDraining.With("ask another origin")
	}
}
