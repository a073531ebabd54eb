package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headwater/internal/need"
)

// invoke runs a command line as main does.
func invoke(t *testing.T, ctx context.Context, variables map[string]string, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := &environment{
		stdin: io.NopCloser(strings.NewReader(stdin)), stdout: &out, stderr: &errs, getenv: func(k string) string { return variables[k] },
		environ: func() (all []string) {
			for k, v := range variables {
				all = append(all, k+"="+v)
			}
			return all
		},
	}
	code = run(ctx, env, args)
	return code, out.String(), errs.String()
}

func TestUsage(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		env  map[string]string
		want string // in what it says
	}{
		{"nothing", nil, nil, "headwater demo"},
		{"unknown command", []string{"fly"}, nil, `"fly"`},
		{"unknown flag", []string{"edge", "--wings"}, nil, "--wings"},
		{"missing flag", []string{"edge"}, nil, "--parent"},
		{"bad parent", []string{"edge", "--parent", "origin:7002"}, nil, `"origin:7002"`},
		{"a node outside its site", []string{"edge", "--parent", "east=http://h:1", "--site", "a=http://h:1,b=http://h:2"}, nil, "--name"},
		{"a site of one name", []string{"edge", "--parent", "http://h:1", "--name", "a", "--site", "a=http://h:1,a=http://h:2"}, nil, "twice"},
		{"a site without names", []string{"edge", "--parent", "http://h:1", "--site", "http://h:1"}, nil, "--site"},
		{"a file to leave no pathway", []string{"edge", "--parent", "http://h:1", "--away-file", "/away"}, nil, "--pathway"},
		{"a pathway of no name", []string{"edge", "--parent", "http://h:1", "--pathway", "."}, nil, "pathway"},
		{"bad size", []string{"edge", "--parent", "http://h:1", "--memory", "lots"}, nil, "memory"},
		{"bad variable", []string{"edge", "--parent", "http://h:1"}, map[string]string{"HEADWATER_EDGE_MEMORY": "lots"}, "HEADWATER_EDGE_MEMORY"},
		{"a slip in a variable", []string{"origin"}, map[string]string{"HEADWATER_ORIGIN_STROE": "memory:"}, "HEADWATER_ORIGIN_STROE: no flag has this environment variable; did you mean HEADWATER_ORIGIN_STORE?"},
		{"a slip in the command of a variable", []string{"edge"}, map[string]string{"HEADWATER_EGDE_PARENT": "http://h:1"}, "did you mean HEADWATER_EDGE_PARENT?"},
		{"another command's slip", []string{"event", "get", "t/e"}, map[string]string{"HEADWATER_ORIGIN_STROE": "memory:"}, "did you mean HEADWATER_ORIGIN_STORE?"},
		{"a variable without a command", []string{"origin"}, map[string]string{"HEADWATER_STORE": "memory:"}, "did you mean HEADWATER_ORIGIN_STORE?"},
		{"a slip in a verb of store", []string{"store", "chekc", "--store", "memory:"}, nil, `"chekc" is not a verb of store: there are init and check; did you mean check?`},
		{"nothing near", []string{"origin"}, map[string]string{"HEADWATER_X": "1"}, "HEADWATER_X: no flag has this environment variable\n"},
		{"a slip in a flag", []string{"origin", "--stroe", "memory:"}, nil, "--stroe: there is no such flag; did you mean --store?"},
		{"what Kubernetes sets, and a slip", []string{"origin"}, map[string]string{
			"HEADWATER_ORIGIN_SERVICE_HOST": "10.0.0.1", "HEADWATER_ORIGIN_SERVICE_PORT_PUBLISH": "7001", "HEADWATER_ORIGIN_PORT": "tcp://10.0.0.1:7001",
			"HEADWATER_ORIGIN_PORT_7001_TCP_ADDR": "10.0.0.1", "HEADWATER_ORIGIN_PORTS": "1"}, "HEADWATER_ORIGIN_PORTS: no"},
		{"bad store", []string{"origin", "--store", "tape:1"}, nil, "--store"},
		{"bad cache", []string{"origin", "--store", "memory:", "--cache", "memcached://a"}, nil, "--cache"},
		{"bad zone", []string{"origin", "--store", "memory:", "--cache", "memcached://a=h", "--zone", "b"}, nil, "--zone"},
		{"bad role", []string{"origin", "--roles", "cook"}, nil, "--roles"},
		{"bad token", []string{"origin", "--publish-token", "x"}, nil, "--publish-token"},
		{"bad level", []string{"origin", "--log-level", "loud"}, nil, "--log-level"},
		{"packager without event", []string{"packager", "--pipeline", "a", "--clip", "--to", "http://h:1"}, nil, "--event"},
		{"packager with a bad fault", []string{"packager", "--event", "t/e", "--pipeline", "a", "--clip", "--to", "http://h:7001", "--fault", "melt"}, nil, "melt"},
		{"event without verb", []string{"event"}, nil, "create"},
		{"a slip in a verb of event", []string{"event", "maks", "t/e"}, nil, "did you mean mask?"},
		{"a flag of another verb", []string{"event", "get", "t/e", "-f", "x"}, nil, "get: -f is not for this verb"},
		{"keys without verb", []string{"keys"}, nil, "init, viewers, token, add or list"},
		{"event without name", []string{"event", "get"}, nil, "TENANT/EVENT"},
		{"event with a bad name", []string{"event", "get", "X"}, nil, `"X"`},
		{"load without edge", []string{"load", "--event", "t/e"}, nil, "--edge"},
		{"load from an edge without http", []string{"load", "--event", "t/e", "--edge", "127.0.0.1:8080"}, nil, `--edge: "127.0.0.1:8080" is not a URL like http://127.0.0.1:8080`},
		{"drill without an end", []string{"demo", "--drill"}, nil, "--for"},
		{"bad encoder", []string{"demo", "--encoder", "abacus"}, nil, "--encoder"},
		{"no such file", []string{"edge", "--config", "/nowhere"}, nil, "--config"},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, out, errs := invoke(t, t.Context(), c.env, "", c.args...)
			if code != exitUsage || !strings.Contains(errs, c.want) {
				t.Errorf("exit %d, want %d and %q in: %s%s", code, exitUsage, c.want, out, errs)
			}
		})
	}
}

