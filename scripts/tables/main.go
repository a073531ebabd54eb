// Command tables writes the tables of documents from records of test runs.
//
//	go run ./scripts/tables players build/players.jsonl docs/players.md
//	go run ./scripts/tables sources build/sources.jsonl docs/ingest.md
//
// What is between <!-- players --> and <!-- end of players --> in a document is replaced. Of
// several records of the same the last counts. make players-table and make sources-table
// run the tests that leave records, and then this.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: tables players|sources RECORDS DOCUMENT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "tables:", err)
		os.Exit(1)
	}
}

func run(what, records, document string) error {
	lines, err := os.ReadFile(records)
	if err != nil {
		return err
	}
	var text string
	switch what {
	case "players":
		text, err = players(lines)
	case "sources":
		text, err = sources(lines)
	default:
		err = fmt.Errorf("there is no table %q", what)
	}
	if err != nil {
		return err
	}
	doc, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	begin, end := []byte("<!-- "+what+" -->\n"), []byte("<!-- end of "+what+" -->\n")
	head, rest, found := bytes.Cut(doc, begin)
	_, tail, ended := bytes.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("%s has no place for the table: %s and %s", document, begin, end)
	}
	return os.WriteFile(document, bytes.Join([][]byte{head, begin, []byte(text), end, tail}, nil), 0o644)
}

// decode reads records, one a line.
func decode[T any](lines []byte, each func(T)) error {
	for line := range bytes.Lines(lines) {
		var r T
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("%w: %s", err, line)
		}
		each(r)
	}
	return nil
}

// A grid is a table of cells by row and column, in the order in which these are given.
type grid struct {
	corner        string
	columns, rows [][2]string // key and words
	cells         map[[2]string]string
}

func (g *grid) String() string {
	var b strings.Builder
	b.WriteString("| " + g.corner + " |")
	for _, c := range g.columns {
		b.WriteString(" " + c[1] + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(g.columns)) + "\n")
	for _, r := range g.rows {
		b.WriteString("| " + r[1] + " |")
		for _, c := range g.columns {
			cell, ok := g.cells[[2]string{r[0], c[0]}]
			if !ok {
				cell = "-"
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// machine says on what it was run, and when.
func machine(last time.Time) string {
	model := runtime.GOARCH
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(info); m != nil {
			model = string(m[1])
		}
	}
	return fmt.Sprintf("%s, %d processors of %s", last.Format(time.DateOnly), runtime.NumCPU(), model)
}

// version is the first number of what a program says of itself, or "".
func version(name string, arg ...string) string {
	out, err := exec.Command(name, arg...).Output()
	if err != nil && len(out) == 0 {
		return ""
	}
	if m := regexp.MustCompile(`(?m)(?:^|[ v])(\d+(?:\.\d+)+)`).FindSubmatch(out); m != nil { // not the 1.0 of gst-launch-1.0
		return string(m[1])
	}
	return ""
}
