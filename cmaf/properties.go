package cmaf

import (
	"bytes"
	"encoding/base32"
	"fmt"
	"strings"
)

// picture reads the boxes that say how a picture is shown: pasp and colr
// (ISO/IEC 14496-12, 12.1.4 and 12.1.5), and vpcC.
func (t *Track) picture(e *entry) {
	if x := e.child("pasp"); x.Data != nil && len(x.Payload()) >= 8 {
		if w, h := be32(x.Payload()), be32(x.Payload()[4:]); w > 0 && h > 0 {
			g := gcd(w, h)
			t.SAR = fmt.Sprintf("%d:%d", w/g, h/g)
		}
	}
	color := func(primaries, transfer, matrix int) {
		if primaries <= 255 && transfer <= 255 && matrix <= 255 && primaries != unspecified {
			t.Color = fmt.Sprintf("%d-%d-%d", primaries, transfer, matrix)
		}
	}
	if x := e.child("vpcC"); x.Data != nil && len(x.Payload()) >= 10 {
		p := x.Payload()
		color(int(p[7]), int(p[8]), int(p[9]))
	}
	if x := e.child("colr"); x.Data != nil && len(x.Payload()) >= 10 {
		if p := x.Payload(); string(p[:4]) == "nclx" || string(p[:4]) == "nclc" {
			color(int(be16(p[4:])), int(be16(p[6:])), int(be16(p[8:])))
		}
	}
}

// unspecified is the code of color primaries that are not said.
const unspecified = 2

func gcd(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// vvcCodecs writes profile, tier and level, and the constraints as far as there
// are any (ISO/IEC 14496-15, annex E).
func vvcCodecs(name string, x Box) string {
	if x.Data == nil {
		return name
	}
	v := bitReader{b: x.Payload()}
	v.read(32 + 5 + 2)
	if v.read(1) == 0 {
		return name
	}
	v.read(9 + 3 + 2 + 2 + 3 + 5 + 2)
	size, profile, tier, level := v.read(6), v.read(7), "L", 0
	if v.read(1) == 1 {
		tier = "H"
	}
	level = v.read(8)
	constraints := make([]byte, size)
	for i := range constraints {
		constraints[i] = byte(v.read(8))
	}
	if v.over {
		return name
	}
	s := fmt.Sprintf("%s.%d.%s%d", name, profile, tier, level)
	if c := bytes.TrimRight(constraints, "\x00"); len(c) > 0 {
		s += ".C" + base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(c)
	}
	return s
}

// timedTextCodecs tells the profile of TTML: the strings of a stpp entry name
// its namespaces, and of IMSC's two profiles the one with images.
func timedTextCodecs(p []byte) string {
	if !bytes.Contains(p, []byte("http://www.w3.org/ns/ttml")) {
		return "stpp"
	}
	if bytes.Contains(p, []byte("imsc1/image")) || bytes.Contains(p, []byte("im1i")) {
		return "stpp.ttml.im1i"
	}
	return "stpp.ttml.im1t"
}

// dolby sets what AC-3 says: its mode and whether there is a channel for bass.
func (t *Track) dolby(rate, mode, lfe int) {
	t.sound(rate, dolbyChannels(mode, lfe))
	switch {
	case mode == 7 && lfe == 1:
		t.ChannelConfig = 6
	case lfe == 0:
		t.ChannelConfig = [...]int{8, 1, 2, 3, 9, 4, 10, 5}[mode]
	}
}

// enhancedAC3 reads dec3 (ETSI TS 102 366, F.6), of the first substream and of
// the extension for objects (ETSI TS 103 420, C.3).
func (t *Track) enhancedAC3(p []byte) {
	v := bitReader{b: p}
	v.read(13)
	for i := range 1 + v.read(3) {
		rate := dolbyRate(v.read(2))
		v.read(5 + 1 + 1 + 3)
		mode, lfe := v.read(3), v.read(1)
		if i == 0 {
			t.dolby(rate, mode, lfe)
		}
		v.read(3)
		if v.read(4) > 0 {
			v.read(9)
			if i == 0 {
				t.ChannelConfig = 0 // more channels, in another substream
			}
		} else {
			v.read(1)
		}
	}
	v.read(7)
	if object, index := v.read(1), v.read(8); object == 1 && !v.over {
		t.JOC = index
	}
}

// ac4 reads as much of dac4 as codecs says (ETSI TS 103 190-2, E.6 and E.13):
// the versions of bitstream and first presentation, and its level.
func (t *Track) ac4(p []byte) {
	v := bitReader{b: p}
	version, bitstream := v.read(3), v.read(7)
	rate := [...]int{44100, 48000}[v.read(1)]
	v.read(4)
	presentations := v.read(9)
	if bitstream > 1 && v.read(1) == 1 {
		v.read(16)
		if v.read(1) == 1 {
			v.read(16 * 8)
		}
	}
	v.read(2 + 32 + 32)
	v.at = (v.at + 7) &^ 7
	if version != 1 || presentations == 0 || v.over {
		return
	}
	presentation := v.read(8)
	if v.read(8) == 255 {
		v.read(16)
	}
	level := 0
	if v.read(5) != 6 {
		level = v.read(3)
	}
	if v.over {
		return
	}
	t.sound(rate, 0)
	t.Codecs = fmt.Sprintf("ac-4.%02x.%02x.%02x", bitstream, presentation, level)
}

// iamfCodecs reads the profiles and the codec of an IA sequence.
func iamfCodecs(p []byte) string {
	const sequenceHeader, codecConfig = 31, 0
	if len(p) < 2 {
		return "iamf"
	}
	size, p := leb128(p[1:])
	p = p[:min(size, len(p))]
	profiles := ""
	for len(p) > 0 {
		kind := p[0] >> 3
		size, rest := leb128(p[1:])
		if size > len(rest) {
			break
		}
		obu := rest[:size]
		p = rest[size:]
		switch {
		case kind == sequenceHeader && len(obu) >= 6:
			profiles = fmt.Sprintf("iamf.%03d.%03d", obu[4], obu[5])
		case kind == codecConfig && profiles != "":
			if _, rest := leb128(obu); len(rest) >= 4 {
				codec := string(rest[:4])
				if codec == "mp4a" {
					codec += ".40.2"
				}
				if strings.Trim(codec, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.") == "" {
					return profiles + "." + codec
				}
			}
		}
	}
	return "iamf"
}

// leb128 reads a number of up to four bytes of 7 bits, the lowest first.
func leb128(b []byte) (v int, rest []byte) {
	for i := range min(len(b), 4) {
		v |= int(b[i]&0x7f) << (7 * i)
		if b[i]&0x80 == 0 {
			return v, b[i+1:]
		}
	}
	return len(b) + 1, nil // more than there is
}

// audioConfigChannels is the channel configuration of an AudioSpecificConfig,
// whose values up to 14 are those of ISO/IEC 23091-3; 0 where it is elsewhere.
func audioConfigChannels(b []byte) int {
	v := bitReader{b: b}
	v.objectType()
	v.rate()
	if c := v.read(4); !v.over && (c <= 7 || c == 11 || c == 12 || c == 13 || c == 14) {
		return c
	}
	return 0
}
