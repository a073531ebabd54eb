package publish

import (
	"context"
	"errors"

	"headwater/admit"
	"headwater/live"
	"headwater/store"
)

// refuse maps an error to its status: the one place that does. It does so in a turn:
// bodies that stopped coming at once are given up at once.
func (s *Server) refuse(p *publication, err error) {
	p.finishBody()
	turn := s.Turns.Take(p.r.Context(), admit.Publish, p.taker())
	defer turn.Give()
	var problem *live.Problem
	switch {
	case errors.As(err, &problem):
	case errors.Is(err, store.ErrFull):
		problem = live.ErrNotStored.With("the store is full")
	case errors.Is(err, context.Canceled):
		problem = live.ErrIncomplete.With("the packager left")
	default:
		problem = live.ErrNotStored.With(err.Error())
	}
	s.Book.Refused(p.event, "publish", problem)
	level := s.Log.Warn
	switch {
	case problem.Status >= 500:
		level = s.Log.Error
	case problem.Code == live.ErrGeneration.Code:
		level = s.Log.Info // every segment until its generation begins
	}
	level("refused a publication", "path", p.r.URL.Path, "status", problem.Status, "problem", problem.Code, "detail", problem.Detail)
	if p.event != nil {
		p.event.Stamp(p.w.Header(), s.Clock.Now())
	}
	s.tellTime(p)
	problem.Write(p.w, p.r)
}

// taker is who takes the turns of a publication: of a tenant once it is known that he
// may publish as that.
func (p *publication) taker() admit.Taker {
	who := admit.Taker{Address: p.conn.Address()}
	if p.event != nil {
		who.Tenant = p.path.Event.Tenant
	}
	return who
}
