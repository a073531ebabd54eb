package drill

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Sign is something that an operator is told by one node.
type Sign struct {
	Node string
	// One of these: words that a line of its log has; a metric that rises, or has a
	// value; what /readyz says, by status and a part of its body.
	Log    []string
	Metric string // its name, and a part of its labels after a space
	Is     *float64
	Ready  int
	Says   string
}

// String is what a person reads.
func (s Sign) String() string {
	switch {
	case s.Log != nil:
		return fmt.Sprintf("%s logs %s", s.Node, strings.Join(s.Log, ", "))
	case s.Metric != "" && s.Is != nil:
		return fmt.Sprintf("%s has %s at %g", s.Node, s.Metric, *s.Is)
	case s.Metric != "":
		return fmt.Sprintf("%s's %s rises", s.Node, s.Metric)
	}
	return fmt.Sprintf("%s's /readyz is %d %s", s.Node, s.Ready, s.Says)
}

func logs(node string, words ...string) Sign     { return Sign{Node: node, Log: words} }
func rises(node, metric string) Sign             { return Sign{Node: node, Metric: metric} }
func is(node, metric string, value float64) Sign { return Sign{Node: node, Metric: metric, Is: &value} }
func ready(node string, status int, says string) Sign {
	return Sign{Node: node, Ready: status, Says: says}
}

// A lookout looks for signs until all have been seen.
type lookout struct {
	sys    *system
	signs  []Sign
	seen   []bool
	before []float64        // metrics that are to rise
	from   map[string]int64 // how long each log was
}

const lookEvery = 250 * time.Millisecond

// newLookout remembers how things are, before anything is broken.
func newLookout(ctx context.Context, s *system, signs []Sign) *lookout {
	l := &lookout{sys: s, signs: signs, seen: make([]bool, len(signs)), before: make([]float64, len(signs)), from: make(map[string]int64)}
	for i, x := range signs {
		if x.Metric != "" && x.Is == nil {
			l.before[i], _ = l.metric(ctx, x)
		}
		if info, err := os.Stat(s.nodes[x.Node].Log); err == nil {
			l.from[x.Node] = info.Size()
		}
	}
	return l
}

// run looks until ctx ends.
func (l *lookout) run(ctx context.Context) {
	for {
		for i, x := range l.signs {
			if !l.seen[i] && ctx.Err() == nil {
				l.seen[i] = l.look(ctx, i, x)
			}
		}
		if sleep(ctx, lookEvery) != nil {
			return
		}
	}
}

func (l *lookout) look(ctx context.Context, i int, x Sign) bool {
	switch {
	case x.Log != nil:
		return l.logged(x)
	case x.Metric != "":
		v, ok := l.metric(ctx, x)
		if x.Is != nil {
			return ok && v == *x.Is
		}
		if ok && v < l.before[i] {
			l.before[i] = 0 // the process is another
		}
		return ok && v > l.before[i]
	}
	status, body := l.get(ctx, x.Node, "/readyz")
	return status == x.Ready && strings.Contains(string(body), x.Says)
}

func (l *lookout) logged(x Sign) bool {
	f, err := os.Open(l.sys.nodes[x.Node].Log)
	if err != nil {
		return false
	}
	defer f.Close()
	if _, err := f.Seek(l.from[x.Node], io.SeekStart); err != nil {
		return false
	}
lines:
	for s := bufio.NewScanner(f); s.Scan(); {
		for _, w := range x.Log {
			if !strings.Contains(s.Text(), w) {
				continue lines
			}
		}
		return true
	}
	return false
}

// metric is the sum of the series of that name whose labels have the part.
func (l *lookout) metric(ctx context.Context, x Sign) (sum float64, ok bool) {
	_, body := l.get(ctx, x.Node, "/metrics")
	name, label, _ := strings.Cut(x.Metric, " ")
	return sumOf(body, name, label)
}

// sumOf reads the Prometheus text format.
func sumOf(body []byte, name, label string) (sum float64, ok bool) {
	for line := range bytes.Lines(body) {
		rest, is := bytes.CutPrefix(bytes.TrimSpace(line), []byte(name))
		if !is || len(rest) == 0 || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		at := bytes.LastIndexByte(rest, ' ')
		v, err := strconv.ParseFloat(string(rest[at+1:]), 64)
		if err == nil && bytes.Contains(rest[:at], []byte(label)) {
			sum, ok = sum+v, true
		}
	}
	return sum, ok
}

func (l *lookout) get(ctx context.Context, node, path string) (status int, body []byte) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.sys.nodes[node].control+path, nil)
	if err != nil {
		return 0, nil
	}
	resp, err := l.sys.http.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	body, _ = io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	return resp.StatusCode, body
}

// missing are the signs that nobody saw.
func (l *lookout) missing() (out []string) {
	for i, x := range l.signs {
		if !l.seen[i] {
			out = append(out, "not seen: "+x.String())
		}
	}
	return out
}
