package cmaf

import (
	"testing"

	"pgregory.net/rapid"
)

// A bitWriter writes what a bitReader reads.
type bitWriter struct {
	b    []byte
	free int // bits of the last byte
}

func (w *bitWriter) put(n int, v uint64) {
	for i := n - 1; i >= 0; i-- {
		if w.free == 0 {
			w.b, w.free = append(w.b, 0), 8
		}
		w.free--
		w.b[len(w.b)-1] |= byte(v>>i&1) << w.free
	}
}

func (w *bitWriter) flag(v bool) bool {
	if v {
		w.put(1, 1)
	} else {
		w.put(1, 0)
	}
	return v
}

// ue is an Exp-Golomb code.
func (w *bitWriter) ue(v uint64) {
	n := 0
	for v+1 >= 2<<n {
		n++
	}
	w.put(n, 0)
	w.put(n+1, v+1)
}

// Whatever a sequence header of AV1 has in front of it, what is read is what was
// written: the order of the fields is that of 5.5.1 and 5.5.2 of its specification.
func TestSequenceHeadersOfAllForms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chance := func(what string) bool { return rapid.Bool().Draw(t, what) }
		some := func(n int, what string) uint64 { return rapid.Uint64Range(0, 1<<n-1).Draw(t, what) }
		var w bitWriter
		want := picture{profile: rapid.IntRange(0, 2).Draw(t, "profile"), depth: 8}
		w.put(3, uint64(want.profile))
		w.put(1, some(1, "still_picture"))
		reduced := w.flag(chance("reduced"))
		if reduced {
			w.put(5, some(5, "level"))
		} else {
			var model int
			if w.flag(chance("timing")) {
				w.put(32, some(32, "tick"))
				w.put(32, some(32, "scale"))
				if w.flag(chance("equal")) {
					w.ue(some(20, "ticks"))
				}
				if w.flag(chance("model")) {
					model = 1 + int(some(5, "length"))
					w.put(5, uint64(model-1))
					w.put(32, some(32, "decoding tick"))
					w.put(10, some(10, "lengths"))
				}
			}
			delay := w.flag(chance("delay"))
			points := some(2, "points")
			w.put(5, points)
			for range points + 1 {
				w.put(12, some(12, "idc"))
				level := some(5, "level")
				if w.put(5, level); level > 7 {
					w.put(1, some(1, "tier"))
				}
				if model > 0 && w.flag(chance("model here")) {
					w.put(model, some(model, "decoder delay"))
					w.put(model, some(model, "encoder delay"))
					w.put(1, some(1, "low delay"))
				}
				if delay && w.flag(chance("delay here")) {
					w.put(4, some(4, "display delay"))
				}
			}
		}
		bits := rapid.IntRange(7, 16).Draw(t, "bits")
		want.width, want.height = 1+int(some(bits, "width")), 1+int(some(bits, "height"))
		w.put(4, uint64(bits-1))
		w.put(4, uint64(bits-1))
		w.put(bits, uint64(want.width-1))
		w.put(bits, uint64(want.height-1))
		if !reduced && w.flag(chance("frame ids")) {
			w.put(7, some(7, "id lengths"))
		}
		w.put(3, some(3, "superblock, intra"))
		if !reduced {
			w.put(4, some(4, "compound"))
			order := w.flag(chance("order hint"))
			if order {
				w.put(2, some(2, "jnt, mvs"))
			}
			tools := w.flag(chance("choose tools")) || w.flag(chance("force tools"))
			if tools && !w.flag(chance("choose mv")) {
				w.put(1, some(1, "force mv"))
			}
			if order {
				w.put(3, some(3, "hint bits"))
			}
		}
		w.put(3, some(3, "superres, cdef, restoration"))
		if w.flag(chance("high")) {
			want.depth = 10
			if want.profile == 2 && w.flag(chance("twelve")) {
				want.depth = 12
			}
		}
		mono := want.profile != 1 && w.flag(chance("mono"))
		if w.flag(chance("colors")) {
			srgb := chance("sRGB") && !mono && want.profile > 0
			colors := []uint64{1, 13, 0}
			if !srgb {
				colors = []uint64{some(8, "primaries"), some(8, "transfer"), 1 + some(3, "matrix")}
			}
			for _, c := range colors {
				w.put(8, c)
			}
			if srgb {
				want.chroma = 3
			}
		}
		switch {
		case mono || want.chroma == 3:
		default:
			w.put(1, some(1, "range"))
			want.chroma = []int{1, 3, 2}[want.profile]
			if want.depth == 12 {
				want.chroma = 3
				if w.flag(chance("x")) {
					want.chroma = 2
					if w.flag(chance("y")) {
						want.chroma = 1
					}
				}
			}
		}
		w.put(8, 0) // and what follows
		if got, ok := parseSequence(w.b); !ok || got != want {
			t.Fatalf("%x: %+v, %v; want %+v", w.b, got, ok, want)
		}
		if _, ok := parseSequence(w.b[:4]); ok {
			t.Fatal("half of it is taken for whole")
		}
	})
}

