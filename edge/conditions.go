package edge

import (
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"time"
)

// conditions are what a request makes its answer depend on: the fields of RFC
// 9110, 13.1 and 14.2. It decides and nothing else.
type conditions struct {
	match, noneMatch, modifiedSince, unmodifiedSince, ifRange, byteRange string
}

// conditionsOf takes them from a head.
func conditionsOf(h http.Header) conditions {
	if len(h["Range"]) == 0 && len(h["If-None-Match"]) == 0 && len(h["If-Modified-Since"]) == 0 && len(h["If-Match"]) == 0 && len(h["If-Unmodified-Since"]) == 0 {
		return conditions{}
	}
	return conditions{
		match: strings.Join(h["If-Match"], ","), noneMatch: strings.Join(h["If-None-Match"], ","),
		modifiedSince: h.Get("If-Modified-Since"), unmodifiedSince: h.Get("If-Unmodified-Since"),
		ifRange: h.Get("If-Range"), byteRange: h.Get("Range"),
	}
}

// set takes one field of a head, by its name in any case.
func (c *conditions) set(name []byte, value string) {
	switch {
	case is(name, "range"):
		c.byteRange = value
	case is(name, "if-range"):
		c.ifRange = value
	case is(name, "if-match"):
		c.match = join(c.match, value)
	case is(name, "if-none-match"):
		c.noneMatch = join(c.noneMatch, value)
	case is(name, "if-modified-since"):
		c.modifiedSince = value
	case is(name, "if-unmodified-since"):
		c.unmodifiedSince = value
	}
}

func join(list, value string) string {
	if list == "" {
		return value
	}
	return list + "," + value
}

// none reports whether the whole is wanted, in any case. Several ranges in one
// request are more often an attack than a need; they may be ignored (14.2).
func (c *conditions) none() bool {
	return *c == conditions{} || c.match == "" && c.noneMatch == "" && c.modifiedSince == "" && c.unmodifiedSince == "" &&
		(c.byteRange == "" || strings.Contains(c.byteRange, ","))
}

// A represented is what there is, to be held against conditions.
type represented struct {
	etag     string
	modified time.Time // zero: not known
	size     int64
}

// A part is what of it to send, with which status.
type part struct {
	status   int
	from, to int64
}

// decide is RFC 9110, 13.2.2, for GET and HEAD.
func (c *conditions) decide(r represented) part {
	whole := part{http.StatusOK, 0, r.size}
	switch {
	case c.match != "":
		if !matches(c.match, r.etag, false) {
			return part{status: http.StatusPreconditionFailed}
		}
	case c.unmodifiedSince != "" && !r.modified.IsZero():
		if t, err := http.ParseTime(c.unmodifiedSince); err == nil && r.modified.Truncate(time.Second).After(t) {
			return part{status: http.StatusPreconditionFailed}
		}
	}
	switch {
	case c.noneMatch != "":
		if matches(c.noneMatch, r.etag, true) {
			return part{status: http.StatusNotModified}
		}
	case c.modifiedSince != "" && !r.modified.IsZero():
		if t, err := http.ParseTime(c.modifiedSince); err == nil && !r.modified.Truncate(time.Second).After(t) {
			return part{status: http.StatusNotModified}
		}
	}
	if c.byteRange == "" || strings.Contains(c.byteRange, ",") || !c.inRange(r) {
		return whole
	}
	return parseRange(c.byteRange, r.size)
}

// inRange reports whether If-Range lets Range count.
func (c *conditions) inRange(r represented) bool {
	switch {
	case c.ifRange == "":
		return true
	case strings.HasPrefix(c.ifRange, `"`) || strings.HasPrefix(c.ifRange, "W/"):
		return matches(c.ifRange, r.etag, false)
	}
	t, err := http.ParseTime(c.ifRange)
	return err == nil && !r.modified.IsZero() && r.modified.Truncate(time.Second).Equal(t)
}

// parseRange reads a Range of one part. What is not in bytes is ignored.
func parseRange(v string, size int64) part {
	bad := part{status: http.StatusRequestedRangeNotSatisfiable}
	unit, spec, ok := strings.Cut(v, "=")
	if !ok || !strings.EqualFold(textproto.TrimString(unit), "bytes") {
		return part{http.StatusOK, 0, size}
	}
	first, last, ok := strings.Cut(textproto.TrimString(spec), "-")
	first, last = textproto.TrimString(first), textproto.TrimString(last)
	if !ok || first == "" && last == "" {
		return bad
	}
	if first == "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil || n == 0 {
			return bad
		}
		return part{http.StatusPartialContent, max(size-int64(n), 0), size}.orBad()
	}
	from, err := strconv.ParseUint(first, 10, 63)
	if err != nil {
		return bad
	}
	to := size
	if last != "" {
		n, err := strconv.ParseUint(last, 10, 63)
		if err != nil || n < from {
			return bad
		}
		if int64(n) < size-1 {
			to = int64(n) + 1
		}
	}
	return part{http.StatusPartialContent, int64(from), to}.orBad()
}

// orBad makes a part that has nothing in it one that cannot be had.
func (p part) orBad() part {
	if p.from >= p.to {
		return part{status: http.StatusRequestedRangeNotSatisfiable}
	}
	return p
}

// matches reports whether a list of entity tags has one (RFC 9110, 8.8.3.2). What
// is malformed ends the list.
func matches(list, etag string, weak bool) bool {
	if textproto.TrimString(list) == "*" {
		return true
	}
	strong := strings.TrimPrefix(etag, "W/")
	for {
		list = strings.TrimLeft(list, " \t,")
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
