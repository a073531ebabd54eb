package main

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/origin"
	"headwater/store/memory"
)

// An operator is a command line with an origin, and the event t/e.
type operator struct {
	*testing.T
	url  string
	file string // of the event
}

func newOperator(t *testing.T) *operator {
	t.Helper()
	o, err := origin.New(t.Context(), origin.Config{Store: memory.New(memory.Options{})})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(o.ControlHandler())
	t.Cleanup(srv.Close)
	ev := live.Default()
	ev.Start = time.Now().UTC().Truncate(2 * time.Second).Add(-time.Hour)
	ev.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b"}}
	ev.Renditions = []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}, {Name: "w", Type: live.Video, Bandwidth: 1}}
	b, err := json.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	op := &operator{t, srv.URL, filepath.Join(t.TempDir(), "event.json")}
	if err := os.WriteFile(op.file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	op.want(exitDone, "", "create", "t/e", "-f", op.file)
	return op
}

// want runs a verb without a terminal. What it says has all of says, which are
// parted by |.
func (op *operator) want(code int, says string, args ...string) (stdout string) {
	op.Helper()
	got, out, errs := invoke(op.T, op.Context(), map[string]string{"HEADWATER_EVENT_CONTROL": op.url}, "", append([]string{"event"}, args...)...)
	if got != code {
		op.Fatalf("%v: exit %d, want %d: %s%s", args, got, code, out, errs)
	}
	for s := range strings.SplitSeq(says, "|") {
		if !strings.Contains(out+errs, s) {
			op.Errorf("%v does not say %q: %s%s", args, s, out, errs)
		}
	}
	return out
}

func (op *operator) config() (cfg live.Config) {
	op.Helper()
	if err := json.Unmarshal([]byte(op.want(exitDone, "", "get", "t/e")), &cfg); err != nil {
		op.Fatal(err)
	}
	return cfg
}

// TestVerbsThatHurtAreMeant: without a terminal nothing that leaves viewers with
// nothing is done without --yes, and what names nothing is not done at all.
func TestVerbsThatHurtAreMeant(t *testing.T) {
	op := newOperator(t)
	before := op.config()
	for _, c := range []struct {
		args string
		says string
	}{
		{"mask t/e --from now", "--pipeline|--region|--all"},
		{"mask t/e --pipeline a", "--from"},
		{"mask t/e --pipeline a --all --from 5", "--all"},
		{"mask t/e --region east --all --from 5", "--all"},
		{"mask t/e --pipeline a --from soon", "--from|soon|-10m"},
		{"mask t/e --pipeline a --from 5 --to 1.5", "--to"},
		{"mask t/e --all --from now", "v, w|get nothing|--yes|--dry-run"},
		{"mask t/e --all --from now --rendition v", "VIEWERS of v get nothing|--yes"},
		{"end t/e", "it ends at|after segment|v, w|--yes"},
		{"end t/e --at 7", "--at"},
		{"end t/e --at soon", "--at"},
		{"end t/e --at now --never", "--at"},
		{"delete t/e", "for good|--yes"},
		{"flush t/e", "caches|--yes"},
		{"invalidate t/e", "--pipeline|flush"},
		{"unmask t/e --id x", ""},
		{"fly t/e", "unmask"},
	} {
		code := exitUsage
		if strings.HasPrefix(c.args, "unmask") {
			code = exitFailed
		}
		op.want(code, c.says, strings.Fields(c.args)...)
	}
	op.want(exitFailed, `"c"|a, b`, "mask", "t/e", "--pipeline", "c", "--from", "now")
	op.want(exitFailed, `"x"|v, w`, "invalidate", "t/e", "--rendition", "x")
	for _, verb := range []string{"end", "delete", "flush", "invalidate --pipeline a", "mask --all --from now", "mask --pipeline a --from now",
		"notify --id x --type y", "create -f " + op.file} {
		words := strings.Fields(verb)
		op.want(exitDone, "Nothing was changed", append([]string{words[0], "t/e", "--dry-run"}, words[1:]...)...)
	}
	if after := op.config(); after.Version != before.Version {
		t.Errorf("version %d became %d", before.Version, after.Version)
	}
}

// TestWrongSchemeOfControl: who speaks HTTP to TLS, or does not know who signed, reads what to do.
func TestWrongSchemeOfControl(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	defer srv.Close()
	for u, want := range map[string]string{"http" + strings.TrimPrefix(srv.URL, "https"): "https://", srv.URL: "--tls-ca"} {
		code, _, errs := invoke(t, t.Context(), nil, "", "event", "list", "--control", u)
		if code != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s", u, code, errs)
		}
	}
}

