package live

import (
	"strconv"
	"strings"
	"time"
)

// A Moment is a segment as an operator names it: by its number, or by a time
// that lies in it.
type Moment struct {
	number Number
	at     time.Time     // where it is not zero, the time counts
	off    time.Duration // where at is zero, from now
	timed  bool          // it is a time, not a number
}

// ParseMoment reads a segment number, "now", a duration from now like -10m or
// +30s, or an RFC 3339 time. The reason of its *FieldError says so; the field is
// that which the caller names.
func ParseMoment(field, s string) (Moment, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && !strings.HasPrefix(s, "+") {
		if n < 0 || n > MaxNumber {
			return Moment{}, badField(field, "%d is outside 0 to 2^53", n)
		}
		return Moment{number: Number(n)}, nil
	}
	if s == "now" {
		return Moment{timed: true}, nil
	}
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		if d, err := time.ParseDuration(s); err == nil {
			return Moment{timed: true, off: d}, nil
		}
	}
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil && !t.IsZero() {
		return Moment{timed: true, at: t}, nil
	}
	return Moment{}, badField(field, "%q is neither a segment number, nor now, nor a duration from now like -10m or +30s, nor a time like 2026-11-23T20:00:00Z", s)
}

// Time is the moment's time; ok is false where it is a number.
func (m Moment) Time(now time.Time) (t time.Time, ok bool) {
	switch {
	case !m.timed:
		return time.Time{}, false
	case m.at.IsZero():
		return now.Add(m.off), true
	}
	return m.at, true
}

// Number is the moment's segment: of a time that which is filmed then, and of
// one before the event its first.
func (m Moment) Number(tl *Timeline, now time.Time) Number {
	if m.timed {
		return max(m.raw(tl, now), tl.First())
	}
	return m.number
}

// Before reports whether it lies before the first segment, After whether it does
// after the last.
func (m Moment) Before(tl *Timeline, now time.Time) bool { return m.raw(tl, now) < tl.First() }

// After: see Before.
func (m Moment) After(tl *Timeline, now time.Time) bool {
	last, ok := tl.Last()
	return ok && m.raw(tl, now) > last
}

func (m Moment) raw(tl *Timeline, now time.Time) Number {
	if t, ok := m.Time(now); ok {
		return tl.At(t)
	}
	return m.number
}
