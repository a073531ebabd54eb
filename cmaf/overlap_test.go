package cmaf

import (
	"bytes"
	"errors"
	"testing"

	"headwater/live"
)

// over is a segment of ten samples that says so often, once more for each, that they are its
// samples: few bytes, of which much more can be made.
func over(times int) []byte {
	seg := func(at int32) []byte {
		runs := [][]byte{tfhd(tfhdBaseIsMoof), tfdt(0)}
		for range times {
			runs = append(runs, full("trun", 0, trunDataOffset|trunFirstFlags, uint32(10), at, uint32(0)))
		}
		return moof(runs...)
	}
	m := seg(int32(len(seg(0)) + 8))
	return join(m, box("mdat", tenSamples()))
}

// What is made of a segment or a clip is not of another size than that, whatever their sample
// tables say of the same bytes: memory would be full of it.
func TestSamplesOverEachOther(t *testing.T) {
	track := videoTrack(t)
	w := Window{Start: 0, End: 4000}
	for _, times := range []int{1, 1000} {
		b := over(times)
		_, filler := Filler(b, track, w, w, 1, nil)
		_, again := Again(b, track, w, 1, nil)
		_, key := KeyFrame(b, track, w, 1)
		_, inspect := Inspect(b, track, w)
		for what, err := range map[string]error{"filler": filler, "again": again, "key frame": key, "inspection": inspect} {
			if bad := errors.Is(err, ErrMalformed); bad != (times > 1) || err != nil && !bad {
				t.Errorf("%s of %d times the same: %v", what, times, err)
			}
		}
	}
	init := handInit("vide", 1000, entryOf(live.Video, "avc1", box("avcC", []byte{1, 0x64, 0, 31, 0xff, 0xe0, 0})), 40, 40, flagNonSync)
	for times, want := range map[int]error{1: nil, 1000: ErrMalformed} {
		if _, err := ParseClip(join(init, over(times)), track, atEvery(track, 4, 10)); !errors.Is(err, want) {
			t.Errorf("a clip of %d times the same: %v", times, err)
		}
	}
}

// A table of a few bytes may claim as many samples as the data has bytes.
func TestSamplesOfAByte(t *testing.T) {
	table := full("trun", 0, trunDataOffset|trunFirstFlags, uint32(maxPlainSamples+1), int32(0), uint32(0))
	b := join(moof(tfhd(tfhdBaseIsMoof|tfhdSize, uint32(1)), tfdt(0), table), box("mdat", bytes.Repeat([]byte{1}, maxPlainSamples+1)))
	if _, err := KeyFrame(b, videoTrack(t), Window{End: 4000}, 1); !errors.Is(err, ErrMalformed) {
		t.Errorf("%v", err)
	}
}
