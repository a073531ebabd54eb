package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/cmaf"
	"headwater/edge"
	"headwater/edge/front"
	"headwater/internal/memnet"
	"headwater/live"
	"headwater/origin"
	"headwater/store/memory"
)

// A world is what a script plays in: an origin, parents that are ways to it,
// edges above them, and viewers.
type world struct {
	t     *testing.T
	out   io.Writer
	began time.Time // of the event
	net   *memnet.Network
	parks bool // viewers of edges wait without goroutines, as those of HTTP/1.1 do
	store *memory.Store
	media map[string]medium // by rendition, and PIPELINE/RENDITION of those that came back otherwise
	event live.Event

	origin  atomic.Pointer[origin.Origin]
	stop    func() // ends the origin
	parents []*parent
	edges   []*edgeNode
	viewers map[string]group
	order   []string // names of viewers, as they came
	client  *http.Client
	tasks   sync.WaitGroup // viewers, and what listens
}

// An edgeNode is one edge with its listener.
type edgeNode struct {
	name string
	cfg  edge.Config
	ed   *edge.Edge
	reg  *prometheus.Registry
	srv  interface{ Close() error }
}

func newWorld(t *testing.T, parks bool) *world {
	w := &world{
		t: t, began: time.Now(), net: memnet.New(), parks: parks,
		store: memory.New(memory.Options{}), viewers: map[string]group{},
		media: map[string]medium{"v720": newMedium(t, live.Video), "v360": newMedium(t, live.Video), "a-en": newMedium(t, live.Audio)},
	}
	w.client = &http.Client{Transport: &http.Transport{DialContext: w.net.Dial, DisableKeepAlives: true, DisableCompression: true}}
	w.startOrigin()
	return w
}

func (w *world) close() {
	for _, g := range w.viewers {
		g.leave()
	}
	for _, n := range w.edges {
		n.srv.Close()
		n.ed.Close()
	}
	for _, p := range w.parents {
		p.kill()
	}
	w.stop()
	w.tasks.Wait()
	w.client.CloseIdleConnections()
	w.store.Close()
}

// startOrigin starts an origin over the store.
func (w *world) startOrigin() {
	o, err := origin.New(context.Background(), origin.Config{Store: w.store})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); o.Run(ctx) }()
	w.stop = func() { o.Drain(); cancel(); <-ended }
	w.origin.Store(o)
}

// serve lets a handler listen on a host.
func (w *world) serve(host string, h http.Handler) *http.Server {
	srv := &http.Server{Handler: h}
	l := w.net.Listen(host)
	w.tasks.Go(func() { srv.Serve(l) })
	return srv
}

func (w *world) startEdge(n *edgeNode) error {
	n.reg = prometheus.NewRegistry()
	n.cfg.Metrics = n.reg
	var err error
	if n.ed, err = edge.New(n.cfg); err != nil {
		return err
	}
	srv := &front.Server{Edge: n.ed}
	l := w.net.Listen(n.name + ":80")
	if !w.parks {
		l = waiting{l}
	}
	w.tasks.Go(func() { srv.Serve(l) })
	n.srv = srv
	return nil
}

// What waits is served by net/http: its connections cannot be used without.
type waiting struct{ net.Listener }

func (l waiting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

// createEvent creates /t/e, beginning now, with two pipelines and three
// renditions whose init segments are there.
func (w *world) createEvent(args []string) error {
	ev := live.Default()
	w.began = time.Now()
	ev.Start = w.began.UTC()
	ev.DVRSeconds = 60
	ev.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
	ev.Renditions = []live.Rendition{
		{Name: "v720", Type: live.Video, Bandwidth: 3_000_000}, {Name: "v360", Type: live.Video, Bandwidth: 800_000},
		{Name: "a-en", Type: live.Audio, Bandwidth: 128_000, Language: "en"},
	}
	for _, arg := range args {
		name, value, _ := strings.Cut(arg, "=")
		if name == "lost" {
			ev.OnLost = live.LostPolicy(value)
			continue
		}
		d, err := time.ParseDuration(value)
		switch {
		case err != nil:
			return err
		case name == "dvr":
			ev.DVRSeconds = int64(d / time.Second)
		case name == "live":
			ev.LiveWindowSeconds = int64(d / time.Second)
		default:
			return fmt.Errorf("an event has no %s here", name)
		}
	}
	w.event = ev
	return w.create()
}

// create creates the event, and publishes its init segments.
func (w *world) create() error {
	ev := &w.event
	b, err := json.Marshal(ev)
	if err != nil {
		return err
	}
	if rec := w.control(http.MethodPut, "", string(b)); rec.Code != http.StatusCreated {
		return fmt.Errorf("creating the event: %d %s", rec.Code, rec.Body)
	}
	for _, p := range ev.Pipelines {
		for _, r := range ev.Renditions {
			rec := w.put(p.Name+"/"+r.Name+"/"+live.InitName, w.media[r.Name].init, nil)
			if rec.Code >= 300 {
				return fmt.Errorf("init segment: %d %s", rec.Code, rec.Body)
			}
		}
	}
	return nil
}

// control asks the origin's control API, at a path below the event's.
func (w *world) control(method, path, body string) *httptest.ResponseRecorder {
	return w.controlTyped(method, path, body, "application/json")
}

func (w *world) controlTyped(method, path, body, contentType string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(method, "/v1/events/t/e"+path, strings.NewReader(body))
	req.Host = "origin:7003"
	req.Header.Set("Content-Type", contentType)
	w.origin.Load().ControlHandler().ServeHTTP(rec, req)
	return rec
}

func (w *world) put(path string, body []byte, header http.Header) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodPut, "/t/e/"+path, bytes.NewReader(body))
	for name, v := range header {
		req.Header[name] = v
	}
	w.origin.Load().PublishHandler().ServeHTTP(rec, req)
	return rec
}

