package cmaf

import (
	"bytes"

	"headwater/live"
)

// maxTracks bounds what an init segment may hold.
const maxTracks = 256

// ParseInit reads an init segment: ftyp and moov (ISO/IEC 14496-12, 8.2). b is
// kept, as Config of the tracks, and must not change.
//
// Errors wrap ErrNotCMAF for what is no fragmented MP4, and ErrMalformed for
// what is one but broken; both name the box and its offset.
func ParseInit(b []byte) (*Init, error) {
	if err := Sniff(b); err != nil {
		return nil, err
	}
	var moov Box
	for s := (scanner{rest: b}); s.more(); {
		x, err := s.next()
		if err != nil {
			return nil, err
		}
		switch x.Type {
		case boxMoov:
			if moov.Data != nil {
				return nil, malformed(x.Offset, "a second moov")
			}
			moov = x
		case boxMoof, boxMdat:
			if moov.Data == nil {
				continue
			}
			if _, err := parseMoov(moov); err != nil {
				return nil, err // rather this: it knows a progressive file
			}
			return nil, malformed(x.Offset, "an init segment holds no media").in(x.Type)
		}
	}
	if moov.Data == nil {
		return nil, malformed(0, "no moov: not an init segment")
	}
	return parseMoov(moov)
}

func parseMoov(moov Box) (*Init, error) {
	var mvex Box
	for s := moov.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return nil, within(boxMoov, err)
		}
		if x.Type == boxMvex {
			mvex = x
		}
	}
	if mvex.Data == nil {
		return nil, notCMAF(moov.Offset, "no mvex: a progressive MP4, not a fragmented one").in(boxMoov)
	}
	in := &Init{}
	for s := moov.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return nil, within(boxMoov, err)
		}
		if x.Type != boxTrak {
			continue
		}
		if len(in.Tracks) == maxTracks {
			return nil, malformed(x.Offset, "more than %d tracks", maxTracks).in(boxMoov)
		}
		t, err := parseTrak(x)
		if err != nil {
			return nil, within(boxMoov, within(boxTrak, err))
		}
		if in.Track(t.ID) != nil {
			return nil, malformed(x.Offset, "a second track %d", t.ID).in(boxMoov)
		}
		in.Tracks = append(in.Tracks, t)
	}
	if len(in.Tracks) == 0 {
		return nil, malformed(moov.Offset, "no trak").in(boxMoov)
	}
	found := make(map[uint32]bool, len(in.Tracks))
	for s := mvex.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return nil, within(boxMoov, within(boxMvex, err))
		}
		if x.Type != boxTrex {
			continue
		}
		_, _, p, err := x.full(20)
		if err != nil {
			return nil, within(boxMoov, within(boxMvex, err))
		}
		if t := in.Track(be32(p)); t != nil {
			found[t.ID] = true
			t.DefaultDescription, t.DefaultDuration = be32(p[4:]), be32(p[8:])
			t.DefaultSize, t.DefaultFlags = be32(p[12:]), be32(p[16:])
		}
	}
	var pssh []byte
	for s := moov.children(0); s.more(); {
		if x, err := s.next(); err == nil && x.Type == boxPssh {
			pssh = append(pssh, x.Data...)
		}
	}
	for i := range in.Tracks {
		t := &in.Tracks[i]
		if !found[t.ID] {
			return nil, malformed(mvex.Offset, "no trex for track %d", t.ID).in(boxMvex).in(boxMoov)
		}
		if t.Encrypted {
			t.PSSH = pssh
		}
	}
	return in, nil
}

func parseTrak(trak Box) (Track, error) {
	var t Track
	var media Box
	var edits Box
	for s := trak.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return t, err
		}
		switch x.Type {
		case boxTkhd:
			version, _, p, err := x.full(20)
			if err != nil {
				return t, err
			}
			t.ID = be32(p[8:])
			if version > 0 {
				t.ID = be32(p[16:])
			}
		case boxMdia:
			media = x
		case boxEdts:
			edits = x
		}
	}
	if t.ID == 0 {
		return t, malformed(trak.Offset, "no tkhd with a track ID")
	}
	if media.Data == nil {
		return t, malformed(trak.Offset, "no mdia")
	}
	if err := t.media(media); err != nil {
		return t, within(boxMdia, err)
	}
	if edits.Data != nil {
		if err := t.edits(edits); err != nil {
			return t, within(boxEdts, err)
		}
	}
	return t, nil
}

