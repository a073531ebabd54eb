package scenario

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata")

// TestTranscript plays the scripts in testdata, each named after what goes
// wrong in it, and holds what came out against what is written there:
//
//	go test ./scenario -run Transcript -update
//
// writes it anew. A script is comments, and blocks of commands; below a block,
// after ----, is what it printed, up to an empty line. All times are seconds
// since the event began. They are virtual: nothing sleeps, so they are exact.
// Each command is carried out when all that the one before set off has come to
// rest.
//
// Commands (see world.run for all):
//
//	event dvr=60s                       create the event /t/e; segment 1 begins at 0
//	parents p1 p2                       two ways to the origin, each of which can fail
//	edge e1 above p1 p2                 an edge that fills from them
//	at 14.73, advance 500ms             let time pass
//	publish a v720 7                    pipeline a PUTs segment 7
//	get anna /t/e/v720/7.m4s            anna asks the first edge
//	get crowd*1000 /t/e/v720/7.m4s e2   a thousand viewers ask the edge e2
//	await anna, show anna, leave anna   wait for her answer; what she has so far; she goes
//	kill p1, hang p1, corrupt p1        faults; start and mend end them
//	count /t/e/v720/7.m4s               how often each parent was asked since the last count
//
// What is printed of an answer: when its head came and when its last byte did
// (once, where that is one instant), status, the edge's outcome as in
// Cache-Status ("collapsed": another request's fill), how long it may be kept,
// and what came of the body. The digest is always checked.
func TestTranscript(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			s := parseScript(string(text))
			// Whatever drives the walks of viewers' requests, all is the same.
			t.Run("park", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { s.play(t, name, true) }) })
			t.Run("block", func(t *testing.T) { synctest.Test(t, func(t *testing.T) { s.play(t, name, false) }) })
			switch got := s.String(); {
			case t.Failed() || got == string(text):
			case *update:
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Error("the file is not as -update writes it")
			}
		})
	}
}

// A script is a transcript's parts in order.
type script []*block

// A block is commands with their output, or comments and empty lines.
type block struct {
	line     int // of its first line
	comment  []string
	commands []string
	want     string // output as written
	got      string
}

const separator = "----"

func parseScript(text string) script {
	var s script
	var now *block
	output := false
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case output && line != "":
			now.want += line + "\n"
		case line == "":
			s = append(s, &block{line: i + 1, comment: []string{""}})
			now, output = nil, false
		case strings.HasPrefix(line, "#"):
			s = append(s, &block{line: i + 1, comment: []string{line}})
			now = nil
		case line == separator && now != nil:
			output = true
		default:
			if now == nil {
				now = &block{line: i + 1}
				s = append(s, now)
			}
			now.commands = append(now.commands, line)
		}
	}
	return s
}

// String is the script with what came out.
func (s script) String() string {
	var b strings.Builder
	for _, x := range s {
		for _, line := range append(x.comment, x.commands...) {
			b.WriteString(line + "\n")
		}
		if x.got != "" {
			b.WriteString(separator + "\n" + x.got)
		}
	}
	return b.String()
}

func (s script) play(t *testing.T, name string, parks bool) {
	w := newWorld(t, parks)
	defer w.close()
	for _, x := range s {
		var out bytes.Buffer
		w.out = &out
		for i, line := range x.commands {
			if err := w.run(line); err != nil {
				t.Errorf("%s:%d: %s: %v", name, x.line+i, line, err)
				return
			}
			synctest.Wait()
		}
		x.got = out.String()
		if x.got != x.want && !*update {
			t.Errorf("%s:%d:\n%s\ngot:\n%swant:\n%s", name, x.line, strings.Join(x.commands, "\n"), x.got, x.want)
		}
	}
}

// TestScript: a script that is parsed and written again is the same.
func TestScript(t *testing.T) {
	text := "# a comment\n\nfirst\nsecond\n----\none\ntwo\n\n# another\nthird\n"
	s := parseScript(text)
	for _, x := range s {
		x.got = x.want
	}
	if got := s.String(); got != text {
		t.Errorf("got %q, want %q", got, text)
	}
}

// since prints a time as seconds since the event began.
func (w *world) since(t time.Time) string { return fmt.Sprintf("%.3f", t.Sub(w.began).Seconds()) }
