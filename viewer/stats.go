package viewer

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headwater/live"
)

// stats collects from all viewers. Its memory does not grow with what they do,
// but for a few bytes for each segment of the DVR window.
type stats struct {
	viewers int
	waiting atomic.Int64

	mu    sync.Mutex // guards the following
	begun time.Time
	r     Report
	// by status: the map of the report is made from it.
	statuses                               map[int]int64
	errors                                 map[string]*Error
	order                                  []string // of errors, by first sight
	publish, hold, fetch, startup, latency histogram
	bySegment                              slowest
	lastNotifications                      string
	renditions                             map[string]*rendition
	problems                               map[string]int64  // of refused requests, by status and problem
	pipelines                              map[string]string // names, each kept once
}

// maxErrors bounds the kinds of errors that are told apart.
const maxErrors = 50

// maxLost bounds the lost segments that are told apart.
const maxLost = 200

// others is what is beyond such a bound.
const others = "others"

func newStats(viewers int) *stats {
	return &stats{viewers: viewers, begun: time.Now(), statuses: map[int]int64{}, errors: map[string]*Error{},
		renditions: map[string]*rendition{}, problems: map[string]int64{}, pipelines: map[string]string{},
		r: Report{ServedBy: map[string]int64{}, Lost: map[string]int64{}}}
}

// start begins the time that the report covers.
func (s *stats) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.begun = time.Now()
}

// wait counts the requests without an answer.
func (s *stats) wait(d int64) { s.waiting.Add(d) }

func (s *stats) join() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Sessions++
	s.r.Watching++
}

func (s *stats) part(switches int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Watching--
	s.r.SwitchesMax = max(s.r.SwitchesMax, switches)
}

func (s *stats) status(r *reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses[r.status]++
	if r.status < 400 {
		return
	}
	name := strings.TrimSpace(strconv.Itoa(r.status) + " " + r.problem)
	if _, ok := s.problems[name]; !ok && len(s.problems) >= maxErrors {
		name = others
	}
	s.problems[name]++
}

// refused notes that a viewer was refused a segment that it was right to ask for.
func (s *stats) refused(rendition string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Refusals++
	s.of(rendition).Refusals++
}

// pipeline is the name, without the head of the answer that it came in. The
// caller holds mu.
func (s *stats) pipeline(name string) string {
	if have, ok := s.pipelines[name]; ok {
		return have
	}
	name = strings.Clone(name)
	if len(s.pipelines) < live.MaxPipelines {
		s.pipelines[name] = name
	}
	return name
}

// segment notes a complete body. asked is when the viewer first asked for it, by
// the edge's clock, which is offset ahead of ours.
func (s *stats) segment(rendition string, n live.Number, r *reply, asked time.Time, offset time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.r
	x.Segments++
	x.Bytes += r.bytes
	if flawed(r.findings) {
		x.DefectiveServed++
	}
	if r.digest.IsZero() {
		x.Undigested++
	} else if !r.sum.IsZero() {
		x.Verified++
	}
	p := s.pipeline(r.source.Pipeline)
	if p != "" {
		x.ServedBy[p]++
	}
	s.of(rendition).body(n, r, p)
	if r.published.IsZero() {
		s.fetch.add(r.last.Sub(r.sent))
		return
	}
	// Live-Published is cut to the millisecond.
	published := r.published.Add(-offset)
	asked = asked.Add(-offset)
	const cut = time.Millisecond
	if r.sent.Before(published.Add(cut)) {
		s.hold.add(r.first.Sub(r.sent))
	}
	if asked.Before(published.Add(cut)) {
		s.publish.add(r.last.Sub(published))
		s.bySegment.add(rendition, n, r.last.Sub(published))
	} else {
		s.fetch.add(r.last.Sub(r.sent))
	}
}

// begin notes that a picture began.
func (s *stats) begin(after time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.startup.add(after)
}

