package headwater_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "headwater"

// may says what each package may import besides the standard library: packages
// of this module by their path, and other modules by theirs. Tests may import
// more (see forTests). A package that is not here fails the test: whoever adds
// one says what it may do.
var may = map[string][]string{
	"live":                {"github.com/dunglas/httpsfv"},
	"cmaf":                {"live"},
	"selection":           {"live"},
	"manifest":            {"live"},
	"admit":               {},
	"budget":              {},
	"clock":               {"github.com/prometheus/client_golang"},
	"announce":            {"live"},
	"store":               {"live"},
	"store/internal":      {"store"},
	"store/memory":        {"store", "store/internal"},
	"store/disk":          {"store", "store/internal", "golang.org/x/sys"},
	"store/storetest":     {"store", "store/internal", "internal/need", "pgregory.net/rapid"},
	"blobs":               {"live", "store", "github.com/prometheus/client_golang"},
	"blobs/memcachedtest": {"internal/need", "internal/proc"},
	"internal/proc":       {}, // for tests, benchmarks and drills
	"internal/need":       {}, // for tests
	"internal/mp4box":     {}, // for tests
	"internal/records":    {}, // for tests
	"origin":              {"budget", "clock", "live", "access", "admit", "announce", "store", "blobs", "origin/book", "origin/look", "origin/hear", "origin/journal", "origin/watch", "origin/window", "origin/health", "origin/metric", "origin/publish", "origin/deliver", "origin/control", "origin/audit", "listen", "listen/plain", "github.com/prometheus/client_golang"},
	"origin/publish":      {"budget", "clock", "live", "access", "cmaf", "selection", "admit", "listen", "announce", "store", "blobs", "origin/audit", "origin/book", "origin/journal", "origin/look", "origin/window", "origin/health", "origin/layout", "origin/keylock", "origin/metric", "github.com/prometheus/client_golang"},
	"origin/deliver":      {"budget", "clock", "live", "access", "selection", "manifest", "admit", "listen", "listen/plain", "internal/hedge", "announce", "store", "blobs", "origin/book", "origin/look", "origin/window", "origin/journal", "origin/watch", "origin/layout", "origin/metric", "github.com/prometheus/client_golang", "golang.org/x/sync"},
	"origin/audit":        {"clock", "live", "access", "store", "origin/metric", "github.com/prometheus/client_golang"},
	"origin/control":      {"clock", "live", "access", "selection", "origin/audit", "origin/book", "origin/journal", "origin/metric", "origin/watch", "origin/window"},
	"origin/hear":         {"clock", "live", "admit", "announce", "selection", "origin/book", "origin/look", "origin/metric", "github.com/prometheus/client_golang"},
	"origin/look":         {"live", "admit", "store", "origin/book", "origin/health", "origin/layout", "origin/metric", "github.com/prometheus/client_golang", "golang.org/x/sync"},
	"origin/watch":        {"live", "access", "selection", "origin/book", "github.com/prometheus/client_golang"},
	"origin/book":         {"clock", "live", "cmaf", "selection", "announce", "store", "origin/journal", "origin/layout", "origin/keylock", "origin/metric", "github.com/prometheus/client_golang", "golang.org/x/sync"},
	"origin/journal":      {"live", "selection", "store", "origin/layout", "origin/metric", "github.com/prometheus/client_golang", "golang.org/x/sync"},
	"origin/layout":       {"live", "store"},
	"origin/health":       {"clock", "live", "access", "announce", "store", "github.com/prometheus/client_golang"},
	"origin/window":       {"live"},
	"origin/metric":       {"live", "github.com/prometheus/client_golang"},
	"origin/keylock":      {},
	"edge":                {"budget", "clock", "access/token", "admit", "edge/exchange", "edge/event", "edge/object", "edge/parents", "edge/site", "live", "manifest", "github.com/prometheus/client_golang"},
	"edge/exchange":       {"edge/front/h2", "listen/plain", "live"},
	"edge/object":         {"edge/exchange", "github.com/andybalholm/brotli", "live", "store", "store/disk", "github.com/prometheus/client_golang"},
	"edge/parents":        {"clock", "live", "internal/hedge"},
	"edge/site":           {"edge/parents", "live"},
	"edge/event":          {"edge/exchange", "edge/parents", "live", "github.com/prometheus/client_golang"},
	"edge/front":          {"edge/exchange", "edge/front/record", "edge/front/h2", "listen/plain", "live", "github.com/prometheus/client_golang", "github.com/quic-go/quic-go", "golang.org/x/sys", "golang.org/x/net"},
	"edge/front/record":   {"golang.org/x/crypto"},
	"edge/front/h2":       {"golang.org/x/net"},
	"listen/plain":        {},
	"listen":              {"listen/plain", "live", "admit", "internal/reread", "golang.org/x/sys", "golang.org/x/net"},
	"packager":            {"clock", "live", "cmaf", "packager/clip", "internal/hedge"},
	"ingest":              {"admit", "live", "cmaf", "packager"},
	"internal/reread":     {},
	"access":              {"live", "internal/reread", "github.com/prometheus/client_golang"},
	"access/token":        {"live", "github.com/fxamacker/cbor/v2", "github.com/veraison/go-cose"}, // the latter in its tests
	"packager/clip":       {},
	"player":              {},
	"viewer":              {"live", "cmaf"},
	"scenario":            {"clock", "live", "cmaf", "selection", "manifest", "admit", "announce", "store", "store/memory", "store/disk", "origin", "edge", "edge/front", "packager", "ingest", "player", "viewer", "github.com/prometheus/client_golang"},
	"scenario/browser":    {"ingest"}, // in its tests
	"drill":               {"live", "viewer", "internal/proc"},
	"world":               {"live", "cmaf", "announce", "store", "store/memory", "store/disk", "blobs", "origin", "edge", "edge/front", "clock", "packager", "packager/clip", "github.com/prometheus/client_golang", "github.com/anishathalye/porcupine", "golang.org/x/sys"},
	"deploy":              {"origin", "edge", "edge/front", "github.com/prometheus/client_golang"}, // in its tests
	"cmd/headwater":       {"*"},
	"internal/memnet":     {},
	"internal/hedge":      {},
	"internal/selfsigned": {}, // for tests and benchmarks
	"scripts/mutate":      {},
	"scripts/tables":      {},

	"store/cassandra":                       {"store", "internal/hedge", "github.com/apache/cassandra-gocql-driver/v2", "golang.org/x/sync"},
	"store/cassandra/cassandratest":         {"internal/proc", "github.com/apache/cassandra-gocql-driver"},
	"store/cassandra/cassandratest/cluster": {"store/cassandra/cassandratest"},

	"store/s3":               {"store", "github.com/minio/minio-go/v7"},
	"store/s3/s3test":        {"internal/proc"},
	"announce/nats":          {"live", "announce", "github.com/nats-io/nats.go", "github.com/prometheus/client_golang"},
	"announce/nats/natstest": {"github.com/nats-io/nats.go", "github.com/nats-io/nats-server/v2"},
	"announce/announcetest":  {"live", "announce"},
}

