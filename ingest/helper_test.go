package ingest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/cmaf"
	"headwater/internal/memnet"
	"headwater/listen"
	"headwater/live"
	"headwater/packager"
)

// A fakeOrigin has one event, or none yet, and takes what is published.
type fakeOrigin struct {
	mu    sync.Mutex // guards the following
	event *live.Event
	puts  []put
}

// A put is a segment, or an init segment, that was published.
type put struct {
	path    live.PublishPath
	at      time.Time
	defects string
	auth    string
	body    []byte
}

func (o *fakeOrigin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		if r.URL.Query().Has("after") {
			<-r.Context().Done()
			return
		}
		o.mu.Lock()
		ev := o.event
		o.mu.Unlock()
		if ev == nil {
			live.ErrNoEvent.With("none").Write(w, r)
			return
		}
		w.Header().Set("ETag", `"1"`)
		json.NewEncoder(w).Encode(live.Config{Event: *ev, Version: 1})
		return
	}
	body, err := io.ReadAll(r.Body)
	path, perr := live.ParsePublishPath(r.URL.Path)
	if err := errors.Join(err, perr); err != nil {
		live.ErrBadPath.With(err.Error()).Write(w, r)
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.puts = append(o.puts, put{path, time.Now(), r.Header.Get(live.HeaderDefects), r.Header.Get("Authorization"), body})
	w.WriteHeader(http.StatusCreated)
}

// media are the segments of a rendition, by number.
func (o *fakeOrigin) media(rendition string) map[live.Number]put {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := map[live.Number]put{}
	for _, p := range o.puts {
		if p.path.Rendition == rendition && p.path.File == live.FileSegment {
			out[p.path.Number] = p
		}
	}
	return out
}

// A world is an ingest server before a fake origin, in memory and virtual time.
type world struct {
	t      *testing.T
	origin *fakeOrigin
	srv    *Server
	client *http.Client
	log    *bytes.Buffer // once it is stopped
	stop   func()
}

func newWorld(t *testing.T, ev *live.Event, edit func(*Config)) *world {
	t.Helper()
	n := memnet.New()
	w := &world{t: t, origin: &fakeOrigin{event: ev}, log: new(bytes.Buffer)}
	cfg := Config{
		Packager: packager.Config{To: []string{"http://origin:7001"}, EventURL: "http://origin:7001", EventWait: -1, Dial: n.Dial},
		Log:      slog.New(slog.NewTextHandler(w.log, nil)),
	}
	if edit != nil {
		edit(&cfg)
	}
	var err error
	if w.srv, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	var servers []*http.Server
	for host, h := range map[string]http.Handler{"origin:7001": w.origin, "ingest:7006": w.srv} {
		s := listen.NewServer(h, slog.New(slog.DiscardHandler))
		servers = append(servers, s)
		go s.Serve(n.Listen(host))
	}
	tr := &http.Transport{DialContext: n.Dial, MaxConnsPerHost: 0}
	w.client = &http.Client{Transport: tr}
	w.stop = func() {
		w.srv.Drain()
		tr.CloseIdleConnections()
		for _, s := range servers {
			s.Close()
		}
		time.Sleep(time.Second) // net/http lingers so long
		synctest.Wait()
	}
	return w
}

// send makes a request below the pipeline's path, and returns status and problem.
func (w *world) send(method, name string, body []byte) (status int, code string) {
	w.t.Helper()
	return w.sendBody(method, name, bytes.NewReader(body))
}

func (w *world) sendBody(method, name string, body io.Reader) (status int, code string) {
	w.t.Helper()
	req, err := http.NewRequest(method, "http://ingest:7006/acme/final/a/"+name, body)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.do(req)
}

func (w *world) do(req *http.Request) (status int, code string) {
	w.t.Helper()
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Errorf("%s %s: %v", req.Method, req.URL.Path, err)
		return 0, ""
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	var p live.Problem
	if resp.StatusCode >= 300 && json.Unmarshal(b, &p) != nil {
		w.t.Errorf("%s %s: %s: %s", req.Method, req.URL.Path, resp.Status, b)
	}
	return resp.StatusCode, p.Code
}

// must is send that succeeds.
func (w *world) must(method, name string, body []byte) {
	w.t.Helper()
	if status, code := w.send(method, name, body); status != http.StatusOK {
		w.t.Errorf("%s %s: %d %s", method, name, status, code)
	}
}

