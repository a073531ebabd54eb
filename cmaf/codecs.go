package cmaf

import (
	"fmt"
	"math/bits"
	"strings"
)

// videoCodecs writes the codecs parameter (RFC 6381) as the binding of each
// codec to ISO BMFF says: ISO/IEC 14496-15 annex E for AVC and HEVC, the AV1
// and VP9 bindings for theirs.
func (t *Track) videoCodecs(e *entry) error {
	name := e.format.String()
	t.Codecs = name
	switch name {
	case "avc1", "avc2", "avc3", "avc4":
		p, err := e.need("avcC", 4)
		if err != nil {
			return err
		}
		t.Codecs = fmt.Sprintf("%s.%02x%02x%02x", name, p[1], p[2], p[3])
	case "hvc1", "hev1":
		p, err := e.need("hvcC", 13)
		if err != nil {
			return err
		}
		t.Codecs = hevcCodecs(name, p)
	case "dvh1", "dvhe", "dva1", "dvav", "dav1":
		for _, c := range [...]string{"dvcC", "dvvC", "dvwC"} {
			if x := e.child(c); len(x.Data) >= x.Header+4 && x.Data != nil {
				v := be16(x.Payload()[2:])
				t.Codecs = fmt.Sprintf("%s.%02d.%02d", name, v>>9, v>>3&63)
			}
		}
	case "av01":
		p, err := e.need("av1C", 4)
		if err != nil {
			return err
		}
		t.Codecs = av1Codecs(p)
	case "vvc1", "vvi1":
		t.Codecs = vvcCodecs(name, e.child("vvcC"))
	case "vp08", "vp09":
		p, err := e.need("vpcC", 12)
		if err != nil {
			return err
		}
		t.Codecs = fmt.Sprintf("%s.%02d.%02d.%02d", name, p[4], p[5], p[6]>>4)
	case "mp4v":
		p, err := e.need("esds", 4)
		if err != nil {
			return err
		}
		if d, ok := parseES(p[4:]); ok {
			t.Codecs = fmt.Sprintf("mp4v.%02x", d.objectType)
		}
	}
	return nil
}

// hevcCodecs: profile, compatibility flags in reverse bit order, tier and
// level, and the constraint bytes up to the last that is not 0.
func hevcCodecs(name string, p []byte) string {
	var b strings.Builder
	b.WriteString(name + ".")
	if space := p[1] >> 6; space > 0 {
		b.WriteByte('A' + space - 1)
	}
	tier := byte('L')
	if p[1]&0x20 != 0 {
		tier = 'H'
	}
	fmt.Fprintf(&b, "%d.%X.%c%d", p[1]&31, bits.Reverse32(be32(p[2:])), tier, p[12])
	constraints := p[6:12]
	for len(constraints) > 0 && constraints[len(constraints)-1] == 0 {
		constraints = constraints[:len(constraints)-1]
	}
	for _, c := range constraints {
		fmt.Fprintf(&b, ".%X", c)
	}
	return b.String()
}

func av1Codecs(p []byte) string {
	tier, depth := byte('M'), 8
	if p[2]&0x80 != 0 {
		tier = 'H'
	}
	if p[2]&0x40 != 0 {
		depth = 10
		if p[1]>>5 == 2 && p[2]&0x20 != 0 {
			depth = 12
		}
	}
	return fmt.Sprintf("av01.%d.%02d%c.%02d", p[1]>>5, p[1]&31, tier, depth)
}

// audioCodecs also takes rate and channels from the codec's own configuration,
// as the fields of the sample entry are often templates (2 channels, 0 Hz).
func (t *Track) audioCodecs(e *entry) error {
	name := e.format.String()
	t.Codecs = name
	switch name {
	case "mp4a":
		p, err := e.need("esds", 4)
		if err != nil {
			return err
		}
		d, ok := parseES(p[4:])
		if !ok {
			return malformed(e.child("esds").Offset, "no decoder configuration").in(fourCC("esds")).in(e.box.Type)
		}
		t.Codecs = fmt.Sprintf("mp4a.%02x", d.objectType)
		if d.objectType == 0x40 {
			if object, rate, channels, ok := parseAudioConfig(d.specific); ok {
				t.Codecs = fmt.Sprintf("mp4a.40.%d", object)
				t.sound(rate, channels)
				t.ChannelConfig = audioConfigChannels(d.specific)
			}
		}
	case "ac-3":
		if x := e.child("dac3"); x.Data != nil && len(x.Payload()) >= 3 {
			v := bitReader{b: x.Payload()}
			rate := dolbyRate(v.read(2))
			v.read(5 + 3)
			t.dolby(rate, v.read(3), v.read(1))
		}
	case "ec-3":
		if x := e.child("dec3"); x.Data != nil && len(x.Payload()) >= 5 {
			t.enhancedAC3(x.Payload())
		}
	case "ac-4":
		if x := e.child("dac4"); x.Data != nil {
			t.ac4(x.Payload())
		}
	case "iamf":
		if x := e.child("iacb"); x.Data != nil {
			t.Codecs = iamfCodecs(x.Payload())
		}
	case "Opus":
		if x := e.child("dOps"); x.Data != nil && len(x.Payload()) >= 2 {
			t.sound(48000, int(x.Payload()[1]))
		}
	case "fLaC":
		if x := e.child("dfLa"); x.Data != nil && len(x.Payload()) >= 4+4+18 {
			v := bitReader{b: x.Payload()[4+4+10:]}
			rate := v.read(20)
			t.sound(rate, v.read(3)+1)
		}
	case "mha1", "mha2", "mhm1", "mhm2":
		if x := e.child("mhaC"); x.Data != nil && len(x.Payload()) >= 2 {
			t.Codecs = fmt.Sprintf("%s.0x%02X", name, x.Payload()[1])
		}
	}
	return nil
}

