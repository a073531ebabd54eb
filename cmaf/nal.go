package cmaf

// NAL unit types that this package knows (ISO/IEC 14496-10 table 7-1, 23008-2
// table 7-1, 23090-3 table 5).
const (
	avcSlice, avcIDR, avcSPS, avcPPS = 1, 5, 7, 8

	hevcBLA, hevcBLANoLeading, hevcIDR, hevcIDRNoLeading, hevcCRA = 16, 18, 19, 20, 21
	hevcSPS, hevcPPS                                              = 33, 34

	vvcIDR, vvcIDRNoLeading, vvcCRA, vvcSPS = 7, 8, 9, 15
)

// A unit is a NAL unit's header, read by the rules of a codec.
type unit struct {
	kind   int
	layer  int
	header int  // bytes
	exists bool // the codec has such units
	slice  bool // it is of a picture
}

func (c *coding) unit(nal []byte) unit {
	switch c.scheme {
	case schemeAVC:
		k := int(nal[0] & 31)
		reserved := k == 17 || k == 18 || k == 22 || k == 23
		return unit{kind: k, header: 1, exists: nal[0]&0x80 == 0 && !reserved, slice: k == avcSlice || k == avcIDR}
	case schemeHEVC:
		if len(nal) < 2 {
			return unit{}
		}
		k := int(nal[0] >> 1 & 63)
		reserved := k >= 10 && k < 16 || k >= 22 && k < 32 || k >= 41 && k < 48
		return unit{kind: k, layer: int(nal[0]&1)<<5 | int(nal[1]>>3), header: 2,
			exists: nal[0]&0x80 == 0 && nal[1]&7 != 0 && !reserved, slice: k < 32}
	default:
		if len(nal) < 2 {
			return unit{}
		}
		k := int(nal[1] >> 3)
		reserved := k >= 4 && k < 7 || k == 11 || k == 26 || k == 27
		return unit{kind: k, layer: int(nal[0] & 63), header: 2,
			exists: nal[0]&0xc0 == 0 && nal[1]&7 != 0 && !reserved, slice: k < 12}
	}
}

// An access says how one can begin to decode at a sample.
type access uint8

const (
	accessUnknown access = iota
	accessNone           // one cannot
	accessOpen           // one can, but pictures shown before it may be broken
	accessLeading        // one can, and pictures shown before it too
	accessClosed         // one can, and no pictures are shown before it
)

// access judges a picture by its first slice.
func (c *coding) access(u unit, nal []byte) access {
	switch c.scheme {
	case schemeAVC:
		if u.kind == avcIDR {
			return accessClosed
		}
		// An intra picture in an open group, at a recovery point.
		var buf [16]byte
		v := bitReader{b: unescape(buf[:0], nal[1:])}
		v.ue()
		if t := v.ue() % 5; t == 2 || t == 4 {
			return accessOpen
		}
	case schemeHEVC:
		switch u.kind {
		case hevcIDRNoLeading, hevcBLANoLeading:
			return accessClosed
		case hevcIDR:
			return accessLeading
		case hevcBLA, hevcBLA + 1, hevcCRA:
			return accessOpen
		}
	case schemeVVC:
		switch u.kind {
		case vvcIDRNoLeading:
			return accessClosed
		case vvcIDR:
			return accessLeading
		case vvcCRA:
			return accessOpen
		}
	}
	return accessNone
}

// unescape appends what a NAL unit says, without its emulation prevention bytes,
// to dst, as far as that has room.
func unescape(dst, nal []byte) []byte {
	zeros := 0
	for _, b := range nal {
		if len(dst) == cap(dst) {
			break
		}
		if zeros >= 2 && b == 3 {
			zeros = 0
			continue
		}
		if b == 0 {
			zeros++
		} else {
			zeros = 0
		}
		dst = append(dst, b)
	}
	return dst
}

// ue reads an Exp-Golomb code.
func (r *bitReader) ue() int {
	zeros := 0
	for r.read(1) == 0 {
		if zeros++; zeros > 31 || r.over {
			r.over = true
			return 0
		}
	}
	return 1<<zeros - 1 + r.read(zeros)
}

// skip is read for fields of no concern.
func (r *bitReader) skip(n int) {
	r.at += n
	if r.at > len(r.b)*8 {
		r.at, r.over = len(r.b)*8, true
	}
}

// sequenceRoom is how much of a sequence parameter set is read: the size of the
// pictures is at its beginning, but for scaling lists.
const sequenceRoom = 512

