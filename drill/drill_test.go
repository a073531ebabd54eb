package drill

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headwater/viewer"
)

// TestList: each drill has a name of its own, says what it does, and looks for signs of
// processes that there are.
func TestList(t *testing.T) {
	names := map[string]bool{}
	for _, d := range List() {
		if names[d.Name] || d.Breaks == "" || d.run == nil || Find(d.Name) == nil {
			t.Errorf("%+v", d)
		}
		names[d.Name] = true
		for _, s := range d.Expect.Signs {
			if (s.Log != nil) == (s.Metric != "") && s.Ready == 0 || !strings.HasPrefix(s.String(), s.Node) {
				t.Errorf("%s: %+v", d.Name, s)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	before, after := &viewer.Report{Segments: 5}, &viewer.Report{Segments: 9}
	for _, c := range []struct {
		name   string
		expect Expectation
		saw    Saw
		end    *viewer.Report
		want   string // a part of why; "": it passes
	}{
		{"nothing", Expectation{}, Saw{Viewers: 2}, after, ""},
		{"a gap", Expectation{}, Saw{Viewers: 2, Gaps: 1}, after, "1 gaps"},
		{"gaps that were expected", Expectation{Gaps: 1}, Saw{Viewers: 2, Gaps: 2}, after, ""},
		{"one more", Expectation{Gaps: 1}, Saw{Viewers: 2, Gaps: 3}, after, "3 gaps"},
		{"a refusal", Expectation{Gaps: 1}, Saw{Viewers: 2, Refusals: 1}, after, "refusals"},
		{"a finding", Expectation{}, Saw{Viewers: 2, Defects: 1}, after, "flawed"},
		{"stalls", Expectation{Stalls: 1, StallFor: time.Second}, Saw{Viewers: 2, Stalls: 2, StallMS: 2000}, after, ""},
		{"long ones", Expectation{Stalls: 1, StallFor: time.Second}, Saw{Viewers: 2, Stalls: 2, StallMS: 2001}, after, "pictures stood"},
		{"an edge lost", Expectation{}, Saw{Viewers: 2, Reconnects: 1}, after, "lost their edge"},
		{"an edge that might be", Expectation{Reconnects: true}, Saw{Viewers: 2, Reconnects: 1}, after, ""},
		{"wrong bytes", Expectation{Gaps: 9, Defects: 9, Stalls: 9, Reconnects: true}, Saw{Viewers: 2, Errors: []string{"digest mismatch"}}, after, "digest mismatch"},
		{"it did not go on", Expectation{}, Saw{Viewers: 2}, before, "nobody got a segment"},
		{"not for all", Expectation{}, Saw{Viewers: 2}, &viewer.Report{Segments: 9, Dark: 1}, "without a picture"},
	} {
		t.Run(c.name, func(t *testing.T) {
			why := strings.Join(judge(&c.expect, c.saw, before, c.end), "\n")
			if (why == "") != (c.want == "") || !strings.Contains(why, c.want) {
				t.Errorf("%q, want %q", why, c.want)
			}
		})
	}
}

func TestSumOf(t *testing.T) {
	const text = "# HELP a_total of a\n# TYPE a_total counter\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\na_total_more{x=\"1\"} 9\nb 7\n"
	for _, c := range []struct {
		name, label string
		sum         float64
		ok          bool
	}{{"a_total", "", 5, true}, {"a_total", `x="2"`, 3, true}, {"a_total", `x="3"`, 0, false}, {"b", "", 7, true}, {"c", "", 0, false}, {"a", "", 0, false}} {
		if sum, ok := sumOf([]byte(text), c.name, c.label); sum != c.sum || ok != c.ok {
			t.Errorf("%s %s: %g, %v", c.name, c.label, sum, ok)
		}
	}
}

// TestLink: what goes through a link comes out whole; cut, nothing does, and what was on
// its way comes when it is mended; broken connections end.
func TestLink(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // says all back, in capitals
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for b := make([]byte, 100); ; {
					n, err := c.Read(b)
					if err != nil {
						return
					}
					c.Write([]byte(strings.ToUpper(string(b[:n]))))
				}
			}()
		}
	}()
	k, err := newLink(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer k.close()
	c, err := net.Dial("tcp", k.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(s string) {
		t.Helper()
		if _, err := io.WriteString(c, s); err != nil {
			t.Fatal(err)
		}
	}
	hear := func(want string) {
		t.Helper()
		b := make([]byte, len(want))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != want {
			t.Fatalf("%q, %v, want %q", b, err, want)
		}
	}
	say("one")
	hear("ONE")
	k.setCut(true)
	heard := make(chan struct{})
	say("two")
	go func() { hear("TWO"); close(heard) }()
	select {
	case <-heard:
		t.Fatal("it came through a link that is cut")
	case <-time.After(20 * time.Millisecond): // not to wait for something: it must not come
	}
	k.setCut(false)
	<-heard
	k.setRate(1000)
	say("three")
	hear("THREE")
	k.reset()
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("a connection that was broken goes on")
	}
	if _, err := net.Dial("tcp", k.addr()); err != nil {
		t.Fatal(err)
	}
}

// TestFlip changes one bit in each stretch, of media of pipeline a only.
func TestFlip(t *testing.T) {
	dir := t.TempDir()
	media := filepath.Join(dir, "media")
	if err := os.Mkdir(media, 0o755); err != nil {
		t.Fatal(err)
	}
	segment := func(pipeline string) string {
		return "0000000897940431/" + pipeline + "....mdat" + strings.Repeat(pipeline, 4070)
	}
	whole := []byte(strings.Repeat(segment("b")+segment("b")+segment("a"), 3*flipEvery>>12/3))
	name := filepath.Join(media, "1.log")
	if err := os.WriteFile(name, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := flip(dir)
	got, _ := os.ReadFile(name)
	bits := 0
	for i := range whole {
		if got[i] != whole[i] {
			if bits++; whole[i] != 'a' {
				t.Errorf("%q is changed", whole[i])
			}
		}
	}
	if err != nil || n != 3 || bits != 3 {
		t.Errorf("%d flipped, %d changed, %v", n, bits, err)
	}
}

// Where it was not well before, the operator is told which errors viewers met.
func TestNotWellBefore(t *testing.T) {
	err := errNotWell(Saw{Segments: 3, Errors: []string{"2 times: malformed header (of x)"}})
	if !strings.Contains(err.Error(), "3 segments and saw 1 kind of error; 2 times: malformed header (of x)") {
		t.Error(err)
	}
}
