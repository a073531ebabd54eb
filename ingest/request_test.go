package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// newYear is when virtual time begins.
var newYear = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestAnswers(t *testing.T) {
	ts, err := os.ReadFile("../cmaf/testdata/stream.ts")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testEvent(newYear, "v720", "a-en"), func(cfg *Config) {
			cfg.Allow = func(_ http.ResponseWriter, r *http.Request, id live.EventID, pipeline string) error {
				if strings.Contains(r.URL.Path, "secret") {
					return live.ErrForbidden.With("no")
				}
				return nil
			}
			cfg.MaxFragment = 1 << 20
		})
		all := sources(t)
		video := all["v720"]
		w.must("PUT", "video.cmfv", video.init)
		for _, c := range []struct {
			what, method, path string
			body               string
			status             int
			code               string
		}{
			{"an empty POST asks whether somebody is there", "POST", "acme/final/a/Streams(v720.cmfv)", "", 200, ""},
			{"HEAD does too", "HEAD", "acme/final/a/x.mpd", "", 200, ""},
			{"OPTIONS", "OPTIONS", "acme/final/a/x.mpd", "", 204, ""},
			{"DELETE is nothing here", "DELETE", "acme/final/a/chunk-1.m4s", "", 200, ""},
			{"GET", "GET", "acme/final/a/x.mpd", "", 405, "method-not-allowed"},
			{"an init segment", "PUT", "acme/final/a/v720/init.cmfv", string(video.init), 200, ""},
			{"a segment", "PUT", "acme/final/a/v720/1.cmfv", string(video.segment(0)), 200, ""},
			{"a segment of nobody knows what is kept for a while", "PUT", "acme/final/a/other/1.cmfv", string(video.segment(0)), 200, ""},
			{"a transport stream", "PUT", "acme/final/a/live0.ts", string(ts), 415, "not-cmaf"},
			{"a box that is cut off", "PUT", "acme/final/a/v720/2.cmfv", string(video.segment(1)[:900]), 400, "malformed-media"},
			{"more than a fragment may have", "PUT", "acme/final/a/v720/3.cmfv", "\x00\x20\x00\x00mdat" + strings.Repeat("x", 2<<20-8), 413, "too-large"},
			{"a manifest that is none", "PUT", "acme/final/a/x.mpd", "<SmoothStreamingMedia/>", 400, "malformed-media"},
			{"a playlist that is none", "PUT", "acme/final/a/x.m3u8", "hello", 400, "malformed-media"},
			{"no credentials", "PUT", "acme/final/a/secret.mp4", "x", 403, "forbidden"},
			{"no pipeline in the path", "PUT", "acme/final", "x", 400, "bad-path"},
			{"another pipeline", "PUT", "acme/final/c/x.mp4", "x", 404, "no-such-pipeline"},
			{"out of it", "PUT", "acme/final/a/../b/x.mp4", "x", 400, "bad-path"},
		} {
			req, err := http.NewRequest(c.method, "http://ingest:7006/"+c.path, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := w.client.Do(req)
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
				continue
			}
			b, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.status || !strings.Contains(string(b), c.code) {
				t.Errorf("%s: %s, %s; want %d %s", c.what, resp.Status, b, c.status, c.code)
			}
		}
		// Of CMAF ingest nothing can still say it.
		if status, code := w.send("POST", "Streams(other.cmfv)", video.segment(1)); status != 412 || code != "init-missing" {
			t.Errorf("media without an init segment: %d %s", status, code)
		}
		time.Sleep(mostUnknown)
		if status, code := w.send("PUT", "other/2.cmfv", video.segment(1)); status != 412 || code != "init-missing" {
			t.Errorf("the next of them: %d %s", status, code)
		}
		w.origin.mu.Lock()
		w.origin.event = nil
		w.origin.mu.Unlock()
		if status, code := w.sendTo("acme/none/a/x.mp4", "x"); status != 404 || code != "no-such-event" {
			t.Errorf("no event: %d %s", status, code)
		}
		s := w.srv.Stats()
		if s.Requests[OutcomeRefused] == 0 || s.Requests[OutcomeProbe] != 3 || s.Requests[OutcomeInit] != 2 || s.Requests[OutcomeMedia] != 2 || s.Requests[OutcomeDropped] != 1 {
			t.Errorf("%+v", s)
		}
		w.stop()
		if status, code := w.srv.late(); status != 503 || code != "draining" {
			t.Errorf("after it stopped: %d %s", status, code)
		}
	})
}

