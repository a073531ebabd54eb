package cmaf

// OBU types (AV1 bitstream specification, 6.2.2).
const (
	obuSequence, obuHeader, obuFrame = 1, 3, 6
)

// obus walks the OBUs of a temporal unit.
type obus struct {
	rest   []byte
	kind   int
	data   []byte
	broken bool
}

func (w *obus) next() bool {
	if len(w.rest) == 0 || w.broken {
		return false
	}
	h := w.rest[0]
	w.kind = int(h >> 3 & 15)
	p := w.rest[1:]
	if h&4 != 0 {
		p = p[min(1, len(p)):]
	}
	size := len(p)
	if h&2 != 0 {
		n, bytes := 0, 0
		for {
			if bytes == len(p) || bytes == 4 {
				w.broken = true
				return false
			}
			n |= int(p[bytes]&0x7f) << (7 * bytes)
			if bytes++; p[bytes-1]&0x80 == 0 {
				break
			}
		}
		if p = p[bytes:]; n > len(p) {
			w.broken = true
			return false
		}
		size = n
	}
	if h&0x80 != 0 || w.kind == 0 || w.kind > 8 && w.kind < 15 {
		w.broken = true
		return false
	}
	w.data, w.rest = p[:size], p[size:]
	return true
}

// parseSequence reads a sequence header OBU (AV1, 5.5.1).
func parseSequence(b []byte) (picture, bool) {
	v := bitReader{b: b}
	p := picture{profile: v.read(3)}
	v.skip(1)
	reduced := v.read(1) == 1 // reduced_still_picture_header
	if reduced {
		v.skip(5)
	} else {
		model, delay := 0, 0
		if v.read(1) == 1 { // timing_info_present_flag
			v.skip(64)
			if v.read(1) == 1 {
				v.ue() // uvlc is the same code
			}
			if v.read(1) == 1 {
				model = 1 + v.read(5)
				v.skip(32 + 5 + 5)
			}
		}
		delay = v.read(1)
		for range v.read(5) + 1 {
			v.skip(12)
			if v.read(5) > 7 {
				v.skip(1)
			}
			if model > 0 && v.read(1) == 1 {
				v.skip(2*model + 1)
			}
			if delay > 0 && v.read(1) == 1 {
				v.skip(4)
			}
		}
	}
	w, h := v.read(4)+1, v.read(4)+1
	p.width, p.height = v.read(w)+1, v.read(h)+1
	if !reduced && v.read(1) == 1 { // frame_id_numbers_present_flag
		v.skip(4 + 3)
	}
	v.skip(3)
	if !reduced {
		v.skip(4)
		order := v.read(1) // enable_order_hint
		v.skip(2 * order)
		// seq_choose_screen_content_tools, or seq_force_screen_content_tools, and
		// the same of integer motion vectors
		choose := v.read(1) == 1
		if forced := choose || v.read(1) == 1; forced && v.read(1) == 0 {
			v.skip(1)
		}
		v.skip(3 * order)
	}
	v.skip(3)
	p.depth, p.chroma = av1Samples(&v, p.profile)
	return p, !v.over
}

// av1Samples reads how deep the samples are and which chroma there is, from the
// beginning of color_config (5.5.2), as chroma_format_idc says it.
func av1Samples(v *bitReader, profile int) (depth, chroma int) {
	high := v.read(1)
	depth = 8 + 2*high
	if profile == 2 && high == 1 {
		depth += 2 * v.read(1)
	}
	if profile != 1 && v.read(1) == 1 { // mono_chrome
		return depth, 0
	}
	if v.read(1) == 1 && v.read(24) == 1<<16|13<<8 { // sRGB
		return depth, 3
	}
	v.skip(1)
	switch {
	case profile == 0:
		return depth, 1
	case profile == 1:
		return depth, 3
	case depth < 12:
		return depth, 2
	}
	if v.read(1) == 0 { // subsampling_x
		return depth, 3
	}
	return depth, 2 - v.read(1)
}

// av1 looks into a temporal unit. foreign says what no AV1 of this entry has.
func (c *coding) av1(d []byte) (a access, found picture, foreign string) {
	a = accessNone
	seen := false
	w := obus{rest: d}
	for n := 0; n < 64 && !seen && w.next(); n++ {
		switch w.kind {
		case obuSequence:
			if p, ok := parseSequence(w.data); ok {
				found = p
			}
		case obuHeader, obuFrame:
			seen = true
			// show_existing_frame 0, frame_type 0 (KEY_FRAME), show_frame 1
			if len(w.data) > 0 && w.data[0]>>4 == 1 {
				a = accessClosed
			}
		}
	}
	switch {
	case w.broken:
		foreign = "no OBU where one should be"
	case !seen && len(w.rest) == 0:
		foreign = "no frame in a temporal unit"
	}
	return a, found, foreign
}

// vp9 reads an uncompressed header (VP9 bitstream specification, 6.2).
func (c *coding) vp9(d []byte) (a access, found picture, foreign string) {
	v := bitReader{b: d}
	if v.read(2) != 2 {
		return a, found, "no VP9 frame marker"
	}
	profile := v.read(1) | v.read(1)<<1
	if profile == 3 {
		v.skip(1)
	}
	existing, inter := v.read(1) == 1, v.read(1) == 1 // show_existing_frame, frame_type
	if existing || inter {
		return accessNone, found, ""
	}
	v.skip(2)
	if v.read(24) != 0x498342 {
		return a, found, "no VP9 sync code"
	}
	depth := 8
	if profile >= 2 {
		depth = 10 + 2*v.read(1)
	}
	if v.read(3) != 7 {
		v.skip(1)
		if profile&1 == 1 {
			v.skip(3)
		}
	} else if profile&1 == 1 {
		v.skip(1)
	}
	found = picture{profile: profile, depth: depth, chroma: profile & 1, width: v.read(16) + 1, height: v.read(16) + 1}
	if v.over {
		return a, picture{}, "a VP9 frame of too few bytes"
	}
	return accessClosed, found, ""
}

// vp8 reads a frame tag (RFC 6386, 9.1).
func (c *coding) vp8(d []byte) (a access, found picture, foreign string) {
	switch {
	case len(d) < 3:
		return a, found, "a VP8 frame of too few bytes"
	case d[0]&1 == 1:
		return accessNone, found, ""
	case len(d) < 10 || d[3] != 0x9d || d[4] != 0x01 || d[5] != 0x2a:
		return a, found, "no VP8 start code"
	}
	return accessClosed, picture{width: int(d[6]) | int(d[7]&63)<<8, height: int(d[8]) | int(d[9]&63)<<8}, ""
}
