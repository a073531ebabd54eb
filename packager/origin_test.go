package packager

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/clock"
	"headwater/cmaf"
	"headwater/live"
)

// A memoryListener connects by net.Pipe, so that synctest sees who waits.
type memoryListener struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newMemoryListener() *memoryListener {
	return &memoryListener{conns: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error   { l.once.Do(func() { close(l.closed) }); return nil }
func (l *memoryListener) Addr() net.Addr { return memoryAddr{} }

func (l *memoryListener) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type memoryAddr struct{}

func (memoryAddr) Network() string { return "memory" }
func (memoryAddr) String() string  { return "memory" }

// A put is one request that a fake origin saw.
type put struct {
	path   string
	at     time.Duration // since the origin began
	conn   int           // which connection
	header http.Header
	body   []byte
}

// A fakeOrigin answers as a script says: by path, the n-th request gets the
// n-th answer, and 201 after the last one. The keys "init" and "media" stand for
// all paths of that kind without answers of their own.
type fakeOrigin struct {
	t        *testing.T
	began    time.Time
	listener *memoryListener
	server   *http.Server

	mu     sync.Mutex // guards the following
	script map[string][]http.HandlerFunc
	puts   []put
	conns  int
	read   func(r io.Reader) []byte // how bodies of media are read, by default at once
	fits   []string                 // where set: init segments that can stand in for that of viewers
	unfit  bool                     // and whether the last of v720 could not
}

type connKey struct{}

func newFakeOrigin(t *testing.T) *fakeOrigin {
	o := &fakeOrigin{t: t, began: time.Now(), listener: newMemoryListener(), script: map[string][]http.HandlerFunc{}}
	o.server = &http.Server{Handler: o, ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.conns++
		return context.WithValue(ctx, connKey{}, o.conns)
	}}
	go o.server.Serve(o.listener)
	return o
}

func (o *fakeOrigin) on(path string, answers ...http.HandlerFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.script[path] = answers
}

func (o *fakeOrigin) readBody(r *http.Request) []byte {
	o.mu.Lock()
	read := o.read
	o.mu.Unlock()
	if read != nil && strings.HasSuffix(r.URL.Path, ".m4s") {
		return read(r.Body)
	}
	body, _ := io.ReadAll(r.Body)
	return body
}

// off takes the answers of a path away, so that it gets those of its kind.
func (o *fakeOrigin) off(path string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.script, path)
}

func (o *fakeOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := o.readBody(r)
	o.mu.Lock()
	conn, _ := r.Context().Value(connKey{}).(int)
	o.puts = append(o.puts, put{r.URL.Path, time.Since(o.began), conn, r.Header.Clone(), body})
	key := r.URL.Path
	if _, ok := o.script[key]; !ok {
		key = "media"
		if p, err := live.ParsePublishPath(r.URL.Path); err == nil && p.File == live.FileInit {
			key = "init"
		}
	}
	answer := status(201)
	if o.fits != nil {
		answer = o.fit(key, r.URL.Path, string(body))
	}
	if left := o.script[key]; len(left) > 0 {
		answer, o.script[key] = left[0], left[1:]
	}
	o.mu.Unlock()
	answer(w, r)
}

// fitting makes the origin take only these init segments.
func (o *fakeOrigin) fitting(fits ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fits = fits
}

// fit is what such an origin answers.
func (o *fakeOrigin) fit(key, path, body string) http.HandlerFunc {
	switch {
	case !strings.Contains(path, "/v720/"):
		return status(201)
	case key == "init":
		o.unfit = !slices.Contains(o.fits, body)
	}
	if o.unfit {
		return problem(live.ErrInitDiffers.With("the width is 64, not 48"))
	}
	return status(201)
}

// saw returns the requests of a path, or all.
func (o *fakeOrigin) saw(path string) []put {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []put
	for _, p := range o.puts {
		if path == "" || p.path == path {
			out = append(out, p)
		}
	}
	return out
}

func (o *fakeOrigin) close() { o.server.Close() }

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func problem(p *live.Problem) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { p.Write(w, r) }
}

// stall never answers: the connection is dead, though it is open.
func stall(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// reset closes the connection in place of an answer.
func reset(w http.ResponseWriter, _ *http.Request) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		c.Close()
	}
}

// slow answers 201 after a while.
func slow(d time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(d):
			w.WriteHeader(201)
		case <-r.Context().Done():
		}
	}
}

// repeat is n times the same answer.
func repeat(n int, h http.HandlerFunc) []http.HandlerFunc {
	out := make([]http.HandlerFunc, n)
	for i := range out {
		out[i] = h
	}
	return out
}

// A rig is a sender with fake origins, at the time when segment 1 is complete:
// half a second before it is expected, 2.5 s before its deadline.
type rig struct {
	t       *testing.T
	event   *live.Event
	origins []*fakeOrigin
	*sender
	cancel context.CancelFunc
}

// withRig runs f in a bubble.
func withRig(t *testing.T, origins int, f func(r *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, event: testEvent(time.Now().Add(-2*time.Second), "v720", "a-en")}
		cfg := senderConfig{
			clock: clock.New(clock.Config{}), id: live.EventID{Tenant: "acme", Name: "final"}, pipeline: "a", token: "secret",
			timeline: r.event.Timeline, queueBytes: 1 << 20, count: newCounters(), log: quiet(),
		}
		byHost := map[string]*fakeOrigin{}
		for i := range origins {
			o := newFakeOrigin(t)
			host := string(rune('a'+i)) + ":7001"
			byHost[host] = o
			r.origins = append(r.origins, o)
			d, err := newDestination(cfg.clock, "http://"+host, func(ctx context.Context, _, addr string) (net.Conn, error) {
				return byHost[addr].listener.dial(ctx)
			})
			if err != nil {
				t.Fatal(err)
			}
			cfg.dests = append(cfg.dests, d)
		}
		ctx, cancel := context.WithCancel(t.Context())
		r.cancel = cancel
		r.sender = newSender(ctx, cfg)
		f(r)
		cancel()
		r.close()
		for _, o := range r.origins {
			o.close()
		}
	})
}

func (r *rig) stats() Stats { return r.count.snapshot() }

// settle waits until nothing is under way or queued, at most for d.
func (r *rig) settle(d time.Duration) {
	ctx, cancel := context.WithTimeout(r.t.Context(), d)
	defer cancel()
	r.drain(ctx)
}

// until sleeps until a segment is complete.
func (r *rig) until(n live.Number) {
	tl := r.event.Timeline()
	time.Sleep(time.Until(tl.End(n)))
}

func (r *rig) init(rendition string) {
	track := &cmaf.Track{Type: live.Video, Timescale: 1000}
	r.sendInit(&segment{rendition: rendition, init: true, data: []byte("init of " + rendition), track: track, complete: time.Now()})
}

func (r *rig) media(rendition string, n live.Number) *segment {
	data := []byte("media of " + rendition + " " + n.String())
	track := &cmaf.Track{Type: live.Video, Timescale: 1000}
	return &segment{rendition: rendition, number: n, data: data, digest: live.DigestOf(data), track: track, complete: time.Now()}
}
