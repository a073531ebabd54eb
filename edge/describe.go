package edge

import (
	"net/http"
	"strconv"
	"time"

	"headwater/edge/exchange"
	"headwater/edge/object"
	"headwater/live"
	"headwater/manifest"
)

// cors is on every answer, problemType on every refusal.
var (
	cors        = exchange.CORS()
	problemType = exchange.One("Content-Type", live.ProblemType)
)

// describeObject puts on an answer what the parent said of the object, what time
// has made of it, and what this cache did.
func (q *request) describeObject(l exchange.Answer, p exchange.Part, size int64) {
	o, now := q.object, q.now()
	f := l.Fields(p.Status, now)
	same := p.Status == o.Status
	if same && q.config.Viewers == nil {
		f.Add(o.Common)
	} else {
		q.guarded(f)
		for _, name := range object.Kept {
			v := o.Header[name]
			switch {
			case len(v) == 0, name == "Retry-After":
				continue
			case same:
			case name == live.HeaderContentDigest:
				// Content-Digest is that of what is sent, Repr-Digest that of the
				// whole (RFC 9530, 2 and 3).
				if name = "Repr-Digest"; p.Status != http.StatusPartialContent {
					continue
				}
			case name == "Content-Type" && p.Status != http.StatusPartialContent:
				continue
			}
			f.Put(name, v[0])
		}
		f.Put("Accept-Ranges", "bytes")
	}
	q.stamp(f, now)
	elapsed := now.Sub(o.Received)
	q.lifetimes(f, o.Lifetime-elapsed, o.Plain, o.Age+elapsed)
	if q.Path.File.Manifest() {
		q.varies(f)
	}
	if v := o.Header["Retry-After"]; len(v) > 0 {
		f.Put("Retry-After", waited(v[0], elapsed))
	}
	switch p.Status {
	case http.StatusPartialContent:
		f.Value = append(strconv.AppendInt(append(f.Value[:0], "bytes "...), p.From, 10), '-')
		f.Value = strconv.AppendInt(append(strconv.AppendInt(f.Value, p.To-1, 10), '/'), size, 10)
		f.Made("Content-Range")
		size = p.To - p.From
	case http.StatusRequestedRangeNotSatisfiable:
		f.Value = strconv.AppendInt(append(f.Value[:0], "bytes */"...), size, 10)
		f.Made("Content-Range")
		size = 0
	case http.StatusPreconditionFailed:
		size = 0
	case http.StatusNotModified:
		size = -1 // it has none
	}
	if size >= 0 {
		f.Number("Content-Length", size)
	}
	q.ed.metrics.answered(q, p.Status, o.Problem)
	q.ed.admission.sending(q, now)
	if p.Status == http.StatusNotModified {
		size = 0
	}
	if q.Method == http.MethodHead {
		size = 0
	}
	l.Begin(nil, size)
}

