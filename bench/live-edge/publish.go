//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/origin"
	"headwater/packager/clip"
	"headwater/store/memory"
)

// A publisher publishes one rendition on a timeline, to Headwater's origin and
// to a plain one at the same instant. The plain one has a segment or says 404,
// as a bucket or a WebDAV server does.
type publisher struct {
	start   time.Time
	segment time.Duration
	size    int
	origin  *origin.Origin
	track   *cmaf.Track

	headwater, plain string // HOST:PORT of their delivery
	publish, control string // base URLs

	mu    sync.Mutex // guards the following
	files map[string]file
	gets  map[string]int // by path, of both
	sums  map[string][32]byte

	servers []*http.Server
	tasks   sync.WaitGroup
	cancel  context.CancelFunc
}

type file struct {
	data []byte
	at   time.Time
}

const rendition = "v720"

// onTheHour is the event that is published all the time; held's segments are
// published when they are asked for.
var (
	onTheHour = live.EventID{Tenant: "bench", Name: "live"}
	held      = live.EventID{Tenant: "bench", Name: "held"}
)

// before is how long before it is expected a segment is published.
const before = 200 * time.Millisecond

// heldFor is how long before they are expected the held event's segments can be
// asked for.
const heldFor = 60 * time.Second

func newPublisher(ctx context.Context, segment time.Duration, size int) (*publisher, error) {
	p := &publisher{start: time.Unix(time.Now().Unix()/60*60, 0).UTC(), segment: segment, size: size, files: map[string]file{}, gets: map[string]int{}, sums: map[string][32]byte{}}
	var err error
	if p.origin, err = origin.New(ctx, origin.Config{Store: memory.New(memory.Options{})}); err != nil {
		return nil, err
	}
	for _, l := range []struct {
		h  http.Handler
		at *string
	}{{p.count(p.origin.DeliverHandler()), &p.headwater}, {p.count(http.HandlerFunc(p.serveFile)), &p.plain}, {p.origin.PublishHandler(), &p.publish}, {p.origin.ControlHandler(), &p.control}} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		srv := &http.Server{Handler: l.h}
		p.servers = append(p.servers, srv)
		*l.at = ln.Addr().String()
		p.tasks.Go(func() { srv.Serve(ln) })
	}
	house, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.tasks.Go(func() { p.origin.Run(house) })

	init, err := p.medium()
	if err != nil {
		return nil, err
	}
	for _, id := range []live.EventID{onTheHour, held} {
		ev := p.event(id)
		b, err := json.Marshal(ev)
		if err != nil {
			return nil, err
		}
		if err := do(ctx, http.MethodPut, "http://"+p.control+"/v1/events/"+id.String(), b); err != nil {
			return nil, err
		}
		if err := do(ctx, http.MethodPut, "http://"+p.publish+"/"+id.String()+"/a/"+rendition+"/init.mp4", init); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *publisher) close() {
	p.cancel()
	p.origin.Drain()
	for _, s := range p.servers {
		s.Close()
	}
	p.tasks.Wait()
}

func (p *publisher) event(id live.EventID) live.Event {
	ev := live.Default()
	ev.Start = p.start
	ev.Segment = live.Duration{Ticks: p.segment.Milliseconds(), Timescale: 1000}
	ev.Pipelines = []live.Pipeline{{Name: "a"}}
	ev.Renditions = []live.Rendition{{Name: rendition, Type: live.Video, Bandwidth: int64(float64(p.size*8) / p.segment.Seconds())}}
	if id == held {
		ev.HoldMS = heldFor.Milliseconds()
	}
	return ev
}

func (p *publisher) timeline(id live.EventID) live.Timeline {
	ev := p.event(id)
	return ev.Timeline()
}

// medium takes the track of the built-in clip for made-up segments.
func (p *publisher) medium() ([]byte, error) {
	part, err := cmaf.NewReader(bytes.NewReader(clip.A)).Next()
	if err != nil {
		return nil, err
	}
	for _, tr := range part.Init.Tracks {
		if tr.Type != live.Video {
			continue
		}
		b, err := part.Init.Single(part.Raw, tr.ID)
		if err != nil {
			return nil, err
		}
		one, err := cmaf.ParseInit(b)
		if err != nil {
			return nil, err
		}
		p.track = &one.Tracks[0]
		return b, nil
	}
	return nil, fmt.Errorf("the clip has no video")
}

// make makes segment n, of about the size, unlike any other.
func (p *publisher) make(tl *live.Timeline, n live.Number, size int) []byte {
	start, end := tl.Media(n, int64(p.track.Timescale))
	const frames = 30
	step := (end - start) / frames
	var samples []cmaf.Sample
	for i := range int64(frames) {
		s := cmaf.Sample{Decode: start + i*step, Duration: uint32(step), Sync: i == 0, Description: 1, Flags: 0x01010000}
		if i == 0 {
			s.Flags = 0x02000000
		}
		samples = append(samples, s)
	}
	rng := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	data := make([]byte, size/frames)
	return cmaf.AppendSegment(nil, uint32(n), p.track, samples, func(i int) []byte {
		rng.Read(data) // behind the head of one slice, of an IDR picture or another
		binary.BigEndian.PutUint32(data, uint32(len(data)-4))
		copy(data[4:], "\x41\x9a\x24")
		if i == 0 {
			copy(data[4:], "\x65\x88\x84")
		}
		return bytes.Clone(data)
	})
}

func path(id live.EventID, n live.Number) string {
	return live.Path{Event: id, File: live.FileSegment, Rendition: rendition, Number: n}.String()
}

// put publishes a segment at both origins.
func (p *publisher) put(ctx context.Context, id live.EventID, n live.Number, data []byte) error {
	p.mu.Lock()
	p.files[path(id, n)] = file{data, time.Now()}
	delete(p.files, path(id, n-16))
	p.sums[path(id, n)] = sha256.Sum256(data)
	p.mu.Unlock()
	return do(ctx, http.MethodPut, fmt.Sprintf("http://%s/%s/a/%s/%d.m4s", p.publish, id, rendition, n), data)
}

// run publishes the live event until ctx ends.
func (p *publisher) run(ctx context.Context) error {
	tl := p.timeline(onTheHour)
	for n := tl.Edge(time.Now()) + 2; ; n++ {
		data := p.make(&tl, n, p.size)
		if !sleep(ctx, time.Until(tl.Expected(n).Add(-before))) {
			return nil
		}
		if err := p.put(ctx, onTheHour, n, data); err != nil {
			return err
		}
	}
}

func (p *publisher) serveFile(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	f, ok := p.files[r.URL.Path]
	p.mu.Unlock()
	if !ok {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "video/mp4")
	h.Set("Content-Length", fmt.Sprint(len(f.data)))
	h.Set("Cache-Control", "max-age=600")
	h.Set(live.HeaderPublished, live.FormatPublished(f.at))
	w.Write(f.data)
}

func (p *publisher) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, ".m4s") {
			p.mu.Lock()
			p.gets[r.URL.Path]++
			p.mu.Unlock()
		}
		h.ServeHTTP(w, r)
	})
}

// asked is how often segments from first to last have been asked for.
func (p *publisher) asked(id live.EventID, first, last live.Number) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := 0
	for n := first; n <= last; n++ {
		sum += p.gets[path(id, n)]
	}
	return sum
}

func (p *publisher) sum(id live.EventID, n live.Number) [32]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.sums[path(id, n)]
}

func do(ctx context.Context, method, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if strings.Contains(url, "/v1/events") {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, b)
	}
	return nil
}

// sleep waits, and reports whether ctx goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
