package packager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/clock"
	"headwater/cmaf"
	"headwater/live"
)

// clipEvent starts now, and has the clip's renditions.
func clipEvent(t *testing.T, start time.Time) *live.Event {
	t.Helper()
	e := testEvent(start, "v720", "a-en")
	var err error
	if e.Renditions, err = ClipRenditions(); err != nil {
		t.Fatal(err)
	}
	return e
}

// A run is a packager in a bubble, with a fake origin.
type run struct {
	*Packager
	origin *fakeOrigin
	cancel context.CancelFunc
	ended  chan error
	left   time.Time // when it ended
}

// start runs a packager. delivery, where given, answers at origin:7002.
func start(t *testing.T, cfg Config, delivery ...*memoryListener) *run {
	t.Helper()
	r := &run{origin: newFakeOrigin(t), ended: make(chan error, 1)}
	cfg.Event = "acme/final"
	if cfg.Pipeline == "" {
		cfg.Pipeline = "a"
	}
	cfg.To = []string{"http://origin:7001"}
	cfg.Log = quiet()
	cfg.Dial = func(ctx context.Context, _, addr string) (net.Conn, error) {
		if addr == "origin:7002" && len(delivery) > 0 {
			return delivery[0].dial(ctx)
		}
		return r.origin.listener.dial(ctx)
	}
	var err error
	if r.Packager, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(t.Context())
	go func() {
		err := r.Run(ctx)
		r.left = time.Now()
		r.ended <- err
	}()
	return r
}

// stop ends the packager and its origin, and returns Run's error.
func (r *run) stop() error {
	r.cancel()
	err := <-r.ended
	r.origin.close()
	return err
}

// published are the media segments of a rendition that the origin saw, by number.
func (r *run) published(rendition string) map[live.Number]put {
	out := map[live.Number]put{}
	for _, p := range r.origin.saw("") {
		if path, err := live.ParsePublishPath(p.path); err == nil && path.File == live.FileSegment && path.Rendition == rendition {
			out[path.Number] = p
		}
	}
	return out
}

func (r *run) track(t *testing.T, rendition string) *cmaf.Track {
	t.Helper()
	saw := r.origin.saw("/acme/final/" + r.cfg.Pipeline + "/" + rendition + "/init.mp4")
	if len(saw) == 0 {
		t.Fatalf("no init segment of %s", rendition)
	}
	in, err := cmaf.ParseInit(saw[0].body)
	if err != nil {
		t.Fatal(err)
	}
	return &in.Tracks[0]
}

func inspectPut(e *live.Event, track *cmaf.Track, n live.Number, b []byte) cmaf.Report {
	return inspectAfter(e, track, n, b, nil)
}

// inspectAfter is inspectPut beside the segment before.
func inspectAfter(e *live.Event, track *cmaf.Track, n live.Number, b, before []byte) cmaf.Report {
	tl := e.Timeline()
	start, end := tl.Media(n, int64(track.Timescale))
	w := cmaf.Window{Start: start, End: end, SegmentMS: tl.Segment().Milliseconds()}
	if before != nil {
		w.Previous = inspectPut(e, track, n-1, before).Span
	}
	report, _ := cmaf.Inspect(b, track, w)
	return report
}

// Two packagers that start at different times play the same frames in the same
// segments, each segment when its last frame has been captured.
func TestClipIsInStep(t *testing.T) {
	for _, c := range []struct {
		name  string
		event func(e *live.Event)
	}{
		{"plain", func(*live.Event) {}},
		{"off the grid", func(e *live.Event) { e.Start = e.Start.Add(1234567891 * time.Nanosecond); e.FirstNumber = 1000 }},
		{"from start", func(e *live.Event) { e.MediaTime = live.MediaStart }},
		{"six seconds", func(e *live.Event) { e.Segment = live.Duration{Ticks: 540000, Timescale: 90000} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := clipEvent(t, time.Now().Add(-3*time.Second))
				c.event(e)
				tl := e.Timeline()
				began := time.Now()
				a := start(t, Config{Clip: true, Spec: e, Pipeline: "a"})
				time.Sleep(7300 * time.Millisecond)
				b := start(t, Config{Clip: true, Spec: e, Pipeline: "b"})
				time.Sleep(33 * time.Second)
				for _, rendition := range clipNames {
					inA, inB := a.published(rendition), b.published(rendition)
					track := a.track(t, rendition)
					if !bytes.Equal(a.origin.saw("/acme/final/a/" + rendition + "/init.mp4")[0].body, b.origin.saw("/acme/final/b/" + rendition + "/init.mp4")[0].body) {
						t.Errorf("%s: the init segments differ", rendition)
					}
					common := 0
					for n, p := range inA {
						if at := began.Add(p.at); !at.Equal(tl.End(n)) {
							t.Errorf("%s/%d: published at %v, complete at %v", rendition, n, at, tl.End(n))
						}
						report := inspectPut(e, track, n, p.body)
						if !report.Findings.Clean() || !report.Keyframe || p.header.Get("Live-Defects") != "" {
							t.Errorf("%s/%d: %+v", rendition, n, report)
						}
						q, ok := inB[n]
						if !ok {
							continue
						}
						common++
						other := inspectPut(e, track, n, q.body)
						if other.Span != report.Span || other.Samples != report.Samples {
							t.Errorf("%s/%d: a %+v, b %+v", rendition, n, report, other)
						}
						if same := bytes.Equal(p.body, q.body); same != (track.Type == live.Audio) {
							t.Errorf("%s/%d: same bytes from both: %v", rendition, n, same)
						}
					}
					if common < 3 {
						t.Errorf("%s: only %d segments of both", rendition, common)
					}
				}
				if err := errors.Join(a.stop(), b.stop()); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		})
	}
}

