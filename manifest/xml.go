package manifest

import (
	"strconv"
	"strings"
	"time"
)

// A xmlWriter appends XML elements, indented. Names are constants of this
// package; values are escaped.
type xmlWriter struct {
	b    []byte
	open []string // elements that wait for their end tag
	tag  bool     // the last start tag can still take attributes
	flat bool     // the innermost element holds text
}

func (x *xmlWriter) indent() {
	x.b = append(x.b, '\n')
	for range x.open {
		x.b = append(x.b, ' ', ' ')
	}
}

func (x *xmlWriter) closeTag() {
	if x.tag {
		x.b = append(x.b, '>')
		x.tag = false
	}
}

// start begins an element.
func (x *xmlWriter) start(name string) {
	x.closeTag()
	x.indent()
	x.b = append(append(x.b, '<'), name...)
	x.open = append(x.open, name)
	x.tag = true
}

// end ends the innermost element.
func (x *xmlWriter) end() {
	name := x.open[len(x.open)-1]
	x.open = x.open[:len(x.open)-1]
	if x.tag {
		x.b = append(x.b, '/', '>')
		x.tag = false
		return
	}
	if !x.flat {
		x.indent()
	}
	x.flat = false
	x.b = append(append(append(x.b, '<', '/'), name...), '>')
}

// attr adds an attribute to the element that was just begun; an empty value
// adds nothing.
func (x *xmlWriter) attr(name, value string) {
	if value == "" {
		return
	}
	x.b = append(append(append(x.b, ' '), name...), '=', '"')
	x.b = append(xmlEscape(x.b, value), '"')
}

func (x *xmlWriter) attrInt(name string, v int64) { x.attr(name, strconv.FormatInt(v, 10)) }

// attrPositive adds nothing where v is 0: not known.
func (x *xmlWriter) attrPositive(name string, v int64) {
	if v > 0 {
		x.attrInt(name, v)
	}
}

func (x *xmlWriter) attrDuration(name string, d time.Duration) { x.attr(name, isoDuration(d)) }

// elements are some that were written by others, well-formed and in namespaces of their own.
func (x *xmlWriter) elements(text string) {
	x.closeTag()
	x.indent()
	x.b = append(x.b, strings.TrimSpace(text)...)
}

// text is all that the element that was just begun holds.
func (x *xmlWriter) text(s string) {
	x.closeTag()
	x.b = xmlEscape(x.b, s)
	x.flat = true
}

// descriptor writes an element of DescriptorType (ISO/IEC 23009-1, 5.8.2).
func (x *xmlWriter) descriptor(name, scheme, value string) {
	x.start(name)
	x.attr("schemeIdUri", scheme)
	x.attr("value", value)
	x.end()
}

func xmlEscape(b []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; c {
		case '<':
			b = append(b, "&lt;"...)
		case '>':
			b = append(b, "&gt;"...)
		case '&':
			b = append(b, "&amp;"...)
		case '"':
			b = append(b, "&quot;"...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// isoDuration is an xs:duration in seconds with milliseconds, rounded down:
// one that ends on a segment boundary never seems to reach into the next
// segment.
func isoDuration(d time.Duration) string {
	ms := max(d.Milliseconds(), 0)
	s := "PT" + strconv.FormatInt(ms/1000, 10)
	if ms %= 1000; ms != 0 {
		s += "." + strings.TrimRight(strconv.FormatInt(1000+ms, 10)[1:], "0")
	}
	return s + "S"
}

// isoTime is an xs:dateTime in UTC with milliseconds where there are any.
func isoTime(t time.Time) string {
	t = t.UTC().Truncate(time.Millisecond)
	if t.Nanosecond() == 0 {
		return t.Format("2006-01-02T15:04:05Z")
	}
	return t.Format("2006-01-02T15:04:05.000Z")
}
