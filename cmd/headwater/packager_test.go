package main

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/packager"
)

// TestPackagerSaysThatItIsUnfit: a rendition that the origin does not take is in
// each line of statistics, in the last words and in the exit status.
func TestPackagerSaysThatItIsUnfit(t *testing.T) {
	input, err := os.ReadFile("../../packager/testdata/ladder.mp4")
	if err != nil {
		t.Fatal(err)
	}
	ev := live.Default()
	ev.Start = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) // where the file begins
	ev.DVRSeconds = 31622400
	ev.Pipelines = []live.Pipeline{{Name: "a"}}
	ev.Renditions = []live.Rendition{{Name: "v720", Type: live.Video, Bandwidth: 2}, {Name: "v360", Type: live.Video, Bandwidth: 1}, {Name: "a-en", Type: live.Audio, Bandwidth: 1}}
	for _, c := range []struct {
		name  string
		unfit string
		code  int
		want  string
	}{
		{"all fits", "", exitDone, "unfit none"},
		{"one does not", "/acme/final/a/v360/init.mp4", exitFailed, "unfit v360"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodGet:
					if r.URL.Query().Has("after") {
						<-r.Context().Done()
					}
					w.Header().Set("ETag", `"1"`)
					json.NewEncoder(w).Encode(live.Config{Event: ev, Version: 1})
				case r.URL.Path == c.unfit:
					live.ErrInitDiffers.With("width is 32 in one and 64 in the other").Write(w, r)
				default:
					w.WriteHeader(http.StatusCreated)
				}
			}))
			defer srv.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			code, _, errs := invoke(t, ctx, nil, string(input), "packager", "--event", "acme/final", "--pipeline", "a",
				"--to", srv.URL, "--event-url", srv.URL)
			if code != c.code || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, want %d and %q in: %s", code, c.code, c.want, errs)
			}
			if c.unfit != "" && !strings.Contains(errs, "v360: 412 The media does not fit the init segment: width is 32") {
				t.Errorf("it does not say why: %s", errs)
			}
		})
	}
}

func TestLineOfStatistics(t *testing.T) {
	for _, c := range []struct {
		unfit map[string]string
		want  []string
	}{
		{nil, []string{"level=INFO", "dropped=5", "unfit=none"}},
		{map[string]string{"v720": "width", "a-en": "codec"}, []string{"level=ERROR", "dropped=5", "unfit=a-en,v720"}},
	} {
		var b strings.Builder
		logStats(slog.New(slog.NewTextHandler(&b, nil)), packager.Stats{Unfit: c.unfit, Dropped: map[string]int64{packager.DropPartial: 2, packager.DropInit: 3}})
		for _, want := range c.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("no %s in %s", want, b.String())
			}
		}
	}
}

// What --listen has no use for is refused, not passed over.
func TestListenRefusesWhatItHasNoUseFor(t *testing.T) {
	for _, flags := range [][]string{{"--clip"}, {"--tracks", "1=v720"}, {"--clock", "prft"}} {
		code, _, errs := invoke(t, t.Context(), nil, "", append([]string{"packager", "--event", "acme/final", "--pipeline", "a",
			"--to", "http://127.0.0.1:1", "--event-url", "http://127.0.0.1:1", "--listen", "127.0.0.1:99999"}, flags...)...)
		if code != exitUsage || !strings.Contains(errs, flags[0]) {
			t.Errorf("%v: exit %d: %s", flags, code, errs)
		}
	}
}

// TestPackagerMetrics: every figure is there from the start.
func TestPackagerMetrics(t *testing.T) {
	p, err := packager.New(packager.Config{Event: "acme/final", Pipeline: "a", To: []string{"http://127.0.0.1:1"}, EventURL: "http://127.0.0.1:1", Clip: true})
	if err != nil {
		t.Fatal(err)
	}
	address := freePort(t)
	stop, err := showFigures(t.Context(), address, func() map[string]packager.Stats { return map[string]packager.Stats{"acme/final/a": p.Stats()} }, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	resp, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v: %s", err, resp.Status)
	}
	want := []string{`segments_total{of="acme/final/a",outcome="missed"}`, `refused_total{of="acme/final/a",problem="init-differs"}`, `refused_total{of="acme/final/a",problem="other-generation"}`,
		`looks_total{of="acme/final/a",outcome="died"}`, `unfit_renditions{of="acme/final/a"}`, `waiting_segments{of="acme/final/a",where="queued"}`, `ack_seconds{of="acme/final/a",quantile="0.99"}`}
	for _, r := range packager.DropReasons {
		want = append(want, `dropped_total{of="acme/final/a",reason="`+r+`"}`)
	}
	for _, k := range live.Kinds {
		want = append(want, `findings_total{kind="`+string(k)+`",of="acme/final/a"}`)
	}
	for _, w := range want {
		if !strings.Contains(string(b), "headwater_packager_"+w+" 0\n") {
			t.Errorf("no %s of 0", w)
		}
	}
}
