package exchange

import (
	"errors"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"headwater/listen/plain"
)

// Conditions are what a request makes its answer depend on: the fields of RFC
// 9110, 13.1 and 14.2. It decides and nothing else.
type Conditions struct {
	match, noneMatch, modifiedSince, unmodifiedSince, ifRange, byteRange string
}

// ConditionsOf takes them from a head.
func ConditionsOf(h http.Header) Conditions {
	if len(h["Range"]) == 0 && len(h["If-None-Match"]) == 0 && len(h["If-Modified-Since"]) == 0 && len(h["If-Match"]) == 0 && len(h["If-Unmodified-Since"]) == 0 {
		return Conditions{}
	}
	return Conditions{
		match: strings.Join(h["If-Match"], ","), noneMatch: strings.Join(h["If-None-Match"], ","),
		modifiedSince: h.Get("If-Modified-Since"), unmodifiedSince: h.Get("If-Unmodified-Since"),
		ifRange: h.Get("If-Range"), byteRange: h.Get("Range"),
	}
}

// Set takes one field of a head, by its name in any case.
func (c *Conditions) Set(name []byte, value string) {
	switch {
	case plain.Is(name, "range"):
		c.byteRange = value
	case plain.Is(name, "if-range"):
		c.ifRange = value
	case plain.Is(name, "if-match"):
		c.match = join(c.match, value)
	case plain.Is(name, "if-none-match"):
		c.noneMatch = join(c.noneMatch, value)
	case plain.Is(name, "if-modified-since"):
		c.modifiedSince = value
	case plain.Is(name, "if-unmodified-since"):
		c.unmodifiedSince = value
	}
}

func join(list, value string) string {
	if list == "" {
		return value
	}
	return list + "," + value
}

// None reports whether the whole is wanted, in any case. Several ranges in one
// request are more often an attack than a need; they may be ignored (14.2).
func (c *Conditions) None() bool {
	return *c == Conditions{} || c.match == "" && c.noneMatch == "" && c.modifiedSince == "" && c.unmodifiedSince == "" &&
		(c.byteRange == "" || strings.Contains(c.byteRange, ","))
}

// A Represented is what there is, to be held against conditions.
type Represented struct {
	ETag     string
	Modified time.Time // zero: not known
	Size     int64
}

// A Part is what of it to send, with which status.
type Part struct {
	Status   int
	From, To int64
}

// Decide is RFC 9110, 13.2.2, for GET and HEAD.
func (c *Conditions) Decide(r Represented) Part {
	whole := Part{http.StatusOK, 0, r.Size}
	switch {
	case c.match != "":
		if !matches(c.match, r.ETag, false) {
			return Part{Status: http.StatusPreconditionFailed}
		}
	case c.unmodifiedSince != "" && !r.Modified.IsZero():
		if t, err := http.ParseTime(c.unmodifiedSince); err == nil && r.Modified.Truncate(time.Second).After(t) {
			return Part{Status: http.StatusPreconditionFailed}
		}
	}
	switch {
	case c.noneMatch != "":
		if matches(c.noneMatch, r.ETag, true) {
			return Part{Status: http.StatusNotModified}
		}
	case c.modifiedSince != "" && !r.Modified.IsZero():
		if t, err := http.ParseTime(c.modifiedSince); err == nil && !r.Modified.Truncate(time.Second).After(t) {
			return Part{Status: http.StatusNotModified}
		}
	}
	if c.byteRange == "" || strings.Contains(c.byteRange, ",") || !c.inRange(r) {
		return whole
	}
	return parseRange(c.byteRange, r.Size)
}

// inRange reports whether If-Range lets Range count: it has one tag, which must be
// strong, or a time (RFC 9110, 13.1.5).
func (c *Conditions) inRange(r Represented) bool {
	switch {
	case c.ifRange == "":
		return true
	case strings.HasPrefix(c.ifRange, `"`) || strings.HasPrefix(c.ifRange, "W/"):
		return c.ifRange == r.ETag && r.ETag[0] == '"'
	}
	t, err := http.ParseTime(c.ifRange)
	return err == nil && !r.Modified.IsZero() && r.Modified.Truncate(time.Second).Equal(t)
}

// parseRange reads a Range of one part. What is not in bytes is ignored.
func parseRange(v string, size int64) Part {
	bad := Part{Status: http.StatusRequestedRangeNotSatisfiable}
	unit, spec, ok := strings.Cut(v, "=")
	if !ok || !strings.EqualFold(textproto.TrimString(unit), "bytes") {
		return Part{http.StatusOK, 0, size}
	}
	if spec = textproto.TrimString(spec); spec == "" {
		return Part{http.StatusOK, 0, size} // of no range
	}
	first, last, ok := strings.Cut(spec, "-")
	first, last = textproto.TrimString(first), textproto.TrimString(last)
	if !ok || first == "" && last == "" {
		return bad
	}
	if first == "" {
		n, err := position(last)
		if err != nil || n == 0 {
			return bad
		}
		return Part{http.StatusPartialContent, max(size-n, 0), size}.orBad()
	}
	from, err := position(first)
	if err != nil {
		return bad
	}
	to := size
	if last != "" {
		n, err := position(last)
		if err != nil || n < from {
			return bad
		}
		if n < size-1 {
			to = n + 1
		}
	}
	return Part{http.StatusPartialContent, from, to}.orBad()
}

// position reads one of a range. It has no bound (RFC 9110, 14.1.2): what is larger
// than any size is behind the end, and not malformed.
func position(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if errors.Is(err, strconv.ErrRange) {
		err = nil // and n is the largest
	}
	return int64(n), err
}

// orBad makes a part that has nothing in it one that cannot be had.
func (p Part) orBad() Part {
	if p.From >= p.To {
		return Part{Status: http.StatusRequestedRangeNotSatisfiable}
	}
	return p
}

// matches reports whether a list of entity tags has one (RFC 9110, 8.8.3.2). What
// is malformed ends the list, and a * is any, whatever comes behind it, as at an origin.
func matches(list, etag string, weak bool) bool {
	strong := strings.TrimPrefix(etag, "W/")
	for {
		list = strings.TrimLeft(list, " \t,")
		if strings.HasPrefix(list, "*") {
			return true
		}
		isWeak := strings.HasPrefix(list, "W/")
		list = strings.TrimPrefix(list, "W/")
		if !strings.HasPrefix(list, `"`) {
			return false
		}
		end := strings.IndexByte(list[1:], '"')
		if end < 0 {
			return false
		}
		tag := list[:end+2]
		list = list[end+2:]
		if tag == strong && (weak || !isWeak && strong == etag) {
			return true
		}
	}
}
