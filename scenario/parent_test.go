package scenario

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"headwater/live"
)

// A parent is a way to the origin that can be made to fail.
type parent struct {
	w    *world
	name string
	srv  *http.Server

	mu     sync.Mutex // guards the following
	asked  []string   // paths, since the last count
	faults faults
	mended chan struct{} // closed when it no longer hangs
}

// faults are what is wrong with a parent. Those of bodies are of segments.
type faults struct {
	hangs    bool // it answers nothing, not even probes
	hangsFor bool // it answers probes, but no request for a segment
	killAt   int  // it dies after so many bytes of a body; 0: it does not
	breakAt  int  // it breaks bodies off there, and lives on
	stallAt  int  // it stops sending there, and keeps the connection
	corrupt  bool // the last byte of each body is another
	piece    int  // bodies are sent in pieces of so many bytes,
	every    time.Duration
	delay    time.Duration // before it answers
	clock    time.Duration // its clock minus that of the others
	answers  map[string]scripted
}

// A scripted answer stands in for the origin's.
type scripted struct {
	status  int
	control string
	body    []byte
	delay   time.Duration
}

func newParent(w *world, name string) *parent {
	p := &parent{w: w, name: name, mended: make(chan struct{})}
	p.start()
	return p
}

func (p *parent) start() { p.srv = p.w.serve(p.name+":80", p) }

// kill is what kill -9 does: connections break, new ones are refused.
func (p *parent) kill() { p.srv.Close() }

func (p *parent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	f := p.faults
	if r.URL.Path != live.TimePath {
		path := r.URL.Path
		if rg := r.Header.Get("Range"); rg != "" {
			path += " " + rg
		}
		p.asked = append(p.asked, path)
	}
	p.mu.Unlock()
	path, _ := live.ParsePath(r.URL.Path)
	segment := path.File == live.FileSegment && path.Rendition != ""
	if !p.stand(r, segment) || !pause(r, f.delay) {
		return
	}
	if a, ok := f.answers[r.URL.Path]; ok {
		p.script(w, r, a)
		return
	}
	h := p.w.origin.Load().DeliverHandler()
	switch {
	case r.URL.Path == live.TimePath:
		h = http.HandlerFunc(p.serveTime)
	case path.File == live.FileConfig && f.clock != 0:
		h = shifted(h, f.clock)
	}
	if !segment {
		f = faults{}
	}
	h.ServeHTTP(&faulty{ResponseWriter: w, p: p, r: r, f: f}, r)
}

// stand waits while the parent hangs. It reports false where the request ended.
func (p *parent) stand(r *http.Request, segment bool) bool {
	p.mu.Lock()
	hangs, mended := p.faults.hangs || p.faults.hangsFor && segment, p.mended
	p.mu.Unlock()
	if !hangs {
		return true
	}
	select {
	case <-mended:
		return true
	case <-r.Context().Done():
		return false
	}
}

// pause waits, as long as the request lasts.
func pause(r *http.Request, d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

func (p *parent) script(w http.ResponseWriter, r *http.Request, a scripted) {
	if !pause(r, a.delay) {
		return
	}
	h := w.Header()
	h.Set("Cache-Control", a.control)
	h.Set(live.HeaderContentDigest, live.DigestOf(a.body).String())
	h.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	w.Write(a.body)
}

func (p *parent) serveTime(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	clock := p.faults.clock
	p.mu.Unlock()
	w.Header().Set("Cache-Control", "no-store")
	fmt.Fprint(w, time.Now().Add(clock).UTC().Format(live.TimeLayout))
}

// shifted makes event.json what it is by another clock: the event began when
// that clock said so. All the origin then does is right by that clock.
func shifted(h http.Handler, clock time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		body := rec.Body.Bytes()
		var doc map[string]any
		if json.Unmarshal(body, &doc) == nil && doc["start"] != nil {
			if start, err := time.Parse(time.RFC3339Nano, doc["start"].(string)); err == nil {
				doc["start"] = start.Add(clock).Format(time.RFC3339Nano)
				body, _ = json.Marshal(doc)
			}
		}
		for name, v := range rec.Header() {
			w.Header()[name] = v
		}
		w.Header().Del("Content-Length")
		w.WriteHeader(rec.Code)
		w.Write(body)
	})
}

// A faulty writer is where a parent's bodies go wrong.
type faulty struct {
	http.ResponseWriter
	p    *parent
	r    *http.Request
	f    faults
	sent int
}

