package deliver

import (
	"net/http"
	"strings"
	"time"

	"headwater/live"
	"headwater/origin/book"
	"headwater/selection"
)

// tagged is the entity tag of the bytes that a request is for, and no others; "": any.
func tagged(h http.Header) string {
	tag := h.Get("If-Match")
	if tag == "" && h.Get("Range") != "" {
		tag = h.Get("If-Range")
	}
	if !strings.HasPrefix(tag, `"`) {
		return "" // a date, a weak one, or any
	}
	return tag
}

// named is the candidate that a request asks for by its entity tag: whoever has the
// beginning of a body needs the rest of that one, whatever was chosen since, or at
// another node. It has to be there, and may serve: else the walk goes on as for
// everybody, and the comparison at its end says that it is another.
func (s *Server) named(d *delivery) *live.Candidate {
	tag := tagged(d.r.Header)
	if tag == "" || d.path.Key { // those are named by bytes that are made of a candidate's
		return nil
	}
	for _, c := range d.event.Usable(d.view, d.path.Rendition, d.path.Number) {
		if c.Digest.ETag() == tag && !d.absent[c.Digest] && !c.Findings.Fatal() {
			return &c
		}
	}
	return nil
}

// serveNamed serves it. It is the answer to one, and no choice of the slot's.
func (s *Server) serveNamed(d *delivery, c *live.Candidate, now time.Time) step {
	chosen := d.event.Choose(d.view, d.path.Rendition, d.path.Number, d.absent, now)
	if chosen.Candidate == nil || chosen.Candidate.Digest != c.Digest {
		s.others.Inc()
	}
	d.decision = book.Choice{Decision: selection.Decision{Action: selection.Serve, Reason: chosen.Reason, Candidate: c}, Pin: chosen.Pin}
	s.release(d)
	return s.fetch
}
