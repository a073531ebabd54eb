package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
	"headwater/store/disk"
)

// TestFirstLine: the first line of the log says what was started, and no secret.
func TestFirstLine(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		want []string
	}{
		{[]string{"origin", "--store", "disk:" + dir, "--roles", "publish,control", "--publish", "127.0.0.1:0", "--control", "127.0.0.1:0", "--region", "east", "--control-token", "hush"},
			[]string{"command=origin", "version=" + version(), "roles=publish,control", "publish=127.0.0.1:0", "control=127.0.0.1:0", "store=disk:" + dir, "region=east"}},
		{[]string{"edge", "--parent", "http://u:hush@127.0.0.1:1/", "--listen", "127.0.0.1:0"},
			[]string{"command=edge", "version=" + version(), "parents=http://127.0.0.1:1", "listen=127.0.0.1:0"}},
		{[]string{"packager", "--event", "t/e", "--pipeline", "a", "--clip", "--to", "http://127.0.0.1:1", "--token", "hush"},
			[]string{"command=packager", "version=" + version(), "event=t/e", "pipeline=a", "to=http://127.0.0.1:1"}},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // it says that it starts, and stops
			_, _, errs := invoke(t, ctx, nil, "", c.args...)
			first, rest, _ := strings.Cut(errs, "\n")
			if strings.Contains(strings.Join(c.args, " "), "token hush") {
				if !strings.Contains(first, "others see a secret on the command line") {
					t.Errorf("no warning: %s", first)
				}
				first, _, _ = strings.Cut(rest, "\n")
			}
			for _, w := range append(c.want, "msg=starting") {
				if !strings.Contains(first+" ", w+" ") {
					t.Errorf("no %s in %s", w, first)
				}
			}
			if strings.Contains(first, "hush") || strings.Contains(first, "deliver=") {
				t.Errorf("says too much: %s", errs)
			}
		})
	}
}

// TestStoreCheck: what is no store is not made one, what is bad is told.
func TestStoreCheck(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, filepath.Join(empty, "nowhere"), file} {
		code, out, errs := invoke(t, t.Context(), nil, "", "store", "check", "--store", "disk:"+path)
		if code != exitFailed || out != "" || !strings.Contains(errs, "there is no store") || !strings.Contains(errs, path) {
			t.Errorf("%s: exit %d: %s%s", path, code, out, errs)
		}
	}
	if left, _ := os.ReadDir(empty); len(left) != 1 {
		t.Errorf("it left %v", left)
	}

	dir := t.TempDir()
	st, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tokens := store.NewTokens()
	for _, key := range []string{"a", "b", "c"} {
		item := store.Item{Key: key, Token: tokens.Next(), Value: []byte("the value of " + key)}
		if err := st.Put(t.Context(), store.Record{Namespace: store.Media, ID: "r"}, item); err != nil {
			t.Fatal(err)
		}
	}
	if code, _, errs := invoke(t, t.Context(), nil, "", "store", "check", "--store", "disk:"+dir); code != exitFailed || !strings.Contains(errs, "in use") {
		t.Errorf("while its origin runs: exit %d: %s", code, errs)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := invoke(t, t.Context(), nil, "", "store", "check", "--store", "disk:"+dir); code != exitDone || !strings.Contains(out, "4 records in 1 files") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, store.Media, "*.log"))
	for _, l := range logs {
		b, _ := os.ReadFile(l)
		if at := strings.Index(string(b), "the value of a"); at > 0 {
			b[at]++
			if err := os.WriteFile(l, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if code, out, _ := invoke(t, t.Context(), nil, "", "store", "check", "--store", "disk:"+dir); code != exitFailed || !strings.Contains(out, "bad: ") || !strings.Contains(out, "1 problem") {
		t.Errorf("of a damaged store: exit %d: %s", code, out)
	}
	for _, l := range logs {
		if err := os.WriteFile(l, bytes.Repeat([]byte("noise"), 4000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// Of what is as small as that there are two copies.
	if code, out, errs := invoke(t, t.Context(), nil, "", "store", "check", "--store", "disk:"+dir); code != exitFailed ||
		!strings.Contains(out, "no valid record") || !strings.Contains(errs, "taken from its twin") || strings.Contains(out, "lost:") {
		t.Errorf("of a log without a readable record: exit %d: %s%s", code, out, errs)
	}
	if err := os.RemoveAll(filepath.Join(dir, "twins")); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := invoke(t, t.Context(), nil, "", "store", "check", "--store", "disk:"+dir); code != exitFailed ||
		!strings.Contains(out, "lost: ") || !strings.Contains(errs, "DATA LOSS") {
		t.Errorf("of a log without a readable record, and no twin: exit %d: %s%s", code, out, errs)
	}
}

// TestLostSegmentsAreListed: as slots, those next to each other in one line.
func TestLostSegmentsAreListed(t *testing.T) {
	dir := t.TempDir()
	st, err := disk.Open(dir, disk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	tokens := store.NewTokens()
	for _, n := range []live.Number{7, 8, 9, 11} {
		for _, pipeline := range []string{"a", "b"} {
			item := store.Item{Key: layout.SegmentKey(n, pipeline), Token: tokens.Next(), Value: make([]byte, 10_000), Expires: time.Now().Add(time.Hour)}
			if err := st.Put(t.Context(), layout.Media(live.EventID{Tenant: "acme", Name: "final"}, "v720"), item); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	logs, _ := filepath.Glob(filepath.Join(dir, store.Media, "*.log"))
	if err := os.Truncate(logs[0], 5000); err != nil {
		t.Fatal(err)
	}
	code, out, errs := invoke(t, t.Context(), nil, "", "store", "check", "--store", "disk:"+dir)
	for _, want := range []string{
		"lost: event acme/final, rendition v720, pipeline a, numbers 7 to 9 (3 segments): ",
		"lost: event acme/final, rendition v720, pipeline b, numbers 11 to 11 (1 segment): ",
	} {
		if !strings.Contains(out, want) || code != exitFailed || !strings.Contains(errs, "DATA LOSS") {
			t.Errorf("exit %d, no %q in\n%s%s", code, want, out, errs)
		}
	}
	if info, err := os.Stat(logs[0]); err != nil || info.Size() < 5000 {
		t.Errorf("the evidence is gone: %v, %v", info, err)
	}
}

// TestProgress: a long command says now and then how far it is.
func TestProgress(t *testing.T) {
	var out strings.Builder
	p := newProgress(&out)
	p.say("at once")
	p.last = p.last.Add(-progressInterval)
	p.say("%d of %d", 1, 2)
	p.say("again")
	p.last = time.Now().Add(-progressInterval)
	p.say("later")
	if out.String() != "1 of 2\nlater\n" {
		t.Errorf("%q", out.String())
	}
}
