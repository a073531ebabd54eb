package cmaf

import "encoding/binary"

// Single makes the init segment of one track out of one that may hold many: b
// is what i was parsed from. The track gets ID 1, ftyp the brands of CMAF
// (ISO/IEC 23000-19, 7.2). What speaks of other tracks (tref) or of the whole
// presentation (udta, meta, mehd) is left out; pssh stays. Of an edit list only
// the shift by EditOffset stays, as the standard allows no other.
//
// The error wraps ErrMalformed when b has no such track.
func (i *Init) Single(b []byte, trackID uint32) ([]byte, error) {
	if i.Track(trackID) == nil {
		return nil, malformed(0, "no track %d", trackID)
	}
	dst := appendBrands(make([]byte, 0, len(b)), boxFtyp, "cmfc", "cmfc", "iso6")
	for s := (scanner{rest: b}); s.more(); {
		x, err := s.next()
		if err != nil {
			return nil, err
		}
		if x.Type != boxMoov {
			continue
		}
		dst, err = i.singleMovie(dst, x, trackID)
		return dst, within(boxMoov, err)
	}
	return nil, malformed(0, "no moov: not an init segment")
}

func (i *Init) singleMovie(dst []byte, moov Box, id uint32) ([]byte, error) {
	dst, end := openBox(dst, boxMoov)
	for s := moov.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return nil, err
		}
		switch x.Type {
		case boxMvhd:
			at := len(dst)
			dst = append(dst, x.Data...)
			if len(x.Payload()) < 100 {
				return nil, malformed(x.Offset, "needs 100 bytes, has %d", len(x.Payload())).in(x.Type)
			}
			binary.BigEndian.PutUint32(dst[at+len(x.Data)-4:], 2) // next_track_ID
		case boxTrak:
			t, err := parseTrak(x)
			if err != nil {
				return nil, within(boxTrak, err)
			}
			if t.ID != id {
				continue
			}
			if dst, err = singleTrack(dst, x, t); err != nil {
				return nil, within(boxTrak, err)
			}
		case boxMvex:
			if dst, err = singleExtends(dst, x, id); err != nil {
				return nil, within(boxMvex, err)
			}
		case boxPssh:
			dst = append(dst, x.Data...)
		}
	}
	return end(dst), nil
}

// Flags of tkhd (ISO/IEC 14496-12, 8.3.2.3).
const trackEnabled, trackInMovie = 1, 2

func singleTrack(dst []byte, trak Box, t Track) ([]byte, error) {
	dst, end := openBox(dst, boxTrak)
	for s := trak.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return nil, err
		}
		switch x.Type {
		case boxTref:
		case boxEdts:
			dst = appendEdits(dst, t.EditOffset)
		case boxTkhd:
			version, _, _, err := x.full(20)
			if err != nil {
				return nil, err
			}
			id := len(dst) + x.Header + 4 + 8
			if version > 0 {
				id += 8
			}
			at := len(dst)
			dst = append(dst, x.Data...)
			binary.BigEndian.PutUint32(dst[id:], 1)
			// A muxer disables all but the first track of a type, but here it is the
			// only one: VLC plays none that is disabled.
			dst[at+x.Header+3] |= trackEnabled | trackInMovie
		default:
			dst = append(dst, x.Data...)
		}
	}
	return end(dst), nil
}

// appendEdits writes an edit list that shifts presentation by offset.
func appendEdits(dst []byte, offset int64) []byte {
	if offset == 0 {
		return dst
	}
	be := binary.BigEndian
	dst, endEdts := openBox(dst, boxEdts)
	dst, end := openBox(dst, boxElst)
	dst = be.AppendUint32(be.AppendUint32(dst, 1<<24), 1)
	dst = be.AppendUint64(dst, 0) // to the end
	dst = be.AppendUint64(dst, uint64(offset))
	return endEdts(end(be.AppendUint32(dst, 1<<16)))
}

func singleExtends(dst []byte, mvex Box, id uint32) ([]byte, error) {
	dst, end := openBox(dst, boxMvex)
	for s := mvex.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return nil, err
		}
		if x.Type != boxTrex && x.Type != boxTrep {
			continue
		}
		_, _, p, err := x.full(4)
		if err != nil {
			return nil, err
		}
		if be32(p) == id {
			at := len(dst) + x.Header + 4
			dst = append(dst, x.Data...)
			binary.BigEndian.PutUint32(dst[at:], 1)
		}
	}
	return end(dst), nil
}

// openBox begins a box; end fills in its size.
func openBox(dst []byte, t FourCC) (out []byte, end func([]byte) []byte) {
	at := len(dst)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(t))
	return dst, func(b []byte) []byte {
		binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
		return b
	}
}

// appendBrands writes ftyp or styp.
func appendBrands(dst []byte, t FourCC, major string, compatible ...string) []byte {
	dst, end := openBox(dst, t)
	dst = append(dst, major...)
	dst = append(dst, 0, 0, 0, 0)
	for _, c := range compatible {
		dst = append(dst, c...)
	}
	return end(dst)
}
