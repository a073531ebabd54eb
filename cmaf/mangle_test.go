package cmaf

import (
	"errors"
	"slices"
	"testing"

	"headwater/live"
)

// chunked is a clean segment of several fragments, ten samples each.
func chunked(t testing.TB) (m media, seg []byte, chunks [][]byte) {
	m = single(t, "avc-aac.mp4", 1)
	seg = AppendStyp(nil)
	for i := 0; i < len(m.samples[0]); i += 10 {
		c := AppendChunk(nil, uint32(i), m.track, m.samples[0][i:i+10], func(k int) []byte { return m.data[0][i+k] })
		chunks = append(chunks, c)
		seg = append(seg, c...)
	}
	return m, seg, chunks
}

func TestSegmentOfManyFragments(t *testing.T) {
	m, seg, chunks := chunked(t)
	w := window(m.track, 0, 2, 1)
	styp := AppendStyp(nil)
	reordered := slices.Clone(chunks)
	reordered[2], reordered[3] = reordered[3], reordered[2]
	for _, c := range []struct {
		name      string
		b         []byte
		want      string
		fragments int
	}{
		{"as it is", seg, "", 6},
		{"without styp", join(chunks...), "", 6},
		{"without the third", join(styp, join(slices.Delete(slices.Clone(chunks), 2, 3)...)), "missing-samples;ms=333;n=10", 5},
		{"without the first", join(styp, join(chunks[1:]...)), "gap;ms=333, no-keyframe;ms=1667", 5},
		{"without the last", join(styp, join(chunks[:5]...)), "short;ms=333", 5},
		{"the fourth twice", join(styp, join(chunks[:4]...), chunks[3], join(chunks[4:]...)), "overlap", 7},
		// A hole when it is met, though it is filled out of order later.
		{"two swapped", join(styp, join(reordered...)), "overlap, missing-samples;ms=333;n=10", 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Inspect(c.b, m.track, w)
			if err != nil || r.Findings.String() != c.want || r.Fragments != c.fragments {
				t.Errorf("%q, %v; want %q (%+v)", r.Findings, err, c.want, r)
			}
		})
	}
}

// A segment that is cut anywhere but between boxes is refused; between
// fragments it is short.
func TestEveryTruncation(t *testing.T) {
	for _, seg := range [][]byte{fixture(t, "dash-1.m4s"), single(t, "avc-aac.mp4", 3).segments[0]} {
		track := &Track{ID: 1, Type: live.Video, Timescale: 15360, Descriptions: 1}
		for n := range len(seg) {
			r, err := Inspect(seg[:n:n], track, Window{End: 30720, SegmentMS: 2000})
			if !errors.Is(err, ErrMalformed) || r.Findings.String() != "unparsable;ms=2000" {
				t.Fatalf("cut to %d of %d bytes: %q, %v", n, len(seg), r.Findings, err)
			}
		}
	}
	m, seg, chunks := chunked(t)
	at := map[int]int{} // boundaries between fragments
	n := len(AppendStyp(nil))
	for i, c := range chunks[:5] {
		n += len(c)
		at[n] = i + 1
	}
	for n := range len(seg) {
		r, err := Inspect(seg[:n:n], m.track, window(m.track, 0, 2, 1))
		if have, ok := at[n]; ok {
			if err != nil || !r.Findings.Has(live.Short) || r.Samples != have*10 {
				t.Fatalf("cut after fragment %d: %+v, %v", have, r, err)
			}
		} else if !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut to %d of %d bytes: %q, %v", n, len(seg), r.Findings, err)
		}
	}
}

// Any flipped bit outside of the data is survived, and mostly seen. What is
// not seen changes nothing that matters here: sequence numbers, reserved
// fields, sizes of samples that still fit, flags of dependence.
func TestEveryFlippedBit(t *testing.T) {
	m, seg, chunks := chunked(t)
	w := window(m.track, 0, 2, 1)
	head := len(AppendStyp(nil)) + int(be32(chunks[0])) + 8
	seen, flips := 0, 0
	for bit := range head * 8 {
		b := slices.Clone(seg)
		b[bit/8] ^= 1 << (bit % 8)
		r, err := Inspect(b, m.track, w)
		flips++
		if err != nil || !r.Findings.Clean() {
			seen++
		}
		if err != nil && !r.Findings.Has(live.Unparsable) {
			t.Fatalf("bit %d: %v with %q", bit, err, r.Findings)
		}
		if r.Findings.MissingMS() > w.SegmentMS {
			t.Fatalf("bit %d: %q costs more than there is", bit, r.Findings)
		}
	}
	t.Logf("%d of %d flips seen", seen, flips)
	if seen < flips/3 {
		t.Errorf("only %d of %d flips seen", seen, flips)
	}
}
