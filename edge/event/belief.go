package event

import "time"

// lagMost is how long parents may say less than one of them said before. Then it is
// not they who lag: that one was wrong, or the origin lost what it had.
const lagMost = 10 * time.Second

// A belief is the highest count that parents told of. Answers overtake each other,
// and parents lag, so a lower one is no news; but what nobody says any more is taken
// back, so that one wrong answer does not stay for ever. It decides and nothing else.
type belief struct {
	value   int64
	doubted time.Time // since when all that is said is less; zero: it is not
	less    int64     // the most that was said since
}

// hear is what is believed after an answer that told v.
func (b belief) hear(v int64, now time.Time) belief {
	switch {
	case v >= b.value:
		return belief{value: v}
	case b.doubted.IsZero():
		return belief{b.value, now, v}
	case now.Sub(b.doubted) > lagMost:
		return belief{value: max(v, b.less)}
	}
	return belief{b.value, b.doubted, max(v, b.less)}
}
