package edge

import (
	"bytes"
	"errors"
	"net/http"
	"time"

	"headwater/live"
	"headwater/manifest"
)

// refuse maps an error to its status: the one place that does.
func (ed *Edge) refuse(q *request, err error) {
	var problem *live.Problem
	switch {
	case errors.As(err, &problem):
	case q.r.Context().Err() != nil:
		ed.metrics.left.Inc()
		// To return would be an answer, 200 and empty; who only stopped sending would get it.
		panic(http.ErrAbortHandler)
	default:
		problem = live.ErrInternal.With("see the log of this edge")
		ed.log.Error("request", "path", q.r.URL.Path, "err", err)
	}
	h := q.w.Header()
	for name := range h {
		switch name {
		case "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Timing-Allow-Origin", "Allow":
		default:
			delete(h, name)
		}
	}
	ed.stamp(q, time.Now())
	if errors.Is(problem, live.ErrUpstream) && ed.standIn(q) {
		return
	}
	ed.metrics.answered(q, problem.Status, problem.Code)
	problem.Write(q.w, q.r)
}

// standIn answers for a manifest that no parent gives: this node knows enough
// to write one, except for which segments were lost.
func (ed *Edge) standIn(q *request) bool {
	if q.view == nil {
		return false
	}
	in := manifest.Input{Config: &q.view.config, Now: ed.now()}
	var body []byte
	var err error
	ct := manifest.HLSType
	switch q.path.File {
	case live.FileMPD:
		ct = manifest.MPDType
		body, err = manifest.MPD(in)
	case live.FileHLS:
		body, err = manifest.Multivariant(in)
	case live.FilePlaylist:
		body, err = manifest.Media(in, q.path.Rendition)
	default:
		return false
	}
	if err != nil {
		return false
	}
	h := q.w.Header()
	h.Set("Content-Type", ct)
	h.Set(live.HeaderCacheControl, live.FormatLifetime(min(manifest.Lifetime(in, q.path.File, q.path.Rendition), time.Second)))
	http.ServeContent(partWriter{q.w, ed, q}, q.r, "", time.Time{}, bytes.NewReader(body))
	return true
}

// allDown reports whether no parent is up.
func (u *upstream) allDown() bool {
	for _, p := range u.parents {
		p.mu.Lock()
		down := p.health.down
		p.mu.Unlock()
		if !down {
			return false
		}
	}
	return true
}
