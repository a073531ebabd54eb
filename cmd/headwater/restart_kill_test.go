package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/packager/clip"
)

// TestKillOrigin kills an origin over a disk store again and again, at any moment of its
// start and of what it does, and asks the next one for every segment that was
// acknowledged, by its digest. HEADWATER_KILLS is how often.
func TestKillOrigin(t *testing.T) {
	kills := 6
	if n, err := strconv.Atoi(os.Getenv("HEADWATER_KILLS")); err == nil {
		kills = n                      // make kills
		os.Unsetenv("HEADWATER_KILLS") // the program refuses what it does not know
	}
	binary, dir := build(t), t.TempDir()
	publish, deliver, control := freePort(t), freePort(t), freePort(t)
	args := []string{"origin", "--store", "disk:" + dir, "--publish", publish, "--deliver", deliver, "--control", control}
	l := newLedger(t, publish, deliver)
	var starts []time.Duration
	for kill := range kills {
		p := &process{t: t, args: args}
		begun := time.Now()
		p.start(binary)
		if kill > 0 && rand.IntN(10) == 0 {
			time.Sleep(time.Duration(rand.IntN(150)) * time.Millisecond)
			p.kill() // while it starts
			continue
		}
		awaitReady(t, p, control)
		starts = append(starts, time.Since(begun))
		if kill == 0 {
			l.create(control)
		}
		l.verify(50)
		dead := make(chan struct{})
		var publishers sync.WaitGroup
		for range 4 {
			publishers.Go(func() { l.publish(dead) })
		}
		time.Sleep(time.Duration(20+rand.IntN(300)) * time.Millisecond)
		p.kill()
		close(dead)
		publishers.Wait()
		if t.Failed() {
			t.Fatalf("after %d kills: %s", kill, p.log.String())
		}
		if kill%50 == 49 {
			t.Logf("%d kills, %d segments acknowledged", kill+1, len(l.acked))
		}
	}
	p := &process{t: t, args: args}
	p.start(binary)
	awaitReady(t, p, control)
	l.verify(len(l.acked))
	p.kill()
	if code, out, errs := invoke(t, t.Context(), nil, "", "store", "check", "--store", "disk:"+dir); code != exitDone {
		t.Errorf("store check: exit %d: %s%s", code, out, errs)
	}
	if len(l.acked) == 0 {
		t.Error("nothing was acknowledged that could have been lost")
	}
	slices.Sort(starts)
	t.Logf("%d kills, %d segments acknowledged, %d refused, %d looks at them, %d lost, %d bad; starts: median %v, longest %v",
		kills, len(l.acked), l.refused, l.looks, l.lost, l.bad, starts[len(starts)/2].Round(time.Millisecond), starts[len(starts)-1].Round(time.Millisecond))
}

// awaitReady waits until an origin says that it is.
func awaitReady(t testing.TB, p *process, control string) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(2 * time.Millisecond) {
		resp, err := http.Get("http://" + control + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatalf("it does not get ready: %v, %s", err, p.log.String())
		}
	}
}

// A ledger is what a publisher was told that is stored.
type ledger struct {
	t                *testing.T
	publishTo, askOf string
	init             []byte
	track            *cmaf.Track
	timeline         live.Timeline
	client           *http.Client
	looks, lost, bad int

	mu      sync.Mutex // guards the following
	next    live.Number
	acked   []acknowledged
	refused int // since the machine was busy
}

type acknowledged struct {
	path   string // as viewers have it
	digest live.Digest
}