// lifetimes puts Age and Cache-Control on an answer that has left of its life,
// and plain at most for those who do not heed invalidations.
// As everywhere (RFC 9111, 4.2) Age is to be taken off both directives, so what
// remains comes out exact in milliseconds, and rounded down in seconds.
func (q *request) lifetimes(f *exchange.Fields, left, plain, age time.Duration) {
	seconds := max(age, 0) / time.Second
	left = max(left, 0).Truncate(time.Millisecond)
	taken := seconds * time.Second
	f.Number("Age", int64(seconds))
	f.Value = live.AppendLifetimes(q.scope(f.Value[:0]), min(left, plain)+taken, left+taken)
	if q.Path.File == live.FilePlaylist && !q.private() {
		f.Value = live.AppendShared(f.Value, min(left, plain)+taken)
	}
	f.Made(live.HeaderCacheControl)
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
func (q *request) describeProblem(l exchange.Answer) {
	p, now := q.problem, q.now()
	f := l.Fields(p.Status, now)
	q.guarded(f)
	if p.Status == http.StatusMethodNotAllowed {
		f.Put("Allow", "GET, HEAD, OPTIONS")
	}
	q.stamp(f, now)
	f.Add(problemType)
	if q.names != "" {
		f.Put(live.HeaderNames, q.names)
	}
	if q.life >= 0 {
		f.Value = live.AppendLifetimes(q.scope(f.Value[:0]), q.life, q.life)
		f.Made(live.HeaderCacheControl)
	} else {
		f.Put(live.HeaderCacheControl, "no-store")
	}
	if p.RetryAfter > 0 {
		f.Number("Retry-After", q.retryAfter(p))
	}
	// The body is made where the detail is, behind it.
	n := len(q.detail)
	q.detail = p.AppendBody(q.detail, q.detail)
	body := q.detail[n:]
	f.Number("Content-Length", int64(len(body)))
	q.ed.metrics.answered(q, p.Status, p.Code)
	if p.Code == live.ErrShed.Code {
		q.ed.admission.shed[q.class()].Inc()
	}
	if q.Method == http.MethodHead {
		body = nil
	}
	q.from, q.to = 0, 0
	l.Begin(body, 0)
}

// describeText begins an answer that this node has in memory.
func (q *request) describeText(l exchange.Answer) {
	q.describeWhole(l, q.text, q.about.Get("Etag"), func(f *exchange.Fields, _ time.Time) {
		for name, v := range q.about {
			if name == live.HeaderCacheControl && q.private() {
				v = []string{"private, " + v[0]}
			}
			f.Put(name, v[0])
		}
	})
}

// varies says that a list has forms. Of an event for pages of some origins only it
// says so once more that answers differ by these.
func (q *request) varies(f *exchange.Fields) {
	if v := q.config.Viewers; v != nil && len(v.Origins) > 0 {
		f.Put("Vary", "Origin, Accept-Encoding")
		return
	}
	f.Put("Vary", "Accept-Encoding")
}

// describeForm begins an answer with another form of the object.
func (q *request) describeForm(l exchange.Answer, as object.As, change func([]byte) []byte) {
	o := q.object
	form := q.ed.cache.Form(o, q.Coding, as, change)
	q.describeWhole(l, form.Body, form.ETag, func(f *exchange.Fields, now time.Time) {
		if v := o.Header["Content-Type"]; len(v) > 0 {
			f.Put("Content-Type", v[0])
		}
		if form.ETag != "" {
			f.Put("Etag", form.ETag)
		}
		if q.Coding != exchange.Identity {
			f.Put("Content-Encoding", exchange.Codings[q.Coding])
		}
		f.Put("Accept-Ranges", "bytes")
		elapsed := now.Sub(o.Received)
		q.lifetimes(f, o.Lifetime-elapsed, o.Plain, o.Age+elapsed)
		q.varies(f)
	})
}

// describeWhole begins an answer of which all is in memory.
func (q *request) describeWhole(l exchange.Answer, text []byte, etag string, about func(*exchange.Fields, time.Time)) {
	p := exchange.Part{Status: http.StatusOK, To: int64(len(text))}
	if q.More != nil {
		p = q.More.Decide(exchange.Represented{ETag: etag, Size: p.To})
	}
	now := q.now()
	f := l.Fields(p.Status, now)
	q.guarded(f)
	q.stamp(f, now)
	about(f, now)
	body := text[p.From:p.To]
	switch p.Status {
	case http.StatusPartialContent:
		f.Put("Content-Range", "bytes "+strconv.FormatInt(p.From, 10)+"-"+strconv.FormatInt(p.To-1, 10)+"/"+strconv.Itoa(len(text)))
	case http.StatusRequestedRangeNotSatisfiable:
		f.Put("Content-Range", "bytes */"+strconv.Itoa(len(text)))
	}
	if p.Status != http.StatusNotModified {
		f.Number("Content-Length", int64(len(body)))
	}
	q.ed.metrics.answered(q, p.Status, "")
	if q.Method == http.MethodHead {
		body = nil
	}
	q.ed.metrics.bytes.Add(float64(len(body)))
	q.ed.admission.spent(q, perAnswer+int64(len(body)))
	q.from, q.to = 0, 0
	l.Begin(body, 0)
}

// standIn answers for a manifest that no parent gives: this node knows enough
// to write one, with the segments of which it has heard that they are lost.
func (q *request) standIn() bool {
	if q.config == nil {
		return false
	}
	in := manifest.Input{Config: &q.config.Config, Notifications: q.event.Notifications(), Now: q.ed.parents.Theirs(time.Now()), Lost: q.event.Lost}
	var body []byte
	var err error
	ct := manifest.HLSType
	switch q.Path.File {
	case live.FileMPD:
		ct = manifest.MPDType
		body, err = manifest.MPD(in)
	case live.FileListed:
		ct = manifest.MPDType
		body, err = manifest.ListedMPD(in)
	case live.FileHLS:
		body, err = manifest.Multivariant(in)
	case live.FilePlaylist:
		body, err = manifest.Playlist(in, q.Path)
	default:
		return false
	}
	if err != nil {
		return false
	}
	if at, ok := q.steers(); ok {
		body = manifest.Steered(body, at)
	}
	q.text, q.about = body, http.Header{
		"Content-Type":          {ct},
		live.HeaderCacheControl: {live.FormatLifetime(min(manifest.Lifetime(in, q.Path.File, q.Path.Rendition), time.Second))},
	}
	return true
}

// stamp puts on an answer what every answer of the event carries, what this
// cache did, and how long that took.
func (q *request) stamp(f *exchange.Fields, now time.Time) {
	if q.event != nil && q.config != nil && (q.problem == nil || q.problem.Code != live.ErrToken.Code) {
		f.Add(q.event.Stamp(q.config))
	}
	if q.object == nil && now.Equal(q.Arrived) {
		if s := q.ed.refused[q.outcome]; s != nil {
			f.Add(s)
			return
		}
	}
	f.Value = f.Value[:0]
	if o := q.object; o != nil && q.outcome != Hit && o.Ready() {
		// What the caches before this one did for this request.
		for _, v := range o.Passed {
			f.Put(live.HeaderCacheStatus, v)
		}
	}
	s := q.cacheStatus(now)
	f.Value = s.Append(f.Value)
	f.Made(live.HeaderCacheStatus)
	if q.outcome != "" {
		f.Value = live.AppendTiming(f.Value[:0], q.went(), now.Sub(q.Arrived))
		f.Made(live.HeaderServerTiming)
	}
}

// refusedAtOnce is what stamp puts on the answers of requests that are met with nothing
// but a refusal, in the moment in which they come.
func refusedAtOnce(cache string) map[Outcome]*exchange.Shared {
	m := make(map[Outcome]*exchange.Shared)
	for _, o := range []Outcome{"", Never, Early, Gone} {
		s := live.CacheStatus{Cache: cache, Detail: string(o)}
		m[o] = exchange.One(live.HeaderCacheStatus, string(s.Append(nil)))
		if o != "" {
			m[o].Put(live.HeaderServerTiming, string(live.AppendTiming(nil, string(o), 0)))
		}
	}
	return m
}

// cacheStatus is our member of RFC 9211's Cache-Status.
func (q *request) cacheStatus(now time.Time) live.CacheStatus {
	s := live.CacheStatus{Cache: q.ed.name, Detail: string(q.outcome), Disk: q.fromDisk}
	switch o := q.object; q.outcome {
	case Hit:
		s.Hit = true
		if o.Err == nil {
			s.HasTTL, s.TTL = true, int64((o.Lifetime-now.Sub(o.Received))/time.Second)
		}
	case Fill, Join, Hold:
		s.Fwd = "uri-miss"
		if o.Ready() && o.Err == nil {
			s.FwdStatus, s.Stored = o.Status, q.began && o.Lifetime > 0
		}
		s.Collapsed = !q.began
	}
	return s
}
