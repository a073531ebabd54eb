package cmaf

import "encoding/binary"

// AppendFragment appends one track of a part's fragment to dst as it is: moof
// with that traf only, and an mdat with that track's data only. Track ID and
// data offsets are rewritten, for t is the track of the single-track init
// segment; every other box of the traf (senc, saiz, sbgp, sgpd, subs) stays.
// It is for fragments whose samples must stay together (TrackFragment.Whole).
//
// The error wraps ErrMalformed: the data lies outside of the part, or saio
// points to other places than senc.
func AppendFragment(dst []byte, seq uint32, t *Track, p *Part, f *TrackFragment) ([]byte, error) {
	return appendFragment(dst, seq, t, p, f, 0)
}

// appendFragment is AppendFragment of one that decodes so much later.
func appendFragment(dst []byte, seq uint32, t *Track, p *Part, f *TrackFragment, later int64) ([]byte, error) {
	be := binary.BigEndian
	start := len(dst)
	dst, endMoof := openBox(dst, boxMoof)
	dst, endMfhd := openBox(dst, boxMfhd)
	dst = be.AppendUint32(dst, 0)
	dst = endMfhd(be.AppendUint32(dst, seq))
	dst, endTraf := openBox(dst, boxTraf)

	var runs []int // where the data offsets are in dst
	var media []extent
	var saio, senc int // likewise, the one offset and the entries
	next := 0          // sample
	for s := f.Box.children(0); s.more(); {
		c, err := s.next()
		if err != nil {
			return nil, within(boxTraf, err)
		}
		at := len(dst)
		switch c.Type {
		case boxTfhd:
			if dst, err = appendTfhd(dst, c, t.ID); err != nil {
				return nil, within(boxTraf, err)
			}
		case boxTfdt:
			if later == 0 {
				dst = append(dst, c.Data...)
				break
			}
			var endTfdt func([]byte) []byte
			dst, endTfdt = openBox(dst, boxTfdt)
			dst = endTfdt(be.AppendUint64(be.AppendUint32(dst, 1<<24), uint64(f.Decode+later)))
		case boxTrun:
			_, flags, b, err := c.full(4)
			if err != nil {
				return nil, within(boxTraf, err)
			}
			n := int64(be32(b))
			if int64(next)+n > int64(len(f.Samples)) {
				return nil, malformed(c.Offset, "not the box that was parsed").in(boxTrun).in(boxTraf)
			}
			e := extent{}
			if n > 0 {
				last := f.Samples[next+int(n)-1]
				e = extent{f.Samples[next].Offset, last.Offset + int64(last.Size)}
			}
			if e.begin < 0 || e.end > int64(len(p.Raw)) {
				return nil, malformed(c.Offset, "data from %d to %d, in a part of %d bytes", e.begin, e.end, len(p.Raw)).in(boxTrun).in(boxTraf)
			}
			next += int(n)
			media = append(media, e)
			dst, runs = appendTrun(dst, c, flags, b), append(runs, at+8+4+4)
		case boxSaio:
			_, flags, b, err := c.full(4)
			if err != nil {
				return nil, within(boxTraf, err)
			}
			dst = append(dst, c.Data...)
			saio = len(dst) - 4
			if flags&1 != 0 {
				b = b[min(8, len(b)):]
			}
			wide := c.Payload()[0] > 0
			if (wide && len(b) != 12) || (!wide && len(b) != 8) || be32(b) != 1 {
				return nil, malformed(c.Offset, "not one offset").in(boxSaio).in(boxTraf)
			}
			if wide {
				clear(dst[saio-4 : saio]) // the lower 32 bits do
			}
		case boxSenc:
			dst = append(dst, c.Data...)
			senc = at + c.Header + 8
		default:
			dst = append(dst, c.Data...)
		}
	}
	dst = endMoof(endTraf(dst))
	if saio > 0 {
		if senc == 0 {
			return nil, malformed(f.Box.Offset, "saio without senc").in(boxTraf)
		}
		be.PutUint32(dst[saio:], uint32(senc-start))
	}
	total := int64(0)
	for _, e := range media {
		total += e.end - e.begin
	}
	dst = appendMediaHeader(dst, total)
	for i, e := range media {
		be.PutUint32(dst[runs[i]:], uint32(len(dst)-start))
		dst = append(dst, p.Raw[e.begin:e.end]...)
	}
	return dst, nil
}

// appendTfhd writes tfhd with the track ID given and without a base offset.
func appendTfhd(dst []byte, c Box, id uint32) ([]byte, error) {
	_, flags, p, err := c.full(4)
	if err != nil {
		return nil, err
	}
	p = p[4:]
	if flags&tfhdBaseOffset != 0 {
		p = p[min(8, len(p)):]
	}
	dst, end := openBox(dst, boxTfhd)
	dst = binary.BigEndian.AppendUint32(dst, flags&^tfhdBaseOffset|tfhdBaseIsMoof)
	dst = binary.BigEndian.AppendUint32(dst, id)
	return end(append(dst, p...)), nil
}

// appendTrun writes trun c with a place for the data offset, which it may not
// have had. b is its payload from the sample count on.
func appendTrun(dst []byte, c Box, flags uint32, b []byte) []byte {
	dst, end := openBox(dst, boxTrun)
	dst = binary.BigEndian.AppendUint32(dst, uint32(c.Payload()[0])<<24|flags|trunDataOffset)
	dst = append(dst, b[:4]...)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	b = b[4:]
	if flags&trunDataOffset != 0 {
		b = b[min(4, len(b)):]
	}
	return end(append(dst, b...))
}