// played notes what became of a segment.
func (s *stats) played(x step, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if x.lost {
		s.r.Gaps++
	}
	if live {
		s.latency.add(x.delay)
	}
}

// lost notes that a track goes on without a segment.
func (s *stats) lost(rendition string, n live.Number) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(rendition).Lost++
	name := rendition + "/" + n.String()
	if _, ok := s.r.Lost[name]; !ok && len(s.r.Lost) >= maxLost {
		name = others
	}
	s.r.Lost[name]++
}

func (s *stats) gap() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Gaps++
}

// stall notes that the picture stood. A network error on the way is no longer
// the viewer's affair alone.
func (s *stats) stall(d time.Duration, trouble string) {
	s.mu.Lock()
	s.r.Stalls++
	s.r.StallMS += float64(d) / float64(time.Millisecond)
	s.mu.Unlock()
	if trouble != "" {
		s.fail("stalled by a network error", trouble)
	}
}

func (s *stats) switched() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Switches++
}

func (s *stats) reconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Reconnects++
}

func (s *stats) inspected() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.r.Inspected++
}

func (s *stats) notifications(header string) {
	if header == "" {
		return
	}
	s.mu.Lock()
	seen := header == s.lastNotifications
	s.mu.Unlock()
	if seen {
		return
	}
	n, err := live.ParseNotifications([]string{header})
	if err != nil {
		s.fail("malformed header", err.Error())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastNotifications = strings.Clone(header)
	s.r.Notifications = max(s.r.Notifications, n.Sequence)
}

func (s *stats) fail(kind, what string) { s.failTimes(kind, what, 1) }

func (s *stats) failTimes(kind, what string, times int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.errors[kind]
	if e == nil {
		if len(s.errors) >= maxErrors {
			kind = others
			e = s.errors[kind]
		}
		if e == nil {
			e = &Error{Error: kind, First: what, At: time.Now().UTC()}
			s.errors[kind] = e
			s.order = append(s.order, kind)
		}
	}
	e.Count += times
}

// note says once what could not be measured.
func (s *stats) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Contains(s.r.Notes, text) && len(s.r.Notes) < maxErrors {
		s.r.Notes = append(s.r.Notes, text)
	}
}

// report is the state of things.
func (s *stats) report() *Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.r
	r.Viewers = s.viewers
	r.ElapsedMS = time.Since(s.begun).Milliseconds()
	r.Waiting = s.waiting.Load()
	r.StallMS = math.Round(r.StallMS*1000) / 1000
	r.Statuses = map[string]int64{}
	for code, n := range s.statuses {
		r.Statuses[strconv.Itoa(code)] = n
	}
	r.Problems = maps.Clone(s.problems)
	r.ServedBy = maps.Clone(s.r.ServedBy)
	r.Lost = maps.Clone(s.r.Lost)
	r.Errors = []Error{}
	for _, kind := range s.order {
		r.Errors = append(r.Errors, *s.errors[kind])
	}
	r.Notes = slices.Clone(s.r.Notes)
	r.PublishToViewer = s.publish.summary()
	r.SlowestSegments = s.bySegment.report()
	r.Hold = s.hold.summary()
	r.Fetch = s.fetch.summary()
	r.Startup = s.startup.summary()
	r.Latency = s.latency.summary()
	if r.Segments > 0 {
		r.VerifiedShare = math.Round(float64(r.Verified)/float64(r.Segments)*1e4) / 1e4
	}
	r.Renditions = map[string]RenditionReport{}
	for name, x := range s.renditions {
		y := x.RenditionReport
		y.ServedBy = maps.Clone(y.ServedBy)
		r.Renditions[name] = y
		if g, ok := x.getsPerSegment(); ok {
			if r.OriginGetsPerSegment == nil {
				r.OriginGetsPerSegment = map[string]float64{}
			}
			r.OriginGetsPerSegment[name] = g
		}
	}
	return &r
}
