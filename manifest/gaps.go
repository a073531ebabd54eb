package manifest

import (
	"bytes"

	"headwater/live"
)

var gapTag = []byte("\n#EXT-X-GAP\n")

// Gaps are the segments that a media playlist, as Media writes it, lists as gaps, in their
// order, and the last that it lists at all; ok is false where there is none.
func Gaps(playlist []byte) (gaps []live.Number, last live.Number, ok bool) {
	rest := playlist
	for {
		i := bytes.Index(rest, gapTag)
		if i < 0 {
			break
		}
		rest = rest[i+len(gapTag)-1:] // the newline stays: another may follow
		if n, ok := listed(rest[1:]); ok && (len(gaps) == 0 || n > gaps[len(gaps)-1]) {
			gaps = append(gaps, n)
		}
	}
	for end := bytes.TrimRight(playlist, "\n"); len(end) > 0; {
		line := end[bytes.LastIndexByte(end, '\n')+1:]
		if line[0] != '#' {
			last, ok = listed(line)
			return gaps, last, ok
		}
		end = bytes.TrimRight(end[:len(end)-len(line)], "\n")
	}
	return gaps, 0, false
}

// listed reads the number of the segment that a line names.
func listed(line []byte) (live.Number, bool) {
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	const digits = 16
	if name, ok := bytes.CutSuffix(line, []byte(".m4s")); ok && len(name) <= digits {
		n, err := live.ParseNumber(string(name))
		return n, err == nil
	}
	return 0, false
}
