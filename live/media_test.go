package live

import (
	"math"
	"testing"
)

func TestMediaBoundaries(t *testing.T) {
	const epoch = 1795464000 // 2026-11-23T20:00:00Z
	tests := []struct {
		name      string
		start     string
		segment   Duration
		epoch     MediaEpoch
		n         Number
		timescale int64
		from, to  int64
	}{
		{"2 s, 90 kHz", "2026-11-23T20:00:00Z", Duration{2, 1}, MediaUnix, 1, 90000, epoch * 90000, (epoch + 2) * 90000},
		{"2 s, 48 kHz: not whole AAC frames", "2026-11-23T20:00:00Z", Duration{2, 1}, MediaUnix, 2, 48000, (epoch + 2) * 48000, (epoch + 4) * 48000},
		{"2 s, 44.1 kHz", "2026-11-23T20:00:00Z", Duration{2, 1}, MediaStart, 2, 44100, 88200, 176400},
		{"29.97 fps at 30000", "2026-11-23T20:00:00Z", Duration{2002, 1000}, MediaStart, 3, 30000, 120120, 180180},
		{"29.97 fps, audio at 48 kHz", "2026-11-23T20:00:00Z", Duration{2002, 1000}, MediaStart, 2, 48000, 96096, 192192},
		{"29.97 fps, audio at 44.1 kHz: between ticks", "2026-11-23T20:00:00Z", Duration{2002, 1000}, MediaStart, 2, 44100, 88288, 176576},
		{"59.94 fps at 90 kHz", "2026-11-23T20:00:00Z", Duration{180180, 90000}, MediaUnix, 11, 90000, epoch*90000 + 1801800, epoch*90000 + 1981980},
		{"start off the grid by ms", "2026-11-23T20:00:00.125Z", Duration{2, 1}, MediaUnix, 1, 48000, epoch*48000 + 6000, epoch*48000 + 102000},
		{"start off the grid by ns: rounded down", "2026-11-23T20:00:00.000011111Z", Duration{2, 1}, MediaUnix, 1, 90000, epoch * 90000, epoch*90000 + 180000},
		{"start off the grid by one tick and a ns", "2026-11-23T20:00:00.000011112Z", Duration{2, 1}, MediaUnix, 1, 90000, epoch*90000 + 1, epoch*90000 + 180001},
		{"fractions of start and duration add up to a tick", "2026-11-23T20:00:00.5Z", Duration{5, 2}, MediaUnix, 2, 1, epoch + 3, epoch + 5},
		{"start off the grid, decode time from it", "2026-11-23T20:00:00.123456789Z", Duration{2, 1}, MediaStart, 1, 90000, 0, 180000},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := event(t, tt.start, tt.segment)
			e.MediaTime = tt.epoch
			tl := e.Timeline()
			from, to := tl.Media(tt.n, tt.timescale)
			if from != tt.from || to != tt.to {
				t.Errorf("Media(%d, %d) = %d, %d, want %d, %d", tt.n, tt.timescale, from, to, tt.from, tt.to)
			}
		})
	}
}

// A segment of audio begins up to a frame beside its boundary, and is still
// the one that is meant.
func TestNumberNearWithAudioFrames(t *testing.T) {
	const frame = 1024
	for _, rate := range []int64{44100, 48000} {
		e := event(t, "2026-11-23T20:00:00Z", Duration{2, 1})
		e.MediaTime = MediaStart
		tl := e.Timeline()
		for n := Number(1); n < 5000; n++ {
			start, _ := tl.Media(n, rate)
			first := (start + frame - 1) / frame * frame // the first frame at or after the boundary
			for _, decode := range []int64{first, max(first-frame, 0)} {
				if got := tl.NumberNear(decode, rate); got != n {
					t.Fatalf("%d Hz: the frame at %d begins segment %d, want %d", rate, decode, got, n)
				}
			}
		}
	}
}

// Decode times from outside can be anything.
func TestNumbersOfAbsurdDecodeTimes(t *testing.T) {
	for _, epoch := range []MediaEpoch{MediaUnix, MediaStart} {
		e := event(t, "2026-11-23T20:00:00Z", Duration{1, 10})
		e.MediaTime = epoch
		tl := e.Timeline()
		for _, timescale := range []int64{0, 1, 90000, math.MaxUint32} {
			for _, decode := range []int64{math.MinInt64, -1, 0, math.MaxInt64 - 1, math.MaxInt64} {
				held, near := tl.NumberHolding(decode, timescale), tl.NumberNear(decode, timescale)
				if held < 0 || near < 0 {
					t.Errorf("%s: decode time %d/%d is in segment %d, near %d", epoch, decode, timescale, held, near)
				}
				if decode == math.MinInt64 && (held != 0 || near != 0) {
					t.Errorf("%s: decode time %d/%d is in segment %d, near %d, want before the first", epoch, decode, timescale, held, near)
				}
			}
		}
	}
}

func TestMediaOutsideTheEvent(t *testing.T) {
	e := event(t, "2026-11-23T20:00:00Z", Duration{2, 1})
	tl := e.Timeline()
	if from, to := tl.Media(-5, 90000); from != 1795464000*90000 || to != from {
		t.Errorf("a number before the first has media from %d to %d", from, to)
	}
	if from, to := tl.Media(math.MaxInt64-1, 90000); from != math.MaxInt64 || to != math.MaxInt64 {
		t.Errorf("a number past all time has media from %d to %d", from, to)
	}
}
