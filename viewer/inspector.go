package viewer

import (
	"fmt"
	"strings"
	"sync"

	"headwater/cmaf"
	"headwater/live"
)

// A version names one version of a segment: those bytes under that number.
type version struct {
	n      live.Number
	digest live.Digest
}

func (v version) known() bool { return !v.digest.IsZero() }

// An inspector looks into one copy of each version of each segment, whichever
// viewer is the first to get it, and tells from that what all viewers saw. So it
// costs as much for thousands as for one.
type inspector struct {
	stats *stats

	mu    sync.Mutex // guards the following
	media map[mediaKey]*media
	facts fifo[factKey, *fact]
	pairs fifo[pairKey, *pair]
}

type mediaKey struct {
	rendition string
	digest    live.Digest // of the init segment
}

type factKey struct {
	media *media
	version
}

// A fact is what inspection found; until known it is a claim: somebody's copy is
// on its way.
type fact struct {
	known             bool
	start, end, frame int64 // as it is shown, in the track's timescale
	declared          bool  // defects were named in the answer
}

type pairKey struct {
	media         *media
	before, after version
}

// A pair is two segments that viewers played one after the other.
type pair struct {
	seen   int64 // viewers not yet accounted for
	judged bool
	wrong  string
}

// inspected bounds what is remembered: versions of segments, and pairs of them.
const inspected = 8192

func newInspector(st *stats) *inspector {
	return &inspector{stats: st, media: map[mediaKey]*media{},
		facts: newFIFO[factKey, *fact](inspected), pairs: newFIFO[pairKey, *pair](inspected)}
}

// A media inspects the segments of one rendition with one init segment. Its
// methods do nothing on nil.
type media struct {
	in        *inspector
	rendition string
	track     cmaf.Track
}

// init reads an init segment once for all who got the same; nil when it cannot
// be read.
func (in *inspector) init(sched *schedule, rendition string, r *reply) *media {
	in.mu.Lock()
	defer in.mu.Unlock()
	key := mediaKey{rendition, r.sum}
	m, ok := in.media[key]
	if ok {
		return m
	}
	parsed, err := cmaf.ParseInit(r.body)
	if err == nil && len(parsed.Tracks) != 1 {
		err = fmt.Errorf("%d tracks", len(parsed.Tracks))
	}
	if err != nil {
		in.stats.fail("init segment that cannot be read", fmt.Sprintf("%s: %v", rendition, err))
	} else {
		m = &media{in: in, rendition: rendition, track: parsed.Tracks[0]}
	}
	if len(in.media) < live.MaxRenditions*live.MaxPipelines {
		in.media[key] = m
	}
	return m
}

// claim says whether the body of this answer is to be kept for inspection, and
// names its version.
func (m *media) claim(n live.Number, r *reply, verify bool, v *version) bool {
	*v = version{n, r.digest}
	if !v.known() {
		return verify // it is known by its sum alone
	}
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	key := factKey{m, *v}
	if _, ok := m.in.facts.get(key); ok {
		return false
	}
	m.in.facts.put(key, &fact{})
	return true
}

// release gives a claim back: the copy did not come, or is not what it should be.
func (m *media) release(v *version) {
	if m == nil || !v.known() {
		return
	}
	m.in.mu.Lock()
	defer m.in.mu.Unlock()
	key := factKey{m, *v}
	if f, ok := m.in.facts.get(key); ok && !f.known {
		m.in.facts.drop(key)
	}
	*v = version{}
}

// inspect looks into a body that was kept, and at how it follows on the segment
// that the viewer had before.
func (m *media) inspect(sched *schedule, v *version, before version, r *reply) {
	if m == nil {
		return
	}
	if !v.known() {
		v.digest = r.sum
	}
	if r.body != nil {
		m.look(sched, *v, before, r)
	}
	if before.known() && v.known() && before.n+1 == v.n {
		m.in.follow(m, before, *v)
	}
}