// testEvent starts at start, with the renditions that a source has.
func testEvent(start time.Time, renditions ...string) *live.Event {
	e := live.Default()
	e.Start = start.UTC()
	e.Pipelines = []live.Pipeline{{Name: "a"}, {Name: "b"}}
	for i, name := range renditions {
		r := live.Rendition{Name: name, Type: live.Video, Bandwidth: 1_000_000 - int64(i)}
		if name[0] == 'a' {
			r.Type = live.Audio
		}
		e.Renditions = append(e.Renditions, r)
	}
	if err := e.Validate(); err != nil {
		panic(err)
	}
	return &e
}

// A source is a track that goes on for ever: that of a file, again and again.
type source struct {
	init    []byte
	track   *cmaf.Track
	samples []cmaf.Sample
	data    [][]byte
	long    int64                // ticks
	zero    int64                // decode time of its first sample
	events  map[int][]cmaf.Event // by segment
}

// sources are the tracks of a file of real encodes: v720, v360, a-en.
func sources(t testing.TB) map[string]*source {
	t.Helper()
	f, err := os.Open("../packager/testdata/ladder.mp4")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	out := map[string]*source{}
	var byID [4]*source
	for r := cmaf.NewReader(f); ; {
		p, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Init != nil {
			for i, name := range []string{"v720", "v360", "a-en"} {
				single, err := p.Init.Single(p.Raw, uint32(i+1))
				if err != nil {
					t.Fatal(err)
				}
				in, err := cmaf.ParseInit(single)
				if err != nil {
					t.Fatal(err)
				}
				byID[i+1] = &source{init: single, track: &in.Tracks[0]}
				out[name] = byID[i+1]
			}
			continue
		}
		for _, tr := range p.Fragment.Tracks {
			s := byID[tr.ID]
			for _, x := range tr.Samples {
				s.data = append(s.data, bytes.Clone(p.Data(x)))
				s.samples = append(s.samples, x)
				s.long += int64(x.Duration)
			}
		}
	}
	// The picture comes again after its whole groups.
	for _, name := range []string{"v720", "v360"} {
		s := out[name]
		if groups := s.long / (2 * int64(s.track.Timescale)); groups == 0 {
			t.Fatalf("%s has %d ticks", name, s.long)
		} else {
			s.cut(groups * 2 * int64(s.track.Timescale))
		}
	}
	return out
}

// cut shortens a source to so many ticks.
func (s *source) cut(long int64) {
	s.long = 0
	for i := range s.samples {
		if s.long >= long {
			s.samples, s.data = s.samples[:i], s.data[:i]
			return
		}
		s.long += int64(s.samples[i].Duration)
	}
}

// between appends a fragment with the samples that begin from one time of the source
// to another.
func (s *source) between(dst []byte, from, to time.Duration) []byte {
	a, b := toTicks(from, s.track.Timescale), toTicks(to, s.track.Timescale)
	var table []cmaf.Sample
	var data [][]byte
	at := a / s.long * s.long
	for i := 0; at < b; i++ {
		x := s.samples[i%len(s.samples)]
		x.Decode = at + s.zero
		if at >= a {
			table, data = append(table, x), append(data, s.data[i%len(s.data)])
		}
		at += int64(x.Duration)
	}
	return cmaf.AppendChunk(dst, 1, s.track, table, func(i int) []byte { return data[i] })
}

// segment is the k-th of two seconds.
func (s *source) segment(k int) []byte {
	const d = 2 * time.Second
	head := cmaf.AppendStyp(nil)
	for _, e := range s.events[k] {
		head = cmaf.AppendEvent(head, &e)
	}
	return s.between(head, time.Duration(k)*d, time.Duration(k+1)*d)
}

// clean fails where not all of n numbers from the first on are there, without defects.
func clean(t *testing.T, o *fakeOrigin, rendition string, n int) {
	t.Helper()
	media := o.media(rendition)
	first := live.Number(1 << 50)
	for k := range media {
		first = min(first, k)
	}
	for k := first; k < first+live.Number(n); k++ {
		p, ok := media[k]
		if !ok {
			t.Errorf("%s/%d is missing (%d are there)", rendition, k, len(media))
			return
		}
		if p.defects != "" {
			t.Errorf("%s/%d: %s", rendition, k, p.defects)
			return
		}
	}
}

// said fails where the log lacks something. The world is stopped.
func (w *world) said(what ...string) {
	w.t.Helper()
	for _, s := range what {
		if !strings.Contains(w.log.String(), s) {
			w.t.Errorf("the log does not say %q:\n%s", s, w.log)
		}
	}
}

// late is what a request is answered when the server has stopped.
func (s *Server) late() (int, string) {
	r := httptest.NewRequest("PUT", "/acme/final/a/x.mp4", strings.NewReader("x"))
	rec := httptest.NewRecorder()
	s.ServeHTTP(rec, r)
	var p live.Problem
	json.Unmarshal(rec.Body.Bytes(), &p)
	return rec.Code, p.Code
}
