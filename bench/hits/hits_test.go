//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The short form: each cache that is installed answers once, by each protocol, and
// tables and plots are written.
func TestShort(t *testing.T) {
	docs := t.TempDir()
	if err := os.WriteFile(filepath.Join(docs, "benchmarks.md"), []byte("before\n"+from+"old\n"+upTo+"after\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	o := options{rounds: 1, length: 100 * time.Millisecond, server: "0", client: "0", only: "plain,tls,h2,refusals", sizes: "10 KB,404 early", docs: docs}
	if err := run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(docs, "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if !strings.HasPrefix(text, "before\n") || !strings.HasSuffix(text, "after\n") || strings.Contains(text, "old") {
		t.Errorf("%.100q ... %.100q", text, text[max(0, len(text)-100):])
	}
	if n := strings.Count(text, "headwater edge"); n < 4 {
		t.Errorf("%d rows of headwater edge:\n%s", n, text)
	}
	for _, part := range []string{"plain", "tls", "h2", "refusals"} {
		if svg, err := os.ReadFile(filepath.Join(docs, "plots", "hits-"+part+".svg")); err != nil || !strings.Contains(string(svg), "</svg>") {
			t.Errorf("%s: %v", part, err)
		}
	}
}

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == bareName {
		bare(os.Args[2]) // this program is its server too
		return
	}
	os.Exit(m.Run())
}
