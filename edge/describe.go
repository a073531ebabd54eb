package edge

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"headwater/live"
	"headwater/manifest"
)

// fields are the fields of an answer's head on their way to a viewer: bytes of
// HTTP/1.1, or what net/http makes of them.
type fields struct {
	header http.Header // nil: bytes
	b      []byte
	value  []byte // is made here
}

// begin puts status line and date.
func (f *fields) begin(status int, now time.Time) {
	if f.header != nil {
		return // net/http does
	}
	if status == http.StatusOK {
		f.b = append(f.b, "HTTP/1.1 200 OK\r\nDate: "...)
	} else {
		f.b = strconv.AppendInt(append(f.b, "HTTP/1.1 "...), int64(status), 10)
		f.b = append(append(append(f.b, ' '), http.StatusText(status)...), "\r\nDate: "...)
	}
	f.b = append(appendDate(f.b, now), "\r\n"...)
}

// A dated second, as HTTP writes it.
type dated struct {
	second int64
	text   string
}

var lastDate atomic.Pointer[dated]

func appendDate(b []byte, now time.Time) []byte {
	d := lastDate.Load()
	if second := now.Unix(); d == nil || d.second != second {
		d = &dated{second, now.UTC().Format(http.TimeFormat)}
		lastDate.Store(d)
	}
	return append(b, d.text...)
}

// put adds a field.
func (f *fields) put(name, value string) {
	if f.header != nil {
		f.header[name] = append(f.header[name], value)
		return
	}
	f.b = appendField(f.b, name, value)
}

// made adds a field whose value is in f.value.
func (f *fields) made(name string) {
	if f.header != nil {
		f.header[name] = append(f.header[name], string(f.value))
		return
	}
	f.b = append(append(append(append(f.b, name...), ": "...), f.value...), "\r\n"...)
}

func (f *fields) number(name string, n int64) {
	f.value = strconv.AppendInt(f.value[:0], n, 10)
	f.made(name)
}

// appendField keeps what was in a value from becoming another field.
func appendField(b []byte, name, value string) []byte {
	b = append(append(b, name...), ": "...)
	for i := range len(value) {
		if c := value[i]; c == '\r' || c == '\n' {
			c = ' '
			b = append(b, c)
		} else {
			b = append(b, c)
		}
	}
	return append(b, "\r\n"...)
}

// A sharedFields is a part of heads that many answers have in common: fields for
// net/http, and the same as bytes. It is never changed.
type sharedFields struct {
	header http.Header
	wire   []byte
}

func (p *sharedFields) put(name string, values ...string) {
	if p.header == nil {
		p.header = make(http.Header)
	}
	p.header[name] = append(p.header[name], values...)
	for _, v := range values {
		p.wire = appendField(p.wire, name, v)
	}
}

func (f *fields) part(p *sharedFields) {
	if f.header == nil {
		f.b = append(f.b, p.wire...)
		return
	}
	for name, v := range p.header {
		f.header[name] = v[:len(v):len(v)]
	}
}

// cors is on every answer: any page may read it.
var cors = func() *sharedFields {
	h := make(http.Header)
	live.AllowCORS(h)
	p := new(sharedFields)
	for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Timing-Allow-Origin"} {
		p.put(name, h[name]...)
	}
	return p
}()

// prepare makes the part of heads that all who get the whole object have in
// common. It needs an object whose head is there.
func (o *object) prepare() {
	p := new(sharedFields)
	p.put("Access-Control-Allow-Origin", cors.header["Access-Control-Allow-Origin"]...)
	p.put("Access-Control-Expose-Headers", cors.header["Access-Control-Expose-Headers"]...)
	p.put("Timing-Allow-Origin", cors.header["Timing-Allow-Origin"]...)
	for _, name := range kept {
		if v := o.header[name]; len(v) > 0 && name != "Retry-After" {
			p.put(name, v...)
		}
	}
	if o.status == http.StatusOK {
		p.put("Accept-Ranges", "bytes")
	}
	o.common = p
}

// describeObject puts on an answer what the parent said of the object, what time
// has made of it, and what this cache did.
func (ed *Edge) describeObject(q *request, l line, p part, size int64) {
	o, now := q.object, q.now()
	f := l.fields(p.status, now)
	if p.status == o.status {
		f.part(o.common)
	} else {
		f.part(cors)
		for _, name := range kept {
			v := o.header[name]
			switch {
			case len(v) == 0, name == "Retry-After":
				continue
			case name == live.HeaderContentDigest:
				// Content-Digest is that of what is sent, Repr-Digest that of the
				// whole (RFC 9530, 2 and 3).
				if name = "Repr-Digest"; p.status != http.StatusPartialContent {
					continue
				}
			case name == "Content-Type" && p.status != http.StatusPartialContent:
				continue
			}
			f.put(name, v[0])
		}
		f.put("Accept-Ranges", "bytes")
	}
	ed.stamp(q, f, now)
	elapsed := now.Sub(o.received)
	ed.lifetimes(f, o.lifetime-elapsed, o.plain, o.age+elapsed)
	if v := o.header["Retry-After"]; len(v) > 0 {
		f.put("Retry-After", waited(v[0], elapsed))
	}
	switch p.status {
	case http.StatusPartialContent:
		f.value = append(strconv.AppendInt(append(f.value[:0], "bytes "...), p.from, 10), '-')
		f.value = strconv.AppendInt(append(strconv.AppendInt(f.value, p.to-1, 10), '/'), size, 10)
		f.made("Content-Range")
		size = p.to - p.from
	case http.StatusRequestedRangeNotSatisfiable:
		f.value = strconv.AppendInt(append(f.value[:0], "bytes */"...), size, 10)
		f.made("Content-Range")
		size = 0
	case http.StatusPreconditionFailed:
		size = 0
	case http.StatusNotModified:
		size = -1 // it has none
	}
	if size >= 0 {
		f.number("Content-Length", size)
	}
	ed.metrics.answered(q, p.status, o.problem)
	if p.status == http.StatusNotModified {
		size = 0
	}
	if q.method == http.MethodHead {
		size = 0
	}
	l.begin(nil, size)
}