// The loop has no seam: decode times go on, and four segments later the same
// samples come again.
func TestClipLoops(t *testing.T) {
	tracks, err := clipTracks("a")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for i := range tracks {
		tr := &tracks[i]
		d := tr.samples[0].Duration
		for j, s := range tr.samples {
			if s.Duration != d || s.Decode != int64(j)*int64(d) {
				t.Fatalf("%s: sample %d at %d lasts %d", tr.name, j, s.Decode, s.Duration)
			}
			total += len(s.data)
		}
		if tr.loop != 8*int64(tr.track.Timescale) {
			t.Errorf("%s: the loop lasts %d/%d s", tr.name, tr.loop, tr.track.Timescale)
		}
		e := clipEvent(t, fixtureStart)
		tl := e.Timeline()
		var next int64
		for n := live.Number(1); n < 30; n++ {
			s := tr.of(n, tl)
			if n > 1 && s[0].Decode != next {
				t.Errorf("%s/%d begins at %d, not %d", tr.name, n, s[0].Decode, next)
			}
			next = s[len(s)-1].Decode + int64(d)
			if again := tr.of(n+4, tl); len(again) != len(s) || &again[0].data[0] != &s[0].data[0] {
				t.Errorf("%s/%d: not the same as %d", tr.name, n+4, n)
			}
		}
	}
	if total > 2<<20 {
		t.Errorf("one version has %d bytes", total)
	}
}

func TestClipRefusesWhatItCannotPlay(t *testing.T) {
	e := clipEvent(t, fixtureStart)
	e.Segment = live.Duration{Ticks: 2002, Timescale: 1000}
	if _, err := newClip(t.Context(), clock.New(clock.Config{}), "a", e, e.Timeline, false, nil, nil); !errors.Is(err, ErrClip) || !strings.Contains(err.Error(), "2002/1000 s") {
		t.Errorf("segments of 2.002 s: %v", err)
	}
	e = testEvent(fixtureStart, "hd", "sd", "audio-en")
	if _, err := newClip(t.Context(), clock.New(clock.Config{}), "a", e, e.Timeline, false, nil, nil); !errors.Is(err, ErrTracks) {
		t.Errorf("other renditions: %v", err)
	}
	// A part of the ladder is fine, and so are other names for all of it.
	e = testEvent(fixtureStart, "v360", "a-en")
	if c, err := newClip(t.Context(), clock.New(clock.Config{}), "a", e, e.Timeline, false, nil, nil); err != nil || len(c.tracks) != 2 || c.tracks[0].track.Width != 640 {
		t.Errorf("a part of the ladder: %v", err)
	}
	e = testEvent(fixtureStart, "high", "mid", "low", "audio")
	if c, err := newClip(t.Context(), clock.New(clock.Config{}), "a", e, e.Timeline, false, nil, nil); err != nil || c.cutters[0].rendition.Name != "high" {
		t.Errorf("other names: %v", err)
	}
}