func TestHelpNamesEverything(t *testing.T) {
	_, all, _ := invoke(t, t.Context(), nil, "", "help")
	for _, c := range commands() {
		if !strings.Contains(all, c.name) {
			t.Errorf("help does not name %s", c.name)
		}
		for _, args := range [][]string{{"help", c.name}, {c.name, "--help"}} {
			code, out, errs := invoke(t, t.Context(), nil, "", args...)
			if code != exitDone || !strings.Contains(out, "--config") || !strings.Contains(out, "HEADWATER_"+strings.ToUpper(c.name)) {
				t.Errorf("%v: exit %d: %s%s", args, code, out, errs)
			}
		}
	}
}

// TestVerbsOfEvent: those that are named are those that there are.
func TestVerbsOfEvent(t *testing.T) {
	_, _, errs := invoke(t, t.Context(), nil, "", "event", "x")
	_, names, _ := strings.Cut(strings.SplitN(errs, "\n", 2)[0], "there are ")
	named := strings.Split(strings.Replace(names, " and ", ", ", 1), ", ")
	slices.Sort(named)
	if all := slices.Sorted(maps.Keys(eventVerbs())); !slices.Equal(named, all) {
		t.Errorf("named %v, there are %v", named, all)
	}
	if _, out, _ := invoke(t, t.Context(), nil, "", "help", "event"); !strings.Contains(out, "\n  -f FILE\n") || strings.Contains(out, "--f ") {
		t.Errorf("how is the file given? %s", out)
	}
}

// TestPrecedence: a flag beats the environment, which beats the file.
func TestPrecedence(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(file, []byte(`{"edge": {"name": "file", "memory": "1MiB", "parent": ["http://a:1", "http://b:1"]}, "origin": {"store": "memory:"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var f edgeFlags
	o := newOptions("edge")
	f.register(o)
	env := &environment{getenv: func(k string) string {
		return map[string]string{"HEADWATER_EDGE_NAME": "variable", "HEADWATER_EDGE_LISTEN": ":1"}[k]
	}}
	if _, err := o.parse(env, []string{"--listen", ":2", "--config", file}); err != nil {
		t.Fatal(err)
	}
	if f.front.listen != ":2" || f.name != "variable" || f.memory != 1<<20 || strings.Join(f.parents, " ") != "http://a:1 http://b:1" {
		t.Errorf("%+v", f)
	}
	if err := os.WriteFile(file, []byte(`{"edge": {"wings": 2}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := invoke(t, t.Context(), nil, "", "edge", "--config", file); code != exitUsage || !strings.Contains(errs, "wings") {
		t.Errorf("an unknown key: %d %s", code, errs)
	}
}

func TestPrintRenditions(t *testing.T) {
	code, out, errs := invoke(t, t.Context(), nil, "", "packager", "--clip", "--print-renditions")
	var list []map[string]any
	if err := json.Unmarshal([]byte(out), &list); code != exitDone || err != nil || len(list) < 3 {
		t.Errorf("exit %d, %v: %s%s", code, err, out, errs)
	}
}

// TestDemoDrill is the main job: nobody notices that a pipeline breaks.
func TestDemoDrill(t *testing.T) {
	need.Long(t, "plays in real time")
	code, out, errs := invoke(t, t.Context(), nil, "", "demo", "--for", "24s", "--drill", "--json", "--listen", "127.0.0.1:0")
	var s summary
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	if code != exitDone || len(s.Errors) > 0 || s.Stalls > 0 || s.Gaps > 0 || s.DefectiveServed > 0 || s.Drill == nil || len(s.Drill.Did) == 0 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	if s.SegmentsServed == 0 || s.SegmentsPublished == 0 || s.ServedBy["a"] == 0 || s.ServedBy["b"] == 0 {
		t.Errorf("not both pipelines served: %s", out)
	}
	for rendition, gets := range s.OriginGetsPerSegment {
		if gets != 1 {
			t.Errorf("%s: %v origin GETs per segment", rendition, gets)
		}
	}
}