// parseAVCSequence reads a sequence parameter set (ISO/IEC 14496-10, 7.3.2.1.1).
func parseAVCSequence(nal []byte) (picture, bool) {
	if len(nal) < 5 || nal[0]&31 != avcSPS {
		return picture{}, false
	}
	var buf [sequenceRoom]byte
	v := bitReader{b: unescape(buf[:0], nal[1:])}
	p := picture{profile: v.read(8), chroma: 1, depth: 8}
	v.skip(16)
	v.ue()
	planes := 1
	switch p.profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		p.chroma = v.ue()
		if p.chroma == 3 {
			planes -= v.read(1)
		}
		p.depth = 8 + v.ue()
		v.ue()
		v.skip(1)
		if v.read(1) == 1 {
			lists := 8
			if p.chroma == 3 {
				lists = 12
			}
			for i := range lists {
				if v.read(1) == 1 {
					v.scalingList(i)
				}
			}
		}
	}
	v.ue()
	if kind := v.ue(); kind == 0 {
		v.ue()
	} else if kind == 1 {
		v.skip(1)
		v.ue()
		v.ue()
		for n := min(v.ue(), 255); n > 0; n-- {
			v.ue()
		}
	}
	v.ue()
	v.skip(1)
	width, height := v.ue()+1, v.ue()+1
	fields := 2 - v.read(1)
	if fields == 2 {
		v.skip(1)
	}
	v.skip(1)
	p.width, p.height, p.blocks = 16*width, 16*height*fields, width*height*fields
	if v.read(1) == 1 {
		x, y := 1, fields
		if planes*p.chroma > 0 {
			if p.chroma < 3 {
				x = 2
			}
			if p.chroma == 1 {
				y *= 2
			}
		}
		p.width -= x * (v.ue() + v.ue())
		p.height -= y * (v.ue() + v.ue())
	}
	return p, !v.over && p.width > 0 && p.height > 0
}

func (r *bitReader) scalingList(i int) {
	size, last, next := 16, 8, 8
	if i >= 6 {
		size = 64
	}
	for range size {
		if next != 0 {
			d := r.ue()
			if d%2 == 0 {
				d = -d
			} else {
				d++
			}
			next = (last + d/2 + 256) % 256
		}
		if next != 0 {
			last = next
		}
	}
}

// parseHEVCSequence reads one of ISO/IEC 23008-2, 7.3.2.2.1.
func parseHEVCSequence(nal []byte) (picture, bool) {
	if len(nal) < 16 || nal[0]>>1&63 != hevcSPS {
		return picture{}, false
	}
	var buf [sequenceRoom]byte
	v := bitReader{b: unescape(buf[:0], nal[2:])}
	v.skip(4)
	layers := v.read(3)
	v.skip(1 + 3)
	p := picture{profile: v.read(5)}
	v.skip(32 + 48 + 8)
	size := 0
	if layers > 0 {
		for i := range 8 {
			if flags := v.read(2); i < layers {
				size += flags>>1*88 + flags&1*8
			}
		}
	}
	v.skip(size)
	v.ue()
	p.chroma = v.ue()
	if p.chroma == 3 {
		v.skip(1)
	}
	p.width, p.height = v.ue(), v.ue()
	if v.read(1) == 1 {
		x, y := 1, 1
		if p.chroma == 1 || p.chroma == 2 {
			x = 2
		}
		if p.chroma == 1 {
			y = 2
		}
		p.width -= x * (v.ue() + v.ue())
		p.height -= y * (v.ue() + v.ue())
	}
	p.depth = 8 + v.ue()
	return p, !v.over && p.width > 0 && p.height > 0
}

// parseVVCSequence reads one of ISO/IEC 23090-3, 7.3.2.4, as long as it has no
// general constraints.
func parseVVCSequence(nal []byte) (picture, bool) {
	if len(nal) < 6 || nal[1]>>3 != vvcSPS {
		return picture{}, false
	}
	var buf [sequenceRoom]byte
	v := bitReader{b: unescape(buf[:0], nal[2:])}
	v.skip(8)
	layers := v.read(3)
	chroma := v.read(2)
	v.skip(2)
	if v.read(1) == 1 {
		v.skip(7 + 1 + 8 + 2)
		if v.read(1) == 1 {
			return picture{}, false
		}
		v.align()
		levels := 0
		for range layers {
			levels += v.read(1)
		}
		v.align()
		v.skip(8 * levels)
		v.skip(32 * v.read(8))
	}
	v.skip(1)
	if v.read(1) == 1 {
		v.skip(1)
	}
	p := picture{width: v.ue(), height: v.ue()}
	if v.read(1) == 1 {
		x, y := 1, 1
		if chroma == 1 || chroma == 2 {
			x = 2
		}
		if chroma == 1 {
			y = 2
		}
		p.width -= x * (v.ue() + v.ue())
		p.height -= y * (v.ue() + v.ue())
	}
	return p, !v.over && p.width > 0 && p.height > 0
}

func (r *bitReader) align() { r.skip(-r.at & 7) }
