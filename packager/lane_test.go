package packager

import (
	"fmt"
	"strings"
	"testing"

	"headwater/cmaf"
	"headwater/live"
)

func TestUnwrap(t *testing.T) {
	const round = int64(1) << 32
	for _, c := range []struct {
		name     string
		at, next int64
		known    bool
		want     int64
	}{
		{"goes on", 9000, 9000, false, 9000},
		{"goes back a little", 9000, 18000, false, 9000},
		{"wraps", 100, round, false, round + 100},
		{"wraps after a hole", 59 * 90000, round, false, round + 59*90000},
		{"a minute", 60 * 90000, round, false, round + 60*90000},
		{"a minute and a tick: it began anew", 60*90000 + 1, round, false, 60*90000 + 1},
		{"before a wrap: it began anew", 100, round - 61*90000, false, 100},
		{"an hour's hole, of what has wrapped before", 3600 * 90000, round + 500, true, round + 3600*90000},
		{"the second time", 100, 2*round - 90, false, 2*round + 100},
		{"goes on after the first", 4000, round + 4000, false, round + 4000},
		{"64 bits", 3 * round, 3*round - 90, false, 3 * round},
		{"64 bits, back", round, 2 * round, false, round},
		{"from the middle to 0", 0, round / 2, false, 0},
	} {
		if got := unwrap(c.at, c.next, 90000, c.known); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// laneRun gives fragments to a lane: each a decode time and the durations of its
// samples. It writes down what is complete, as decode time + duration of each
// sample.
func laneRun(l *lane, whole bool, fragments ...[]int64) string {
	var out []string
	say := func(pieces []piece) {
		for _, p := range pieces {
			var s []string
			for _, x := range p.track.Samples {
				s = append(s, fmt.Sprintf("%d+%d", x.Decode, x.Duration))
			}
			out = append(out, strings.Join(s, " "))
		}
		out = append(out, "|")
	}
	for _, f := range fragments {
		t := &cmaf.TrackFragment{ID: 1, Track: &cmaf.Track{Type: live.Video, Timescale: 1000}, Whole: whole}
		at := f[0]
		for _, d := range f[1:] {
			t.Samples = append(t.Samples, cmaf.Sample{Decode: at, Duration: uint32(d)})
			at += d
		}
		say(l.take(newPiece(&cmaf.Part{}, t)))
	}
	say(l.flush())
	return strings.Join(out, " ")
}

func TestLane(t *testing.T) {
	for _, c := range []struct {
		name  string
		whole bool
		in    [][]int64
		want  string
	}{
		{"durations that are there pass at once", false, [][]int64{{0, 40, 40}, {80, 40}}, "0+40 40+40 | 80+40 | |"},
		{"a frame a fragment", false, [][]int64{{0, 0}, {40, 0}, {80, 0}}, "| 0+40 | 40+40 | 80+40 |"},
		{"rounded to milliseconds", false, [][]int64{{0, 0}, {33, 0}, {67, 0}, {100, 0}}, "| 0+33 | 33+34 | 67+33 | 100+33 |"},
		{"frames of changing length", false, [][]int64{{0, 0}, {33, 0}, {83, 0}, {116, 0}}, "| 0+33 | 33+50 | 83+33 | 116+33 |"},
		{"a lost frame stays a hole", false, [][]int64{{0, 0}, {40, 0}, {120, 0}, {160, 0}}, "| 0+40 | 40+40 | 120+40 | 160+40 |"},
		{"what does not move", false, [][]int64{{0, 0}, {40, 0}, {40, 0}, {20, 0}}, "| 0+40 | 40+40 | 40+40 | 20+40 |"},
		{"ffmpeg's last frame but one, at its end", false, [][]int64{{0, 40}, {80, 0}, {80, 20}}, "0+40 | | 40+40 80+20 | |"},
		{"and where no frame has a duration", false, [][]int64{{0, 0}, {40, 0}, {120, 0}, {120, 0}}, "| 0+40 | 40+40 | 80+40 | 120+40 |"},
		{"but not over a hole", false, [][]int64{{0, 40}, {81, 0}, {81, 20}}, "0+40 | | 81+40 81+20 | |"},
		{"nothing is known", false, [][]int64{{0, 0}}, "| 0+0 |"},
		{"time stands still from the start", false, [][]int64{{10, 0}, {10, 0}}, "| 10+0 | 10+0 |"},
		{"then they have durations", false, [][]int64{{0, 0}, {40, 40}}, "| 0+40 40+40 | |"},
		{"the last of a fragment has none", false, [][]int64{{0, 40, 0}, {80, 40, 0}}, "0+40 40+40 | 80+40 120+40 | |"},
		{"two a fragment, none known", false, [][]int64{{0, 0, 0}, {80, 0, 0}}, "| 0+40 40+40 | 80+40 120+40 |"},
		{"a wrap", false, [][]int64{{1<<32 - 40, 40}, {0, 40}, {40, 40}}, "4294967256+40 | 4294967296+40 | 4294967336+40 | |"},
		{"a wrap of frames without durations", false, [][]int64{{1<<32 - 80, 0}, {1<<32 - 40, 0}, {0, 0}}, "| 4294967216+40 | 4294967256+40 | 4294967296+40 |"},
		{"a wrap, and later an hour's hole", false, [][]int64{{1<<32 - 40, 40}, {0, 40}, {3_600_000, 40}}, "4294967256+40 | 4294967296+40 | 4298567296+40 | |"},
		{"what must stay whole", true, [][]int64{{1<<32 - 40, 40}, {0, 0}, {40, 40, 0}}, "4294967256+40 | 0+0 | 40+40 80+0 | |"},
	} {
		if got := laneRun(&lane{}, c.whole, c.in...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
