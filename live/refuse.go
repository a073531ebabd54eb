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
		life = r.at.Sub(now)
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
		b = r.at.AppendFormat(append(b, " may be asked for from "...), TimeLayout)
		return append(b, " on"...)
	}
	return r.at.AppendFormat(append(b, " left the DVR window at "...), TimeLayout)
}

// Err is the refusal as a problem that caches may repeat for life.
func (r Refusal) Err(life time.Duration) *Problem {
	return r.Problem.For(life).With(string(r.AppendDetail(nil)))
}

// AppendBody appends the problem as its answer's body has it, with a detail of
// this time, and a new line.
func (p *Problem) AppendBody(b, detail []byte) []byte {
	b = append(b, `{"type":"`...)
	b = append(append(b, typePrefix...), p.Code...)
	b = appendQuoted(append(b, `","title":`...), p.Title)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(p.Status), 10)
	if len(detail) > 0 {
		b = appendQuoted(append(b, `,"detail":`...), detail)
	}
	return append(b, '}', '\n')
}

// appendQuoted appends a JSON string, safe within HTML. What is no UTF-8 is
// replaced.
func appendQuoted[S string | []byte](b []byte, s S) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 0x80:
			return appendRunes(b, string(s[i:])) // seldom: it takes memory
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == '<' || c == '>' || c == '&':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
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