// lifetimes puts Age and Cache-Control on an answer that has left of its life,
// and plain at most for those who do not heed invalidations.
// As everywhere (RFC 9111, 4.2) Age is to be taken off both directives, so what
// remains comes out exact in milliseconds, and rounded down in seconds.
func (ed *Edge) lifetimes(f *fields, left, plain, age time.Duration) {
	seconds := max(age, 0) / time.Second
	left = max(left, 0).Truncate(time.Millisecond)
	taken := seconds * time.Second
	f.number("Age", int64(seconds))
	f.value = live.AppendLifetimes(f.value[:0], min(left, plain)+taken, left+taken)
	f.made(live.HeaderCacheControl)
}

// waited is what is left of a Retry-After in seconds, at least one.
func waited(s string, elapsed time.Duration) string {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return s
	}
	return strconv.FormatInt(max(n-int64(elapsed/time.Second), 1), 10)
}

// describeProblem begins a refusal. All of it is short.
func (ed *Edge) describeProblem(q *request, l line) {
	p, now := q.problem, q.now()
	f := l.fields(p.Status, now)
	f.part(cors)
	if p.Status == http.StatusMethodNotAllowed {
		f.put("Allow", "GET, HEAD, OPTIONS")
	}
	ed.stamp(q, f, now)
	f.put("Content-Type", live.ProblemType)
	if q.life >= 0 {
		f.value = live.AppendLifetimes(f.value[:0], q.life, q.life)
		f.made(live.HeaderCacheControl)
	} else {
		f.put(live.HeaderCacheControl, "no-store")
	}
	if p.RetryAfter > 0 {
		f.number("Retry-After", int64((p.RetryAfter+time.Second-1)/time.Second))
	}
	// The body is made where the detail is, behind it.
	n := len(q.detail)
	q.detail = p.AppendBody(q.detail, q.detail)
	body := q.detail[n:]
	f.number("Content-Length", int64(len(body)))
	ed.metrics.answered(q, p.Status, p.Code)
	if q.method == http.MethodHead {
		body = nil
	}
	q.from, q.to = 0, 0
	l.begin(body, 0)
}

// describeText begins an answer that this node has in memory.
func (ed *Edge) describeText(q *request, l line) {
	p := part{http.StatusOK, 0, int64(len(q.text))}
	if q.more != nil {
		p = q.more.decide(represented{q.about.Get("Etag"), time.Time{}, p.to})
	}
	now := q.now()
	f := l.fields(p.status, now)
	f.part(cors)
	ed.stamp(q, f, now)
	for name, v := range q.about {
		f.put(name, v[0])
	}
	body := q.text[p.from:p.to]
	switch p.status {
	case http.StatusPartialContent:
		f.put("Content-Range", "bytes "+strconv.FormatInt(p.from, 10)+"-"+strconv.FormatInt(p.to-1, 10)+"/"+strconv.Itoa(len(q.text)))
	case http.StatusRequestedRangeNotSatisfiable:
		f.put("Content-Range", "bytes */"+strconv.Itoa(len(q.text)))
	}
	if p.status != http.StatusNotModified {
		f.number("Content-Length", int64(len(body)))
	}
	ed.metrics.answered(q, p.status, "")
	if q.method == http.MethodHead {
		body = nil
	}
	q.from, q.to = 0, 0
	l.begin(body, 0)
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
	q.text, q.about = body, http.Header{
		"Content-Type":          {ct},
		live.HeaderCacheControl: {live.FormatLifetime(min(manifest.Lifetime(in, q.path.File, q.path.Rendition), time.Second))},
	}
	return true
}

// stamp puts on an answer what every answer of the event carries, what this
// cache did, and how long that took.
func (ed *Edge) stamp(q *request, f *fields, now time.Time) {
	if q.event != nil && q.view != nil {
		f.part(q.event.stamp(q.view))
	}
	f.value = f.value[:0]
	if o := q.object; o != nil && q.outcome != Hit && o.isReady() {
		// What the caches before this one did for this request.
		if f.header != nil {
			f.header[live.HeaderCacheStatus] = append(f.header[live.HeaderCacheStatus], o.passed...)
		} else {
			for _, v := range o.passed {
				f.put(live.HeaderCacheStatus, v)
			}
		}
	}
	s := ed.cacheStatus(q, now)
	f.value = s.Append(f.value)
	f.made(live.HeaderCacheStatus)
	if q.outcome != "" {
		f.value = live.AppendTiming(f.value[:0], q.went(), now.Sub(q.arrived))
		f.made(live.HeaderServerTiming)
	}
}

// cacheStatus is our member of RFC 9211's Cache-Status.
func (ed *Edge) cacheStatus(q *request, now time.Time) live.CacheStatus {
	s := live.CacheStatus{Cache: ed.name, Detail: string(q.outcome), Disk: q.fromDisk}
	switch o := q.object; q.outcome {
	case Hit:
		s.Hit = true
		if o.err == nil {
			s.HasTTL, s.TTL = true, int64((o.lifetime-now.Sub(o.received))/time.Second)
		}
	case Fill, Join, Hold:
		s.Fwd = "uri-miss"
		if o.isReady() && o.err == nil {
			s.FwdStatus, s.Stored = o.status, q.began && o.lifetime > 0
		}
		s.Collapsed = !q.began
	}
	return s
}
