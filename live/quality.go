package live

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// A Quality is what a segment shows and lets hear, as its encoder or somebody who
// watched it says: a verdict on media that is whole. The zero value says nothing.
type Quality struct {
	Said  bool  // something was said, be it that all is well
	Score int64 // 0 to 100, the best; 100 where nobody gave one. Only where Said

	// Milliseconds of black picture, of a picture that stands still, of silence.
	BlackMS, FrozenMS, SilentMS int64
}

// QualityKinds are what a quality can be found wanting in, for counters.
var QualityKinds = []string{"black", "frozen", "silent", "score"}

// Wants are those of QualityKinds that a quality is wanting in.
func (q Quality) Wants() (kinds []string) {
	for i, bad := range [...]bool{q.BlackMS > 0, q.FrozenMS > 0, q.SilentMS > 0, q.Said && q.Score < 100} {
		if bad {
			kinds = append(kinds, QualityKinds[i])
		}
	}
	return kinds
}

// CostMS is how much of a segment is not worth seeing or hearing, in milliseconds.
func (q Quality) CostMS(segment time.Duration) int64 {
	if !q.Said {
		return 0
	}
	ms := segment.Milliseconds()
	return min(max(q.BlackMS, q.FrozenMS, q.SilentMS, (100-q.Score)*ms/100), ms)
}

// Merge is what two verdicts on the same bytes make: of each the worse, since
// bytes do not change. So it does not matter in which order they come, nor how often.
func (q Quality) Merge(r Quality) Quality {
	switch {
	case !q.Said:
		return r
	case !r.Said:
		return q
	}
	return Quality{Said: true, Score: min(q.Score, r.Score),
		BlackMS: max(q.BlackMS, r.BlackMS), FrozenMS: max(q.FrozenMS, r.FrozenMS), SilentMS: max(q.SilentMS, r.SilentMS)}
}

// Within is q of a segment that lasts so long: more than all of it cannot be black.
func (q Quality) Within(segment time.Duration) Quality {
	ms := segment.Milliseconds()
	q.BlackMS, q.FrozenMS, q.SilentMS = min(q.BlackMS, ms), min(q.FrozenMS, ms), min(q.SilentMS, ms)
	return q
}

// String is the one Live-Quality form, "" where nothing is said.
func (q Quality) String() string {
	if !q.Said {
		return ""
	}
	var parts []string
	for i, ms := range [...]int64{q.BlackMS, q.FrozenMS, q.SilentMS} {
		if ms > 0 {
			parts = append(parts, QualityKinds[i]+";ms="+strconv.FormatInt(min(ms, maxInteger), 10))
		}
	}
	if q.Score < 100 || parts == nil {
		parts = append(parts, "score="+strconv.FormatInt(q.Score, 10))
	}
	return strings.Join(parts, ", ")
}

// ParseQuality reads Live-Quality values (RFC 9651, a dictionary): score from 0
// to 100, and black, frozen and silent with ms. Other keys are somebody else's.
func ParseQuality(values []string) (Quality, error) {
	var q Quality
	if len(values) == 0 {
		return q, nil
	}
	dict, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return q, badHeader(HeaderQuality, "%v", err)
	}
	q.Score = 100
	for i, into := range [...]*int64{&q.BlackMS, &q.FrozenMS, &q.SilentMS} {
		m, ok := dict.Get(QualityKinds[i])
		if !ok {
			continue
		}
		item, ok := m.(httpsfv.Item)
		if !ok || item.Value != true {
			return Quality{}, badHeader(HeaderQuality, "%s has no value, but a parameter ms", QualityKinds[i])
		}
		if _, ok := item.Params.Get("ms"); !ok {
			return Quality{}, badHeader(HeaderQuality, "%s does not say ms", QualityKinds[i])
		}
		if *into, err = intParam(item.Params, "ms"); err != nil {
			return Quality{}, badHeader(HeaderQuality, "%s: %v", QualityKinds[i], err)
		}
		q.Said = true
	}
	if m, ok := dict.Get("score"); ok {
		if q.Score, ok = scoreOf(m); !ok {
			return Quality{}, badHeader(HeaderQuality, "score is not a number from 0 to 100")
		}
		q.Said = true
	}
	if !q.Said {
		return Quality{}, nil
	}
	return q, nil
}

// scoreOf is a score, rounded down.
func scoreOf(m httpsfv.Member) (int64, bool) {
	item, ok := m.(httpsfv.Item)
	if !ok {
		return 0, false
	}
	var score int64
	switch v := item.Value.(type) {
	case int64:
		score = v
	case float64:
		score = int64(math.Floor(v))
	default:
		return 0, false
	}
	return score, score >= 0 && score <= 100
}

// ParseCMSDQuality reads the score out of CMSD-Static values: that of the custom
// key (CTA-5006: a name in reverse DNS notation and a hyphen before it) that ends
// in mqcs, for media quality confidence score. What is no such thing says nothing:
// the header is not ours.
func ParseCMSDQuality(values []string) Quality {
	if len(values) == 0 {
		return Quality{}
	}
	dict, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return Quality{}
	}
	for _, name := range dict.Names() {
		if name != "mqcs" && !strings.HasSuffix(name, "-mqcs") {
			continue
		}
		m, _ := dict.Get(name)
		if score, ok := scoreOf(m); ok {
			return Quality{Said: true, Score: score}
		}
	}
	return Quality{}
}
