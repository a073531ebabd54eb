package player

import (
	"bytes"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"headwater/internal/need"
)

func get(t *testing.T, method, url string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, url, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Handler().ServeHTTP(w, r)
	return w.Result()
}

// files lists every embedded file by its path under the page.
func files(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	err := fs.WalkDir(embedded, "web", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := embedded.ReadFile(name)
		out[strings.TrimPrefix(name, "web/")] = b
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(out) < 10 {
		t.Fatalf("only %d files are embedded", len(out))
	}
	return out
}

func TestEveryFileIsServed(t *testing.T) {
	for name, want := range files(t) {
		res := get(t, http.MethodGet, Path+name)
		got, _ := io.ReadAll(res.Body)
		if res.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
			t.Errorf("%s: status %d, %d bytes, want 200 and %d", name, res.StatusCode, len(got), len(want))
		}
		if ct := res.Header.Get("Content-Type"); ct == "" || ct != contentTypes[path.Ext(name)] {
			t.Errorf("%s: content type %q", name, ct)
		}
		for _, h := range []string{"ETag", "Cache-Control", "Content-Security-Policy", "X-Content-Type-Options"} {
			if res.Header.Get(h) == "" {
				t.Errorf("%s: no %s", name, h)
			}
		}
		again := get(t, http.MethodGet, Path+name, "If-None-Match", res.Header.Get("ETag"))
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: status %d to its own ETag, want 304", name, again.StatusCode)
		}
	}
}

func TestPageAndRefusals(t *testing.T) {
	page := get(t, http.MethodGet, Path)
	body, _ := io.ReadAll(page.Body)
	if page.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("<title>Headwater</title>")) {
		t.Errorf("the page: status %d", page.StatusCode)
	}
	head := get(t, http.MethodHead, Path)
	if n, _ := io.Copy(io.Discard, head.Body); n != 0 || head.StatusCode != http.StatusOK {
		t.Errorf("HEAD: status %d, %d bytes", head.StatusCode, n)
	}
	for _, c := range []struct {
		method, url string
		want        int
	}{
		{http.MethodGet, Path + "nothing.js", 404},
		{http.MethodGet, Path + "core", 404},
		{http.MethodGet, Path + "../player.go", 404},
		{http.MethodGet, "/player.go", 404},
		{http.MethodGet, "/", 200},
		{http.MethodGet, "/core/sfv.js", 200},
		{http.MethodPost, Path, 405},
		{http.MethodDelete, Path + "app.js", 405},
	} {
		if res := get(t, c.method, c.url); res.StatusCode != c.want {
			t.Errorf("%s %s: status %d, want %d", c.method, c.url, res.StatusCode, c.want)
		}
	}
}

// A player that asked a third party for a font would tell it who watches what,
// and would not work on a machine without a way out.
func TestNoExternalReferences(t *testing.T) {
	url := regexp.MustCompile(`(?i)\b(?:https?|wss?|ftp):(?:\\?/){2}[^\s"'` + "`" + `<>)]*|(?:src|href|action)\s*=\s*["']//[^"']*|url\(\s*["']?//[^)]*`)
	allowed := regexp.MustCompile(`^(http://www\.w3\.org/2000/svg|http://host:(port|8080).*)$`)
	for name, body := range files(t) {
		for _, m := range url.FindAllString(string(body), -1) {
			// An XML namespace is a name, and http://host is an example for people.
			if !allowed.MatchString(m) {
				t.Errorf("%s refers to %s", name, m)
			}
		}
	}
}

// One line each: import ... from '...', export ... from '...', import '...'.
var imports = regexp.MustCompile(`(?m)^(?:(?:import|export)\b[^'\n]*\bfrom|import) '([^'\n]+)'`)

// Every module that is imported is there, and every one that is there is used.
func TestModulesResolve(t *testing.T) {
	all := files(t)
	used := map[string]bool{"index.html": true}
	for name, body := range all {
		if path.Ext(name) != ".js" {
			continue
		}
		for _, m := range imports.FindAllStringSubmatch(string(body), -1) {
			if !strings.HasPrefix(m[1], "./") && !strings.HasPrefix(m[1], "../") {
				t.Errorf("%s imports %s: not a relative path", name, m[1])
				continue
			}
			target := path.Join(path.Dir(name), m[1])
			if _, ok := all[target]; !ok {
				t.Errorf("%s imports %s: not there", name, m[1])
			}
			used[target] = true
		}
	}
	refs := regexp.MustCompile(`(?:src|href)="([^"#?]+)"|url\("?([^")]+)"?\)`)
	for name, body := range all {
		if ext := path.Ext(name); ext != ".html" && ext != ".css" {
			continue
		}
		for _, m := range refs.FindAllStringSubmatch(string(body), -1) {
			if m[1]+m[2] == "./" {
				continue
			}
			target := path.Join(path.Dir(name), m[1]+m[2])
			if _, ok := all[target]; !ok {
				t.Errorf("%s refers to %s: not there", name, target)
			}
			used[target] = true
		}
	}
	for name := range all {
		if !used[name] {
			t.Errorf("%s is embedded but nothing uses it", name)
		}
	}
}

// The policy forbids inline script and style; a page that had any would not
// work.
func TestPageHasNothingInline(t *testing.T) {
	page := string(files(t)["index.html"])
	for what, re := range map[string]string{
		"a script":         `<script(?:[^>]*)>\s*[^<\s]`,
		"a style element":  `<style`,
		"a style":          `\sstyle=`,
		"an event handler": `\son[a-z]+=`,
	} {
		if regexp.MustCompile(`(?i)` + re).MatchString(page) {
			t.Errorf("index.html has %s inline", what)
		}
	}
}

// Every element that a module asks for by its id is on the page.
func TestElementsExist(t *testing.T) {
	all := files(t)
	asked := regexp.MustCompile(`\$\('([a-z0-9-]+)'\)`)
	for name, body := range all {
		for _, m := range asked.FindAllStringSubmatch(string(body), -1) {
			if !bytes.Contains(all["index.html"], []byte(`id="`+m[1]+`"`)) {
				t.Errorf("%s asks for #%s: not on the page", name, m[1])
			}
		}
	}
}

// The modules' own tests are in test/ and run in Node.
func TestModules(t *testing.T) {
	node := need.Program(t, "node")
	tests, err := filepath.Glob("test/*.test.mjs")
	if err != nil || len(tests) == 0 {
		t.Fatalf("no module tests: %v", err)
	}
	out, err := exec.Command(node, append([]string{"--test"}, tests...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
