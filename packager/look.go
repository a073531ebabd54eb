package packager

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"headwater/live"
)

// A look has ffmpeg watch what is sent, beside the sending and never before it: the
// smallest rendition of video, and each of audio. Nothing waits for it: what it cannot
// follow is not watched, and where it dies another is begun. What it finds is said to
// the origin for all renditions of video, or that of audio, by a PUT without a body.
//
// The goroutine of Run alone calls begin and see. Nil watches nothing.
type look struct {
	ctx    context.Context
	path   string
	sender *sender
	wg     sync.WaitGroup
	inits  map[string]*segment // newest, by rendition
	eyes   map[string]*eye     // by rendition
	queue  int                 // segments that wait for an eye
	blind  map[string]bool     // of which it was said that it cannot be watched
	room   Watchers            // of all packagers that share it
}

// Watchers bounds how many ffmpegs watch for all packagers that have the same; nil bounds
// nothing.
type Watchers chan struct{}

// enter reports whether there is room for one more, which must leave.
func (w Watchers) enter() bool {
	if w == nil {
		return true
	}
	select {
	case w <- struct{}{}:
		return true
	default:
		return false
	}
}

func (w Watchers) leave() {
	if w != nil {
		<-w
	}
}

// An eye watches one rendition.
type eye struct {
	of    string
	init  *segment
	video bool
	feed  chan sighted
}

// A sighted is a segment for an eye.
type sighted struct {
	seg      *segment
	from, to int64    // by lookTimescale
	also     []string // as eye.also, at that time
}

const (
	maxEyes   = 8 // a process each
	lookQueue = 3 // segments that wait for an eye: then it cannot follow
	// lookWaits is how many segments ffmpeg may have been given and not judged. More than
	// that its buffers do not hold: it shows none of what it reads.
	lookWaits = 60
	// goodWords is for how many segments after one that was found wanting the origin
	// hears that there is a picture again: it counts what was said of the last 8.
	goodWords = 12

	lookBackoff     = time.Second
	mostLookBackoff = time.Minute
	lookMark        = "seen"
)

var errSaysNothing = errors.New("it says nothing of what it is given")

func newLook(ctx context.Context, path string, s *sender) *look {
	return &look{ctx: ctx, path: path, sender: s, inits: map[string]*segment{}, eyes: map[string]*eye{}, blind: map[string]bool{}, queue: lookQueue}
}

// begin takes an init segment.
func (l *look) begin(seg *segment) {
	if l != nil {
		l.inits[seg.rendition] = seg
	}
}

// see takes a segment that is sent now.
func (l *look) see(seg *segment, tl *live.Timeline) {
	if l == nil || seg.track.Type == live.Text { // text shows nothing that ffmpeg's filters would find
		return
	}
	init := l.inits[seg.rendition]
	of, also := l.watched(seg)
	if init == nil || of != seg.rendition {
		return
	}
	e := l.eyes[of]
	if e == nil || e.init != init && !bytes.Equal(e.init.data, init.data) {
		if e != nil {
			close(e.feed)
			delete(l.eyes, of)
		}
		switch {
		case init.track.Encrypted, len(l.eyes) == maxEyes, !l.room.enter():
			if !l.blind[of] {
				l.blind[of] = true
				l.sender.log.Warn("a rendition is not watched", "rendition", of, "encrypted", init.track.Encrypted, "watched", len(l.eyes), "watching_for_all", len(l.room))
			}
			l.sender.count.with(func(s *Stats) { s.Unseen++ })
			return
		}
		delete(l.blind, of)
		e = &eye{of: of, init: init, video: init.track.Type == live.Video, feed: make(chan sighted, l.queue)}
		l.eyes[of] = e
		l.wg.Go(func() {
			defer l.room.leave()
			l.watch(e)
		})
	}
	from, to := tl.Media(seg.number, lookTimescale)
	if s := seg.span; s.Known() {
		from, to = rescale(s.Start, lookTimescale, s.Timescale), rescale(s.End, lookTimescale, s.Timescale)
	}
	select {
	case e.feed <- sighted{seg, from, to, also}:
	default:
		l.sender.count.with(func(s *Stats) { s.Unseen++ })
	}
}

// watched is the rendition that is watched for one, and which show the same.
func (l *look) watched(seg *segment) (of string, also []string) {
	if seg.track.Type != live.Video {
		return seg.rendition, []string{seg.rendition}
	}
	size := func(s *segment) int { return s.track.Width * s.track.Height }
	for name, in := range l.inits {
		if in.track.Type != live.Video {
			continue
		}
		also = append(also, name)
		if of == "" || size(in) < size(l.inits[of]) || size(in) == size(l.inits[of]) && name < of {
			of = name
		}
	}
	slices.Sort(also)
	return of, also
}

// watch keeps an ffmpeg running for as long as there is something to see.
func (l *look) watch(e *eye) {
	backoff := lookBackoff
	for {
		began := time.Now()
		err := l.run(e)
		if err == nil || l.ctx.Err() != nil {
			return
		}
		if time.Since(began) > mostLookBackoff {
			backoff = lookBackoff
		}
		l.sender.count.with(func(s *Stats) { s.LookDeaths++ })
		l.sender.log.Error("what watches has died; what is sent is not affected", "rendition", e.of, "err", err, "again_in", backoff)
		again := time.NewTimer(backoff)
		backoff = min(2*backoff, mostLookBackoff)
	wait:
		for {
			select {
			case <-again.C:
				break wait
			case _, more := <-e.feed:
				if !more {
					return
				}
				l.sender.count.with(func(s *Stats) { s.Unseen++ })
			case <-l.ctx.Done():
				return
			}
		}
	}
}

