package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headwater/access"
	"headwater/access/token"
	"headwater/edge"
)

// TestSafeByDefault: beyond this machine nobody publishes or controls who does
// not say who they are, unless that is asked for.
func TestSafeByDefault(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := invoke(t, t.Context(), nil, "", "keys", "init", dir); code != exitDone {
		t.Fatal(errs)
	}
	credentials := filepath.Join(dir, "credentials.json")
	for _, c := range []struct {
		args string
		ok   bool
	}{
		{"", true}, // the defaults
		{"--publish 127.0.0.1:0 --control [::1]:0", true},
		{"--publish localhost:0", true},
		{"--publish :0", false},
		{"--publish 0.0.0.0:0", false},
		{"--control :0", false},
		{"--control [::]:0", false},
		{"--control origin:7003", false},
		{"--control :0 --insecure", true},
		{"--control :0 --credentials " + credentials, true},
		{"--deliver :0", true},
	} {
		var f originFlags
		o := newOptions("origin")
		f.register(o)
		if _, err := o.parse(&environment{getenv: func(string) string { return "" }}, strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		err := f.access.safe(map[string]string{"publish": f.publish, "deliver": f.deliver, "control": f.control})
		if (err == nil) != c.ok {
			t.Errorf("%q: %v", c.args, err)
		}
	}
	// What the person at the terminal sees.
	code, _, errs := invoke(t, t.Context(), nil, "", "origin", "--store", "memory:", "--control", ":0")
	if code != exitUsage {
		t.Errorf("exit %d", code)
	}
	for _, flag := range []string{"--control", "--credentials", "headwater keys init", "--insecure", "127.0.0.1"} {
		if !strings.Contains(errs, flag) {
			t.Errorf("no %s in %s", flag, errs)
		}
	}
	// A role that does not run has no listener.
	f := accessFlags{}
	if err := f.safe(map[string]string{"deliver": ":7002"}); err != nil {
		t.Error(err)
	}
}

func TestKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "keys")
	for range 2 { // the second time nothing changes
		if code, _, errs := invoke(t, t.Context(), nil, "", "keys", "init", dir); code != exitDone {
			t.Fatal(errs)
		}
	}
	name := filepath.Join(dir, "credentials.json")
	for _, f := range []string{name, filepath.Join(dir, "control.secret")} {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info, err)
		}
	}
	secret, err := readSecret(filepath.Join(dir, "control.secret"))
	if err != nil {
		t.Fatal(err)
	}
	run := func(want int, args ...string) string {
		t.Helper()
		code, out, errs := invoke(t, t.Context(), nil, "", append([]string{"keys"}, args...)...)
		if code != want {
			t.Fatalf("%v: exit %d: %s", args, code, errs)
		}
		return out
	}
	old := strings.TrimSpace(run(exitDone, "add", "--credentials", name, "--name", "acme-a", "--grant", "publish:acme/a"))
	fresh := strings.TrimSpace(run(exitDone, "add", "--credentials", name, "--name", "acme-a", "--grant", "publish:acme/a"))
	run(exitUsage, "add", "--credentials", name, "--name", "acme-a", "--grant", "fly")
	run(exitUsage, "add", "--credentials", name, "--name", "acme-a")
	run(exitUsage, "lend")
	run(exitUsage, "list")
	file, err := readCredentials(name)
	if err != nil {
		t.Fatal(err)
	}
	k, err := access.NewKeyring(file.Credentials...)
	if err != nil {
		t.Fatal(err)
	}
	for secret, who := range map[string]string{secret: "control", old: "acme-a", fresh: "acme-a"} {
		if id := k.Secret(secret, file.Credentials[0].Expires); id == nil || id.Name != who {
			t.Errorf("%s: %v", who, id)
		}
	}
	list := run(exitDone, "list", "--credentials", name)
	if !strings.Contains(list, "acme-a: publish:acme/a (2 secrets)") || strings.Contains(list, access.Hash(old)) {
		t.Error(list)
	}
	if b, _ := os.ReadFile(name); strings.Contains(string(b), secret) {
		t.Error("the file has a secret")
	}
	run(exitUsage, "list", "--credentials", filepath.Join(dir, "none.json"))
	none := filepath.Join(dir, "nobody.json")
	if err := os.WriteFile(none, []byte(`{"credentials": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := invoke(t, t.Context(), nil, "", "keys", "list", "--credentials", none); code != exitDone || out != "" || !strings.Contains(errs, "nobody.json has not one credential") {
		t.Errorf("exit %d: %q %q", code, out, errs)
	}
}

// TestKeysKeepWhoMayRead: who may read a file of keys may still when one is added.
func TestKeysKeepWhoMayRead(t *testing.T) {
	viewers, credentials := filepath.Join(t.TempDir(), "viewers.json"), filepath.Join(t.TempDir(), "credentials.json")
	for name, args := range map[string][]string{
		viewers:     {"viewers", "--viewer-keys", viewers, "--key"},
		credentials: {"add", "--credentials", credentials, "--grant", "read", "--name"},
	} {
		for i, mode := range []os.FileMode{0o600, 0o640} {
			if code, _, errs := invoke(t, t.Context(), nil, "", append(append([]string{"keys"}, args...), string(rune('a'+i)))...); code != exitDone {
				t.Fatal(errs)
			}
			if info, err := os.Stat(name); err != nil || info.Mode().Perm() != mode {
				t.Errorf("%s: %v %v, want %v", name, info.Mode(), err, mode)
			}
			if err := os.Chmod(name, 0o640); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestNobodyCanWatch: a file without one key is said in the log.
func TestNobodyCanWatch(t *testing.T) {
	name := filepath.Join(t.TempDir(), "viewers.json")
	if err := os.WriteFile(name, []byte(`{"key": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f := nodeFlags{viewerKeys: name}
	if _, err := f.apply(&edge.Config{Metrics: newRegistry()}, slog.New(slog.NewTextHandler(&log, nil))); err != nil || !strings.Contains(log.String(), "nobody can watch") {
		t.Errorf("%v: %s", err, &log)
	}
}

// TestSecretsAreNotShown: help names no flag that takes a secret, but the files.
func TestSecretsAreNotShown(t *testing.T) {
	for command, flags := range map[string][3]string{
		"origin": {"--publish-token", "--control-token", "--credentials"}, "event": {"--control-token ", "", "--control-token-file"}, "packager": {"--token ", "", "--token-file"},
	} {
		_, out, _ := invoke(t, t.Context(), nil, "", "help", command)
		for _, flag := range flags[:2] {
			if flag != "" && strings.Contains(out, "  "+flag) {
				t.Errorf("%s: %s", command, flag)
			}
		}
		if !strings.Contains(out, flags[2]) {
			t.Errorf("%s: no %s", command, flags[2])
		}
	}
	_, _, errs := invoke(t, t.Context(), map[string]string{"HEADWATER_ORIGIN_PUBLISH_TOKEN": "hush"}, "", "origin", "--store", "memory:")
	if !strings.Contains(errs, "--publish-token") || strings.Contains(errs, "hush") {
		t.Error(errs)
	}
}

// TestEdgesSayWhoTheyAre: a site beyond this machine wants credentials, and flags go
// to the edge's configuration.
func TestEdgesSayWhoTheyAre(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := invoke(t, t.Context(), nil, "", "keys", "init", dir); code != exitDone {
		t.Fatal(errs)
	}
	keys := filepath.Join(dir, "viewers.json")
	if code, _, errs := invoke(t, t.Context(), nil, "", "keys", "viewers", "--viewer-keys", keys, "--key", "k1", "--tenant", "t"); code != exitDone {
		t.Fatal(errs)
	}
	far := map[string]string{"a": "http://h1:8080", "b": "http://h2:8080"}
	for _, c := range []struct {
		site map[string]string
		args string
		ok   bool
	}{
		{nil, "", true},
		{map[string]string{"a": "http://127.0.0.1:1", "b": "http://localhost:2"}, "", true},
		{far, "", false},
		{far, "--peer-token-file " + filepath.Join(dir, "peer.secret"), false},
		{far, "--credentials " + filepath.Join(dir, "credentials.json") + " --peer-token-file " + filepath.Join(dir, "peer.secret"), true},
		{far, "--insecure", true},
	} {
		var f edgeFlags
		o := newOptions("edge")
		f.register(o)
		if _, err := o.parse(&environment{getenv: func(string) string { return "" }}, strings.Fields(c.args+" --viewer-keys "+keys)); err != nil {
			t.Fatal(err)
		}
		cfg := edge.Config{Site: c.site, Metrics: newRegistry()}
		watched, err := f.node.apply(&cfg, slog.New(slog.DiscardHandler))
		if (err == nil) != c.ok {
			t.Errorf("%v %q: %v", c.site, c.args, err)
		}
		if err != nil {
			continue
		}
		if cfg.Tokens == nil || len(watched) == 0 {
			t.Errorf("%q: no keys", c.args)
		}
		if strings.Contains(c.args, "credentials") {
			peer, _ := readSecret(filepath.Join(dir, "peer.secret"))
			if cfg.PeerSecret != peer || !cfg.Peers("Bearer "+peer) || cfg.Peers("Bearer x") || cfg.Peers("") {
				t.Errorf("%q: nodes are not known", c.args)
			}
		}
	}
	for _, form := range []string{"cwt", "jwt", "url"} {
		code, out, errs := invoke(t, t.Context(), nil, "", "keys", "token", "t/e", "--viewer-keys", keys, "--form", form, "--for", "1h")
		b, err := os.ReadFile(keys)
		if code != exitDone || err != nil {
			t.Fatal(errs, err)
		}
		set, err := token.ParseKeys(b)
		if err != nil {
			t.Fatal(err)
		}
		claims, err := token.NewVerifier(set).Verify(strings.TrimSpace(out), "t")
		if err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		if err := claims.Permit(&token.Policy{}, &token.Request{Method: "GET", Path: "/t/e/v/1.m4s"}, time.Now()); err != nil {
			t.Errorf("%s: %v", form, err)
		}
	}
}
