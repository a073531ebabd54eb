package scenario

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"time"

	"headwater/live"
	"headwater/packager"
)

// A Pipeline is an encoder with its packager. It can be killed, revived,
// broken and mended while it runs.
type Pipeline struct {
	Name string

	sys *System
	enc encoder

	mu        sync.Mutex // guards the following
	cancel    context.CancelFunc
	ended     chan struct{}
	packager  *packager.Packager
	faults    []packager.Fault
	otherwise bool           // its encoder makes other pictures than in the beginning
	before    packager.Stats // of packagers that were killed
	err       error
}

func newPipeline(s *System, name string, enc encoder) *Pipeline {
	return &Pipeline{Name: name, sys: s, enc: enc}
}

// Alive reports whether the pipeline runs.
func (p *Pipeline) Alive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cancel != nil
}

// Kill ends encoder and packager at once.
func (p *Pipeline) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel == nil {
		return
	}
	p.cancel()
	<-p.ended
	st := p.packager.Stats()
	p.before.Published += st.Published
	p.before.Backfilled += st.Backfilled
	p.cancel, p.packager = nil, nil
}

// Revive starts encoder and packager, where they do not run. They go on at the
// numbers that the time of day says.
func (p *Pipeline) Revive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cfg := packager.Config{
		Event: p.sys.Event.String(), Pipeline: p.Name, To: []string{p.sys.PublishURL()}, EventURL: p.sys.DeliverURL(),
		DrainFor: -1, Look: p.sys.opt.Look, Log: p.sys.log.With("role", "packager"),
	}
	if p.otherwise {
		cfg.Tracks = map[uint32]string{1: "v360", 2: "v720", 3: "v180", 4: "a-en"}
	}
	wait, err := p.enc.feed(ctx, p.Name, &cfg)
	if err == nil {
		p.packager, err = packager.New(cfg)
	}
	if err != nil {
		cancel()
		p.err = err
		return
	}
	p.packager.Faults().Add(p.faults...)
	ended := make(chan struct{})
	pk := p.packager
	go func() {
		defer close(ended)
		err := pk.Run(ctx)
		cancel()
		if werr := wait(); err == nil {
			err = werr
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			p.sys.log.Error("pipeline ended", "pipeline", p.Name, "err", err)
		}
	}()
	p.cancel, p.ended = cancel, ended
}

// Renew has the encoder come back with other pictures than it makes now: the clip's two
// larger videos trade renditions.
func (p *Pipeline) Renew() {
	p.Kill()
	p.mu.Lock()
	p.otherwise = !p.otherwise
	p.mu.Unlock()
	p.Revive()
}

// Break sets the faults that the packager injects; none mends it.
func (p *Pipeline) Break(faults ...packager.Fault) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = faults
	if p.packager == nil {
		return nil
	}
	p.packager.Faults().Clear()
	return p.packager.Faults().Add(faults...)
}

// Broken reports whether faults are being injected.
func (p *Pipeline) Broken() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.faults) > 0
}

// Published is how many segments the origin has acknowledged to the pipeline.
func (p *Pipeline) Published() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.before.Published
	if p.packager != nil {
		n += p.packager.Stats().Published
	}
	return n
}

// An encoder is what a pipeline's media come from.
type encoder interface {
	// event is an event for this media that begins now.
	event(now time.Time) live.Event
	// feed sets the source in cfg. wait ends what feed began, when ctx has ended.
	feed(ctx context.Context, pipeline string, cfg *packager.Config) (wait func() error, err error)
}

func newEncoder(name string) (encoder, error) {
	switch name {
	case "clip", "none":
		return clipEncoder{}, nil
	case "ffmpeg":
		path, err := exec.LookPath("ffmpeg")
		if err != nil {
			return nil, fmt.Errorf("scenario: the ffmpeg encoder needs ffmpeg installed: %w", err)
		}
		return ffmpegEncoder{path}, nil
	}
	return nil, fmt.Errorf("scenario: %q is not an encoder: clip, ffmpeg or none", name)
}

