package cmaf

import (
	"fmt"

	"headwater/live"
)

// A scheme is how the bytes of a sample are made.
type scheme uint8

// The schemes whose samples are looked into; opaque is any other.
const (
	opaque scheme = iota
	schemeAVC
	schemeHEVC
	schemeVVC
	schemeAV1
	schemeVP9
	schemeVP8
	schemeAAC
	schemeAC3 // and E-AC-3
	schemeFLAC
)

// A coding is what a sample entry says of its samples' bytes: what is needed to
// tell whether bytes can be of it.
type coding struct {
	scheme scheme
	length int // bytes of a NAL unit's length field
	// What the pictures are by the sequence parameter sets of the entry, or by
	// the entry itself where it has none.
	pictures []picture
	sets     setIDs // picture parameter sets of the entry, if it has any
	blocks   int    // macroblocks of the largest picture (AVC), 0 where not known
	dolby    dolby  // of AC-3 and E-AC-3
}

// A picture is what two encodes of one rendition must have in common. 0 is not
// known.
type picture struct {
	profile, chroma, depth int
	width, height          int
	blocks                 int // macroblocks, AVC only
}

func (p picture) String() string {
	s := fmt.Sprintf("%dx%d", p.width, p.height)
	if p.profile > 0 {
		s += fmt.Sprintf(", profile %d", p.profile)
	}
	if p.depth > 8 {
		s += fmt.Sprintf(", %d bits", p.depth)
	}
	return s
}

// fits reports whether what is known of both agrees.
func (p picture) fits(q picture) bool {
	same := func(a, b int) bool { return a == b || a == 0 || b == 0 }
	return same(p.profile, q.profile) && same(p.depth, q.depth) && same(p.width, q.width) && same(p.height, q.height) &&
		(p.depth == 0 || q.depth == 0 || p.chroma == q.chroma)
}

// setIDs are the IDs of picture parameter sets, 0 to 255.
type setIDs [4]uint64

func (s *setIDs) add(id int)      { s[id>>6&3] |= 1 << (id & 63) }
func (s *setIDs) has(id int) bool { return s[id>>6&3]&(1<<(id&63)) != 0 }

// maxPictures bounds the sequence parameter sets of an entry that are compared.
const maxPictures = 32

// coding reads what an entry says of its samples' bytes. An entry that cannot be
// read says nothing: whether it may be is not judged here.
func (t *Track) coding(e *entry) coding {
	c := coding{}
	switch {
	case t.Type == live.Video:
		p := e.box.Payload()
		frame := picture{width: int(be16(p[24:])), height: int(be16(p[26:]))}
		c.video(e, frame)
	case t.Type == live.Audio:
		c.audio(e)
	}
	return c
}

func (c *coding) video(e *entry, frame picture) {
	config := func(name string, n int) []byte {
		if x := e.child(name); x.Data != nil && len(x.Payload()) >= n {
			return x.Payload()
		}
		return nil
	}
	if p := config("avcC", 6); p != nil {
		c.scheme, c.length, frame.profile = schemeAVC, int(p[4]&3)+1, int(p[1])
		c.avcSets(p[5:])
	} else if p := config("hvcC", 23); p != nil {
		c.scheme, c.length, frame.profile = schemeHEVC, int(p[21]&3)+1, int(p[1]&31)
		c.hevcSets(p[22:])
	} else if p := config("vvcC", 5); p != nil {
		c.scheme, c.length = schemeVVC, int(p[4]>>1&3)+1
	} else if p := config("av1C", 4); p != nil {
		c.scheme, frame.profile = schemeAV1, int(p[1]>>5)
		for w := (obus{rest: p[4:]}); w.next(); {
			if w.kind == obuSequence {
				if q, ok := parseSequence(w.data); ok {
					c.pictures = append(c.pictures, q)
				}
			}
		}
	} else if p := config("vpcC", 12); p != nil {
		c.scheme, frame.profile = schemeVP9, int(p[4])
		// Profiles 1 and 3 are those of other chroma than 4:2:0, 2 and 3 those of
		// more than 8 bits.
		frame.depth, frame.chroma = int(p[6]>>4), int(p[4]&1)
		if e.format.Is("vp08") {
			c.scheme, frame.profile, frame.depth = schemeVP8, 0, 0
		}
	}
	if len(c.pictures) == 0 {
		c.pictures = []picture{frame}
	}
	if len(c.pictures) > maxPictures {
		c.pictures = nil // too many to compare
	}
	for _, p := range c.pictures {
		if p.blocks == 0 {
			c.blocks = 0
			break
		}
		c.blocks = max(c.blocks, p.blocks)
	}
}

