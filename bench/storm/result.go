//go:build linux

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A publication is one segment's way to 201.
type publication struct {
	At     time.Duration `json:"at_ns"`
	Took   time.Duration `json:"took_ns"`
	Wrote  time.Duration `json:"wrote_ns"`        // until it was sent
	Steps  string        `json:"steps,omitempty"` // what the origin said of them
	Bytes  int           `json:"bytes"`
	Missed bool          `json:"missed,omitempty"` // the budget
}

// viewed is what headwater load reports.
type viewed struct {
	Segments int64            `json:"segments"`
	Stalls   int64            `json:"stalls"`
	StallMS  float64          `json:"stall_ms"`
	Gaps     int64            `json:"gaps"`
	Refusals int64            `json:"refusals"`
	Statuses map[string]int64 `json:"statuses"`
	Problems map[string]int64 `json:"problems"`
	Errors   []struct {
		Error string `json:"error"`
		Count int64  `json:"count"`
	} `json:"errors"`
	Delay struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"publish_to_viewer_ms"`
}

func (v viewed) errors() (n int64) {
	for _, e := range v.Errors {
		n += e.Count
	}
	return n + v.Refusals
}

// total is what they saw in all.
func total(of []viewed) (errors, stalls int64) {
	for _, v := range of {
		errors, stalls = errors+v.errors(), stalls+v.Stalls
	}
	return errors, stalls
}

// delay is the p99 of publish to viewer, the median of all rounds'.
func delay(of []viewed) float64 {
	var all []float64
	for _, v := range of {
		all = append(all, v.Delay.P99)
	}
	return median(all)
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	slices.Sort(of)
	return (of[len(of)/2] + of[(len(of)-1)/2]) / 2
}

// A span is a time, since the beginning.
type span struct {
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"`
}

func (s span) has(t time.Duration) bool { return t >= s.From && t < s.To }

// answers is what a storm got.
type answers struct {
	Requests int64            `json:"requests"`
	Bytes    int64            `json:"bytes"`
	Statuses map[string]int64 `json:"statuses"`
	Failures map[string]int64 `json:"failures,omitempty"` // connections that ended, by how
	Conns    int              `json:"connections"`
	Waited   int64            `json:"waited,omitempty"`    // requests that were due, and no client was free: each waited for an answer, or as it was told
	Lives    map[string]int64 `json:"lifetimes,omitempty"` // of refusals: status and Cache-Control
}

// add adds those of one more round.
func (a *answers) add(b answers) {
	a.Requests, a.Bytes, a.Waited, a.Conns = a.Requests+b.Requests, a.Bytes+b.Bytes, a.Waited+b.Waited, b.Conns
	for _, x := range []struct{ to, of *map[string]int64 }{{&a.Statuses, &b.Statuses}, {&a.Failures, &b.Failures}, {&a.Lives, &b.Lives}} {
		if *x.to == nil {
			*x.to = make(map[string]int64)
		}
		for k, n := range *x.of {
			(*x.to)[k] += n
		}
	}
}

// A result is one storm, of as many rounds as there are Storms.
type result struct {
	Storm   string    `json:"storm"`
	Says    string    `json:"says"`
	Label   string    `json:"label"`
	Began   time.Time `json:"began"`
	Calms   []span    `json:"calms"` // each before a storm
	Storms  []span    `json:"storms"`
	Answers answers   `json:"answers"`
	Served  float64   `json:"served,omitempty"` // answers a second, where few ask
	Rate    float64   `json:"rate,omitempty"`   // requests a second of the storm; 0: as fast as its connections can
	Idle    []viewed  `json:"idle_viewers"`
	Viewers []viewed  `json:"viewers"`

	mu           sync.Mutex       // guards the following
	Publications []publication    `json:"publications"`
	Retries      map[string]int64 `json:"retries,omitempty"`
	Seconds      []second         `json:"seconds"`
	Unwatched    int              `json:"unwatched"` // seconds in which control did not answer
}

func (r *result) published(p publication) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Publications = append(r.Publications, p)
}

func (r *result) retried(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Retries == nil {
		r.Retries = map[string]int64{}
	}
	text := err.Error()
	if i := strings.Index(text, "m4s\": "); i >= 0 {
		text = text[i+6:]
	}
	if i := strings.Index(text, ".m4s: "); i >= 0 {
		text = text[i+6:]
	}
	r.Retries[text[:min(len(text), 160)]]++
}

