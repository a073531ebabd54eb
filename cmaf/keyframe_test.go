package cmaf

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headwater/internal/need"
)

// A key frame alone lies where it did in its segment and lasts up to the end of that, and the
// same input gives the same bytes: nodes of two versions answer with one segment.
func TestKeyFrame(t *testing.T) {
	for _, c := range []struct {
		name     string
		num, den int64
		zero     bool // times begin at 0
		secret   bool // encrypted by us
	}{
		{name: "avc-aac.mp4", num: 2, den: 1},
		{name: "avc-aac.mp4", num: 2, den: 1, secret: true},
		{name: "ntsc.mp4", num: 2002, den: 1000},
		{name: "cenc.mp4", num: 2, den: 1},
		{name: "reordered.mp4", num: 2, den: 1},
		{name: "edited.mp4", num: 2, den: 1, zero: true},
		{name: "hevc.mp4", num: 1, den: 1},
		{name: "av1.mp4", num: 1, den: 1},
		{name: "vp9.mp4", num: 1, den: 1},
	} {
		t.Run(fmt.Sprintf("%s/%v", c.name, c.secret), func(t *testing.T) {
			m := single(t, c.name, 1)
			if c.secret {
				m = encrypted(t, m)
			}
			for i, src := range m.segments {
				w := window(m.track, i, c.num, c.den)
				if c.zero {
					w.End -= fixtureStart * int64(m.track.Timescale)
					w.Start -= fixtureStart * int64(m.track.Timescale)
				}
				whole, err := Inspect(src, m.track, w)
				if err != nil {
					t.Fatal(err)
				}
				b, err := KeyFrame(src, m.track, w, uint32(i))
				if err != nil {
					t.Fatal(err)
				}
				again, _ := KeyFrame(src, m.track, w, uint32(i))
				if !slices.Equal(b, again) || len(b) >= len(src) {
					t.Errorf("segment %d: %d bytes of %d", i, len(b), len(src))
				}
				r, err := Inspect(b, m.track, w)
				if err != nil || r.Samples != 1 || !r.Keyframe || r.Span.Start != whole.Span.Start || abs(r.Span.End-max(w.End, whole.Span.End)) > int64(whole.FrameDuration) {
					t.Errorf("segment %d: %+v, %v; it was %+v", i, r, err, whole)
				}
			}
		})
	}
}

// What has none, or none that is alone.
func TestNoKeyFrame(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	samples := slices.Clone(m.samples[1])
	for i := range samples {
		samples[i].Sync, samples[i].Flags = false, 0x00010000
	}
	src := AppendSegment(nil, 1, m.track, samples, avcData(samples))
	if _, err := KeyFrame(src, m.track, window(m.track, 1, 2, 1), 1); !errors.Is(err, ErrNoKeyFrame) {
		t.Errorf("%v", err)
	}
	if _, err := KeyFrame(nil, m.track, window(m.track, 1, 2, 1), 1); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v", err)
	}
	if _, err := KeyFrame(m.segments[1][:200], m.track, window(m.track, 1, 2, 1), 1); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v", err)
	}
}

// ffmpeg shows one picture of each.
func TestKeyFramesDecode(t *testing.T) {
	need.Long(t, "runs ffmpeg")
	ffmpeg := need.Program(t, "ffmpeg")
	for name, d := range map[string]int64{"avc-aac.mp4": 2, "hevc.mp4": 1, "av1.mp4": 1, "vp9.mp4": 1, "reordered.mp4": 2} {
		m := single(t, name, 1)
		file := filepath.Join(t.TempDir(), "keys.mp4")
		all := slices.Clone(m.init)
		for i, src := range m.segments {
			b, err := KeyFrame(src, m.track, window(m.track, i, d, 1), uint32(i))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b...)
		}
		if err := os.WriteFile(file, all, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), ffmpeg, "-nostdin", "-v", "error", "-i", file, "-vsync", "passthrough", "-f", "framecrc", "-").CombinedOutput()
		if frames := strings.Count("\n"+string(out), "\n0,"); err != nil || frames != len(m.segments) {
			t.Errorf("%s: %d pictures of %d: %v: %s", name, frames, len(m.segments), err, out)
		}
	}
}
