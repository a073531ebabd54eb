package viewer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"headwater/live"
)

// pipes is a network in memory: net.Pipe for every connection, so that a bubble
// of synctest knows when all wait.
type pipes struct {
	mu     sync.Mutex // guards the following
	accept chan net.Conn
	open   []net.Conn
	dials  int
	opened []time.Time // connections
	down   bool
}

func newPipes() *pipes { return &pipes{accept: make(chan net.Conn)} }

func (p *pipes) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	p.dials++
	down := p.down
	p.mu.Unlock()
	if down {
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	a, b := net.Pipe()
	select {
	case p.accept <- b:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	p.open, p.opened = append(p.open, b), append(p.opened, time.Now())
	p.mu.Unlock()
	return a, nil
}

// kill cuts every connection and refuses new ones until revived.
func (p *pipes) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = true
	for _, c := range p.open {
		c.Close()
	}
	p.open = nil
}

func (p *pipes) revive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = false
}

func (p *pipes) Accept() (net.Conn, error) {
	c, ok := <-p.accept
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (p *pipes) Close() error   { return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// version of a segment in the script.
type scripted struct {
	lag      time.Duration // after its last frame, until it is there; 0: 100 ms
	lost     bool
	pipeline string // default a
	defects  string
	shift    int // frames
	drop     int // frames
	corrupt  bool
	cut      bool // the body ends early
	status   int  // instead of the body
	lifetime time.Duration
	repeat   live.Number // the bytes of this one
}

// An origin that follows a script, as an edge answers.
type script struct {
	event    live.Event
	rewrite  func(rendition string, n live.Number) scripted
	skew     time.Duration // of its clock
	size     int           // bytes of a sample
	noDigest bool
	startIn  time.Duration
	after    int64 // Retry-After with a 503, in seconds
	warm     bool  // has what was published before the viewers came

	mu       sync.Mutex // guards the following
	down     time.Time  // 503 until then
	version  int64
	requests map[string]int // by path
	left     int            // held requests whose viewer went away
	cache    map[string][]byte
}

func testEvent() live.Event {
	e := live.Default()
	e.Start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	e.Pipelines = []live.Pipeline{{Name: "a"}, {Name: "b"}}
	e.Renditions = []live.Rendition{
		{Name: "v720", Type: live.Video, Bandwidth: 3000000},
		{Name: "v360", Type: live.Video, Bandwidth: 800000},
		{Name: "a-en", Type: live.Audio, Bandwidth: 128000},
	}
	return e
}

func (s *script) now() time.Time { return time.Now().Add(s.skew) }

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.requests == nil {
		s.requests, s.cache = map[string]int{}, map[string][]byte{}
	}
	s.requests[r.URL.Path]++
	version, event, down := s.version, s.event, s.down
	s.mu.Unlock()
	if r.URL.Path == live.TimePath {
		fmt.Fprint(w, s.now().UTC().Format(live.TimeLayout))
		return
	}
	w.Header().Set(live.HeaderVersion, strconv.FormatInt(version, 10))
	if s.now().Before(down) {
		p := *live.ErrUpstream.For(time.Second)
		p.RetryAfter = time.Duration(max(s.after, 1)) * time.Second
		p.Write(w, r)
		return
	}
	p, err := live.ParsePath(r.URL.Path)
	if err != nil {
		live.ErrBadPath.Write(w, r)
		return
	}
	switch p.File {
	case live.FileConfig:
		b, _ := json.Marshal(live.Config{Event: event, Version: version})
		w.Write(b)
	case live.FileInit:
		b := testInit()
		w.Header().Set(live.HeaderContentDigest, live.DigestOf(b).String())
		w.Write(b)
	case live.FileSegment:
		s.segment(w, r, p, &event)
	default:
		live.ErrNotHere.Write(w, r)
	}
}

func (s *script) segment(w http.ResponseWriter, r *http.Request, p live.Path, event *live.Event) {
	tl := event.Timeline()
	var x scripted
	if s.rewrite != nil {
		x = s.rewrite(p.Rendition, p.Number)
	}
	def(&x.lag, 100*time.Millisecond)
	def(&x.pipeline, "a")
	now := s.now()
	switch tl.Place(p.Number, now) {
	case live.Never:
		live.ErrNever.Write(w, r)
		return
	case live.Early:
		live.ErrEarly.For(tl.Due(p.Number).Sub(now)).Write(w, r)
		return
	case live.Gone:
		live.ErrGone.Write(w, r)
		return
	}
	published := tl.End(p.Number).Add(x.lag)
	until := published
	if x.lost {
		until = tl.Deadline(p.Number)
	}
	if d := until.Sub(now); d > 0 {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
			s.mu.Lock()
			s.left++
			s.mu.Unlock()
			return
		}
	}
	if x.lost {
		live.ErrLost.For(time.Hour).Write(w, r)
		return
	}
	if x.status != 0 {
		(&live.Problem{Code: "scripted", Status: x.status, Title: "Scripted", Lifetime: max(x.lifetime, time.Millisecond)}).Write(w, r)
		return
	}
	h := w.Header()
	body := s.body(&tl, p, x)
	if !s.noDigest {
		h.Set(live.HeaderContentDigest, live.DigestOf(body).String())
	}
	h.Set(live.HeaderPipeline, live.Source{Pipeline: x.pipeline}.String())
	h.Set(live.HeaderPublished, live.FormatPublished(published))
	h.Set("Content-Length", strconv.Itoa(len(body)))
	if s.warm && published.Before(s.event.Start.Add(30*time.Second)) {
		h.Set(live.HeaderCacheStatus, "far;fwd=miss, headwater; hit;ttl=10")
	}
	if x.defects != "" {
		h.Set(live.HeaderDefects, x.defects)
	}
	if x.corrupt {
		body = append([]byte(nil), body...)
		body[len(body)-1] ^= 1
	}
	if x.cut {
		w.Write(body[:len(body)/2])
		panic(http.ErrAbortHandler)
	}
	w.Write(body)
}

func (s *script) body(tl *live.Timeline, p live.Path, x scripted) []byte {
	key := fmt.Sprint(p, x)
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.cache[key]; ok {
		return b
	}
	n := p.Number
	if x.repeat != 0 {
		n = x.repeat
	}
	b := testSegment(tl, n, x.shift, x.drop, s.size, x.pipeline+p.Rendition)
	s.cache[key] = b
	return b
}

// refuse answers 503 for so long.
func (s *script) refuse(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = s.now().Add(d)
}

// setEnd ends the event, with a new version.
func (s *script) setEnd(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.event.End = t
	s.version++
}
