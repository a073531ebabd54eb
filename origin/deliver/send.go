package deliver

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"time"

	"headwater/origin/journal"

	"headwater/admit"
	"headwater/live"
	"headwater/selection"
	"headwater/store"
)

// send answers with the chosen bytes.
func (s *Server) send(d *delivery) (step, error) {
	// What is being sent to those who read slowly is bounded, too.
	c, to, size := d.decision.Candidate, d.conn.Address(), int64(len(d.data))
	key := keyOf(d, c)
	if err := s.sending.begin(key, to, d.class, size, d.beside); err != nil {
		return nil, err
	}
	defer s.sending.end(key, to, size)
	now := s.Clock.Now()
	h := d.w.Header()
	rendition, _ := d.view.Config().Rendition(d.path.Rendition)
	maps.Copy(h, s.headOf(d, rendition))
	findings := selection.WithSeam(c.Findings, d.event.Seam(d.view, d.path.Rendition, c))
	if len(findings) > 0 {
		h.Set(live.HeaderDefects, findings.String())
	}
	if len(c.Quality.Wants()) > 0 && !d.filled() {
		h.Set(live.HeaderQuality, c.Quality.String())
	}
	h[live.HeaderCacheControl] = []string{live.FormatLifetimes(d.lifetimes(now))}
	h.Set(live.HeaderCMSDStatic, cmsd(rendition, d.view.Timelines[d.path.Rendition], d.held))
	if d.event.Ahead(d.path.Rendition, c.Number, c.Pipeline) {
		h.Set(live.HeaderPublished, live.FormatPublished(c.Published)+live.Unstored)
	}
	if d.held > 0 {
		d.timing.Add("hold", d.held)
	}
	if s := d.timing.String(); s != "" {
		h.Set(live.HeaderServerTiming, s)
	}
	if !d.filled() {
		s.Book.Counters.Of(d.event).Servings.WithLabelValues(c.Pipeline).Inc()
	}
	s.write(d, d.data, c.Published)
	s.noteServed(d, findings, now)
	return nil, nil
}

// noteServed writes a choice that is being sent into the journal, the first time that this node does.
// Who asks for exactly these bytes, for a key frame of them, or for none, is no viewer.
func (s *Server) noteServed(d *delivery, findings live.Findings, now time.Time) {
	if d.r.Method != http.MethodGet || d.path.Key || d.r.Header["If-Match"] != nil || tagged(d.r.Header) != "" {
		return
	}
	c, p := d.decision.Candidate, d.decision.Pin
	chosen := p != nil && p.Pipeline == c.Pipeline && p.Digest == c.Digest
	if chosen && (p.Served.Load() != 0 || !p.Served.CompareAndSwap(0, now.UnixNano())) {
		return // nearly always: a hit makes no entry
	}
	e := journal.Entry{Rendition: d.path.Rendition, Number: c.Number, Pipeline: c.Pipeline, Region: c.Region, Digest: c.Digest.String(),
		Defects: findings.String(), Quality: c.Quality.String(), First: now.UnixNano()}
	if chosen {
		e.Reason, e.Turn, e.Version, e.Chosen, e.By = string(p.Reason), p.Turn, p.Version, p.At.UnixNano(), p.Node
	} else {
		// In place of a choice that cannot be had here yet. It is none: after a
		// restart it must not stand.
		e.Reason, e.Turn, e.Version, e.Chosen, e.By = string(d.decision.Reason), journal.InPlace, d.view.Config().Version, e.First, s.Book.Node
	}
	s.Journal.Enter(d.event.Named(), e)
}

// refuse maps an error to its status: the one place that does.
func (s *Server) refuse(d *delivery, err error) {
	var problem *live.Problem
	switch {
	case errors.As(err, &problem):
	case d.r.Context().Err() != nil:
		s.left.Inc()
		return // nobody is there to read an answer
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFull), errors.Is(err, context.DeadlineExceeded):
		problem = live.ErrStoreDown.With(err.Error())
	default:
		problem = live.ErrInternal.With(err.Error())
		s.Log.Error("delivery", "path", d.r.URL.Path, "err", err)
	}
	if problem.Is(live.ErrShed) {
		s.keepBack(d)
	}
	s.Book.Refused(d.event, "deliver", problem)
	if d.event != nil && d.path.File == live.FileSegment && !d.path.Key {
		if problem.Code == live.ErrLost.Code || problem.Status == http.StatusServiceUnavailable {
			now := s.Clock.Now().UnixNano()
			s.Journal.Enter(d.event.Named(), journal.Entry{Rendition: d.path.Rendition, Number: d.path.Number, Status: problem.Status, Problem: problem.Code, Count: 1, First: now, Last: now})
		}
		if problem.Code == live.ErrLost.Code && d.class == admit.Live {
			s.Watchman.Refused(d.path.Event, d.path.Rendition, d.path.Number)
		}
	}
	if d.event != nil {
		d.event.Stamp(d.w.Header(), s.Clock.Now())
	}
	problem.Write(d.w, d.r)
}