// forTests is what the tests of any package may import as well.
var forTests = []string{"clock", "internal/memnet", "internal/mp4box", "internal/need", "internal/records", "internal/selfsigned", "internal/reread", "access", "edge", "edge/front", "live", "listen", "cmaf", "announce/nats", "announce/nats/natstest", "announce/announcetest", "github.com/prometheus/client_model", "store", "store/memory", "store/disk", "store/storetest", "store/cassandra", "store/cassandra/cassandratest", "store/s3", "store/s3/s3test", "blobs", "blobs/memcachedtest", "packager", "packager/clip", "player", "scenario", "selection", "origin/layout", "origin/health", "origin/audit", "pgregory.net/rapid", "github.com/andybalholm/brotli", "golang.org/x/sys"}

// pure packages decide by their arguments alone: no clock, no I/O.
var pure = []string{"live", "cmaf", "selection", "manifest"}

// impure is what a pure package must not use, by package and name; "" is all of it.
var impure = map[string][]string{
	"time":    {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"},
	"os":      {""},
	"net":     {""},
	"log":     {""},
	"sync":    {""},
	"context": {""},
}

// exceptions are functions that serve the wire for others, and say so.
var exceptions = map[string]bool{"live/http.go": true}

const (
	manyLines = 400 // a file should be shorter
	maxLines  = 800 // a file must be shorter
)

type file struct {
	path string // slash-separated, from the root
	dir  string
	ast  *ast.File
	pos  *token.FileSet
	test bool
}

func sources(t *testing.T) []file {
	t.Helper()
	var out []file
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			base := d.Name()
			if name != "." && (strings.HasPrefix(base, ".") || base == "node_modules" || base == "testdata" || name == "build") {
				return fs.SkipDir
			}
			// What only comparisons and checks need is in modules of their own.
			if _, err := os.Stat(path.Join(name, "go.mod")); name != "." && err == nil {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") {
			return nil
		}
		pos := token.NewFileSet()
		f, err := parser.ParseFile(pos, name, nil, 0)
		if err != nil {
			return err
		}
		out = append(out, file{path: name, dir: path.Dir(name), ast: f, pos: pos, test: strings.HasSuffix(name, "_test.go")})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestImports holds the arrows between the packages.
func TestImports(t *testing.T) {
	for _, f := range sources(t) {
		if f.dir == "." {
			continue
		}
		allowed, ok := may[f.dir]
		if !ok {
			allowed, ok = may[path.Dir(f.dir)+"/internal"], strings.Contains(f.dir, "/internal")
		}
		if strings.Contains(f.dir, "/internal/") {
			allowed, ok = may[f.dir[:strings.Index(f.dir, "/internal/")]+"/internal"], true
		}
		if !ok {
			t.Errorf("%s: package %s is not in the table of this test", f.path, f.dir)
			continue
		}
		if f.test {
			allowed = append(slices.Clone(allowed), forTests...)
			allowed = append(allowed, f.dir)
		}
		for _, spec := range f.ast.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			own, ours := strings.CutPrefix(p, module+"/")
			first, _, _ := strings.Cut(p, "/")
			if !ours && !strings.Contains(first, ".") {
				continue // the standard library
			}
			if !slices.ContainsFunc(allowed, func(a string) bool {
				return a == "*" || a == own || ours && strings.HasPrefix(own, a+"/internal/") || !ours && (p == a || strings.HasPrefix(p, a+"/"))
			}) {
				t.Errorf("%s: package %s must not import %s", f.path, f.dir, p)
			}
		}
	}
}

// TestOriginAndEdgeMeetOverHTTP: neither imports the other, tests included.
func TestOriginAndEdgeMeetOverHTTP(t *testing.T) {
	for _, f := range sources(t) {
		for _, spec := range f.ast.Imports {
			p := strings.Trim(spec.Path.Value, `"`)
			of := func(path, part string) bool { return path == part || strings.HasPrefix(path, part+"/") }
			if of(f.dir, "origin") && of(p, module+"/edge") || of(f.dir, "edge") && of(p, module+"/origin") {
				t.Errorf("%s imports %s", f.path, p)
			}
		}
	}
}

// TestPurity: decisions take time as an argument, and do nothing but decide.
func TestPurity(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || !slices.Contains(pure, f.dir) || exceptions[f.path] {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Obj == nil {
				if names, ok := impure[pkg.Name]; ok && (slices.Contains(names, "") || slices.Contains(names, sel.Sel.Name)) {
					t.Errorf("%v: %s.%s in pure package %s", f.pos.Position(n.Pos()), pkg.Name, sel.Sel.Name, f.dir)
				}
			}
			return true
		})
	}
}

