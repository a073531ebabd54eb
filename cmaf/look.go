package cmaf

import (
	"fmt"
	"slices"
)

// How many NAL units of a segment are looked at: of the first sample and of
// sync samples, and of the others. It bounds the time that an inspection takes.
const (
	maxKeyUnits   = 4096
	maxOtherUnits = 1024
)

// look sees whether the bytes of a sample can be of its sample entry, and how
// one can begin to decode there. What is not looked at is unknown. The samples
// of one track decode one after the other, so the first that does not fit is
// remembered, and no more are looked at.
func (in *inspection) look(f *trackFragment, d []byte, nth int, sync bool) access {
	if in.foreign != "" || f.description < 1 || int64(f.description) > int64(len(in.track.codings)) {
		return accessUnknown
	}
	c := &in.track.codings[f.description-1]
	if in.track.Encrypted {
		// Of others than the first of a fragment, where their entry of senc is is
		// not known without reading all before it.
		if nth > 0 || c.length == 0 {
			return accessUnknown
		}
		return in.lookAtUnits(c, d, f.clear(len(d), in.track.ivSize), sync)
	}
	first := in.samples == 0
	var a access
	var found picture
	var foreign string
	switch c.scheme {
	case schemeAVC, schemeHEVC, schemeVVC:
		return in.lookAtUnits(c, d, clearing{}, sync)
	case schemeAV1, schemeVP9, schemeVP8:
		if !first && !sync {
			return accessUnknown
		}
		switch c.scheme {
		case schemeAV1:
			a, found, foreign = c.av1(d)
		case schemeVP9:
			a, found, foreign = c.vp9(d)
		default:
			a, found, foreign = c.vp8(d)
		}
	default:
		if in.samples < 2 {
			foreign = in.lookAtSound(c, d)
		}
	}
	if foreign == "" {
		foreign = c.contradicts(found)
	}
	in.refuse(foreign)
	return a
}

func (in *inspection) refuse(foreign string) {
	if in.foreign == "" && foreign != "" {
		in.foreign = fmt.Sprintf("sample %d: %s", in.samples+1, foreign)
	}
}

// contradicts says in what a picture is none of the sample entry's.
func (c *coding) contradicts(found picture) string {
	if found == (picture{}) || len(c.pictures) == 0 || slices.ContainsFunc(c.pictures, found.fits) {
		return ""
	}
	return fmt.Sprintf("it is %v, the init segment says %v", found, c.pictures[0])
}

// lookAtUnits walks the NAL units of a sample. Of an encrypted track clear says
// which of its bytes can be read.
func (in *inspection) lookAtUnits(c *coding, d []byte, clear clearing, sync bool) access {
	key := sync || in.samples == 0
	left := &in.otherUnits
	if key {
		left = &in.keyUnits
	}
	encrypted, header := in.track.Encrypted, 2
	if c.scheme == schemeAVC {
		header = 1
	}
	a := accessUnknown
	for at := 0; at < len(d); {
		if *left == 0 {
			return a
		}
		*left--
		if len(d)-at < c.length {
			if trailing(d[at:]) {
				break
			}
			in.refuse(fmt.Sprintf("%d bytes are left where the length of a NAL unit should be", len(d)-at))
			return accessUnknown
		}
		if encrypted && !clear.holds(at, at+c.length+header) {
			return a
		}
		n := 0
		for _, b := range d[at : at+c.length] {
			n = n<<8 | int(b)
		}
		at += c.length
		if n > len(d)-at {
			in.refuse(fmt.Sprintf("a NAL unit of %d bytes where %d are left", n, len(d)-at))
			return accessUnknown
		}
		if n == 0 {
			continue
		}
		nal := d[at : at+n]
		at += n
		u := c.unit(nal)
		if !u.exists {
			in.refuse(fmt.Sprintf("a NAL unit that begins with %#02x is none of the codec", nal[0]))
			return accessUnknown
		}
		if !key {
			continue
		}
		if encrypted {
			// Only the header is sure to be clear.
			if u.slice && a == accessUnknown && (c.scheme != schemeAVC || u.kind == avcIDR) {
				a = c.access(u, nal)
			}
			continue
		}
		in.parameters(c, u, nal)
		if !u.slice {
			continue
		}
		if a == accessUnknown {
			if u.layer != 0 {
				in.refuse(fmt.Sprintf("the first slice is of layer %d", u.layer))
				return accessUnknown
			}
			a = c.access(u, nal)
		}
		in.slice(c, u, nal)
	}
	if key && a == accessUnknown && !encrypted {
		in.refuse("no slice")
	}
	return a
}

// trailing reports whether what is left of a sample is padding.
func trailing(d []byte) bool {
	for _, b := range d {
		if b != 0 {
			return false
		}
	}
	return true
}

