package packager

import (
	"bytes"
	"io"
	"testing"

	"headwater/live"
	"headwater/packager/clip"
)

// BenchmarkSplitter cuts, inspects and digests eight seconds of the clip's
// ladder, as it would come from an encoder.
func BenchmarkSplitter(b *testing.B) {
	e := testEvent(fixtureStart, "v720", "v360", "v180", "a-en")
	e.MediaTime = live.MediaStart
	tl := e.Timeline()
	b.SetBytes(int64(len(clip.A)))
	b.ReportAllocs()
	for b.Loop() {
		s := testSplitter(e, bytes.NewReader(clip.A))
		for {
			seg, err := s.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			if !seg.init {
				seg.inspect(&tl)
			}
		}
	}
}