// TestNoInit: wiring is explicit. Only commands are assembled in init.
func TestNoInit(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || f.dir == "cmd/headwater" {
			continue
		}
		for _, d := range f.ast.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%v: init", f.pos.Position(fn.Pos()))
			}
		}
	}
}

// left are the tests that make test may leave out as well, by what only the user has.
var left = map[string]string{
	"manifest/schema_test.go":               "the schema of ISO/IEC 23009-1, which is not ours to bring along",
	"edge/disk_real_test.go":                "the right to mount a file system, to fill it: root's",
	"store/disk/child_test.go":              "the right to mount a file system, to fill it: root's",
	"cmd/headwater/disktable_linux_test.go": "the same",
}

// TestNothingIsLeftOut: what a test needs, make test has or fails. Only package need
// skips tests, and what it skips there too is in left.
func TestNothingIsLeftOut(t *testing.T) {
	for _, f := range sources(t) {
		if f.dir == "internal/need" {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, ok := sel.X.(*ast.Ident)
			switch name := sel.Sel.Name; {
			case !ok:
			case slices.Contains([]string{"t", "b", "tb"}, of.Name) && (name == "Skip" || name == "Skipf" || name == "SkipNow"):
				t.Errorf("%v: a test is skipped for a reason of its own", f.pos.Position(n.Pos()))
			case of.Name == "need" && (name == "Given" || name == "Disk") && left[f.path] == "":
				t.Errorf("%v: make test leaves this out: why?", f.pos.Position(n.Pos()))
			}
			return true
		})
	}
}

func TestFileLength(t *testing.T) {
	for _, f := range sources(t) {
		switch n := f.pos.Position(f.ast.End()).Line; {
		case n > maxLines:
			t.Errorf("%s has %d lines, at most %d", f.path, n, maxLines)
		case n > manyLines && !f.test:
			t.Logf("%s has %d lines", f.path, n)
		}
	}
}