func (w *world) sendTo(path, body string) (int, string) {
	req, _ := http.NewRequest("PUT", "http://ingest:7006/"+path, strings.NewReader(body))
	return w.do(req)
}

// A body may come in real time: it is given up when it pauses, or completes nothing.
func TestListenToABodyInRealTime(t *testing.T) {
	for _, c := range []struct {
		name      string
		pieces    int
		pause     time.Duration
		fragments bool
		status    int
		took      time.Duration
	}{
		{"ten minutes long", 60, 10 * time.Second, true, 200, 600 * time.Second},
		{"with a pause", 3, 31 * time.Second, true, 408, 30 * time.Second},
		{"without a whole fragment", 200, time.Second, false, 408, 90 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, testEvent(newYear, "v720"), nil)
				video := sources(t)["v720"]
				r, pipe := io.Pipe()
				began := time.Now()
				var encoder sync.WaitGroup
				encoder.Go(func() {
					pipe.Write(video.init)
					var big []byte
					if !c.fragments {
						big = append([]byte{0, 1, 0, 0}, "free"...)
					}
					for k := range c.pieces {
						time.Sleep(c.pause)
						piece := big
						if c.fragments {
							piece = video.segment(k * int(c.pause/(2*time.Second)))
						}
						if _, err := pipe.Write(piece); err != nil {
							return
						}
						big = []byte{0}
					}
					pipe.Close()
				})
				status, _ := w.sendBody("POST", "Streams(v720.cmfv)", r)
				if took := time.Since(began); status != c.status || took != c.took {
					t.Errorf("%d after %v", status, took)
				}
				r.CloseWithError(io.ErrClosedPipe)
				encoder.Wait()
				w.stop()
			})
		})
	}
}

// An encoder that reconnects sends its init segment again, and perhaps fragments that
// were there before; the old connection may hang, or say nothing of its end.
func TestReconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testEvent(newYear, "v720"), nil)
		video := sources(t)["v720"]
		began := time.Now()
		var encoder sync.WaitGroup
		connect := func(from, to int) (end func()) {
			r, pipe := io.Pipe()
			encoder.Go(func() { w.sendBody("POST", "Streams(v720.cmfv)", r) })
			pipe.Write(video.init)
			for k := from; k < to; k++ {
				time.Sleep(time.Until(began.Add(time.Duration(k+1) * 2 * time.Second)))
				pipe.Write(video.segment(k))
			}
			return func() { pipe.Close() }
		}
		hangs := connect(0, 5)
		closes := connect(3, 10) // two of them were there
		closes()
		connect(10, 20)()
		encoder.Wait()
		hangs()
		w.stop()
		clean(t, w.origin, "v720", 19)
		if s := w.srv.Stats(); s.Repeated != 2 || s.Anchors != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// An encoder that begins anew at 0 is placed anew, all of its tracks alike.
func TestBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(700 * time.Millisecond)
		w := newWorld(t, testEvent(newYear, "v720", "a-en"), nil)
		all := sources(t)
		tracks := map[string]*source{"v720": all["v720"], "a-en": all["a-en"]}
		f := form{init: "init-%s.mp4", media: "seg-%s-%d.m4s"}
		f.play(w, tracks, 20)
		time.Sleep(4800 * time.Millisecond)
		f.play(w, tracks, 20)
		w.stop()
		for _, name := range []string{"v720", "a-en"} {
			media := w.origin.media(name)
			bad := 0
			for _, p := range media {
				if p.defects != "" {
					bad++
				}
			}
			// What was cut off at the end of the first may have a finding.
			if len(media) < 38 || bad > 2 {
				t.Errorf("%s: %d segments, %d with findings", name, len(media), bad)
			}
		}
		if s := w.srv.Stats(); s.Anchors != 2 {
			t.Errorf("placed %d times", s.Anchors)
		}
		w.said("began anew")
	})
}