func (t *Track) media(mdia Box) error {
	var minf Box
	var handler FourCC
	language := ""
	for s := mdia.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return err
		}
		switch x.Type {
		case boxMdhd:
			version, _, p, err := x.full(20)
			if err != nil {
				return err
			}
			if version > 0 {
				if len(p) < 32 {
					return malformed(x.Offset, "needs 32 bytes for version 1, has %d", len(p)).in(x.Type)
				}
				p = p[8:]
			}
			t.Timescale = be32(p[8:])
			if version > 0 {
				p = p[4:]
			}
			if t.Timescale == 0 {
				return malformed(x.Offset, "a timescale of 0").in(x.Type)
			}
			if language == "" {
				language = packedLanguage(be16(p[16:]))
			}
		case boxHdlr:
			_, _, p, err := x.full(8)
			if err != nil {
				return err
			}
			handler = FourCC(be32(p[4:]))
		case boxElng:
			// Some muxers write no version and flags: a language begins with a letter.
			p := x.Payload()
			if len(p) >= 4 && be32(p) == 0 {
				p = p[4:]
			}
			p, _, _ = bytes.Cut(p, []byte{0})
			if len(p) > 0 && len(p) <= 64 {
				language = string(p)
			}
		case boxMinf:
			minf = x
		}
	}
	if t.Timescale == 0 {
		return malformed(mdia.Offset, "no mdhd")
	}
	switch handler.String() {
	case "vide":
		t.Type = live.Video
	case "soun":
		t.Type = live.Audio
	case "text", "subt", "sbtl":
		t.Type = live.Text
	}
	if language != "und" {
		t.Language = language
	}
	if minf.Data == nil {
		return malformed(mdia.Offset, "no minf")
	}
	return within(boxMinf, t.information(minf))
}

// packedLanguage is mdhd's three letters of 5 bits; "und" where they are none.
func packedLanguage(v uint16) string {
	var l [3]byte
	for i := range l {
		l[i] = byte(v>>(10-5*i))&31 + 0x60
		if l[i] < 'a' || l[i] > 'z' {
			return "und"
		}
	}
	return string(l[:])
}

func (t *Track) information(minf Box) error {
	for s := minf.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return err
		}
		if x.Type != boxStbl {
			continue
		}
		for s := x.children(0); s.more(); {
			c, err := s.next()
			if err != nil {
				return within(boxStbl, err)
			}
			switch c.Type {
			case boxStsd:
				if err := t.descriptions(c); err != nil {
					return within(boxStbl, within(boxStsd, err))
				}
			case boxStsz:
				if _, _, p, err := c.full(8); err != nil {
					return within(boxStbl, err)
				} else if be32(p[4:]) != 0 {
					return notCMAF(c.Offset, "the movie box has samples of its own (ffmpeg: -movflags +empty_moov)").in(c.Type).in(boxStbl)
				}
			}
		}
	}
	if t.Descriptions == 0 {
		return malformed(minf.Offset, "no sample entries")
	}
	return nil
}

// edits takes the offset of an edit list: the media time of its one entry that
// is not empty. CMAF allows nothing else (ISO/IEC 23000-19, 7.5.13); empty
// entries before it delay the whole presentation, which the template's times
// make pointless, and players ignore longer lists in fragmented files.
func (t *Track) edits(edts Box) error {
	for s := edts.children(0); s.more(); {
		x, err := s.next()
		if err != nil {
			return err
		}
		if x.Type != boxElst {
			continue
		}
		version, _, p, err := x.full(4)
		if err != nil {
			return err
		}
		n, p, size := int64(be32(p)), p[4:], 12
		if version > 0 {
			size = 20
		}
		if int64(len(p)) < n*int64(size) {
			return malformed(x.Offset, "%d entries do not fit", n).in(x.Type)
		}
		offset, entries := int64(0), 0
		for ; n > 0; n, p = n-1, p[size:] {
			at := int64(int32(be32(p[4:])))
			if version > 0 {
				at = int64(be64(p[8:]))
			}
			if at >= 0 {
				offset = at
				entries++
			}
		}
		if entries == 1 && offset < maxTime {
			t.EditOffset = offset
		}
	}
	return nil
}

// Sniff says whether bytes may begin an init segment or a media segment: an error
// wraps ErrNotCMAF or, of none or too few, ErrMalformed, with what they are instead
// where that can be seen.
func Sniff(b []byte) error {
	if len(b) == 0 {
		return malformed(0, "no bytes")
	}
	for _, m := range [...]struct {
		magic, name string
	}{
		{"\x1a\x45\xdf\xa3", "Matroska or WebM"},
		{"#EXTM3U", "an HLS playlist"},
		{"WEBVTT", "WebVTT as text, not in wvtt samples"},
		{"\xef\xbb\xbfWEBVTT", "WebVTT as text, not in wvtt samples"},
		{"<?xml", "XML"},
		{"<MPD", "a DASH manifest"},
		{"<tt", "TTML as text, not in stpp samples"},
		{"ID3", "packed audio, not in MP4"},
		{"FLV", "Flash video"},
	} {
		if bytes.HasPrefix(b, []byte(m.magic)) {
			return notCMAF(0, "this is %s", m.name)
		}
	}
	if b[0] == 0x47 && (len(b) <= 188 || b[188] == 0x47) {
		return notCMAF(0, "this is an MPEG transport stream")
	}
	if len(b) < 8 {
		return malformed(0, "%d bytes are too few for a box header", len(b))
	}
	switch typ := FourCC(be32(b[4:])); typ {
	case boxFtyp, boxStyp, boxMoov, boxMoof, boxMdat, boxSidx, boxSsix, boxPrft, boxEmsg,
		boxFree, boxSkip, boxWide, boxUUID, boxMeta, boxMfra, boxPdin, boxPssh:
		return nil
	default:
		return notCMAF(0, "%s is no box that a segment begins with", typ)
	}
}
