package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/packager"
	"headwater/scenario"
)

// An announcer stands between a packager and the origin, and puts event messages before
// the pictures of every third segment: a splice that begins in the middle of the one after
// it, and a piece of ID3.
type announcer struct {
	to  string
	out *http.Client
}

func (a *announcer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	h := r.Header.Clone()
	if p, err := live.ParsePublishPath(r.URL.Path); err == nil && p.File == live.FileSegment && p.Rendition[0] == 'v' && p.Number%3 == 0 {
		h.Del(live.HeaderContentDigest)
		at := time.Unix(2*int64(p.Number)+3, 0)
		moof := bytes.Index(body, []byte("moof")) - 4
		head := cmaf.AppendEvent(bytes.Clone(body[:moof]), &cmaf.Event{Version: 1, Scheme: live.SpliceBinary, Value: "1001", ID: uint32(p.Number), Timescale: 1000,
			Time: at.UnixMilli(), Duration: 4000, Data: live.AppendSpliceInsert(nil, uint32(p.Number), true, 4*time.Second)})
		head = cmaf.AppendEvent(head, &cmaf.Event{Version: 1, Scheme: "https://aomedia.org/emsg/ID3", ID: uint32(p.Number), Timescale: 1000, Time: at.UnixMilli(), Duration: 1000,
			Data: []byte("ID3\x04\x00\x00\x00\x00\x00\x10TXXX\x00\x00\x00\x06\x00\x00\x03a\x00abc")})
		body = append(head, body[moof:]...)
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, a.to+r.URL.Path, bytes.NewReader(body))
	if err != nil {
		return
	}
	req.Header = h
	resp, err := a.out.Do(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close()
	for name, v := range resp.Header {
		w.Header()[name] = v
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// TestEventMessages has players see, with what they have for it, the splices and the ID3
// that segments of both pipelines carry: in the segments, and in playlists and MPDs.
func TestEventMessages(t *testing.T) {
	needBrowser(t)
	s, err := scenario.Start(t.Context(), scenario.Options{Encoder: "none"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	between := httptest.NewServer(&announcer{s.PublishURL(), &http.Client{}})
	defer between.Close()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	for _, name := range []string{"a", "b"} {
		p, err := packager.New(packager.Config{Event: s.Event.String(), Pipeline: name, To: []string{between.URL}, EventURL: s.DeliverURL(), Clip: true, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- p.Run(ctx) }()
	}
	defer func() { stop(); <-ended; <-ended }()
	settled(t, s)
	wants := map[string][]string{
		"hls " + live.HLSName:   {"emsg https://aomedia.org/emsg/ID3", "event urn:headwater:notification:scte35-out"},
		"dash " + live.MPDName:  {"emsg " + live.SpliceBinary, "event " + live.SpliceXML},
		"shaka " + live.MPDName: {"emsg " + live.SpliceBinary, "event " + live.SpliceXML},
		"shaka " + live.HLSName: {"event urn:headwater:notification:scte35-out"},
	}
	var screens []*screen
	for name, want := range wants {
		w := &screen{Player: strings.Fields(name)[0]}
		w.URL = s.EdgeURL() + "/" + s.Event.String() + "/" + strings.Fields(name)[1]
		w.faults = func(report []byte, _ *play) (bad []string, err error) {
			var r struct {
				seen
				Told []string
			}
			if err := json.Unmarshal(report, &r); err != nil {
				return nil, err
			}
			for _, x := range want {
				if !slices.Contains(r.Told, x) {
					bad = append(bad, "did not see: "+x)
				}
			}
			if len(bad) > 0 {
				bad = append(bad, "saw "+strings.Join(r.Told, ", "))
			}
			return append(bad, r.Fatal...), nil
		}
		screens = append(screens, w)
	}
	for i, bad := range watch(t, play{Seconds: 9, Patience: 40, Together: true, Screens: screens}, func(context.Context) {}) {
		if len(bad) > 0 {
			t.Errorf("%s of %s: %v", screens[i].Player, path.Base(screens[i].URL), bad)
		}
	}
	// Two pipelines and the renditions of the picture told of each: viewers once.
	var told struct{ Notifications []struct{ ID, Type string } }
	if err := s.Control(t.Context(), http.MethodGet, "/notifications", nil, &told); err != nil {
		t.Fatal(err)
	}
	t.Logf("viewers are told of %d splices", len(told.Notifications))
	for i, n := range told.Notifications {
		if n.Type != live.TypeSCTE35Out || slices.ContainsFunc(told.Notifications[:i], func(o struct{ ID, Type string }) bool { return o.ID == n.ID }) {
			t.Errorf("told of %+v", told.Notifications)
		}
	}
}
