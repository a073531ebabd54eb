package deliver

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"headwater/listen/plain"
	"headwater/live"
	"headwater/manifest"
	"headwater/origin/book"
)

// A refusal says why memory alone refuses what is asked for; the zero one is none. The
// steps of the walk that come before enter make it, and so does Refuse, for those who ask
// for very much that there is not: it takes no memory.
type refusal struct {
	problem *live.Problem
	life    time.Duration
	path    live.Path
	fault   live.PathFault // of the path's form,
	place   live.Refusal   // or by the timeline, or neither
}

func (no *refusal) is() bool { return no.problem != nil }

// err is what the walk ends with.
func (no *refusal) err() error {
	return no.problem.For(no.life).With(string(no.appendDetail(nil)))
}

// names is whose names there are, for who wants to know: those of a tenant's events, or
// with "" those of tenants.
func (no *refusal) names() string {
	if no.problem == live.ErrNoEvent {
		return no.path.Event.Tenant
	}
	return ""
}

// appendDetail appends what happened, in words.
func (no *refusal) appendDetail(b []byte) []byte {
	id := no.path.Event
	switch {
	case no.fault.Is():
		return no.fault.Append(b)
	case no.place.Problem != nil:
		return no.place.AppendDetail(b)
	case no.problem == live.ErrNoTenant:
		b = strconv.AppendQuote(append(b, "no event of tenant "...), id.Tenant)
		return append(b, " has been created"...)
	case no.problem == live.ErrNoEvent:
		return book.AppendNoEvent(b, id)
	case no.problem == live.ErrNoRendition:
		b = id.Append(append(b, "event "...))
		return strconv.AppendQuote(append(b, " has no rendition "...), no.path.Rendition)
	case no.problem == live.ErrNoKeyFrame:
		return live.AppendNoKeyFrames(b, no.path.Rendition)
	}
	return strconv.AppendInt(append(b, "no segment begins at "...), no.path.Time, 10)
}

func refuse(p *live.Problem, path *live.Path) refusal {
	return refusal{problem: p, life: p.Lifetime, path: *path}
}

// read reads a path.
func read(path string) (p live.Path, no refusal) {
	p, fault := live.ReadPath(path)
	if fault.Is() {
		no = refuse(live.ErrNotHere, &p)
		no.fault = fault
	}
	return p, no
}

// eventOf finds the event that a path names.
func (s *Server) eventOf(p *live.Path) (e *book.Event, no refusal) {
	switch e = s.Book.Get(p.Event); {
	case e != nil:
	case !s.Book.HasTenant(p.Event.Tenant):
		no = refuse(live.ErrNoTenant, p)
	default:
		no = refuse(live.ErrNoEvent, p)
	}
	return e, no
}

// within finds what a path names within its event, and makes of a segment's time its number.
func within(v *book.View, p *live.Path) (no refusal) {
	if p.Rendition != "" {
		if _, ok := v.Timelines[p.Rendition]; !ok {
			return refuse(live.ErrNoRendition, p)
		}
		if p.Key && !v.Config().HasKeyFrames(p.Rendition) {
			return refuse(live.ErrNoKeyFrame, p)
		}
	}
	if p.File == live.FileTimed {
		n, ok := manifest.NumberAt(v.Config(), p.Time)
		if !ok {
			return refuse(live.ErrNotHere, p)
		}
		p.File, p.Number, p.Time = live.FileSegment, n, 0
	}
	return no
}

// outside is why a segment's number is refused by its timeline.
func outside(tl *live.Timeline, n live.Number, now time.Time) (no refusal) {
	if r, life, refused := tl.Refuse(n, now); refused {
		no = refusal{problem: r.Problem, life: life, place: r}
	}
	return no
}

// pathOf is what is asked for as it came: a name with octets that need not be encoded would
// be an alias.
func pathOf(r *http.Request) string {
	if path, _, _ := strings.Cut(r.RequestURI, "?"); strings.HasPrefix(path, "/") {
		return path
	}
	return r.URL.EscapedPath() // of a proxy's request, or a test's
}

// Refuse appends the answer to a plain request that the walk would refuse before it lets
// anybody enter: of events that everybody may see, and as long as the time is known. Else
// it appends nothing.
func (s *Server) Refuse(b []byte, h *plain.Head) []byte {
	select {
	case <-s.Draining:
		return b
	default:
	}
	target, _, _ := plain.CutQuery(h.Target)
	path := unsafe.String(unsafe.SliceData(target), len(target)) // it is not kept
	p, no := read(path)
	if no.is() {
		if path == live.TimePath || !plain.WellFormed(target) {
			return b
		}
		return s.appendRefusal(b, h, nil, &no)
	}
	e, no := s.eventOf(&p)
	if no.is() {
		return s.appendRefusal(b, h, nil, &no)
	}
	v := e.View()
	if s.Private || v.Config().NeedsToken() {
		return b
	}
	if no = within(v, &p); no.is() {
		return s.appendRefusal(b, h, e, &no)
	}
	if p.File != live.FileSegment || !s.Clock.Trusted() {
		return b
	}
	select {
	case <-s.Clock.Settled():
	default:
		return b
	}
	tl, now := v.Timelines[p.Rendition], s.Clock.Now()
	if no = outside(&tl, p.Number, now); !no.is() {
		return b
	}
	s.places[no.place.Place].Inc()
	return s.appendRefusal(b, h, e, &no)
}

// sameOnEach is what the head of each refusal has.
var sameOnEach = func() (b []byte) {
	h := make(http.Header)
	live.AllowCORS(h)
	h.Set("Content-Type", live.ProblemType)
	for name := range h {
		b = appendField(b, name, h.Get(name))
	}
	return b
}()

func appendField(b []byte, name, value string) []byte {
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}

// appendRefusal appends an answer as Problem.Write and refuse would give it.
func (s *Server) appendRefusal(b []byte, h *plain.Head, e *book.Event, no *refusal) []byte {
	s.Book.Refused(e, "deliver", no.problem)
	b = plain.AppendStart(b, no.problem.Status, time.Now())
	b = append(b, sameOnEach...)
	if e != nil {
		b = e.AppendStamp(b, s.Clock.Now())
	} else if !no.fault.Is() && h.Has("live-names") {
		if names := s.Book.Names(no.names()); names != "" {
			b = appendField(b, live.HeaderNames, names)
		}
	}
	b = live.AppendLifetimes(append(b, live.HeaderCacheControl+": "...), no.life, no.life)
	var room [512]byte // for nearly all bodies
	detail := no.appendDetail(room[:0])
	body := no.problem.AppendBody(detail, detail)[len(detail):]
	b = strconv.AppendInt(append(b, "\r\nContent-Length: "...), int64(len(body)), 10)
	b = append(b, "\r\n\r\n"...)
	if h.Method == http.MethodHead {
		return b
	}
	return append(b, body...)
}
