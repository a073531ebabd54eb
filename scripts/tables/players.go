package main

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"
)

// A played is a record of scenario/browser.
type played struct {
	Situation, Player        string
	At                       time.Time
	Try                      int
	Start, Latency, Progress float64
	Seconds                  int
	Stalls                   int
	Stalled                  float64
	Jumps                    int
	Jumped, Still            float64
	Ended                    bool
	Seeks                    []struct {
		By, Off float64
		Took    *float64
	}
	Ads     []string
	Failed  string
	Refused int64
}

// browsers are the players of the browser, by what records call them.
var browsers = [][2]string{{"hls", "hls.js"}, {"dash", "dash.js"}, {"shaka", "Shaka, DASH"}, {"shaka-hls", "Shaka, HLS"}, {"videojs", "video.js"}, {"rx", "RxPlayer"}, {"page", "our page"}}

// situations are the rows.
var situations = [][2]string{
	{"healthy", "healthy"},
	{"damaged", "pipeline a corrupt, dead, back"},
	{"lost", "a segment lost in both pipelines, all renditions"},
	{"lost-video", "the same, of the video that plays"},
	{"lost-audio", "the same, of the sound"},
	{"generation", "encoders come back otherwise: a new generation"},
	{"encoder", "ffmpeg ends, and comes back with a larger picture"},
	{"before", "joins 14 s before the start"},
	{"joiners", "a list of joiners, 15 s further behind"},
	{"clock-fast", "the viewer's clock 30 s fast"},
	{"clock-slow", "the viewer's clock 30 s slow"},
	{"clearkey", "ClearKey behind a clear lead, then another key"},
	{"rotation", "ClearKey, keys that change every 4 s"},
	{"ad", "an ad break"},
	{"end", "the event ends"},
}

// tools are the players of the command line, and how they are asked for their version.
var tools = [][]string{{"ffmpeg", "-version"}, {"mpv", "--version"}, {"cvlc", "--version"}, {"gst-launch-1.0", "--version"}, {"streamlink", "--version"}, {"yt-dlp", "--version"}}

// players writes the tables of docs/players.md.
func players(lines []byte) (string, error) {
	at := &grid{corner: "situation", columns: browsers, cells: map[[2]string]string{}}
	back := &grid{corner: "goes back by", columns: browsers, cells: map[[2]string]string{}}
	told := &grid{corner: "tool", cells: map[[2]string]string{}}
	var last time.Time
	have := map[string]bool{}
	err := decode(lines, func(r played) {
		last = slices.MaxFunc([]time.Time{last, r.At}, time.Time.Compare)
		have[r.Situation] = true
		switch what, isTool := strings.CutPrefix(r.Situation, "tool "); {
		case isTool:
			told.cells[[2]string{r.Player, what}] = r.tool()
		case r.Situation == "seek":
			r.seeks(back)
		default:
			at.cells[[2]string{r.Situation, r.Player}] = r.cell()
		}
	})
	if err != nil {
		return "", err
	}
	for _, s := range situations {
		if have[s[0]] {
			at.rows = append(at.rows, s)
		}
	}
	told.columns = [][2]string{{"healthy manifest.mpd", "`manifest.mpd`"}, {"healthy main.m3u8", "`main.m3u8`"}, {"lost manifest.mpd", "`manifest.mpd`, lost"}, {"lost main.m3u8", "`main.m3u8`, lost"}}
	for _, tool := range tools {
		told.rows = append(told.rows, [2]string{tool[0], strings.TrimSpace(strings.TrimSuffix(tool[0], "-launch-1.0") + " " + version(tool[0], tool[1:]...))})
	}
	chromium := os.Getenv("CHROMIUM")
	if chromium == "" {
		chromium = "chromium"
	}
	text := fmt.Sprintf("Seen on %s, Chromium %s.\n\n%s\n%s", machine(last), version(chromium, "--version"), at, back)
	if len(told.cells) > 0 {
		text += "\n" + told.String()
	}
	return text, nil
}

// tried marks what was wrong the first or second time.
func (r *played) tried() string { return strings.Repeat("*", r.Try-1) }

// cell is start, latency and stalls, and what there is to say besides.
func (r *played) cell() string {
	if r.Failed != "" {
		return "does not play" + r.tried()
	}
	stalls := fmt.Sprint(r.Stalls)
	if r.Stalls > 0 {
		stalls += fmt.Sprintf(" (%.1f s)", r.Stalled)
	}
	parts := []string{fmt.Sprintf("%.1f s, %.1f s, %s", max(r.Start, 0), r.Latency, stalls)}
	if r.Situation == "end" { // of what is over there is no latency
		parts = []string{fmt.Sprintf("%.1f s, %s", r.Start, stalls)}
	}
	if r.Jumps > 0 {
		parts = append(parts, fmt.Sprintf("jumps %d (%.1f s)", r.Jumps, r.Jumped))
	}
	switch ads := strings.Join(r.Ads, " "); {
	case ads == "started ended":
		parts = append(parts, "in and out")
	case r.Situation == "ad":
		parts = append(parts, "stays with the programme")
	}
	switch {
	case r.Ended:
		parts = append(parts, "ends")
	case r.Still > 2:
		parts = append(parts, "then stands still")
	}
	return strings.Join(parts, "; ") + r.tried()
}

// seeks makes a row for each way back, with the way forth that follows.
func (r *played) seeks(g *grid) {
	took := func(k int) string {
		switch {
		case k >= len(r.Seeks), r.Seeks[k].Took == nil:
			return "never"
		}
		return fmt.Sprintf("%.1f s", *r.Seeks[k].Took)
	}
	if r.Failed != "" {
		return
	}
	for k := 0; k < len(r.Seeks); k += 2 {
		by := time.Duration(math.Abs(r.Seeks[k].By)) * time.Second
		row := [2]string{by.String(), strings.TrimSuffix(strings.TrimSuffix(by.String(), "0s"), "0m")}
		if !slices.Contains(g.rows, row) {
			g.rows = append(g.rows, row)
		}
		g.cells[[2]string{row[0], r.Player}] = took(k) + ", " + took(k+1) + r.tried()
	}
}

// tool is how much of the media came in how long.
func (r *played) tool() string {
	if r.Failed != "" {
		return r.Failed
	}
	return fmt.Sprintf("%.0f s in %d s, %d refused", r.Progress, r.Seconds, r.Refused)
}