// Frames of VP8 and VP9 by their first bytes.
func TestFramesOfVP(t *testing.T) {
	var c coding
	vp9 := func(profile uint64, fields ...uint64) []byte { // pairs of bits and value
		var w bitWriter
		w.put(2, 2)
		w.put(1, profile&1)
		w.put(1, profile>>1)
		if profile == 3 {
			w.put(1, 0)
		}
		for i := 0; i < len(fields); i += 2 {
			w.put(int(fields[i]), fields[i+1])
		}
		w.put(8, 0)
		return w.b
	}
	key := func(rest ...uint64) []uint64 { return append([]uint64{1, 0, 1, 0, 2, 3, 24, 0x498342}, rest...) }
	for name, x := range map[string]struct {
		look    func([]byte) (access, picture, string)
		data    []byte
		access  access
		found   picture
		foreign bool
	}{
		"VP8 key":             {c.vp8, []byte{0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 0x42, 0x68, 0x81}, accessClosed, picture{width: 640, height: 360}, false},
		"VP8 inter":           {c.vp8, []byte{0x11, 0, 0}, accessNone, picture{}, false},
		"VP8 short":           {c.vp8, []byte{0x11, 0}, 0, picture{}, true},
		"VP8 key, short":      {c.vp8, []byte{0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68}, 0, picture{}, true},
		"VP8 key, no code":    {c.vp8, []byte{0x10, 0, 0, 0x9c, 1, 0x2a, 0x80, 2, 0x68, 1}, 0, picture{}, true},
		"VP8 key, half code":  {c.vp8, []byte{0x10, 0, 0, 0x9d, 1, 0x2b, 0x80, 2, 0x68, 1}, 0, picture{}, true},
		"VP9 key":             {c.vp9, vp9(0, key(3, 1, 1, 0, 16, 639, 16, 359)...), accessClosed, picture{depth: 8, width: 640, height: 360}, false},
		"VP9 4:4:4":           {c.vp9, vp9(1, key(3, 1, 1, 0, 3, 0, 16, 639, 16, 359)...), accessClosed, picture{profile: 1, depth: 8, chroma: 1, width: 640, height: 360}, false},
		"VP9 sRGB":            {c.vp9, vp9(1, key(3, 7, 1, 0, 16, 639, 16, 359)...), accessClosed, picture{profile: 1, depth: 8, chroma: 1, width: 640, height: 360}, false},
		"VP9 10 bits":         {c.vp9, vp9(2, key(1, 0, 3, 1, 1, 0, 16, 639, 16, 359)...), accessClosed, picture{profile: 2, depth: 10, width: 640, height: 360}, false},
		"VP9 12 bits, 4:4:4":  {c.vp9, vp9(3, key(1, 1, 3, 1, 1, 0, 3, 0, 16, 639, 16, 359)...), accessClosed, picture{profile: 3, depth: 12, chroma: 1, width: 640, height: 360}, false},
		"VP9 inter":           {c.vp9, vp9(0, 1, 0, 1, 1), accessNone, picture{}, false},
		"VP9 shown again":     {c.vp9, vp9(0, 1, 1, 1, 0), accessNone, picture{}, false},
		"VP9 without a code":  {c.vp9, vp9(0, 1, 0, 1, 0, 2, 3, 24, 0x498343), 0, picture{}, true},
		"VP9 without a frame": {c.vp9, []byte{0x40, 0, 0}, 0, picture{}, true},
		"VP9 cut off":         {c.vp9, vp9(0, key(3, 1, 1, 0, 16, 639)...), 0, picture{}, true},
	} {
		a, found, foreign := x.look(x.data)
		if foreign != "" != x.foreign || found != x.found || !x.foreign && a != x.access {
			t.Errorf("%s: %v, %+v, %q", name, a, found, foreign)
		}
	}
}

// What av1C says (AV1 codec ISO media file format binding, 2.3.3 and 5).
func TestAV1Codecs(t *testing.T) {
	for want, p := range map[string][]byte{
		"av01.0.05M.08": {0x81, 5, 0, 0}, "av01.0.05H.10": {0x81, 5, 0xc0, 0}, "av01.2.05M.08": {0x81, 2<<5 | 5, 0x20, 0},
		"av01.2.05M.10": {0x81, 2<<5 | 5, 0x40, 0}, "av01.2.31M.12": {0x81, 2<<5 | 31, 0x60, 0}, "av01.1.05M.10": {0x81, 1<<5 | 5, 0x60, 0},
	} {
		if got := av1Codecs(p); got != want {
			t.Errorf("%x: %s, want %s", p, got, want)
		}
	}
}
