package live

import (
	"strconv"
	"time"
)

// A Refusal says why the timeline alone refuses a number. It is a plain value:
// to make one, and to write what it says, takes no memory.
type Refusal struct {
	Problem *Problem
	Place   Place
	number  Number
	first   Number    // of the event, with Never
	at      time.Time // when it is due, or was gone
}

// Refuse reports whether n is refused at now, and why: what cannot exist yet,
// never will, or has left the DVR window.
func (tl *Timeline) Refuse(n Number, now time.Time) (r Refusal, life time.Duration, refused bool) {
	r = Refusal{Place: tl.Place(n, now), number: n, first: tl.first}
	switch r.Place {
	case Never:
		r.Problem, life = ErrNever, ErrNever.Lifetime
		if n > tl.first {
			life = time.Minute // an event's end may still be moved
		}
	case Early:
		r.Problem, r.at = ErrEarly, tl.Due(n)
		life = min(r.at.Sub(now), time.Minute) // and its start
	case Gone:
		r.Problem, r.at = ErrGone, tl.GoneAt(n)
		life = ErrGone.Lifetime
	default:
		return r, 0, false
	}
	return r, life, true
}

// AppendDetail appends what happened, in words.
func (r Refusal) AppendDetail(b []byte) []byte {
	if r.Place == Never && r.number < r.first {
		return strconv.AppendInt(append(b, "the event begins with segment "...), int64(r.first), 10)
	}
	b = strconv.AppendInt(append(b, "segment "...), int64(r.number), 10)
	switch r.Place {
	case Never:
		return append(b, " is after the end of the event"...)
	case Early:
		b = appendTime(append(b, " may be asked for from "...), r.at)
		return append(b, " on"...)
	}
	return appendTime(append(b, " left the DVR window at "...), r.at)
}

// appendTime appends a time as TimeLayout has it.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 1000 || year > 9999 {
		return t.AppendFormat(b, TimeLayout)
	}
	hour, minute, second := t.Clock()
	two := func(n int, after byte) { b = append(b, '0'+byte(n/10), '0'+byte(n%10), after) }
	b = append(strconv.AppendInt(b, int64(year), 10), '-')
	two(int(month), '-')
	two(day, 'T')
	two(hour, ':')
	two(minute, ':')
	two(second, '.')
	ms := t.Nanosecond() / int(time.Millisecond)
	return append(b, '0'+byte(ms/100), '0'+byte(ms/10%10), '0'+byte(ms%10), 'Z')
}

// Err is the refusal as a problem that caches may repeat for life.
func (r Refusal) Err(life time.Duration) *Problem {
	return r.Problem.For(life).With(string(r.AppendDetail(nil)))
}

// AppendBody appends the problem as its answer's body has it, with a detail of
// this time, and a new line.
func (p *Problem) AppendBody(b, detail []byte) []byte {
	if o := opened[p.Code]; o.problem != nil && o.problem.Title == p.Title && o.problem.Status == p.Status {
		b = append(b, o.text...)
	} else {
		b = p.appendOpening(b)
	}
	if len(detail) > 0 {
		b = appendQuoted(append(b, `,"detail":`...), detail)
	}
	return append(b, '}', '\n')
}

// appendOpening appends what is the same each time.
func (p *Problem) appendOpening(b []byte) []byte {
	b = append(append(append(b, `{"type":"`...), typePrefix...), p.Code...)
	b = appendQuoted(append(b, `","title":`...), p.Title)
	return strconv.AppendInt(append(b, `,"status":`...), int64(p.Status), 10)
}

// opened has how the bodies of Problems begin.
var opened = func() map[string]opening {
	m := make(map[string]opening)
	for _, p := range Problems {
		m[p.Code] = opening{p, string(p.appendOpening(nil))}
	}
	return m
}()

type opening struct {
	problem *Problem
	text    string
}

// appendQuoted appends a JSON string, safe within HTML. What is no UTF-8 is
// replaced.
func appendQuoted[S string | []byte](b []byte, s S) []byte {
	b = append(b, '"')
	done := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c < 0x80 && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
			continue
		}
		b = append(b, s[done:i]...)
		done = i + 1
		switch {
		case c >= 0x80:
			return appendRunes(b, string(s[i:])) // seldom: it takes memory
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(b, s[done:]...), '"')
}

const hex = "0123456789abcdef"

// appendRunes goes on with what is not ASCII alone, and ends the string.
func appendRunes(b []byte, s string) []byte {
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r < ' ' || r == '<' || r == '>' || r == '&' || r == 0x2028 || r == 0x2029:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		default:
			b = append(b, string(r)...)
		}
	}
	return append(b, '"')
}

// AppendNoKeyFrames appends, in words, that there are none of a rendition alone.
func AppendNoKeyFrames(b []byte, rendition string) []byte {
	b = strconv.AppendQuote(append(b, "rendition "...), rendition)
	return append(b, " does not offer its key frames alone (key_frames)"...)
}
