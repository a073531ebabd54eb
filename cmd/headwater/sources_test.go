package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/internal/records"
	"headwater/player"
)

// sourcesVariable names a file to which TestRecipes adds a line for each recipe, after 200
// segments of it: make sources-table has docs/ingest.md's table written from it, by
// scripts/tables.
const sourcesVariable = "HEADWATER_SOURCES"

// sourcesFile is that file, or "". The commands that are tested know no such variable.
var sourcesFile = func() string {
	file := os.Getenv(sourcesVariable)
	os.Unsetenv(sourcesVariable)
	return file
}()

// segmentsOfARecipe is how many segments come of each.
func segmentsOfARecipe() int {
	if sourcesFile != "" {
		return 200
	}
	return 6
}

// splices are the times of key frames each two seconds, and of one besides.
func splices(seconds int) string {
	times := []string{"0", "2", "4", "5.2"}
	for at := 6; at < seconds; at += 2 {
		times = append(times, fmt.Sprint(at))
	}
	return strings.Join(times, ",")
}

// leaving guards the file of sources.

// leaveSource adds to the file of sources, where there is one.
func leaveSource(t *testing.T, name string, of recipe, segments int, findings []string, page string) {
	t.Helper()
	if sourcesFile == "" {
		return
	}
	records.Leave(t, sourcesFile, map[string]any{"at": time.Now().UTC().Truncate(time.Second), "name": name, "names": of.names,
		"renditions": of.renditions, "segments": segments, "findings": findings, "page": page})
}

// pages looks at events on our page, one at a time, where there is time for it.
type pages struct {
	url  string     // "" : nobody looks
	turn sync.Mutex // of the browser
}

// newPages starts an edge, with our page before it.
func newPages(t *testing.T, s *ingestSite) *pages {
	t.Helper()
	if sourcesFile == "" {
		return &pages{}
	}
	addr := freePort(t)
	edge := &process{t: t, args: []string{"edge", "--parent", "http://" + s.deliver, "--listen", addr}}
	edge.start(s.binary)
	t.Cleanup(edge.kill)
	waitFor(t, "http://"+addr+"/time")
	base, err := url.Parse("http://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", httputil.NewSingleHostReverseProxy(base))
	mux.Handle(player.Path, http.StripPrefix(strings.TrimSuffix(player.Path, "/"), player.Handler()))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return &pages{url: srv.URL}
}

// look watches an event for a while once it plays, and leaves a picture of it in build.
func (p *pages) look(t *testing.T, event string) (seen <-chan string) {
	out := make(chan string, 1)
	if p.url == "" {
		out <- ""
		return out
	}
	shot, err := filepath.Abs("../../build/source-" + strings.TrimPrefix(event, "acme/") + ".png")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		p.turn.Lock()
		defer p.turn.Unlock()
		asked, _ := json.Marshal(map[string]any{"seconds": 14, "patience": 60, "screens": []any{
			map[string]any{"player": "page", "url": p.url + player.Path + "?event=" + url.QueryEscape(event), "screenshot": shot}}})
		text, err := exec.CommandContext(t.Context(), "node", "../../scenario/browser/watch.mjs", string(asked)).Output()
		text = bytes.TrimSpace(text)
		text = text[bytes.LastIndexByte(text, '\n')+1:]
		var reports []struct {
			Failed string
			Record struct {
				Latency, Progress, Stalled float64
				Stalls                     int
			}
		}
		if err == nil {
			err = json.Unmarshal(text, &reports)
		}
		if err != nil || len(reports) != 1 || reports[0].Failed != "" {
			t.Errorf("the page of %s: %v: %s", event, err, text)
			out <- "does not play"
			return
		}
		r := reports[0].Record
		out <- fmt.Sprintf("plays %.0f s of 14, %d stalls, %.1f s behind", r.Progress, r.Stalls, r.Latency)
	}()
	return out
}
