package packager

import (
	"strconv"
	"strings"
	"time"

	"headwater/live"
)

// A watch makes verdicts on segments of one track from what ffmpeg's detectors say of
// its frames, line by line. It is pure.
//
// The detectors (blackdetect, freezedetect, silencedetect) say when something begins and
// when it ends, with the frame at which they know: of what stands still or is silent
// that is a while after it began.
type watch struct {
	pending []inSight
	at      int64 // where the newest frame is shown, by lookTimescale
	seen    bool
	began   [len(lookEvents)]int64 // where what goes on now began; only where on
	on      [len(lookEvents)]bool
	over    [len(lookEvents)][]stretch
}

// An inSight is a segment that is being watched.
type inSight struct {
	number live.Number
	stretch
}

// A stretch is from where to where something is shown.
type stretch struct{ from, to int64 }

// A verdictOn is what there is to say of a segment.
type verdictOn struct {
	number  live.Number
	quality live.Quality
}

const (
	lookTimescale = 90_000
	// lookDetect is how long something must stand still or be silent to be noticed.
	lookDetect = 500 * time.Millisecond
	// lookTail is the share of a segment whose frames may be missing when it is judged,
	// since decoders keep a few back until others follow: it goes on as before.
	lookTail = 5
	// lookLeast is what is too short to be worth a word: a cut through black.
	lookLeast = 200 * time.Millisecond
)

// lookEvents are the keys of the detectors, in the order of live.QualityKinds.
var lookEvents = [...]struct {
	begins, ends string
	after        time.Duration // how long it has been so when it is said
}{
	{"lavfi.black_start", "lavfi.black_end", 0},
	{"lavfi.freezedetect.freeze_start", "lavfi.freezedetect.freeze_end", lookDetect},
	{"lavfi.silence_start", "lavfi.silence_end", lookDetect},
}

// expect says that the frames of a segment come next.
func (w *watch) expect(n live.Number, from, to int64) {
	w.pending = append(w.pending, inSight{n, stretch{from, to}})
}

// line takes a line of the filter metadata=print, and returns what that decides.
func (w *watch) line(s string) (out []verdictOn) {
	if rest, ok := strings.CutPrefix(s, "frame:"); ok {
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			return nil
		}
		pts, err := strconv.ParseInt(strings.TrimPrefix(fields[1], "pts:"), 10, 64)
		if err == nil {
			w.at, w.seen = pts, true
		}
		return nil
	}
	key, _, _ := strings.Cut(s, "=")
	if key == lookMark { // the last of a frame
		return w.judge()
	}
	for i, x := range lookEvents {
		switch key {
		case x.begins:
			if !w.on[i] {
				w.on[i], w.began[i] = true, w.at-int64(x.after)*lookTimescale/int64(time.Second)
			}
		case x.ends:
			if w.on[i] {
				w.on[i], w.over[i] = false, append(w.over[i], stretch{w.began[i], w.at})
			}
		}
	}
	return nil
}

// judge decides on the segments that were seen up to their end.
func (w *watch) judge() (out []verdictOn) {
	for len(w.pending) > 0 {
		p := w.pending[0]
		if !w.seen || w.at < p.to-(p.to-p.from)/lookTail {
			return out
		}
		w.pending = w.pending[1:]
		var ms [len(lookEvents)]int64
		for i := range lookEvents {
			sum := int64(0)
			if w.on[i] {
				sum = p.overlap(stretch{w.began[i], p.to})
			}
			kept := w.over[i][:0]
			for _, x := range w.over[i] {
				sum += p.overlap(x)
				if x.to > p.to {
					kept = append(kept, x)
				}
			}
			w.over[i] = kept
			if d := time.Duration(sum * int64(time.Second) / lookTimescale); d >= lookLeast {
				ms[i] = d.Milliseconds()
			}
		}
		out = append(out, verdictOn{p.number, live.Quality{Said: true, Score: 100, BlackMS: ms[0], FrozenMS: ms[1], SilentMS: ms[2]}})
	}
	return out
}

func (s stretch) overlap(x stretch) int64 { return max(min(s.to, x.to)-max(s.from, x.from), 0) }
