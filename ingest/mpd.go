package ingest

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// A segmentInfo is what elements from Period down say of segments; what an inner one
// does not say it has of the outer one.
type segmentInfo struct {
	init, media         string
	timescale, duration int64
	offset              int64 // presentationTimeOffset
	list                []string
	bases               []string
	language, label     string
	id, bandwidth       string
	timed               bool // duration is that of the longest S
}

// parseMPD reads what a pushed MPD says of the streams of its last Period.
func parseMPD(b []byte, root, from string) (*manifest, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("%w: %d bytes", ErrManifest, len(b))
	}
	out := &manifest{}
	var stack []segmentInfo
	var names []string
	top := segmentInfo{timescale: 1}
	var period time.Duration
	var text strings.Builder
	elements := 0
	d := xml.NewDecoder(bytes.NewReader(b))
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrManifest, err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			if elements++; elements > maxElements || len(names) == maxDepth {
				return nil, fmt.Errorf("%w: more than %d elements, or %d inside of each other", ErrManifest, maxElements, maxDepth)
			}
			if len(names) == 0 && t.Name.Local != "MPD" {
				return nil, fmt.Errorf("%w: this is %s, not an MPD", ErrManifest, t.Name.Local)
			}
			stack, names = append(stack, top), append(names, t.Name.Local)
			text.Reset()
			a := attributes(t.Attr)
			switch t.Name.Local {
			case "MPD":
				out.ended = a.get("type") != "dynamic"
				out.start, _ = time.Parse(time.RFC3339, a.get("availabilityStartTime"))
			case "Period":
				out.streams, top.list = nil, nil
				period, _ = parseDuration(a.get("start"))
			case "AdaptationSet":
				a.set(&top.language, "lang")
			case "Representation":
				top.id, top.bandwidth = a.get("id"), a.get("bandwidth")
				a.set(&top.language, "lang")
			case "SegmentTemplate", "SegmentList", "SegmentBase":
				a.set(&top.init, "initialization")
				a.set(&top.media, "media")
				a.number(&top.timescale, "timescale")
				a.number(&top.duration, "duration")
				a.number(&top.offset, "presentationTimeOffset")
			case "Initialization":
				a.set(&top.init, "sourceURL")
			case "SegmentURL":
				top.list = append(top.list, a.get("media"))
			case "S":
				// The first may be cut off.
				var d int64
				if a.number(&d, "d"); !top.timed || d > top.duration {
					top.duration, top.timed = d, true
				}
			}
		case xml.CharData:
			if text.Len()+len(t) <= 4096 {
				text.Write(t)
			}
		case xml.EndElement:
			name, inner := names[len(names)-1], top
			names = names[:len(names)-1]
			top, stack = stack[len(stack)-1], stack[:len(stack)-1]
			said := strings.TrimSpace(text.String())
			text.Reset()
			switch name {
			case "BaseURL":
				// The first of a level counts.
				if depth := len(names); len(top.bases) < depth {
					top.bases = append(top.bases[:len(top.bases):len(top.bases)], said)
				}
			case "Label":
				top.label = said
			case "SegmentTemplate", "SegmentList", "SegmentBase", "SegmentTimeline", "Initialization", "SegmentURL", "S":
				// They speak of what they are in.
				top.init, top.media, top.timescale, top.duration, top.offset = inner.init, inner.media, inner.timescale, inner.duration, inner.offset
				top.list, top.timed = inner.list, inner.timed
			case "Representation":
				if len(out.streams) == maxListed {
					return nil, fmt.Errorf("%w: more than %d representations", ErrManifest, maxListed)
				}
				out.streams = append(out.streams, inner.describe(root, from, period))
			}
		}
	}
	if elements == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrManifest)
	}
	return out, nil
}

func (s *segmentInfo) describe(root, from string, period time.Duration) described {
	ref := func(last string) string {
		return resolve(root, from, append(s.bases[:len(s.bases):len(s.bases)], last)...)
	}
	d := described{id: s.id, language: s.language, label: s.label, zero: period}
	d.bandwidth, _ = strconv.ParseInt(s.bandwidth, 10, 64)
	if s.timescale > 0 {
		d.segment = scaled(s.duration, s.timescale)
		d.zero -= scaled(s.offset, s.timescale)
	}
	if s.init != "" {
		d.init = ref(fill(s.init, s.id, s.bandwidth))
	}
	if s.media != "" {
		// $ and % are taken literally by a URL's path.
		d.media = template(ref(strings.ReplaceAll(s.media, "%", "%25")), s.id, s.bandwidth)
	}
	if len(s.list) > 0 {
		d.names = map[string]bool{}
		for _, name := range s.list {
			d.names[ref(name)] = true
		}
	}
	return d
}

// scaled is a number of ticks as a time, 0 where it is absurd.
func scaled(ticks, timescale int64) time.Duration {
	if s := ticks / timescale; s < 0 || s > 1<<33 {
		return 0
	}
	return time.Duration(ticks/timescale)*time.Second + time.Duration(float64(ticks%timescale)/float64(timescale)*1e9)
}

type attributes []xml.Attr

func (a attributes) get(name string) string {
	for _, x := range a {
		if x.Name.Local == name {
			return x.Value
		}
	}
	return ""
}

func (a attributes) set(to *string, name string) {
	if v := a.get(name); v != "" {
		*to = v
	}
}

func (a attributes) number(to *int64, name string) {
	if v, err := strconv.ParseInt(a.get(name), 10, 64); err == nil && v >= 0 {
		*to = v
	}
}

// parseDuration reads an xs:duration of days and less.
func parseDuration(s string) (time.Duration, bool) {
	rest, ok := strings.CutPrefix(s, "P")
	if !ok {
		return 0, false
	}
	days, clock, _ := strings.Cut(rest, "T")
	var d time.Duration
	if n, ok := strings.CutSuffix(days, "D"); ok {
		v, err := strconv.ParseInt(n, 10, 32)
		if err != nil || v < 0 || v > 36500 {
			return 0, false
		}
		d = time.Duration(v) * 24 * time.Hour
	}
	if clock == "" {
		return d, true
	}
	v, err := time.ParseDuration(strings.ToLower(clock))
	return d + v, err == nil && v >= 0
}