// sound sets what a codec's configuration knows; 0 is unknown.
func (t *Track) sound(rate, channels int) {
	if rate > 0 {
		t.SampleRate = rate
	}
	if channels > 0 {
		t.Channels = channels
	}
}

func dolbyRate(code int) int {
	return [...]int{48000, 44100, 32000, 0}[code]
}

func dolbyChannels(mode, lfe int) int {
	return [...]int{2, 1, 2, 3, 3, 4, 4, 5}[mode] + lfe
}

// An esDescriptor is what matters of esds (ISO/IEC 14496-1, 7.2.6.5).
type esDescriptor struct {
	objectType, streamType byte
	specific               []byte // DecoderSpecificInfo
}

// parseES reads the descriptors in esds, after version and flags.
func parseES(b []byte) (esDescriptor, bool) {
	var d esDescriptor
	es, _, ok := descriptor(b, 3)
	if !ok || len(es) < 3 {
		return d, false
	}
	flags := es[2]
	es = es[3:]
	skip := 0
	if flags&0x80 != 0 {
		skip += 2
	}
	if flags&0x40 != 0 {
		if len(es) <= skip {
			return d, false
		}
		skip += 1 + int(es[skip])
	}
	if flags&0x20 != 0 {
		skip += 2
	}
	if len(es) < skip {
		return d, false
	}
	config, _, ok := descriptor(es[skip:], 4)
	if !ok || len(config) < 13 {
		return d, false
	}
	d.objectType, d.streamType = config[0], config[1]
	d.specific, _, _ = descriptor(config[13:], 5)
	return d, true
}

// descriptor splits off a descriptor of the given tag, with a size of up to
// four bytes of 7 bits.
func descriptor(b []byte, tag byte) (body, rest []byte, ok bool) {
	if len(b) < 2 || b[0] != tag {
		return nil, nil, false
	}
	b = b[1:]
	size := 0
	for i := range 4 {
		if i >= len(b) {
			return nil, nil, false
		}
		size = size<<7 | int(b[i]&0x7f)
		if b[i]&0x80 == 0 {
			b = b[i+1:]
			if size > len(b) {
				return nil, nil, false
			}
			return b[:size], b[size:], true
		}
	}
	return nil, nil, false
}

var audioRates = [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// parseAudioConfig reads AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1). With
// explicit SBR the rate is that of the output.
func parseAudioConfig(b []byte) (object, rate, channels int, ok bool) {
	v := bitReader{b: b}
	object = v.objectType()
	rate = v.rate()
	config := v.read(4)
	channels = config
	switch config {
	case 7, 12, 14:
		channels = 8
	case 11:
		channels = 7
	case 13:
		channels = 24
	}
	if object == 5 || object == 29 {
		if extended := v.rate(); extended > 0 {
			rate = extended
		}
	}
	return object, rate, channels, !v.over && object > 0
}

// A bitReader reads big endian bit fields; past the end it reads zeros and
// sets over.
type bitReader struct {
	b    []byte
	at   int
	over bool
}

func (r *bitReader) read(n int) int {
	v := 0
	for range n {
		v <<= 1
		if r.at>>3 >= len(r.b) {
			r.over = true
			continue
		}
		v |= int(r.b[r.at>>3]>>(7-r.at&7)) & 1
		r.at++
	}
	return v
}

func (r *bitReader) objectType() int {
	if v := r.read(5); v != 31 {
		return v
	}
	return 32 + r.read(6)
}

func (r *bitReader) rate() int {
	i := r.read(4)
	if i == 15 {
		return r.read(24)
	}
	if i < len(audioRates) {
		return audioRates[i]
	}
	return 0
}
