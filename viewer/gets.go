package viewer

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"headwater/live"
)

// OriginRequests is the name of an edge's counter of requests to its origin,
// with the labels tenant, event and rendition.
const OriginRequests = "headwater_edge_origin_requests_total"

// Counters returns a Config.OriginGets that reads an edge's metrics in the
// Prometheus text format: the sum of the counter of that name over all series of
// the event, by their label rendition. Series that have no label tenant or event
// are counted whatever the event; those without a rendition, or with an empty
// one, are not. Several edges are added up.
func Counters(hc *http.Client, name string, event live.EventID, urls ...string) func(context.Context) (map[string]int64, error) {
	return func(ctx context.Context) (map[string]int64, error) {
		sum := map[string]int64{}
		for _, u := range urls {
			if err := addCounters(ctx, hc, name, event, u, sum); err != nil {
				return nil, fmt.Errorf("viewer: counters of %s: %w", u, err)
			}
		}
		return sum, nil
	}
}

func addCounters(ctx context.Context, hc *http.Client, name string, event live.EventID, url string, sum map[string]int64) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d", resp.StatusCode)
	}
	const most = 64 << 20
	lines := bufio.NewScanner(io.LimitReader(resp.Body, most))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		labels, value, ok := parseSeries(lines.Text(), name)
		if !ok || labels["rendition"] == "" {
			continue
		}
		if v, ok := labels["tenant"]; ok && v != event.Tenant {
			continue
		}
		if v, ok := labels["event"]; ok && v != event.Name && v != event.String() {
			continue
		}
		sum[labels["rendition"]] += value
	}
	return lines.Err()
}

// parseSeries reads one line of the Prometheus text format if it is a sample of
// that name with labels.
func parseSeries(line, name string) (labels map[string]string, value int64, ok bool) {
	rest, found := strings.CutPrefix(line, name+"{")
	if !found {
		return nil, 0, false
	}
	labels = map[string]string{}
	for {
		rest = strings.TrimLeft(rest, ", ")
		if after, end := strings.CutPrefix(rest, "}"); end {
			rest = after
			break
		}
		key, after, found := strings.Cut(rest, "=")
		if !found {
			return nil, 0, false
		}
		quoted, err := strconv.QuotedPrefix(after)
		if err != nil {
			return nil, 0, false
		}
		text, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, 0, false
		}
		labels[key] = text
		rest = after[len(quoted):]
	}
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return nil, 0, false
	}
	f, err := strconv.ParseFloat(fields[0], 64)
	if err != nil || !(f >= 0 && f < 1<<53) {
		return nil, 0, false
	}
	return labels, int64(f), true
}

// A getsCounter adds up how a running total grows, also over restarts of the
// edge, at which it begins again.
type getsCounter struct {
	total    func(context.Context) (map[string]int64, error)
	stats    *stats
	schedule func() *schedule
	clock    *edge            // whose clock segments are due by
	last     map[string]int64 // nil before the first reading
}

// Totals are read once for each segment, readAhead before the next one can first
// be asked for, so that no segment is on its way to the edge for the first time
// while it is counted; but not more often than readEvery. What an edge counted
// between the last reading and its own end is lost.
const (
	readAhead = 250 * time.Millisecond
	readEvery = time.Second
)

// run reads until ctx is done.
func (g *getsCounter) run(ctx context.Context) {
	if g.total == nil {
		return
	}
	at := g.clock.now()
	for {
		tl := &g.schedule().timeline
		n := notDue(tl, at.Add(readAhead))
		due := tl.Due(n)
		if !tl.Holds(n) || !sleep(ctx, due.Add(-readAhead).Sub(g.clock.now())) {
			return
		}
		g.read(ctx, due)
		at = latest(g.clock.now(), due.Add(readEvery-readAhead))
	}
}

// notDue is the first number that cannot be asked for yet at t.
func notDue(tl *live.Timeline, t time.Time) live.Number {
	n := max(tl.At(t), tl.First())
	for n > tl.First() && tl.Due(n).After(t) {
		n--
	}
	for !tl.Due(n).After(t) {
		n++
	}
	return n
}

// read reads once. A reading that takes until before is not used.
func (g *getsCounter) read(ctx context.Context, before time.Time) {
	at := g.clock.now()
	now, err := g.total(ctx)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		g.stats.note("origin GETs: " + err.Error())
		return
	case !g.clock.now().Before(before):
		return
	}
	first := map[string]live.Number{}
	sched := g.schedule()
	for _, r := range sched.Renditions {
		first[r.Name] = notDue(sched.line(r.Name), at)
	}
	var more map[string]int64
	if g.last != nil {
		more = grown(g.last, now)
	}
	g.last = now
	g.stats.reading(g.clock.local(at), more, first)
}

// grown is by how much totals grew. One that is lower than before began again.
func grown(before, now map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for k, v := range now {
		if old := before[k]; v >= old {
			v -= old
		}
		out[k] = v
	}
	return out
}
