package ingest

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parsePlaylist reads what a pushed HLS playlist says (RFC 8216): of a media
// playlist its stream, of a multivariant one the playlists that it names.
func parsePlaylist(b []byte, root, from string) (*manifest, error) {
	if len(b) > maxManifest {
		return nil, fmt.Errorf("%w: %d bytes", ErrManifest, len(b))
	}
	text := strings.TrimPrefix(string(b), "\ufeff")
	if !strings.HasPrefix(text, "#EXTM3U") {
		return nil, fmt.Errorf("%w: this does not begin with #EXTM3U", ErrManifest)
	}
	out := &manifest{}
	one := described{id: streamName(from), list: from, names: map[string]bool{}, dates: map[string]time.Time{}}
	var variant *described
	var date time.Time
	var length time.Duration
	lines := 0
	for line := range strings.Lines(text) {
		if lines++; lines > maxElements {
			return nil, fmt.Errorf("%w: more than %d lines", ErrManifest, maxElements)
		}
		line = strings.TrimSpace(line)
		tag, value, _ := strings.Cut(line, ":")
		switch {
		case line == "":
		case tag == "#EXT-X-MAP":
			one.init = resolve(root, from, attributeList(value)["URI"])
		case tag == "#EXT-X-PROGRAM-DATE-TIME":
			date, _ = parseDate(value)
		case tag == "#EXT-X-ENDLIST":
			out.ended = true
		case tag == "#EXTINF":
			n, _, _ := strings.Cut(value, ",")
			length = seconds(n)
			if one.segment == 0 {
				one.segment = length
			}
		case tag == "#EXT-X-STREAM-INF":
			a := attributeList(value)
			variant = &described{}
			variant.bandwidth, _ = strconv.ParseInt(a["BANDWIDTH"], 10, 64)
		case tag == "#EXT-X-MEDIA":
			if a := attributeList(value); a["URI"] != "" && len(out.lists) < maxListed {
				list := resolve(root, from, a["URI"])
				out.lists = append(out.lists, described{id: streamName(list), list: list, language: a["LANGUAGE"], label: a["NAME"]})
			}
		case strings.HasPrefix(line, "#"):
		case variant != nil:
			if len(out.lists) < maxListed {
				variant.list = resolve(root, from, line)
				variant.id = streamName(variant.list)
				out.lists = append(out.lists, *variant)
			}
			variant = nil
		default:
			name := resolve(root, from, line)
			one.names[name] = true
			if !date.IsZero() {
				one.dates[name] = date
				date = date.Add(length)
			}
		}
	}
	if one.init != "" || len(one.names) > 0 {
		out.streams = []described{one}
	}
	return out, nil
}

// attributeList reads NAME=VALUE,NAME="VALUE" (RFC 8216, 4.2).
func attributeList(s string) map[string]string {
	out := map[string]string{}
	for s != "" {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			break
		}
		var value string
		if q, quoted := strings.CutPrefix(rest, `"`); quoted {
			value, rest, _ = strings.Cut(q, `"`)
			_, s, _ = strings.Cut(rest, ",")
		} else {
			value, s, _ = strings.Cut(rest, ",")
		}
		out[strings.TrimSpace(name)] = value
	}
	return out
}

// parseDate reads ISO 8601 as players do: the zone may lack its colon.
func parseDate(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05.999999999-0700", s)
	}
	return t, err
}

func seconds(s string) time.Duration {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v < 3600) {
		return 0
	}
	return time.Duration(v * float64(time.Second))
}