func (r *result) second(x second) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Seconds = append(r.Seconds, x)
}

func (r *result) unwatched() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Unwatched++
}

// storm is from when the first begins to when the last ends.
func (r *result) storm() span { return span{r.Storms[0].From, r.Storms[len(r.Storms)-1].To} }

// quantiles are of publications that began within some time.
func (r *result) quantiles(in ...span) (p50, p99 time.Duration, missed, all int) {
	var took []time.Duration
	for _, p := range r.Publications {
		if slices.ContainsFunc(in, func(s span) bool { return s.has(p.At) }) {
			took = append(took, p.Took)
			if p.Missed {
				missed++
			}
		}
	}
	if len(took) == 0 {
		return 0, 0, missed, 0
	}
	slices.Sort(took)
	return took[len(took)/2], took[(len(took)*99-1)/100], missed, len(took)
}

// times is how many times as long the p99 of a storm is as that of the idle time around
// it: of all rounds together, and from where to where it is of nine in ten samples that are
// drawn of the same publications again.
func (r *result) times() string {
	var idle, storm []float64
	for _, p := range r.Publications {
		switch at := func(s span) bool { return s.has(p.At) }; {
		case slices.ContainsFunc(r.Storms, at):
			storm = append(storm, p.Took.Seconds())
		case slices.ContainsFunc(r.Calms, at):
			idle = append(idle, p.Took.Seconds())
		}
	}
	if len(idle) == 0 || len(storm) == 0 {
		return ""
	}
	p99 := func(of []float64) float64 {
		of = slices.Sorted(slices.Values(of))
		return of[(len(of)*99-1)/100]
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	again := func(of []float64) (drawn []float64) {
		for range of {
			drawn = append(drawn, of[rnd.IntN(len(of))])
		}
		return drawn
	}
	var all []float64
	for range 1000 {
		all = append(all, p99(again(storm))/p99(again(idle)))
	}
	slices.Sort(all)
	return fmt.Sprintf("%.2f (%.2f to %.2f)", p99(storm)/p99(idle), all[50], all[950])
}

// at is what the origin had counted at a time.
func (r *result) at(t time.Duration) (x second) {
	for _, s := range r.Seconds {
		if s.At <= t && len(s.Shed) > 0 {
			x = s
		}
	}
	return x
}

// refused is the share of DVR that was refused while the storm lasted, once it had had
// the time to settle: in the mean, how much it deviated from that, and from where to
// where it went.
func (r *result) refused() string {
	var in []float64
	for _, x := range r.Seconds {
		if len(x.Level) > 0 && slices.ContainsFunc(r.Storms, func(s span) bool { return x.At > s.From+10*time.Second && x.At < s.To }) {
			in = append(in, x.Level["dvr"])
		}
	}
	if len(in) == 0 || slices.Max(in) == 0 {
		return ""
	}
	var mean, dev float64
	for _, x := range in {
		mean += x / float64(len(in))
	}
	for _, x := range in {
		dev += (x - mean) * (x - mean) / float64(len(in))
	}
	return fmt.Sprintf("%.2f ± %.2f (%.2f to %.2f)", mean, math.Sqrt(dev), slices.Min(in), slices.Max(in))
}

// recovery is how long after the storm nothing is shed any more, in seconds.
func (r *result) recovery() string {
	last := time.Duration(-1)
	for _, x := range r.Seconds {
		if x.At > r.storm().From && x.Level["dvr"]+x.Level["rest"] > 0 {
			last = x.At
		}
	}
	switch {
	case last < 0:
		return "nothing was"
	case last >= r.Seconds[len(r.Seconds)-1].At:
		return "not seen"
	}
	return fmt.Sprintf("%.0f", max(0, (last-r.storm().To).Seconds()))
}

// slowest tells of the publications of the storm that took longest.
func (r *result) slowest() string {
	var in []publication
	for _, p := range r.Publications {
		if slices.ContainsFunc(r.Storms, func(s span) bool { return s.has(p.At) }) {
			in = append(in, p)
		}
	}
	slices.SortFunc(in, func(a, b publication) int { return cmp.Compare(b.Took, a.Took) })
	var b strings.Builder
	for _, p := range in[:min(len(in), 6)] {
		fmt.Fprintf(&b, "%v of %d bytes at %v, sent after %v: %s\n", p.Took.Round(100*time.Microsecond), p.Bytes, (p.At - r.storm().From).Round(time.Millisecond), p.Wrote.Round(100*time.Microsecond), p.Steps)
	}
	return b.String()
}

const heading = "| storm | | publish p50 ms idle | storm | p99 ms idle | storm | times idle (90%) | after | missed | live errors | stalls | to viewer p99 ms idle | storm | requests/s | answers/s of the storm | shed dvr/rest/live | share of DVR that is refused, after 10 s | sheds nothing again after s | store reads/s | RSS MB before / most | of the edge |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|\n"

func (r *result) row() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()*1000) }
	i50, i99, _, _ := r.quantiles(r.Calms...)
	s50, s99, missed, all := r.quantiles(r.Storms...)
	_, a99, after, _ := r.quantiles(span{r.storm().To + 2*time.Second, time.Hour})
	before, end := r.at(r.storm().From), r.at(r.storm().To+time.Second)
	errors, stalls := total(r.Viewers)
	most, mostEdge := int64(0), int64(0)
	for _, x := range r.Seconds {
		most, mostEdge = max(most, x.RSS), max(mostEdge, x.EdgeRSS)
	}
	length := 0.0
	for _, s := range r.Storms {
		length += (s.To - s.From).Seconds()
	}
	shed := func(class string) float64 { return end.Shed[class] - before.Shed[class] }
	var got []string
	for _, k := range slices.SortedFunc(maps.Keys(r.Answers.Statuses), func(a, b string) int { return cmp.Compare(r.Answers.Statuses[b], r.Answers.Statuses[a]) }) {
		got = append(got, fmt.Sprintf("%.0f x %s", float64(r.Answers.Statuses[k])/length, k))
	}
	offered := "as fast as it can"
	if r.Rate > 0 {
		offered = fmt.Sprintf("%.0f", r.Rate)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s | %s | %d of %d | %d | %d | %.0f | %.0f | %s | %s | %.0f / %.0f / %.0f | %s | %s | %.0f | %d / %d | %d / %d |\n",
		r.Says, r.Label, ms(i50), ms(s50), ms(i99), ms(s99), r.times(), ms(a99), missed+after, all, errors, stalls, delay(r.Idle), delay(r.Viewers),
		offered, strings.Join(got, ", "), shed("dvr"), shed("rest"), shed("live"), r.refused(), r.recovery(), (end.StoreReads-before.StoreReads)/length, before.RSS>>20, most>>20, before.EdgeRSS>>20, mostEdge>>20)
}