func TestPrintRenditions(t *testing.T) {
	var b bytes.Buffer
	if err := PrintRenditions(&b); err != nil {
		t.Fatal(err)
	}
	e, err := live.ParseEvent([]byte(`{"start": "2026-11-23T20:00:00Z", "pipelines": [{"name": "a"}], "renditions": ` + b.String() + `}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []live.Rendition{
		{Name: "v720", Type: live.Video, Codecs: "avc1.64001f", Width: 1280, Height: 720, FrameRate: "30", Timescale: 30000},
		{Name: "v360", Type: live.Video, Codecs: "avc1.64001e", Width: 640, Height: 360, FrameRate: "30", Timescale: 30000},
		{Name: "v180", Type: live.Video, Codecs: "avc1.64000d", Width: 320, Height: 180, FrameRate: "30", Timescale: 30000},
		{Name: "a-en", Type: live.Audio, Language: "en", Codecs: "mp4a.40.2", Timescale: 48000, SampleRate: 48000, Channels: 2},
	}
	for i := range e.Renditions {
		if bw := e.Renditions[i].Bandwidth; bw < 90_000 || bw > 1_500_000 {
			t.Errorf("%s: bandwidth %d", e.Renditions[i].Name, bw)
		}
		e.Renditions[i].Bandwidth = 0
	}
	if !slices.Equal(e.Renditions, want) {
		t.Errorf("got  %+v\nwant %+v", e.Renditions, want)
	}
}

func TestRunEndsWithTheEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clipEvent(t, time.Now())
		e.End = e.Start.Add(7 * time.Second)
		r := start(t, Config{Clip: true, Spec: e})
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		if got := len(r.published("v720")); got != 4 {
			t.Errorf("%d segments", got)
		}
		r.origin.close()
		r.cancel()
	})
}

func TestRunSplitsItsInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// The bubble's clock begins in 2000: the fixture lies ahead of it.
		time.Sleep(time.Until(fixtureStart))
		e := eventOf("ladder.mp4")
		r := start(t, Config{Input: bytes.NewReader(fixture(t, "ladder.mp4")), Spec: e})
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		// The whole file was there at once, and was held back to its time.
		tl := e.Timeline()
		for n, p := range r.published("v720") {
			if at := fixtureStart.Add(p.at); at.Before(tl.End(n).Add(-mostAhead)) {
				t.Errorf("segment %d was sent at %v", n, at)
			}
		}
		if s := r.Stats(); s.Published != 12 || s.Cut != 12 || s.Findings[live.Short] != 3 || s.Inits != 3 {
			t.Errorf("%+v", s)
		}
		if p := r.published("v360")[4]; !strings.HasPrefix(p.header.Get("Live-Defects"), "short;ms=") {
			t.Errorf("Live-Defects of what the end cut off: %q", p.header.Get("Live-Defects"))
		}
		r.origin.close()
	})
}

func TestFarAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(fixtureStart.Add(-time.Hour)))
		e := eventOf("ladder.mp4")
		r := start(t, Config{Input: bytes.NewReader(fixture(t, "ladder.mp4")), Spec: e})
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		if s := r.Stats(); s.Dropped[DropFuture] != 12 || s.Published != 0 {
			t.Errorf("%+v", s)
		}
		r.origin.close()
	})
}

// blocked never returns from Read until it is closed.
type blocked struct{ closed chan struct{} }

func (b blocked) Read([]byte) (int, error) { <-b.closed; return 0, io.ErrClosedPipe }
func (b blocked) Close() error             { close(b.closed); return nil }

func TestBlockedInputIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Input: blocked{make(chan struct{})}, Spec: eventOf("ladder.mp4")})
		time.Sleep(time.Hour)
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	// One that cannot be closed does not hold up Run either.
	forever := make(chan struct{})
	r := start(t, Config{Input: struct{ io.Reader }{blocked{forever}}, Spec: eventOf("ladder.mp4")})
	if err := r.stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(forever)
}

func TestInputErrorsAreReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(fixtureStart))
		good := fixture(t, "ladder.mp4")
		r := start(t, Config{Input: bytes.NewReader(good[:len(good)-10]), Spec: eventOf("ladder.mp4")})
		if err := <-r.ended; !errors.Is(err, ErrInput) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Error(err)
		}
		if n := len(r.published("v720")); n != 4 {
			t.Errorf("%d segments of what came before were published", n)
		}
		r.origin.close()
	})
}

func TestUnknownPipeline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Clip: true, Spec: clipEvent(t, time.Now()), Pipeline: "c"})
		if err := <-r.ended; !errors.Is(err, ErrPipeline) || !strings.Contains(err.Error(), "[a b]") {
			t.Error(err)
		}
		r.origin.close()
	})
}

func TestFaultsWhileRunning(t *testing.T) {
	kind := func(f live.Findings) string {
		var s []string
		for _, x := range f {
			s = append(s, string(x.Kind))
		}
		return strings.Join(s, ",")
	}
	for _, c := range []struct {
		fault string
		// what segments 2 and 3 of v720 are, "" being clean and "-" not there
		two, three string
		defects    string // Live-Defects of segment 2
		later      time.Duration
	}{
		{"drop from=2 to=2", "-", "", "", 0},
		{"truncate to=2", "unparsable", "", "unparsable;ms=2000", 0},
		{"truncate to=2 dishonest", "unparsable", "", "", 0},
		{"remove-samples:12 every=2", "missing-samples", "", "missing-samples;ms=400;n=12", 0},
		{"shift:400ms to=2 rendition=v720", "gap,overlap", "", "gap;ms=400, overlap", 0},
		{"shift:-400ms to=2", "short,overlap", "", "short;ms=400, overlap", 0},
		{"delay:1500ms to=2", "", "", "", 1500 * time.Millisecond},
		{"drop rendition=a-en", "", "", "", 0},
		{"stop", "-", "-", "", 0},
	} {
		t.Run(c.fault, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := clipEvent(t, time.Now())
				r := start(t, Config{Clip: true, Spec: e})
				began := time.Now()
				time.Sleep(3 * time.Second)
				f, err := ParseFault(c.fault)
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Faults().Add(f); err != nil {
					t.Fatal(err)
				}
				time.Sleep(4 * time.Second)
				r.Faults().Clear()
				time.Sleep(2 * time.Second)
				track, got := r.track(t, "v720"), r.published("v720")
				for n, want := range map[live.Number]string{1: "", 2: c.two, 3: c.three, 4: ""} {
					p, ok := got[n]
					if !ok {
						if want != "-" {
							t.Errorf("segment %d is missing", n)
						}
						continue
					}
					if found := kind(inspectAfter(e, track, n, p.body, got[n-1].body).Findings); found != want {
						t.Errorf("segment %d: %q, want %q", n, found, want)
					}
					if p.header.Get("Content-Digest") != live.DigestOf(p.body).String() {
						t.Errorf("segment %d: the digest is not that of the bytes", n)
					}
				}
				if p, ok := got[2]; ok {
					if d := p.header.Get("Live-Defects"); d != c.defects {
						t.Errorf("Live-Defects %q, want %q", d, c.defects)
					}
					if at := r.origin.began.Add(p.at); !at.Equal(began.Add(4*time.Second + c.later)) {
						t.Errorf("sent at %v", at.Sub(began))
					}
				}
				r.stop()
			})
		})
	}
}

// A pipeline that is stopped from the start has sent no init segments; when it
// is mended it sends them when they are asked for.
func TestStoppedFromTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, Config{Clip: true, Spec: clipEvent(t, time.Now()), Faults: []string{"stop"}})
		r.origin.on("/acme/final/a/v720/3.m4s", problem(live.ErrInitMissing))
		time.Sleep(5 * time.Second)
		if n := len(r.origin.saw("")); n != 0 {
			t.Errorf("%d requests", n)
		}
		r.Faults().Clear()
		time.Sleep(2 * time.Second)
		if len(r.origin.saw("/acme/final/a/v720/init.mp4")) != 1 || r.Stats().Newest["v720"] != 3 {
			t.Errorf("%+v", r.Stats())
		}
		r.stop()
	})
}

// The event is waited for at the start, and its end is learnt while running.
func TestEventIsFetchedAndFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := clipEvent(t, time.Now())
		ended := time.Now().Add(9 * time.Second)
		delivery := newMemoryListener()
		asked := 0
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked++; asked <= 2 {
				live.ErrNoEvent.With("not yet").Write(w, r)
				return
			}
			cfg := live.Config{Event: *e, Version: 1}
			tag := `"1"`
			if r.URL.Query().Get("after") == tag {
				select {
				case <-time.After(time.Until(ended)):
				case <-r.Context().Done():
					return
				}
			}
			if !time.Now().Before(ended) {
				cfg.End, cfg.Version, tag = time.Now().Add(time.Second), 2, `"2"`
			}
			b, err := json.Marshal(cfg)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("ETag", tag)
			w.Write(b)
		})}
		go srv.Serve(delivery)
		r := start(t, Config{Clip: true}, delivery)
		if err := <-r.ended; err != nil {
			t.Error(err)
		}
		// It ends after 10 s: with segment 5.
		if got := r.published("a-en"); len(got) != 5 || got[5].body == nil {
			t.Errorf("%d segments", len(got))
		}
		r.origin.close()
		r.cancel()
		srv.Close()
	})
}

// An end that is taken back finds the packager there, and a packager leaves
// when it was not.
func TestEndIsTakenBack(t *testing.T) {
	for _, c := range []struct {
		name     string
		afterEnd time.Duration
		back     time.Duration // when the end, at 10 s, is taken back; 0 is never
		input    bool          // an encoder that has fallen silent, not the clip
		leaves   time.Duration // 0: not within 5 min
		want     []live.Number // published in the first 40 s
		outside  int64         // segments dropped by then
	}{
		{"it stays, and leaves", 20 * time.Second, 0, false, 32500 * time.Millisecond, []live.Number{1, 2, 3, 4, 5}, 44},
		{"though nothing comes", 20 * time.Second, 0, true, 32500 * time.Millisecond, nil, 0},
		{"by default for five minutes", 0, 0, false, 312500 * time.Millisecond, []live.Number{1, 2, 3, 4, 5}, 60},
		{"it goes on", 20 * time.Second, 17 * time.Second, false, 0, []live.Number{1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20}, 12},
		{"it does not stay", -1, 17 * time.Second, false, 10 * time.Second, []live.Number{1, 2, 3, 4, 5}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e := clipEvent(t, time.Now())
				began := time.Now()
				version := func() int {
					if c.back > 0 && time.Since(began) >= c.back {
						return 3
					}
					if time.Since(began) >= 3*time.Second {
						return 2
					}
					return 1
				}
				delivery := newMemoryListener()
				srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					tag := func() string { return `"` + strconv.Itoa(version()) + `"` }
					for held := 0; r.URL.Query().Get("after") == tag() && held < 25; held++ {
						time.Sleep(time.Second)
					}
					cfg := live.Config{Event: *e, Version: int64(version())}
					if version() == 2 {
						cfg.End = began.Add(10 * time.Second)
					}
					b, err := json.Marshal(cfg)
					if err != nil {
						t.Error(err)
					}
					w.Header().Set("ETag", tag())
					w.Write(b)
				})}
				go srv.Serve(delivery)
				cfg := Config{AfterEnd: c.afterEnd, Clip: !c.input}
				if c.input {
					cfg.Input = blocked{make(chan struct{})}
				}
				r := start(t, cfg, delivery)
				time.Sleep(40*time.Second + time.Millisecond)
				if got := slices.Sorted(maps.Keys(r.published("v720"))); !slices.Equal(got, c.want) {
					t.Errorf("published %v, want %v", got, c.want)
				}
				if s := r.Stats(); s.Dropped[DropOutside] != c.outside {
					t.Errorf("%d dropped as outside, want %d", s.Dropped[DropOutside], c.outside)
				}
				if c.leaves == 0 {
					time.Sleep(5 * time.Minute)
					if err := r.stop(); !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				} else if err := <-r.ended; err != nil {
					t.Error(err)
				} else {
					r.origin.close()
					r.cancel()
				}
				if c.leaves > 0 && !r.left.Equal(began.Add(c.leaves)) {
					t.Errorf("left after %v, want %v", r.left.Sub(began), c.leaves)
				}
				srv.Close()
				time.Sleep(time.Minute) // for what is still held
			})
		})
	}
}

// A packager follows generations: once one is taken back init segments go again.
func TestFollowsWhatIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, began := clipEvent(t, time.Now()), time.Now()
		delivery := newMemoryListener()
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cfg := live.Config{Event: *e, Version: 1}
			if time.Since(began) > 10*time.Second {
				cfg.Version, cfg.TakenBack = 2, 1
			}
			w.Header().Set("ETag", strconv.FormatInt(cfg.Version, 10))
			if err := json.NewEncoder(w).Encode(cfg); err != nil {
				t.Error(err)
			}
		})}
		go srv.Serve(delivery)
		r := start(t, Config{Clip: true}, delivery)
		for _, want := range []int{1, 2, 2} { // after 9, 18 and 27 s
			time.Sleep(9 * time.Second)
			if got := len(r.origin.saw(initPath)); got != want {
				t.Errorf("after %v: %d times, want %d", time.Since(began), got, want)
			}
		}
		if err := r.stop(); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		srv.Close()
		time.Sleep(time.Minute) // for what is still held
	})
}

func TestEventThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		r := start(t, Config{Clip: true, EventWait: 10 * time.Second})
		r.origin.on("media", repeat(99, problem(live.ErrNoEvent.With("there is no event acme/final")))...)
		err := <-r.ended
		if !errors.Is(err, ErrEvent) || !strings.Contains(err.Error(), "there is no event acme/final") || time.Since(began) > 10*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		r.origin.close()
	})
}
