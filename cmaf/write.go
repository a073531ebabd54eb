package cmaf

import (
	"encoding/binary"
	"math"
)

// AppendSegment appends a media segment of t's track to dst and returns it:
// styp, and what AppendChunk makes.
func AppendSegment(dst []byte, seq uint32, t *Track, samples []Sample, data func(i int) []byte) []byte {
	return AppendChunk(AppendStyp(dst), seq, t, samples, data)
}

// AppendStyp appends the box that a segment begins with. Whoever has boxes to
// put before the first moof (emsg, prft) writes it, those, and AppendChunk.
func AppendStyp(dst []byte) []byte { return appendBrands(dst, boxStyp, "cmfs", "cmfs", "msdh") }

// AppendChunk appends a moof and an mdat with samples, of which data(i) are the
// bytes; a sample's Size and Offset are not looked at. Times are as
// samples[i].Decode says: where it does not follow on the sample before, or
// the sample entry changes, a new moof begins, so holes stay holes. Sequence
// numbers count from seq. The track ID is t's; what the samples leave to
// defaults is written out. Of encrypted samples the Aux is written, as senc,
// saiz and saio. Without samples it appends nothing.
func AppendChunk(dst []byte, seq uint32, t *Track, samples []Sample, data func(i int) []byte) []byte {
	for from := 0; from < len(samples); seq++ {
		to := from + 1
		for to < len(samples) && t.follows(samples[to-1], samples[to]) {
			to++
		}
		dst = appendMoof(dst, seq, t, samples, data, from, to)
		from = to
	}
	return dst
}

// follows reports whether b can be in one trun with a, the sample before it.
func (t *Track) follows(a, b Sample) bool {
	return b.Decode == a.Decode+int64(a.Duration) && b.Description == a.Description && t.subsampled(a) == t.subsampled(b)
}

func appendMoof(dst []byte, seq uint32, t *Track, samples []Sample, data func(i int) []byte, from, to int) []byte {
	be := binary.BigEndian
	var sum int64
	flags := uint32(trunDataOffset | trunDuration | trunSize | trunFlags)
	version := uint32(0)
	for i := from; i < to; i++ {
		sum += int64(len(data(i)))
		if c := samples[i].Composition; c != 0 {
			flags |= trunComposition
			if c < 0 {
				version = 1
			}
		}
	}
	start := len(dst)
	dst, endMoof := openBox(dst, boxMoof)
	dst, endMfhd := openBox(dst, boxMfhd)
	dst = be.AppendUint32(dst, 0)
	dst = endMfhd(be.AppendUint32(dst, seq))
	dst, endTraf := openBox(dst, boxTraf)

	dst, endTfhd := openBox(dst, boxTfhd)
	if d := samples[from].Description; d > 0 && d != t.DefaultDescription {
		dst = be.AppendUint32(dst, tfhdBaseIsMoof|tfhdDescription)
		dst = be.AppendUint32(be.AppendUint32(dst, t.ID), d)
	} else {
		dst = be.AppendUint32(be.AppendUint32(dst, tfhdBaseIsMoof), t.ID)
	}
	dst = endTfhd(dst)

	dst, endTfdt := openBox(dst, boxTfdt)
	dst = be.AppendUint32(dst, 1<<24)
	dst = endTfdt(be.AppendUint64(dst, uint64(samples[from].Decode)))

	dst, endTrun := openBox(dst, boxTrun)
	dst = be.AppendUint32(dst, version<<24|flags)
	dst = be.AppendUint32(dst, uint32(to-from))
	offset := len(dst)
	dst = be.AppendUint32(dst, 0)
	for i := from; i < to; i++ {
		s := samples[i]
		dst = be.AppendUint32(dst, s.Duration)
		dst = be.AppendUint32(dst, uint32(len(data(i))))
		dst = be.AppendUint32(dst, s.Flags)
		if flags&trunComposition != 0 {
			dst = be.AppendUint32(dst, uint32(s.Composition))
		}
	}
	dst = appendProtection(endTrun(dst), t, samples[from:to], start)
	dst = endMoof(endTraf(dst))
	dst = appendMediaHeader(dst, sum)
	be.PutUint32(dst[offset:], uint32(len(dst)-start))
	for i := from; i < to; i++ {
		dst = append(dst, data(i)...)
	}
	return dst
}

// appendMediaHeader begins an mdat with n bytes of payload.
func appendMediaHeader(dst []byte, n int64) []byte {
	be := binary.BigEndian
	if n+8 <= math.MaxUint32 {
		return be.AppendUint32(be.AppendUint32(dst, uint32(n+8)), uint32(boxMdat))
	}
	dst = be.AppendUint32(be.AppendUint32(dst, 1), uint32(boxMdat))
	return be.AppendUint64(dst, uint64(n+16))
}
