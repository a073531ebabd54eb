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
	asks                                   map[string]map[live.Number]bool
	gets                                   map[string]int64 // the edge's, since the beginning
	measured                               bool             // gets is
}

// maxErrors bounds the kinds of errors that are told apart.
const maxErrors = 50

// maxLost bounds the lost segments that are told apart.
const maxLost = 200

// others is what is beyond such a bound.
const others = "others"

func newStats(viewers int) *stats {
	return &stats{viewers: viewers, begun: time.Now(), statuses: map[int]int64{}, errors: map[string]*Error{},
		asks: map[string]map[live.Number]bool{}, gets: map[string]int64{},
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

func (s *stats) status(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.statuses[code]++
}

// asked notes that a segment was asked for that the edge could not refuse out of
// hand, so that it may have asked the origin; r is the answer, or nil. What an
// edge had before the viewers came is left out.
func (s *stats) asked(rendition string, n live.Number, r *reply, offset time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.asks[rendition]
	if m == nil {
		m = map[live.Number]bool{}
		s.asks[rendition] = m
	}
	if _, ok := m[n]; !ok {
		m[n] = r == nil || !cacheHit(r.cacheStatus) || !r.published.Add(-offset).Before(s.begun)
	}
}

// cacheHit says whether the nearest cache had the answer (RFC 9211: its member
// comes last).
func cacheHit(status string) bool {
	params := strings.Split(status[strings.LastIndexByte(status, ',')+1:], ";")
	return slices.ContainsFunc(params[1:], func(p string) bool { return strings.TrimSpace(p) == "hit" })
}

// segment notes a complete body. asked is when the viewer first asked for it, by
// the edge's clock, which is offset ahead of ours.
func (s *stats) segment(rendition string, n live.Number, r *reply, asked time.Time, offset time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.r
	x.Segments++
	x.Bytes += r.bytes
	if r.defective {
		x.DefectiveServed++
	}
	if r.digest.IsZero() {
		x.Undigested++
	} else if !r.sum.IsZero() {
		x.Verified++
	}
	if p := r.source.Pipeline; p != "" {
		if _, ok := x.ServedBy[p]; !ok {
			p = strings.Clone(p) // it keeps the answer's whole head
		}
		x.ServedBy[p]++
	}
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

// lost notes that a track was told that a segment is lost.
func (s *stats) lost(rendition string, n live.Number) {
	s.mu.Lock()
	defer s.mu.Unlock()
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

// fetched adds to the edge's requests to the origin.
func (s *stats) fetched(more map[string]int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.measured = true
	for k, n := range more {
		s.gets[k] += n
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
	if s.measured {
		r.OriginGetsPerSegment = map[string]float64{}
		for name, m := range s.asks {
			asked := 0
			for _, counts := range m {
				if counts {
					asked++
				}
			}
			if asked > 0 {
				r.OriginGetsPerSegment[name] = math.Round(float64(s.gets[name])/float64(asked)*1000) / 1000
			}
		}
	}
	return &r
}