func newLedger(t *testing.T, publish, deliver string) *ledger {
	part, err := cmaf.NewReader(bytes.NewReader(clip.A)).Next()
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{t: t, publishTo: publish, askOf: deliver, next: 1, client: &http.Client{Timeout: 2 * time.Minute}}
	for _, track := range part.Init.Tracks {
		if track.Type == live.Audio {
			if l.init, err = part.Init.Single(part.Raw, track.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	single, err := cmaf.ParseInit(l.init)
	if err != nil {
		t.Fatal(err)
	}
	l.track = &single.Tracks[0]
	return l
}

const killedEvent = "acme/final"

// killedFor is how long the event has gone on: a kill is of about a hundred segments.
const killedFor = 30 * 24 * time.Hour

// create makes an event that has gone on for so long that there is enough to publish.
func (l *ledger) create(control string) {
	ev := live.Default()
	ev.Start = time.Now().Add(-killedFor).UTC().Truncate(8 * time.Second)
	ev.FirstNumber, ev.DVRSeconds = 1, int64((killedFor + 24*time.Hour).Seconds())
	l.timeline = ev.Timeline()
	body := fmt.Sprintf(`{"start": %q, "first_number": 1, "dvr_seconds": %d, "pipelines": [{"name": "a"}, {"name": "b"}],
		"renditions": [{"name": "v", "type": "audio", "bandwidth": 100000}]}`, ev.Start.Format(live.TimeLayout), ev.DVRSeconds)
	if code, why := l.put("http://"+control+"/v1/events/"+killedEvent, []byte(body), "application/json"); code != http.StatusCreated {
		l.t.Fatalf("creating the event: %d %s", code, why)
	}
	for _, pipeline := range []string{"a", "b"} {
		if code, why := l.put("http://"+l.publishTo+"/"+killedEvent+"/"+pipeline+"/v/init.mp4", l.init, "video/mp4"); code >= 300 {
			l.t.Fatalf("publishing an init segment: %d %s", code, why)
		}
	}
}

func (l *ledger) put(url string, body []byte, contentType string) (code int, why string) {
	req, err := http.NewRequest(http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		l.t.Error(err)
		return 0, ""
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// publish publishes one segment after the other, of both pipelines, until the origin is
// dead, and enters those that it acknowledges.
func (l *ledger) publish(dead <-chan struct{}) {
	for {
		select {
		case <-dead:
			return
		default:
		}
		l.mu.Lock()
		n := l.next
		l.next++
		l.mu.Unlock()
		start, end := l.timeline.Media(n, int64(l.track.Timescale))
		const frame = 1024
		var samples []cmaf.Sample
		for at := (start + frame - 1) / frame * frame; at < end; at += frame {
			samples = append(samples, cmaf.Sample{Decode: at, Duration: frame, Flags: 0x02000000})
		}
		for _, pipeline := range []string{"a", "b"} {
			other := rand.Uint64()
			data := cmaf.AppendSegment(nil, uint32(n), l.track, samples, func(i int) []byte { return fmt.Appendf(nil, "%s/%d/%03d/%020d", pipeline, n, i, other) })
			code, why := l.put("http://"+l.publishTo+"/"+killedEvent+"/"+pipeline+"/v/"+live.SegmentName(n), data, "video/mp4")
			switch {
			case code == http.StatusCreated:
				l.mu.Lock()
				l.acked = append(l.acked, acknowledged{killedEvent + "/v/" + live.SegmentName(n), live.DigestOf(data)})
				l.mu.Unlock()
			case code == http.StatusServiceUnavailable:
				l.mu.Lock()
				l.refused++
				l.mu.Unlock()
			case code != 0:
				l.t.Errorf("segment %d of %s: %d %s", n, pipeline, code, why)
				return
			}
		}
	}
}

// verify asks for the segments that were acknowledged last, and for some of the others.
func (l *ledger) verify(some int) {
	l.mu.Lock()
	ask := slices.Clone(l.acked[max(0, len(l.acked)-500):])
	for i := range min(some, len(l.acked)) {
		if some < len(l.acked) {
			i = rand.IntN(len(l.acked))
		}
		ask = append(ask, l.acked[i])
	}
	l.mu.Unlock()
	busy := 0 // times that the origin asked to come again
	for len(ask) > 0 {
		x := ask[0]
		ask = ask[1:]
		l.looks++
		req, err := http.NewRequest(http.MethodGet, "http://"+l.askOf+"/"+x.path, nil)
		if err != nil {
			l.t.Fatal(err)
		}
		req.Header.Set("If-Match", x.digest.ETag())
		resp, err := l.client.Do(req)
		if err != nil {
			l.t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusServiceUnavailable && busy < 1000: // of a busy machine: whoever watches comes again
			busy++
			ask = append(ask, x)
			time.Sleep(20 * time.Millisecond)
		case err != nil || resp.StatusCode != http.StatusOK:
			l.lost++
			l.t.Errorf("LOST: %s: %d %v %s", x.path, resp.StatusCode, err, strings.TrimSpace(string(b)))
		case live.DigestOf(b) != x.digest:
			l.bad++
			l.t.Errorf("BAD: %s has other bytes", x.path)
		}
	}
}