// avcSets reads the parameter sets of avcC (ISO/IEC 14496-15, 5.3.3.1), from
// their count on.
func (c *coding) avcSets(p []byte) {
	n := int(p[0] & 31)
	p = p[1:]
	var nal []byte
	for range n {
		if nal, p = lengthPrefixed(p); nal == nil {
			return
		}
		if q, ok := parseAVCSequence(nal); ok {
			c.pictures = append(c.pictures, q)
		}
	}
	if len(p) == 0 {
		return
	}
	n, p = int(p[0]), p[1:]
	for range n {
		if nal, p = lengthPrefixed(p); nal == nil {
			return
		}
		c.set(nal, 1)
	}
}

// hevcSets reads those of hvcC (8.3.3.1), from the number of arrays on.
func (c *coding) hevcSets(p []byte) {
	arrays := int(p[0])
	p = p[1:]
	for range arrays {
		if len(p) < 3 {
			return
		}
		kind, n := p[0]&63, int(be16(p[1:]))
		p = p[3:]
		for range n {
			var nal []byte
			if nal, p = lengthPrefixed(p); nal == nil {
				return
			}
			switch kind {
			case hevcSPS:
				if q, ok := parseHEVCSequence(nal); ok {
					c.pictures = append(c.pictures, q)
				}
			case hevcPPS:
				c.set(nal, 2)
			}
		}
	}
}

// set notes a picture parameter set: its ID follows the NAL unit's header.
func (c *coding) set(nal []byte, header int) {
	if id, ok := setID(nal, header); ok {
		c.sets.add(id)
	}
}

func setID(nal []byte, header int) (int, bool) {
	if len(nal) <= header {
		return 0, false
	}
	var buf [8]byte
	v := bitReader{b: unescape(buf[:0], nal[header:])}
	id := v.ue()
	return id, !v.over && id < 256
}

// lengthPrefixed splits off a NAL unit with a length of 16 bits; nil where it
// does not fit.
func lengthPrefixed(p []byte) (nal, rest []byte) {
	if len(p) < 2 || len(p) < 2+int(be16(p)) {
		return nil, nil
	}
	n := 2 + int(be16(p))
	return p[2:n:n], p[n:]
}

// A dolby is what all frames of AC-3 or E-AC-3 have in common (ETSI TS 102 366).
type dolby struct {
	known    bool
	rate     byte // fscod
	enhanced bool // of a bsid that only E-AC-3 has
}

// dolbyOf reads fscod and bsid, which follow each other in dac3 and dec3.
func dolbyOf(b byte) dolby { return dolby{true, b >> 6, b>>1&31 > 10} }

// audio takes those codecs of sound whose samples begin with a mark, or with what
// would be another's.
func (c *coding) audio(e *entry) {
	switch e.format.String() {
	case "mp4a":
		if x := e.child("esds"); len(x.Data) >= x.Header+4 && x.Data != nil {
			if d, ok := parseES(x.Payload()[4:]); ok && d.objectType == 0x40 {
				c.scheme = schemeAAC
			}
		}
	case "ac-3", "ec-3":
		c.scheme = schemeAC3
		if x := e.child("dac3"); x.Data != nil && len(x.Payload()) >= 3 {
			c.dolby = dolbyOf(x.Payload()[0])
		} else if x := e.child("dec3"); x.Data != nil && len(x.Payload()) >= 5 {
			c.dolby = dolbyOf(x.Payload()[2])
		}
	case "fLaC":
		c.scheme = schemeFLAC
	}
}
