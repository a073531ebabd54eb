// Package player is the viewer's page: a live player of our own on Media
// Source Extensions, in plain ES modules that are embedded as they are
// written. It asks nothing of any server but the edge that it plays from.
//
// The page is mounted under Path by the process that serves it:
//
//	mux.Handle(player.Path, player.Handler())
//
// (with http.StripPrefix or without) and takes its event from the query: ?event=TENANT/EVENT, with
// &edge=http://host:port where another origin than the page's own serves the
// event. Without an event it asks the page's own server for a demo
// (/-/demo/state) and otherwise the person.
//
// While a page plays, window.headwater reads as a frozen snapshot of the
// player's state, for tests: see web/ui/snapshot.js for its fields.
package player

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// Path is where the page lives. It cannot collide with an event: names of
// tenants do not begin with a hyphen.
const Path = "/-/player/"

//go:embed web
var embedded embed.FS

// contentTypes are spelled out: what the operating system's MIME table says of
// .js differs, and a browser refuses a module of the wrong type.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
}

// contentSecurityPolicy lets the page load its own files only, play what its
// own script made (blob:), and connect to any edge, which the query may name.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; " +
	"media-src 'self' blob:; connect-src 'self' http: https:; base-uri 'none'; form-action 'self'; " +
	"frame-ancestors 'self'; require-trusted-types-for 'script'"

// An asset is one embedded file, ready to be sent.
type asset struct {
	contentType string
	etag        string // RFC 9110, section 8.8.3: strong, from the content
	body        []byte
}

// Handler serves the page and its modules, under Path or at the root, for GET
// and HEAD. Files
// may be cached but are revalidated each time, so that the modules of two
// versions never mix. Any other path is answered 404, any other method 405.
func Handler() http.Handler {
	assets := load()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, Path), "/")
		if name == "" {
			name = "index.html"
		}
		a, ok := assets[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the player page is only read", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", a.contentType)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", a.etag)
		h.Set("Content-Security-Policy", contentSecurityPolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
	})
}

// load reads every embedded file once. What go:embed took in at build time
// cannot fail to be read.
func load() map[string]asset {
	assets := map[string]asset{}
	err := fs.WalkDir(embedded, "web", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		body, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		assets[strings.TrimPrefix(name, "web/")] = asset{
			contentType: contentTypes[path.Ext(name)],
			etag:        `"` + hex.EncodeToString(sum[:12]) + `"`,
			body:        body,
		}
		return nil
	})
	if err != nil {
		panic("player: embedded files: " + err.Error())
	}
	return assets
}