// TestVerbsSayHowToTakeThemBack, and what they say does it.
func TestVerbsSayHowToTakeThemBack(t *testing.T) {
	op := newOperator(t)
	n := live.Number(1801) // filmed an hour after the start
	back := func(args ...string) {
		t.Helper()
		_, out, errs := invoke(t, t.Context(), map[string]string{"HEADWATER_EVENT_CONTROL": op.url}, "", append([]string{"event"}, args...)...)
		_, line, ok := strings.Cut(errs, "To take it back: headwater ")
		if !ok {
			t.Fatalf("%v: %s%s", args, out, errs)
		}
		line, _, _ = strings.Cut(line, "\n")
		if code, out, errs := invoke(t, t.Context(), nil, "", append(strings.Fields(line), "--yes")...); code != exitDone {
			t.Fatalf("%s: %s%s", line, out, errs)
		}
	}
	back("end", "t/e", "--yes", "--at", "-1m")
	if end := op.config().End; !end.IsZero() {
		t.Errorf("it still ends at %v", end)
	}
	op.want(exitDone, "", "end", "t/e", "--yes", "--at", "2100-01-01T00:00:00Z")
	back("end", "t/e", "--never")
	back("end", "t/e", "--yes")
	if end := op.config().End; end.Year() != 2100 {
		t.Errorf("it ends at %v", end)
	}
	op.want(exitDone, "", "end", "t/e", "--never")

	back("mask", "t/e", "--pipeline", "a", "--from", "-10s", "--to", "now", "--rendition", "w")
	if masks := op.config().Masks; len(masks) != 0 {
		t.Errorf("%+v", masks)
	}
	op.want(exitDone, "", "mask", "t/e", "--id", "m", "--pipeline", "a", "--from", "-10s", "--to", "now", "--rendition", "w")
	was := op.config().Masks
	if m := was[0]; m.From < n-5 || m.From > n || m.To != m.From+5 || m.Rendition != "w" {
		t.Errorf("%+v", m)
	}
	op.want(exitUsage, "--id|m", "unmask", "t/e")
	back("unmask", "t/e", "--id", "m")
	if masks := op.config().Masks; len(masks) != 1 || masks[0] != was[0] {
		t.Errorf("%+v, was %+v", masks, was)
	}
	op.want(exitDone, `"m"`, "masks", "t/e")
	op.want(exitDone, "", "mask", "t/e", "--id", "all", "--all", "--from", "5", "--yes")
	was = op.config().Masks
	back("unmask", "t/e", "--id", "all")
	if masks := op.config().Masks; len(masks) != 2 || masks[1] != was[1] {
		t.Errorf("%+v, was %+v", masks, was)
	}
	// Masks that leave nothing together ask, too.
	op.want(exitDone, "", "unmask", "t/e", "--id", "all")
	op.want(exitDone, "", "mask", "t/e", "--pipeline", "a", "--from", "+1h")
	op.want(exitUsage, "--yes", "mask", "t/e", "--pipeline", "b", "--from", "+2h", "--to", "+2h")
	op.want(exitDone, "", "mask", "t/e", "--pipeline", "b", "--from", "+2h", "--to", "+2h", "--yes")

	back("notify", "t/e", "--id", "b1", "--type", "ad-break", "--from", "+30s")
	back("notify", "t/e", "--ad-break", "90s", "--asset", "https://ads.example/main.m3u8", "--asset", "https://ads.example/a.mpd", "--from", "+30s")
	out := op.want(exitDone, "", "notify", "t/e", "--ad-break", "7s", "--asset", "https://ads.example/main.m3u8", "--from", "2000")
	if want := `"id":"ad-2000","from":2000,"to":2003,"data":"` + base64.StdEncoding.EncodeToString([]byte(`{"asset_uri":"https://ads.example/main.m3u8"}`)); !strings.Contains(strings.Join(strings.Fields(out), ""), want) {
		t.Errorf("%s\nwant %s", out, want)
	}
	_, _, errs := invoke(t, t.Context(), nil, "", "event", "notify", "t/e", "--type", "x", "--id", `it's "a" $b`, "--from", "now", "--control", op.url)
	if want := `--withdraw --id 'it'\''s "a" $b' --control ` + op.url; !strings.Contains(errs, want) {
		t.Errorf("%s\nwant %s", errs, want)
	}
	op.want(exitUsage, "--from: segment 0 is before the event", "notify", "t/e", "--ad-break", "7s", "--from", "0")
	op.want(exitUsage, "--ad-break: -5s is not more than 0", "notify", "t/e", "--ad-break", "-5s")
	op.want(exitFailed, "400: |asset_uri", "notify", "t/e", "--ad-break", "7s", "--asset", "ads.example/main.m3u8")
	op.want(exitUsage, "second of its kind", "notify", "t/e", "--ad-break", "7s", "--asset", "https://a.example/a.m3u8", "--asset", "https://b.example/a.m3u8")
	op.want(exitUsage, "--ad-break", "notify", "t/e", "--ad-break", "7s", "--type", "ad-break")
	back("notify", "t/e", "--splice", "30s", "--from", "+10s")
	back("notify", "t/e", "--scte35", "/DAvAAAAAAAA///wFAVIAACPf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbowo=", "--from", "+10s")
	op.want(exitUsage, "CRC_32", "notify", "t/e", "--scte35", "/DAvAAAAAAAA///wFAVIAACPf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbows=", "--from", "+10s")
	op.want(exitUsage, "either says", "notify", "t/e", "--splice", "30s", "--to", "+10s")
	op.want(exitUsage, "--ad-break: goes without --splice", "notify", "t/e", "--splice", "30s", "--ad-break", "7s")
	op.want(exitUsage, "--ad-break: 0s is not more than 0", "notify", "t/e", "--ad-break", "0s")
	op.want(exitUsage, "--splice: 0s is not more than 0", "notify", "t/e", "--splice", "0s")
	op.want(exitUsage, "--splice: is no time like 30s", "notify", "t/e", "--splice", "30")
	op.want(exitUsage, "--withdraw: takes back", "notify", "t/e", "--splice", "30s", "--withdraw")
	op.want(exitUsage, "--take-back: 0 is no generation's index", "generation", "t/e", "--take-back", "0")
	op.want(exitUsage, "--take-back: is no whole number", "generation", "t/e", "--take-back", "x")
	op.want(exitFailed, `pipeline: the event has no "z"`, "generation", "t/e", "--pipeline", "z")
	op.want(exitUsage, "nothing to players", "notify", "t/e", "--scte35", "0xFC301100000000000000FFF0000000007A4FBFFF")
	op.want(exitUsage, "--asset", "notify", "t/e", "--type", "x", "--id", "y", "--asset", "https://a.example/a.m3u8")
	op.want(exitDone, "", "invalidate", "t/e", "--from", "-1m", "--to", "-30s")
	op.want(exitDone, "segments", "segments", "t/e", "--from", "-10s", "--to", "now", "--json")
	op.want(exitDone, "", "flush", "t/e", "--yes")
	op.want(exitDone, "gone", "delete", "t/e", "--yes")
	op.want(exitFailed, "t/e", "get", "t/e")
}

