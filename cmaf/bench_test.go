package cmaf

import (
	"bytes"
	"runtime"
	"syscall"
	"testing"
	"time"

	"headwater/live"
)

// bigSegment is 2 s of video of n bytes, at 60 frames a second, in chunks
// of per samples.
func bigSegment(t testing.TB, n, per int) ([]byte, *Track, Window) {
	track := videoTrack(t)
	track.Timescale = 15360
	const count = 120
	// I, then P B B over and over, a B less at the end.
	reordered := [3]int32{0, 3, 0}
	samples := make([]Sample, count)
	for i := range samples {
		samples[i] = Sample{Decode: int64(i) * 256, Duration: 256, Flags: 0x01010000, Description: 1, Composition: reordered[i%3] * 256}
	}
	samples[0].Flags, samples[0].Composition, samples[count-2].Composition = 0x02000000, 256, 2*256
	seg := AppendStyp(nil)
	for i := 0; i < count; i += per {
		seg = AppendChunk(seg, uint32(i), track, samples[i:min(i+per, count)], func(k int) []byte { return slices4(n/count, i+k == 0) })
	}
	return seg, track, Window{Start: 0, End: 30720, SegmentMS: 2000}
}

// processorTime is what the process has used so far: on a busy machine it says
// more than the time that went by.
func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// slices4 is a sample of n bytes in four slices.
func slices4(n int, key bool) []byte {
	var b []byte
	for range 4 {
		b = append(b, avcSample(n/4, key)...)
	}
	return b
}

func BenchmarkInspect(b *testing.B) {
	for _, c := range []struct {
		name   string
		n, per int
	}{
		{"1.5MB", 1_500_000, 120},
		{"1.5MB-chunked", 1_500_000, 1},
		{"150KB", 150_000, 120},
		{"15MB", 15_000_000, 120},
	} {
		seg, track, w := bigSegment(b, c.n, c.per)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			began := processorTime(b)
			for b.Loop() {
				if r, err := Inspect(seg, track, w); err != nil || !r.Findings.Clean() {
					b.Fatal(r, err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

func BenchmarkReader(b *testing.B) {
	seg, track, _ := bigSegment(b, 1_500_000, 120)
	stream := handInit("vide", track.Timescale, entryOf(live.Video, "avc1", box("avcC", make([]byte, 7))))
	stream = join(stream, seg, seg, seg, seg)
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		if ps := parts(b, stream); len(ps) != 5 {
			b.Fatal(len(ps))
		}
	}
}

func BenchmarkAppendSegment(b *testing.B) {
	seg, track, _ := bigSegment(b, 1_500_000, 120)
	styp := len(AppendStyp(nil))
	moof := seg[styp:][:be32(seg[styp:])]
	f, err := ParseFragment(moof, &Init{Tracks: []Track{*track}}, 0, int64(len(seg)))
	if err != nil {
		b.Fatal(err)
	}
	p := &Part{Raw: seg[styp:]}
	samples := f.Tracks[0].Samples
	buf := make([]byte, 0, len(seg)+4096)
	b.SetBytes(int64(len(seg)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendSegment(buf[:0], 1, track, samples, func(i int) []byte { return p.Data(samples[i]) })
	}
}

// A segment costs no memory in proportion to its size or to its samples.
func TestInspectAllocatesNothing(t *testing.T) {
	for _, c := range []struct{ n, per int }{{15_000, 120}, {1_500_000, 120}, {1_500_000, 2}} {
		seg, track, w := bigSegment(t, c.n, c.per)
		n := testing.AllocsPerRun(10, func() {
			if r, err := Inspect(seg, track, w); err != nil || !r.Findings.Clean() {
				t.Fatal(r, err)
			}
		})
		if n > 0 {
			t.Errorf("%d bytes, %d samples a fragment: %v allocations", c.n, c.per, n)
		}
	}
}

// Whatever a size or a count claims, memory follows the bytes that are there.
func TestHostileClaimsCostNoMemory(t *testing.T) {
	const base = tfhdBaseIsMoof
	track := videoTrack(t)
	init := handInit("vide", 1000, entryOf(live.Video, "avc1", box("avcC", make([]byte, 7))), 40, 1, 0)
	billion := uint32(1 << 30)
	tiny := func(traf ...[]byte) []byte { return join(moof(traf...), box("mdat", "x")) }
	for name, seg := range map[string][]byte{
		"a billion samples of a byte":     tiny(tfhd(base), tfdt(0), full("trun", 0, trunDataOffset, billion, int32(100))),
		"a billion samples of no bytes":   tiny(tfhd(base|tfhdSize, uint32(0)), tfdt(0), full("trun", 0, trunDataOffset, billion, int32(100))),
		"a billion entries":               tiny(tfhd(base), tfdt(0), full("trun", 0, trunSize, billion)),
		"a million samples, many times":   tiny(tfhd(base|tfhdSize, uint32(0)), tfdt(0), bytes.Repeat(full("trun", 0, 0, uint32(1<<20)), 200)),
		"an mdat of 4 GB":                 join(moof(tfhd(base), tfdt(0), full("trun", 0, 0, uint32(1))), []byte("\xff\xff\xff\xffmdat")),
		"a moof of 4 GB":                  []byte("\xff\xff\xff\xffmoof"),
		"an mdat of 200 MB, 9 bytes sent": join(moof(tfhd(base|tfhdSize, uint32(100<<20)), tfdt(0), full("trun", 0, 0, uint32(1))), []byte("\x0c\x00\x00\x00mdatx")),
	} {
		t.Run(name, func(t *testing.T) {
			measure := func(what string, limit int64, f func()) {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				f()
				runtime.ReadMemStats(&after)
				if n := after.TotalAlloc - before.TotalAlloc; n > uint64(limit) {
					t.Errorf("%s allocates %d bytes", what, n)
				}
			}
			measure("Inspect", 16<<10, func() { Inspect(seg, track, Window{End: 100, SegmentMS: 100}) })
			measure("Reader", 12<<20, func() {
				for r := NewReader(bytes.NewReader(join(init, seg))); ; {
					if _, err := r.Next(); err != nil {
						return
					}
				}
			})
			measure("ParseFragment", 12<<20, func() {
				if h, err := parseHeader(seg, 0); err == nil && h.size <= int64(len(seg)) {
					ParseFragment(seg[:h.size], &Init{Tracks: []Track{*track}}, 0, int64(len(seg))-h.size)
				}
			})
		})
	}
}