// look inspects one copy, beside what the viewer had before it. The segment has
// the defects that were declared, or none.
func (m *media) look(sched *schedule, v, before version, r *reply) {
	var w cmaf.Window
	w.Start, w.End = sched.timeline.Media(v.n, int64(m.track.Timescale))
	w.SegmentMS = sched.segmentMS
	if before.n+1 == v.n {
		w.Previous = m.in.span(factKey{m, before}, int64(m.track.Timescale))
	}
	report, err := cmaf.Inspect(r.body, &m.track, w)
	r.body = nil
	what := fmt.Sprintf("%s/%s", m.rendition, live.SegmentName(v.n))
	switch {
	case flawed(r.findings):
	case err != nil:
		m.in.stats.fail("media that cannot be read", fmt.Sprintf("%s: %v", what, err))
	case !report.Findings.Clean():
		var kinds []string
		for _, f := range report.Findings {
			if !f.Kind.Remark() {
				kinds = append(kinds, string(f.Kind))
			}
		}
		m.in.stats.fail("undeclared defects: "+strings.Join(kinds, ", "), what)
	}
	m.in.stats.inspected()
	m.in.learn(factKey{m, v}, fact{known: true, start: report.Span.Start, end: report.Span.End,
		frame: int64(report.FrameDuration), declared: flawed(r.findings) || err != nil})
}

// span is where a segment lies that was inspected; the zero Span if none was.
func (in *inspector) span(key factKey, timescale int64) live.Span {
	in.mu.Lock()
	defer in.mu.Unlock()
	if f, ok := in.facts.get(key); ok && f.known {
		return live.Span{Start: f.start, End: f.end, Timescale: timescale}
	}
	return live.Span{}
}

// learn keeps a fact, and judges the pairs that waited for it.
func (in *inspector) learn(key factKey, f fact) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if have, ok := in.facts.get(key); ok {
		*have = f
	} else {
		in.facts.put(key, &f)
	}
	for pk, p := range in.pairs.all {
		if !p.judged && pk.media == key.media && (pk.before == key.version || pk.after == key.version) {
			in.judge(pk, p)
		}
	}
}

// follow records that a viewer played one version after another.
func (in *inspector) follow(m *media, before, after version) {
	in.mu.Lock()
	defer in.mu.Unlock()
	key := pairKey{m, before, after}
	p, ok := in.pairs.get(key)
	if !ok {
		p = &pair{}
		in.pairs.put(key, p)
	}
	p.seen++
	in.judge(key, p)
}

// judge compares two segments as soon as both are known, and accounts for all
// viewers who saw them so. The caller holds mu.
func (in *inspector) judge(key pairKey, p *pair) {
	if !p.judged {
		a, ok1 := in.facts.get(factKey{key.media, key.before})
		b, ok2 := in.facts.get(factKey{key.media, key.after})
		if !ok1 || !ok2 || !a.known || !b.known {
			return
		}
		p.judged = true
		p.wrong = continuity(a, b)
	}
	if p.wrong != "" {
		what := fmt.Sprintf("%s: %s to %s", key.media.rendition, live.SegmentName(key.before.n), live.SegmentName(key.after.n))
		in.stats.failTimes(p.wrong, what, p.seen)
	}
	p.seen = 0
}

// continuity says what is wrong where b is played after a: their times
// may differ by a frame, as boundaries do. Where defects were declared,
// something is known to be amiss.
func continuity(a, b *fact) string {
	if a.declared || b.declared {
		return ""
	}
	switch d, frame := b.start-a.end, max(a.frame, b.frame, 1); {
	case b.start <= a.start:
		return "media that repeats"
	case d < -frame:
		return "media that overlaps the segment before"
	case d > frame:
		return "media that leaves a hole after the segment before"
	}
	return ""
}

// A fifo is a map that forgets the oldest entries.
type fifo[K comparable, V any] struct {
	all   map[K]V
	order []K // a ring
	at    int
}

func newFIFO[K comparable, V any](size int) fifo[K, V] {
	return fifo[K, V]{all: map[K]V{}, order: make([]K, size)}
}

func (f *fifo[K, V]) get(k K) (V, bool) {
	v, ok := f.all[k]
	return v, ok
}

// put adds an entry that is not there.
func (f *fifo[K, V]) put(k K, v V) {
	delete(f.all, f.order[f.at])
	f.all[k] = v
	f.order[f.at] = k
	f.at = (f.at + 1) % len(f.order)
}

// drop removes an entry before its time. Its place in the ring stays, and
// removes nothing but a newer entry of the same key, early.
func (f *fifo[K, V]) drop(k K) { delete(f.all, k) }
