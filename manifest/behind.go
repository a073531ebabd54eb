package manifest

import (
	"bytes"
	"strconv"
	"time"
)

var (
	startOfHLS = []byte("#EXTM3U\n")
	delayAttr  = []byte(` suggestedPresentationDelay="PT`)
	targetAttr = []byte(` target="`)
	latencyTag = []byte("<Latency ")
)

// Behind makes a multivariant playlist, or an MPD, by which players begin further
// behind the live edge than by the one given: EXT-X-START (RFC 8216bis, 4.4.2.2), a
// suggestedPresentationDelay and a target latency. What is neither is returned as it is.
func Behind(list []byte, segment, by time.Duration) []byte {
	if rest, ok := bytes.CutPrefix(list, startOfHLS); ok {
		b := append(make([]byte, 0, len(list)+64), startOfHLS...)
		b = append(b, "#EXT-X-START:TIME-OFFSET=-"...)
		b = strconv.AppendFloat(b, (holdBack*max(segment.Round(time.Second), time.Second) + by).Seconds(), 'f', 3, 64)
		return append(append(b, '\n'), rest...)
	}
	list = raise(list, delayAttr, 'S', func(v float64) float64 { return v + by.Seconds() })
	if at := bytes.Index(list, latencyTag); at >= 0 {
		b := raise(list[at:], targetAttr, '"', func(v float64) float64 { return v + float64(by.Milliseconds()) })
		list = append(bytes.Clone(list[:at]), b...)
	}
	return list
}

// raise changes the decimal number between the first of these and the byte after it.
func raise(b, before []byte, after byte, f func(float64) float64) []byte {
	at := bytes.Index(b, before)
	if at < 0 {
		return b
	}
	at += len(before)
	n := bytes.IndexByte(b[at:], after)
	if n < 0 {
		return b
	}
	v, err := strconv.ParseFloat(string(b[at:at+n]), 64)
	if err != nil {
		return b
	}
	out := strconv.AppendFloat(bytes.Clone(b[:at]), f(v), 'f', -1, 64)
	return append(out, b[at+n:]...)
}