// Unwrap is for http.ResponseController.
func (w *faulty) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *faulty) Write(b []byte) (int, error) {
	if !w.p.stand(w.r, false) {
		return 0, errors.New("gone")
	}
	if w.Header().Get("Content-Type") == live.ProblemType {
		return w.ResponseWriter.Write(b)
	}
	rc := http.NewResponseController(w.ResponseWriter)
	written := 0
	for len(b) > 0 {
		n := len(b)
		if w.f.piece > 0 {
			// The first piece comes with the head.
			if w.sent > 0 && w.sent%w.f.piece == 0 && !pause(w.r, w.f.every) {
				return written, errors.New("gone")
			}
			n = min(n, w.f.piece-w.sent%w.f.piece)
		}
		for _, at := range []int{w.f.killAt, w.f.breakAt, w.f.stallAt} {
			if at > 0 && w.sent < at {
				n = min(n, at-w.sent)
			} else if at > 0 {
				w.end(at)
			}
		}
		out := b[:n]
		if size, _ := strconv.Atoi(w.Header().Get("Content-Length")); w.f.corrupt && w.sent+n >= size {
			out = slices.Clone(out)
			out[n-1] ^= 0xff
		}
		if _, err := w.ResponseWriter.Write(out); err != nil {
			return written, err
		}
		if err := rc.Flush(); err != nil {
			return written, err
		}
		b, w.sent, written = b[n:], w.sent+n, written+n
	}
	return written, nil
}

// end is how a body ends that does not.
func (w *faulty) end(at int) {
	switch at {
	case w.f.stallAt:
		<-w.r.Context().Done()
	case w.f.killAt:
		w.p.kill()
	}
	panic(http.ErrAbortHandler)
}

// set changes the faults by a command: NAME [after N bytes].
func (p *parent) set(fault string, args []string) error {
	after := 0
	if len(args) == 3 && args[0] == "after" {
		var err error
		if after, err = strconv.Atoi(args[1]); err != nil {
			return err
		}
	} else if len(args) == 1 && fault == "hang" && args[0] == "segments" {
		fault = "hang segments"
	} else if len(args) > 0 {
		return fmt.Errorf("%s after how many bytes?", fault)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case fault == "kill" && after == 0:
		p.kill()
	case fault == "kill":
		p.faults.killAt = after
	case fault == "break":
		p.faults.breakAt = after
	case fault == "hang" && after == 0:
		p.faults.hangs = true
	case fault == "hang":
		p.faults.stallAt = after
	case fault == "hang segments":
		p.faults.hangsFor = true
	case fault == "corrupt":
		p.faults.corrupt = true
	case fault == "mend":
		p.faults = faults{}
		close(p.mended)
		p.mended = make(chan struct{})
	case fault == "start":
		p.faults = faults{}
		p.start()
	}
	return nil
}

// answer sets a scripted answer: PATH STATUS [bytes=N] [after D] [CACHE-CONTROL].
func (p *parent) answer(args []string) error {
	if len(args) < 2 {
		return errors.New("answer what?")
	}
	status, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	a := scripted{status: status}
	rest := args[2:]
	if len(rest) > 0 && strings.HasPrefix(rest[0], "bytes=") {
		n, err := strconv.Atoi(rest[0][len("bytes="):])
		if err != nil {
			return err
		}
		a.body, rest = slices.Repeat([]byte("x"), n), rest[1:]
	}
	if len(rest) > 1 && rest[0] == "after" {
		if a.delay, err = time.ParseDuration(rest[1]); err != nil {
			return err
		}
		rest = rest[2:]
	}
	a.control = strings.Join(rest, " ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.faults.answers == nil {
		p.faults.answers = map[string]scripted{}
	}
	p.faults.answers[args[0]] = a
	return nil
}

// counted is how often each parent was asked since the last count for a path,
// or with "" for everything by path.
func (w *world) counted(path string) string {
	var parts []string
	for _, p := range w.parents {
		p.mu.Lock()
		var asked []string
		p.asked = slices.DeleteFunc(p.asked, func(s string) bool {
			mine := path == "" || s == path || strings.HasPrefix(s, path+" ")
			if mine {
				asked = append(asked, s)
			}
			return mine
		})
		p.mu.Unlock()
		part := fmt.Sprintf("%s %d", p.name, len(asked))
		for _, s := range asked {
			if _, rg, ok := strings.Cut(s, " "); ok {
				part += " (" + rg + ")"
			}
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
