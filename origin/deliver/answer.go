package deliver

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"headwater/live"
	"headwater/origin/book"
)

// freshness bounds how long a cache that hears of no mask and no invalidation
// may keep a clean segment before it asks whether it is still the same.
const freshness = 10 * time.Minute

// lifetimes are how long the answer may be repeated: a segment with missing
// media only until the next one, so that a repair still reaches viewers. A clean
// one is not replaced by its pipeline, nor by another's. Only an operator takes
// it back, and each way to do so changes the event's flush version or adds an
// invalidation: whoever heeds those may keep it until it leaves the DVR window.
func (d *delivery) lifetimes(now time.Time) (plain, heeded time.Duration) {
	tl := d.view.Timelines[d.path.Rendition]
	left := tl.GoneAt(d.path.Number).Sub(now)
	switch c := d.decision.Candidate; {
	case c.Findings.MissingMS() > 0:
		heeded = min(tl.Segment(), left)
	case !c.Clean() && now.Before(tl.Deadline(d.path.Number)):
		heeded = min(freshness, left) // a clean one may still come; after the deadline each is late
	default:
		heeded = left
	}
	return min(freshness, heeded), heeded
}

// cmsd is CTA-5006's CMSD-Static: bitrate in kbps, duration and time held in
// ms, object type, live.
func cmsd(r live.Rendition, tl live.Timeline, held time.Duration) string {
	s := "br=" + strconv.FormatInt(r.Bandwidth/1000, 10) + ",d=" + strconv.FormatInt(tl.Segment().Milliseconds(), 10)
	if held > 0 {
		s += ",ht=" + strconv.FormatInt(held.Milliseconds(), 10)
	}
	return s + ",ot=" + objectTypes[r.Type] + ",st=l"
}

var objectTypes = map[live.MediaType]string{live.Video: "v", live.Audio: "a", live.Text: "c"}

// headOf is what all answers with the chosen candidate have in common. It is made
// once for each choice.
func (s *Server) headOf(d *delivery, r live.Rendition) http.Header {
	c, p := d.decision.Candidate, d.decision.Pin
	chosen := p != nil && p.Pipeline == c.Pipeline && p.Digest == c.Digest
	if chosen {
		if h := p.Head.Load(); h != nil && h.Published.Equal(c.Published) {
			return h.Header
		}
	}
	h := make(http.Header)
	h.Set("Content-Type", r.Type.ContentType())
	if c.Pipeline != "" { // a slate is no pipeline's
		h.Set(live.HeaderPipeline, s.answering(live.Source{Pipeline: c.Pipeline, Region: c.Region}).String())
	}
	if !c.Published.IsZero() { // a filler was not
		h.Set(live.HeaderPublished, live.FormatPublished(c.Published))
	}
	h.Set(live.HeaderContentDigest, c.Digest.String())
	h.Set("ETag", c.Digest.ETag())
	if chosen {
		p.Head.Store(&book.Head{Published: c.Published, Header: h})
	}
	return h
}

// answering says which region answers: this node's, where it knows it.
func (s *Server) answering(of live.Source) live.Source {
	if s.Region != "" {
		of.Region = s.Region
	}
	return of
}

// write writes an answer's body: all of it, or what was asked for of it. The
// zero time is no Last-Modified.
func (s *Server) write(d *delivery, body []byte, modified time.Time) {
	h := d.w.Header()
	d.event.Stamp(h, s.Clock.Now())
	// The version that this was chosen under, not one that came since: what is
	// masked just now must not count as chosen afterwards.
	d.view.Stamp(h)
	d.turn.Give() // the connection writes in turns, and gives up on who does not read
	if d.r.Method != http.MethodGet || conditional(d.r.Header) {
		http.ServeContent(&partial{ResponseWriter: d.w}, d.r, "", modified, bytes.NewReader(body))
		return
	}
	// In one piece, without a copy.
	h["Accept-Ranges"] = acceptRanges
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if !modified.IsZero() {
		h.Set("Last-Modified", modified.UTC().Format(http.TimeFormat))
	}
	d.w.WriteHeader(http.StatusOK)
	d.w.Write(body)
}

var acceptRanges = []string{"bytes"} // shared by headers, and never changed

// conditional reports whether the answer may be another than 200 with all of it.
func conditional(h http.Header) bool {
	for _, name := range [...]string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"} {
		if _, ok := h[name]; ok {
			return true
		}
	}
	return false
}

// partial sees to it that a digest speaks of the bytes it comes with: of a part
// Content-Digest would be the part's, Repr-Digest is that of the whole (RFC
// 9530, 2 and 3).
type partial struct{ http.ResponseWriter }

func (p *partial) WriteHeader(status int) {
	h := p.Header()
	digest := h.Get(live.HeaderContentDigest)
	if digest != "" && status != http.StatusOK {
		h.Del(live.HeaderContentDigest)
		if status == http.StatusPartialContent {
			h.Set("Repr-Digest", digest)
		}
	}
	p.ResponseWriter.WriteHeader(status)
}