// grid is what events start on: with it two-second segments begin on whole AAC
// frames at 48 kHz, so that encoders started at different times cut alike.
const grid = 8 * time.Second

// baseEvent numbers segments since the Unix epoch: a number is then never used
// twice, whatever is started when.
func baseEvent(start time.Time, renditions []live.Rendition) live.Event {
	e := live.Default()
	e.HoldMS = 2500 // as of an event that does not say
	e.Start = start
	e.FirstNumber = live.Number(start.Unix() / 2)
	e.DVRSeconds = 600
	e.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
	e.Renditions = renditions
	return e
}

type clipEncoder struct{}

func (clipEncoder) event(now time.Time) live.Event {
	var renditions []live.Rendition
	var b bytes.Buffer
	err := packager.PrintRenditions(&b)
	if err == nil {
		err = json.Unmarshal(b.Bytes(), &renditions)
	}
	if err != nil {
		panic(fmt.Sprintf("scenario: the built-in clip: %v", err)) // it is in the binary
	}
	return baseEvent(now.UTC().Truncate(2*time.Second), renditions)
}

func (clipEncoder) feed(_ context.Context, _ string, cfg *packager.Config) (func() error, error) {
	cfg.Clip = true
	return func() error { return nil }, nil
}

// ffmpegEncoder encodes a test picture with ffmpeg, as docs/operations.md says.
type ffmpegEncoder struct{ path string }

func (ffmpegEncoder) event(now time.Time) live.Event {
	return baseEvent(now.UTC().Truncate(grid).Add(grid), []live.Rendition{
		{Name: "v720", Type: live.Video, Bandwidth: 2_200_000},
		{Name: "v360", Type: live.Video, Bandwidth: 700_000},
		{Name: "a-en", Type: live.Audio, Bandwidth: 100_000, Language: "en"},
	})
}

func (f ffmpegEncoder) feed(ctx context.Context, pipeline string, cfg *packager.Config) (func() error, error) {
	start := time.Now().Truncate(grid).Add(grid)
	r, w := io.Pipe()
	cfg.Input = r
	done := make(chan error, 1)
	go func() {
		// -re paces from the start of ffmpeg, which takes a moment to begin.
		t := time.NewTimer(time.Until(start.Add(-200 * time.Millisecond)))
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			w.CloseWithError(io.EOF)
			done <- nil
			return
		}
		cmd := exec.CommandContext(ctx, f.path, FFmpegArgs(start.Unix(), pipeline)...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = w, &stderr
		err := cmd.Run()
		w.CloseWithError(io.EOF)
		if err != nil && ctx.Err() == nil {
			err = fmt.Errorf("scenario: ffmpeg: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
		} else {
			err = nil
		}
		done <- err
	}()
	return func() error { r.Close(); return <-done }, nil
}

// FFmpegArgs are ffmpeg's arguments for a live test picture with a mark for
// the pipeline, in two sizes with sound, whose first frame is at that Unix time.
func FFmpegArgs(start int64, pipeline string) []string {
	color := "0x1f6feb"
	if pipeline != "a" {
		color = "0xd97706"
	}
	return []string{"-hide_banner", "-loglevel", "error", "-re",
		"-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000",
		"-filter_complex", "[0:v]drawbox=x=40:y=40:w=120:h=120:color=" + color + ":t=fill,split=2[a][b];[b]scale=640:360[c]",
		"-map", "[a]", "-map", "[c]", "-map", "1:a",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-force_key_frames", "expr:gte(t,n_forced*2)",
		"-b:v:0", "2M", "-b:v:1", "600k", "-c:a", "aac", "-b:a", "96k",
		"-output_ts_offset", fmt.Sprint(start), "-use_editlist", "0", "-avoid_negative_ts", "disabled",
		"-f", "mp4", "-movflags", "+frag_keyframe+empty_moov+default_base_moof+separate_moof+frag_discont+skip_trailer", "pipe:1"}
}