// What is published is published with the encoder's own secret, which the origin holds
// against its credentials.
func TestSecretGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testEvent(newYear, "v720"), func(cfg *Config) {
			cfg.Packager.Token = "another"
			cfg.Secret = func(r *http.Request) string { _, s, _ := r.BasicAuth(); return s }
		})
		video := sources(t)["v720"]
		time.Sleep(2 * time.Second)
		req, _ := http.NewRequest("POST", "http://any:s3cret@ingest:7006/acme/final/a/Streams(v720.cmfv)", strings.NewReader(string(video.init)+string(video.segment(0))))
		if status, code := w.do(req); status != 200 {
			t.Fatalf("%d %s", status, code)
		}
		time.Sleep(30 * time.Second)
		w.stop()
		w.origin.mu.Lock()
		defer w.origin.mu.Unlock()
		if len(w.origin.puts) != 2 {
			t.Errorf("%d publications", len(w.origin.puts))
		}
		for _, p := range w.origin.puts {
			if p.auth != "Bearer s3cret" {
				t.Errorf("%s with %q", p.path, p.auth)
			}
		}
	})
}

// An event that is gone between its first look-up and the packager's own ends the
// publication: nobody waits for a packager that never begins.
func TestEventGoneWhileItGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testEvent(newYear, "v720"), nil)
		video := sources(t)["v720"]
		w.must("PUT", "v720/init.mp4", video.init)
		w.origin.mu.Lock()
		w.origin.event = nil
		w.origin.mu.Unlock()
		w.must("PUT", "v720/1.mp4", video.segment(0))
		time.Sleep(2 * time.Second)
		if status, code := w.send("PUT", "v720/2.mp4", video.segment(1)); status != 404 || code != "no-such-event" {
			t.Errorf("%d %s", status, code)
		}
		w.stop()
		w.said("the encoder's publication ends")
	})
}

// Who left leaves nothing behind.
func TestIdleEncoderIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testEvent(newYear, "v720"), nil)
		video := sources(t)["v720"]
		time.Sleep(4 * time.Second)
		w.must("PUT", "v720.cmfv", append(video.init[:len(video.init):len(video.init)], video.segment(0)...))
		if n := w.srv.Stats().Publications; n != 1 {
			t.Errorf("%d encoders", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := w.srv.Stats().Publications; n != 0 {
			t.Errorf("%d encoders after two minutes", n)
		}
		clean(t, w.origin, "v720", 1)
		w.stop()
	})
}

// An init segment that comes again with other defaults for fragments is none to viewers.
func TestInitWithOtherDefaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testEvent(newYear, "v720"), nil)
		video := sources(t)["v720"]
		other := bytes.Clone(video.init)
		trex := bytes.Index(other, []byte("trex"))
		other[trex+4+12+3]++ // default_sample_duration
		time.Sleep(2 * time.Second)
		for k := range 10 {
			if k == 5 {
				w.must("PUT", "v/init.mp4", other)
			} else if k == 0 {
				w.must("PUT", "v/init.mp4", video.init)
			}
			w.must("PUT", "v/1.m4s", video.segment(k))
			time.Sleep(2 * time.Second)
		}
		w.stop()
		clean(t, w.origin, "v720", 9)
		w.origin.mu.Lock()
		defer w.origin.mu.Unlock()
		for _, p := range w.origin.puts {
			if p.path.File == live.FileInit && !bytes.Equal(p.body, w.origin.puts[0].body) {
				t.Error("another init segment was published")
			}
		}
	})
}

