package manifest

import (
	"bytes"
	"strconv"
	"time"
)

var (
	timeTag    = []byte("#EXT-X-PROGRAM-DATE-TIME:")
	extinfTag  = []byte("#EXTINF:")
	versionTag = []byte("#EXT-X-VERSION:" + string('0'+rune(hlsVersion)) + "\n")
	skipTag    = []byte("CAN-SKIP-UNTIL=")
)

// Delta makes the delta update of a media playlist that Media wrote (RFC 8216bis,
// 6.2.5.1): what Media writes with Skip. So a cache that has the playlist need not
// ask for it. Where nothing may be skipped, or it is not such a playlist, it is
// returned as it is.
func Delta(playlist []byte) []byte {
	at := bytes.Index(playlist, timeTag)
	if at < 0 {
		return playlist
	}
	head := playlist[:at]
	_, until, _ := bytes.Cut(head, skipTag)
	n := bytes.IndexByte(until, '.')
	line, entries, _ := bytes.Cut(playlist[at+len(timeTag):], []byte("\n"))
	start, err := time.Parse(timeLayout, string(line))
	if n < 0 || err != nil || !bytes.Contains(head, versionTag) || bytes.Contains(head, []byte("#EXT-X-SKIP")) {
		return playlist
	}
	keep, err := strconv.ParseInt(string(until[:n]), 10, 64)
	if err != nil {
		return playlist
	}
	var whole int64 // microseconds
	listed := 0
	for rest := entries; len(rest) > 0; listed++ {
		d, _, next := entry(rest)
		whole, rest = whole+d, next
	}
	skipped, us := 0, int64(0)
	var mapped, keyed []byte // the newest init segment and keys among what is skipped
	for len(entries) > 0 {
		d, e, rest := entry(entries)
		if whole-us-d < keep*1_000_000 {
			break
		}
		if e.mapped != nil {
			mapped = e.mapped
		}
		if e.keyed != nil {
			keyed = e.keyed
		}
		skipped, us, entries = skipped+1, us+d, rest
	}
	if skipped == 0 || skipped < listed-skipped { // see keepListed
		return playlist
	}
	head = bytes.Replace(head, versionTag, []byte("#EXT-X-VERSION:"+strconv.Itoa(skipVersion)+"\n"), 1)
	b := make([]byte, 0, len(head)+len(entries)+128)
	b = append(b, head...)
	b = appendInt(append(b, "#EXT-X-SKIP:SKIPPED-SEGMENTS="...), int64(skipped))
	b = append(b, '\n')
	b = append(append(b, keyed...), mapped...)
	b = append(b, timeTag...)
	b = start.Add(time.Duration(us)*time.Microsecond).AppendFormat(b, timeLayout)
	return append(append(b, '\n'), entries...)
}

// timeLayout is how EXT-X-PROGRAM-DATE-TIME is written.
const timeLayout = "2006-01-02T15:04:05.000Z"

// said is what an entry says of its init segment and its keys: lines.
type said struct{ mapped, keyed []byte }

// entry reads the lines of one segment, up to its URL: how long it lasts, and what it
// brings.
func entry(b []byte) (us int64, brings said, rest []byte) {
	for len(b) > 0 {
		all := b
		line, next, _ := bytes.Cut(b, []byte("\n"))
		b = next
		whole := all[:len(all)-len(b)]
		if v, ok := bytes.CutPrefix(line, extinfTag); ok {
			us = microseconds(v)
		}
		switch {
		case bytes.HasPrefix(line, []byte(mapTag)):
			brings.mapped = whole
		case bytes.HasPrefix(line, []byte(keyTag)) && brings.keyed == nil:
			brings.keyed = whole
		case bytes.HasPrefix(line, []byte(keyTag)): // they lie side by side
			brings.keyed = brings.keyed[:len(brings.keyed)+len(whole)]
		}
		if len(line) == 0 || line[0] != '#' {
			break
		}
	}
	return us, brings, b
}

// microseconds reads a decimal number of seconds up to the comma.
func microseconds(v []byte) (us int64) {
	scale := int64(0)
	for _, c := range v {
		switch {
		case c == '.':
			scale = 1_000_000
		case c < '0' || c > '9':
			return us * max(scale, 1)
		default:
			us = us*10 + int64(c-'0')
			scale /= 10
		}
	}
	return us * max(scale, 1)
}