// read takes all results of a directory.
func read(dir string) (all []*result, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		r := &result{}
		if err := json.Unmarshal(b, r); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, r)
	}
	rank := func(r *result) int { return slices.IndexFunc(storms, func(s storm) bool { return s.name == r.Storm }) }
	slices.SortFunc(all, func(a, b *result) int { return cmp.Or(rank(a)-rank(b), cmp.Compare(a.Label, b.Label)) })
	return all, nil
}

const (
	from = "<!-- storms: written by bench/storm -->\n"
	upTo = "<!-- end of storms -->\n"
)

// write writes the table and the plots of all results.
func write(docs, dir string) error {
	all, err := read(dir)
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString(heading)
	for _, r := range all {
		b.WriteString(r.row())
	}
	for _, r := range all {
		if !slices.Contains(plotted, r.Storm) {
			continue
		}
		name := "storm-" + r.Storm + "-" + r.Label + ".svg"
		f, err := os.Create(filepath.Join(docs, "plots", name))
		if err != nil {
			return err
		}
		draw(f, r)
		if err := f.Close(); err != nil {
			return err
		}
		fmt.Fprintf(&b, "\n![%s, %s: publications, and what is shed](plots/%s)\n", r.Says, r.Label, name)
	}
	doc := filepath.Join(docs, "benchmarks.md")
	old, err := os.ReadFile(doc)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(old), from)
	_, after, ok2 := strings.Cut(rest, upTo)
	if !ok || !ok2 {
		return fmt.Errorf("%s: there is no %q", doc, from)
	}
	return os.WriteFile(doc, []byte(before+from+"\n"+b.String()+"\n"+upTo+after), 0o644)
}