// parameters reads a parameter set inside a sample. Whether the sample entry
// allows one there or not, it must say what the entry says.
func (in *inspection) parameters(c *coding, u unit, nal []byte) {
	var p picture
	ok := false
	switch {
	case u.layer != 0:
	case c.scheme == schemeAVC && u.kind == avcSPS:
		p, ok = parseAVCSequence(nal)
	case c.scheme == schemeHEVC && u.kind == hevcSPS:
		p, ok = parseHEVCSequence(nal)
	case c.scheme == schemeVVC && u.kind == vvcSPS:
		p, ok = parseVVCSequence(nal)
	case c.scheme == schemeAVC && u.kind == avcPPS || c.scheme == schemeHEVC && u.kind == hevcPPS:
		if id, ok := setID(nal, u.header); ok {
			in.sets.add(id)
		}
	}
	if ok {
		in.refuse(c.contradicts(p))
	}
}

// slice sees whether a slice names a picture parameter set that there is, and
// lies inside the picture.
func (in *inspection) slice(c *coding, u unit, nal []byte) {
	if c.sets == (setIDs{}) || u.layer != 0 || c.scheme == schemeVVC {
		return
	}
	var buf [24]byte
	v := bitReader{b: unescape(buf[:0], nal[u.header:])}
	if c.scheme == schemeAVC {
		first, kind := v.ue(), v.ue()
		switch {
		case kind > 9:
			in.refuse(fmt.Sprintf("a slice of type %d", kind))
		case c.blocks > 0 && first >= c.blocks:
			in.refuse(fmt.Sprintf("a slice begins at macroblock %d of %d", first, c.blocks))
		}
	} else {
		v.skip(1)
		if u.kind >= hevcBLA && u.kind < 24 {
			v.skip(1)
		}
	}
	if id := v.ue(); id > 255 || !v.over && !c.sets.has(id) && !in.sets.has(id) {
		in.refuse(fmt.Sprintf("a slice names picture parameter set %d, which the init segment does not have", id))
	}
}

// lookAtSound looks for the marks of other codings: most have none of their own.
func (in *inspection) lookAtSound(c *coding, d []byte) string {
	if len(d) < 4 {
		return ""
	}
	mark := be16(d)
	switch c.scheme {
	case schemeAC3:
		if mark != 0x0b77 {
			return "no AC-3 sync word"
		}
		if len(d) > 5 && c.dolby.known {
			switch frame := (dolby{true, d[4] >> 6, d[5]>>3 > 10}); {
			case frame.enhanced != c.dolby.enhanced:
				return "of AC-3 and E-AC-3 it is the one that the init segment does not say"
			case frame.rate != c.dolby.rate:
				return "a frame of another sampling rate than the init segment says"
			}
		}
	case schemeFLAC:
		if mark&^1 != 0xfff8 {
			return "no FLAC sync code"
		}
	case schemeAAC:
		if mark&0xfff6 == 0xfff0 {
			return "an ADTS header, where the init segment says all"
		}
		if mark == 0x0b77 {
			return "an AC-3 sync word"
		}
	}
	return ""
}

// A clearing walks the parts of a sample that are not encrypted (ISO/IEC
// 23001-7, 9.5.2): its subsamples, of 16 bits of clear and 32 bits of secret bytes.
type clearing struct {
	rest     []byte
	from, to int64 // the current one
	next     int64
}

// holds reports whether bytes are clear. It is asked from low to high.
func (c *clearing) holds(from, to int) bool {
	for c.to < int64(to) && len(c.rest) >= 6 {
		c.from, c.to = c.next, c.next+int64(be16(c.rest))
		c.next = c.to + int64(be32(c.rest[2:]))
		c.rest = c.rest[6:]
	}
	return c.from <= int64(from) && int64(to) <= c.to
}

// clear are the parts of the first sample of f that are not encrypted, of size
// bytes, where senc says so.
func (f *trackFragment) clear(size, ivSize int) clearing {
	if f.senc.Data == nil {
		return clearing{}
	}
	_, flags, p, err := f.senc.full(4)
	if err != nil || flags&sencSubsamples == 0 || be32(p) == 0 || len(p) < 4+ivSize+2 {
		return clearing{}
	}
	n := int(be16(p[4+ivSize:]))
	p = p[4+ivSize+2:]
	if len(p) < 6*n {
		return clearing{}
	}
	sum := int64(0)
	for i := range n {
		sum += int64(be16(p[6*i:])) + int64(be32(p[6*i+2:]))
	}
	if sum != int64(size) {
		return clearing{} // entries of another size, or of other samples
	}
	return clearing{rest: p[:6*n]}
}