// TestWhatWasSaidIsDone: a mask from now begins with the segment that was shown,
// however long the answer to the question took.
func TestWhatWasSaidIsDone(t *testing.T) {
	var bodies []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, r.URL.RawQuery+" "+string(b))
		io.WriteString(w, `{"dry_run": true, "scope": {"pipeline": "a", "from": 100, "to": 104}, "renditions": []}`)
	}))
	defer srv.Close()
	code, _, errs := invoke(t, t.Context(), nil, "", "event", "mask", "t/e", "--control", srv.URL, "--pipeline", "a", "--from", "-10s", "--to", "now")
	want := []string{`dry_run=true {"from":"-10s","pipeline":"a","to":"now"}`, ` {"from":100,"pipeline":"a","to":104}`}
	if code != exitDone || !slices.Equal(bodies, want) || !strings.Contains(errs, "segments 100 to 104") {
		t.Errorf("exit %d, %q, want %q: %s", code, bodies, want, errs)
	}
}

// TestFlagsOfOtherVerbsAreRefused: what would be ignored was meant to do something.
func TestFlagsOfOtherVerbsAreRefused(t *testing.T) {
	op := newOperator(t)
	before := op.config()
	for args, says := range map[string]string{
		"flush t/e --pipeline a --yes":     "flush: --pipeline is not for this verb",
		"end t/e --pipeline a --yes":       "end: --pipeline is not",
		"list --from 3 --yes":              "list: --from is not",
		"list t/e":                         "list: takes no name",
		"masks t/e --json":                 "masks: --json is not",
		"segments t/e --pipeline a":        "segments: --pipeline is not",
		"get t/e --dry-run":                "get: --dry-run is not",
		"fluhs t/e":                        "did you mean flush?",
		"get T/e":                          `get: event "T/e"|headwater event: get`,
		"segments t/e --from 9 --to three": "--to",
	} {
		op.want(exitUsage, says, strings.Fields(args)...)
	}
	if after := op.config(); after.Version != before.Version {
		t.Errorf("version %d became %d", before.Version, after.Version)
	}
	// What the environment gives is for the verbs that take it.
	env := map[string]string{"HEADWATER_EVENT_CONTROL": op.url, "HEADWATER_EVENT_YES": "true"}
	if code, out, errs := invoke(t, t.Context(), env, "", "event", "get", "t/e"); code != exitDone {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// TestAnEndIsNotMovedByAccident: neither by ending twice, nor by the file that
// the event was created from.
func TestAnEndIsNotMovedByAccident(t *testing.T) {
	op := newOperator(t)
	create := []string{"create", "t/e", "-f", op.file}
	op.want(exitDone, "t/e: unchanged", create...)
	op.want(exitDone, "", "end", "t/e", "--at", "2100-01-01T00:00:00Z", "--yes")
	op.want(exitUsage, "is taken away|takes the end away|2100-|--yes", create...)
	op.want(exitDone, "would be changed: end 2100-01-01T00:00:00.000Z is taken away|Nothing was changed", append(create, "--dry-run")...)
	op.want(exitDone, "t/e: changed: end 2100-", append(create, "--yes")...)

	op.want(exitDone, "", "end", "t/e", "--yes")
	before := op.config()
	op.want(exitDone, "t/e already ended at "+before.End.Format(live.TimeLayout)+"|--never or --at", "end", "t/e", "--yes")
	op.want(exitUsage, "do not come back|--yes", create...)
	op.want(exitUsage, "do not come back|--yes", "end", "t/e", "--at", "+1h")
	if after := op.config(); after.Version != before.Version || after.End != before.End {
		t.Errorf("%d %v became %d %v", before.Version, before.End, after.Version, after.End)
	}
	op.want(exitDone, "do not come back", "end", "t/e", "--never")
	if end := op.config().End; !end.IsZero() {
		t.Errorf("it ends at %v", end)
	}
	op.want(exitDone, "", "end", "t/e", "--yes")
	op.want(exitDone, "do not come back|t/e: changed: end", append(create, "--yes")...)
	op.want(exitDone, "t/n: would be created|Nothing was changed", "create", "t/n", "-f", op.file, "--dry-run")
	op.want(exitFailed, "get t/n: 404: |event t/n was deleted, or never created", "get", "t/n")
	op.want(exitDone, "t/n: created", "create", "t/n", "-f", op.file)
}

// TestRangesAreSaid: in times too, and what names no segment is refused by the verb's name.
func TestRangesAreSaid(t *testing.T) {
	op := newOperator(t)
	const before = "--from 2000-01-01T00:00:00Z --to 2000-01-02T00:00:00Z"
	op.want(exitFailed, "headwater event: mask t/e: 400: |to: 2000-01-02T00:00:00.000Z is before the event", strings.Fields("mask t/e --pipeline a --dry-run "+before)...)
	op.want(exitFailed, "invalidate t/e: 400: |is before the event", strings.Fields("invalidate t/e "+before)...)
	op.want(exitFailed, "notify t/e: 400: |is before the event", strings.Fields("notify t/e --id x --type y "+before)...)
	op.want(exitFailed, "segments t/e: 400: |to: ", strings.Fields("segments t/e --from -10s --to -40s")...)
	op.want(exitDone, "is before the event, which starts at", strings.Fields("segments t/e "+before)...)
	op.want(exitDone, "nothing is published; the event starts at", "segments", "t/e")
	if out := op.want(exitDone, "", "segments", "t/e", "--from", "-10s", "--to", "now", "--rendition", "w"); strings.Contains(out, "v ") || !strings.Contains(out, "w ") {
		t.Error(out)
	}
	op.want(exitDone, "all pipelines, segments 5 to 6", "mask", "t/e", "--all", "--id", "m", "--from", "5", "--to", "6", "--yes")
	start := op.config().Start
	out := op.want(exitDone, "m: all pipelines, segments 5 to 6: "+start.Add(8*time.Second).Format(live.TimeLayout)+" to "+start.Add(12*time.Second).Format(live.TimeLayout), "masks", "t/e")
	if !json.Valid([]byte(out)) {
		t.Error(out)
	}
}