// One tenant's encoders leave room for those of others.
func TestTenantHasItsShareOfEncoders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testEvent(newYear, "v720"), func(cfg *Config) { cfg.MaxPublications, cfg.TenantPercent = 4, 50 })
		for _, x := range []struct {
			path string
			want int
		}{{"acme/a/a", 200}, {"acme/b/a", 200}, {"acme/c/a", 503}, {"acme/b/a", 200}, {"other/a/a", 200}, {"other/b/a", 200}, {"third/a/a", 503}} {
			req, _ := http.NewRequest("POST", "http://ingest:7006/"+x.path+"/", nil)
			if status, code := w.do(req); status != x.want {
				t.Errorf("%s: %d %s, want %d", x.path, status, code, x.want)
			}
		}
		w.stop()
	})
}

// What encoders hold before it is known what they send is bounded for all of them and
// for a tenant, and is given back, also where nothing came of it.
func TestGatheringIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		video := sources(t)["v720"]
		body := string(video.init) + string(video.segment(0))
		w := newWorld(t, testEvent(newYear, "v720"), func(cfg *Config) {
			cfg.AllHeldBytes, cfg.TenantPercent = int64(4*len(body)), 50
		})
		for round := range 2 {
			for _, x := range []struct {
				path string
				want int
			}{{"acme/a/a", 200}, {"acme/b/a", 200}, {"acme/c/a", 503}, {"other/a/a", 200}, {"other/b/a", 200}, {"third/a/a", 503}} {
				if status, code := w.sendTo(x.path+"/v720.mp4", body); status != x.want {
					t.Errorf("round %d, %s: %d %s, want %d", round, x.path, status, code, x.want)
				}
			}
			time.Sleep(2 * time.Minute) // all are forgotten
			synctest.Wait()
			if n := w.srv.held.Used(); n != 0 {
				t.Errorf("%d bytes are still held", n)
			}
		}
		w.sendTo("acme/a/a/v720.mp4", body)
		w.stop()
		if n := w.srv.held.Used(); n != 0 {
			t.Errorf("%d bytes are still held when it has stopped", n)
		}
	})
}

// What manifests say is kept: those of one encoder are bounded together, and one that
// comes again counts once.
func TestManifestsAreBoundedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, testEvent(newYear, "v720"), nil)
		body := append([]byte("#EXTM3U\n#"), bytes.Repeat([]byte("x"), maxManifest-20)...)
		for i, x := range []struct {
			name string
			want int
		}{{"1", 200}, {"2", 200}, {"3", 200}, {"4", 200}, {"4", 200}, {"5", 503}, {"1", 200}} {
			if status, code := w.send("PUT", x.name+".m3u8", body); status != x.want {
				t.Errorf("%d, %s: %d %s, want %d", i, x.name, status, code, x.want)
			}
		}
		w.stop()
	})
}

// What an event cannot be made for by right is no failure of the origin's.
func TestWhyAnEventIsNotMade(t *testing.T) {
	for _, x := range []struct {
		err    error
		status int
		code   string
	}{
		{fmt.Errorf("create: 403: %w", live.ErrQuota.With("tenant acme has 1 events")), 403, "quota"},
		{fmt.Errorf("create: 403: %w", live.ErrForbidden.With("not yours")), 403, "forbidden"},
		{fmt.Errorf("create: 401: %w", live.ErrUnauthorized.With("whose?")), 503, "upstream-unavailable"},
		{errors.New("no route"), 503, "upstream-unavailable"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, nil, func(cfg *Config) {
				cfg.Create = func(context.Context, string, live.EventID, *live.Event) error { return x.err }
			})
			video := sources(t)["v720"]
			body, more := io.Pipe()
			go func() {
				more.Write(video.init)
				more.Write(video.segment(0))
				time.Sleep(3 * time.Second)
				more.Write(video.segment(1))
				more.Close()
			}()
			if status, code := w.sendBody("POST", "Streams(v720.cmfv)", body); status != x.status || code != x.code {
				t.Errorf("%v: %d %s", x.err, status, code)
			}
			body.Close()
			w.stop()
		})
	}
}