// filters are what watches frames: each says something of itself, so that it is known
// how far ffmpeg is.
func filters(video bool) string {
	mark := "metadata=mode=add:key=" + lookMark + ":value=1,%smetadata=mode=print:file=-:direct=1"
	if video {
		return fmt.Sprintf("settb=1/%d,blackdetect=d=0.05,freezedetect=d=%v,", lookTimescale, lookDetect.Seconds()) + fmt.Sprintf(mark, "")
	}
	return fmt.Sprintf("asettb=1/%d,silencedetect=d=%v,", lookTimescale, lookDetect.Seconds()) + "a" + fmt.Sprintf(mark, "a")
}

// run has one ffmpeg watch. It returns nil where there is nothing more to see.
func (l *look) run(e *eye) error {
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	kind, filter := "-an", "-vf"
	if !e.video {
		kind, filter = "-vn", "-af"
	}
	cmd := exec.CommandContext(ctx, l.path, "-hide_banner", "-nostdin", "-loglevel", "error", "-fflags", "nobuffer", "-probesize", "32", "-analyzeduration", "0",
		"-threads", "1", "-copyts", "-f", "mp4", "-i", "pipe:0", kind, "-filter_threads", "1", filter, filters(e.video), "-fps_mode", "passthrough", "-f", "null", "-")
	var said tail
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	yieldTo(cmd.Process.Pid)
	var w watch
	var mu sync.Mutex // guards w and also
	also := map[live.Number][]string{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		good := 0
		for lines := bufio.NewScanner(out); lines.Scan(); {
			mu.Lock()
			verdicts := w.line(lines.Text())
			mu.Unlock()
			for _, v := range verdicts {
				mu.Lock()
				names := also[v.number]
				delete(also, v.number)
				mu.Unlock()
				l.sender.count.with(func(s *Stats) { s.Looked++ })
				if bad := v.quality.Wants() != nil; bad {
					good = goodWords
					l.sender.count.with(func(s *Stats) { s.Wanting++ })
					l.sender.log.Warn("a segment shows less than it should", "rendition", e.of, "number", v.number, "quality", v.quality.String())
				} else if good--; good < 0 {
					continue // all has been well for long: nobody needs to be told
				}
				l.wg.Go(func() { l.tell(v, names) })
			}
		}
	}()
	err = func() error {
		if _, err := in.Write(e.init.data); err != nil {
			return err
		}
		for {
			select {
			case x, more := <-e.feed:
				if !more {
					return io.EOF
				}
				mu.Lock()
				w.expect(x.seg.number, x.from, x.to)
				also[x.seg.number] = x.also
				silent := len(w.pending) > lookWaits
				mu.Unlock()
				if silent {
					return errSaysNothing
				}
				if _, err := in.Write(x.seg.data); err != nil {
					return err
				}
			case <-ended:
				return io.ErrUnexpectedEOF
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}()
	in.Close()
	if err == io.EOF {
		err = nil
	} else {
		cancel() // kills it
	}
	<-ended
	mu.Lock()
	left := int64(len(w.pending))
	mu.Unlock()
	l.sender.count.with(func(s *Stats) { s.Unseen += left })
	died := cmd.Wait()
	if err != nil {
		return fmt.Errorf("%w: %v: %s", err, died, said.String())
	}
	return nil
}

// A tail keeps the beginning of what a process complains of.
type tail struct{ bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	if room := 500 - t.Len(); room > 0 {
		t.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// String is in one line.
func (t *tail) String() string { return strings.Join(strings.Fields(t.Buffer.String()), " ") }

// How a verdict is told: the segment may still be on its way.
const (
	tellTries = 5
	tellPause = 200 * time.Millisecond // doubled each time
	tellFor   = 2 * time.Second        // one attempt
)

// tell says a verdict to the origin for each rendition.
func (l *look) tell(v verdictOn, renditions []string) {
	for _, name := range renditions {
		path := (&segment{rendition: name, number: v.number}).path(l.sender.id, l.sender.pipeline).String()
		heard, last := false, (*destination)(nil)
		for try := range tellTries {
			if try > 0 {
				pause := time.NewTimer(tellPause << (try - 1))
				select {
				case <-pause.C:
				case <-l.ctx.Done():
					pause.Stop()
					return
				}
			}
			to, _ := pick(l.sender.dests, last, time.Now())
			last = to
			if heard = to.say(l.ctx, path, l.sender.token, v.quality, l.sender.log); heard {
				break
			}
		}
		l.sender.count.with(func(s *Stats) {
			if heard {
				s.Verdicts++
			} else {
				s.Unheard++
			}
		})
	}
}

// say tells a verdict by one attempt, and reports whether it was heard.
func (d *destination) say(ctx context.Context, path, token string, q live.Quality, log *slog.Logger) bool {
	ctx, cancel := context.WithTimeout(ctx, tellFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, d.base+path, nil)
	if err != nil {
		return false
	}
	req.Header.Set(live.HeaderQuality, q.String())
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := d.transport.RoundTrip(req)
	if err != nil {
		log.Debug("a verdict was not heard", "path", path, "err", err)
		return false
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