// publish PUTs segments: PIPELINE RENDITION NUMBER[-NUMBER] [bytes=N] [short]
// [HEADER: VALUE]. It prints what is not answered 201.
func (w *world) publish(args []string) error {
	line := strings.Join(args, " ")
	header := http.Header{}
	if before, value, ok := strings.Cut(line, ": "); ok {
		i := strings.LastIndexByte(before, ' ')
		header.Set(before[i+1:], value)
		line = before[:max(i, 0)]
	}
	args = strings.Fields(line)
	if len(args) < 3 {
		return errors.New("publish what?")
	}
	from, to, several := strings.Cut(args[2], "-")
	first, err := live.ParseNumber(from)
	last := first
	if several && err == nil {
		last, err = live.ParseNumber(to)
	}
	if err != nil {
		return err
	}
	size, short := 60_000, false
	for _, arg := range args[3:] {
		if v, ok := strings.CutPrefix(arg, "bytes="); ok {
			size, err = strconv.Atoi(v)
		}
		short = short || arg == "short"
	}
	m, ok := w.media[args[0]+"/"+args[1]]
	if !ok {
		m, ok = w.media[args[1]]
	}
	if !ok || err != nil {
		return fmt.Errorf("%q: %v", line, err)
	}
	for n := first; n <= last; n++ {
		rec := w.put(args[0]+"/"+args[1]+"/"+live.SegmentName(n), m.sized(&w.event, n, args[0][0], size, short), header)
		if rec.Code != http.StatusCreated {
			fmt.Fprintf(w.out, "%s %s: %d %s\n", w.since(time.Now()), live.SegmentName(n), rec.Code, problemOf(rec.Body.Bytes()))
		}
	}
	return nil
}

// sized makes a segment of about so many bytes. mark is in every sample: what
// another pipeline makes is other bytes. Short: the second half is not there.
func (m medium) sized(ev *live.Event, n live.Number, mark byte, size int, short bool) []byte {
	tl := ev.Timeline()
	start, end := tl.Media(n, int64(m.track.Timescale))
	if m.track.Type == live.Audio {
		return m.sound(n, start, end, mark, size)
	}
	const frames = 60
	step := (end - start) / frames
	var samples []cmaf.Sample
	for i := range frames {
		if short && i >= frames/2 {
			break
		}
		s := cmaf.Sample{Decode: start + int64(i)*step, Duration: uint32(step), Sync: i == 0, Flags: 0x02000000, Description: 1}
		if i > 0 {
			s.Flags = 0x01010000
		}
		samples = append(samples, s)
	}
	key, other := m.sample(true, mark, size/frames), m.sample(false, mark, size/frames)
	return cmaf.AppendSegment(nil, uint32(n), m.track, samples, func(i int) []byte {
		if samples[i].Sync {
			return key
		}
		return other
	})
}

// sound is sized for audio, of frames of 1024 samples, so that segments have one
// more or less: it has as many bytes as video.
func (m medium) sound(n live.Number, start, end int64, mark byte, size int) []byte {
	const step = 1024
	var samples []cmaf.Sample
	for at := (start + step - 1) / step * step; at < end; at += step {
		samples = append(samples, cmaf.Sample{Decode: at, Duration: step, Sync: true, Flags: 0x02000000, Description: 1})
	}
	last := 8
	build := func() []byte {
		return cmaf.AppendSegment(nil, uint32(n), m.track, samples, func(i int) []byte {
			if i == len(samples)-1 {
				return bytes.Repeat([]byte{mark}, last)
			}
			return bytes.Repeat([]byte{mark}, 8)
		})
	}
	last += max(size+840-len(build()), 0)
	return build()
}

// problemOf is the code of a problem document, or nothing.
func problemOf(body []byte) string {
	var p struct{ Type string }
	if json.Unmarshal(body, &p) != nil {
		return ""
	}
	return strings.TrimPrefix(p.Type, "urn:headwater:problem:")
}

// pass lets time pass, up to an instant of the event.
func (w *world) pass(until time.Time) error {
	d := time.Until(until)
	if d < 0 {
		return fmt.Errorf("it is %s already", w.since(time.Now()))
	}
	time.Sleep(d)
	synctest.Wait()
	return nil
}
