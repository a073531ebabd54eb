package cmaf

import (
	"bytes"
	"fmt"
)

// Compatible says whether segments made for b can be decoded with the init
// segment of t, and the other way round. It returns nil, or an error that names
// the first thing that differs, and its values in t, the old one, and in b:
// type, track ID, timescale, defaults of trex, edit offset, sample entries. What does not matter to a decoder may differ:
// language, bit rates (btrt, esds), the compressor's name.
func (t *Track) Compatible(b *Track) error {
	differ := func(what string, a, b any) error {
		return fmt.Errorf("cmaf: %s is %v in the old init segment and %v in the new one", what, a, b)
	}
	for _, x := range [...]struct {
		what string
		a, b any
	}{
		{"media type", t.Type, b.Type},
		{"track ID", t.ID, b.ID},
		{"timescale", t.Timescale, b.Timescale},
		{"codecs", t.Codecs, b.Codecs},
		{"encryption", t.Encrypted, b.Encrypted},
		{"width", t.Width, b.Width},
		{"height", t.Height, b.Height},
		{"sample rate", t.SampleRate, b.SampleRate},
		{"channel count", t.Channels, b.Channels},
		{"number of sample entries", t.Descriptions, b.Descriptions},
		{"trex default sample entry", t.DefaultDescription, b.DefaultDescription},
		{"trex default duration", t.DefaultDuration, b.DefaultDuration},
		{"trex default size", t.DefaultSize, b.DefaultSize},
		{"trex default flags", t.DefaultFlags, b.DefaultFlags},
		{"edit list offset", t.EditOffset, b.EditOffset},
	} {
		if x.a != x.b {
			return differ(x.what, x.a, x.b)
		}
	}
	if bytes.Equal(t.Config, b.Config) {
		return nil
	}
	one, err := t.entries()
	if err != nil {
		return err
	}
	two, err := b.entries()
	if err != nil {
		return err
	}
	for i := range min(len(one), len(two)) {
		if what, x, y := one[i].differs(&two[i]); what != "" {
			return differ(fmt.Sprintf("%s of sample entry %d (%s)", what, i+1, one[i].box.Type), x, y)
		}
	}
	return nil
}

// entries reads Config again.
func (t *Track) entries() ([]entry, error) {
	s := scanner{rest: t.Config}
	stsd, err := s.next()
	if err != nil {
		return nil, err
	}
	version, _, _, err := stsd.full(4)
	if err != nil {
		return nil, err
	}
	var out []entry
	for s := stsd.children(8); s.more(); {
		x, err := s.next()
		if err != nil {
			return nil, err
		}
		e, err := parseEntry(x, t.Type, version)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// differs names what differs between two sample entries, "" for nothing, and
// says what it is in both.
func (e *entry) differs(o *entry) (what, old, now string) {
	if e.box.Type != o.box.Type || e.format != o.format {
		return "format", e.box.Type.String() + "/" + e.format.String(), o.box.Type.String() + "/" + o.format.String()
	}
	a, b := e.box.Payload()[:e.fields], o.box.Payload()[:o.fields]
	for at := 0; at < max(len(a), len(b)); at++ {
		if e.fields == visualFields && o.fields == visualFields && at >= nameFrom && at < nameTo {
			continue
		}
		if at >= len(a) || at >= len(b) || a[at] != b[at] {
			return e.field(a, b, at)
		}
	}
	one, two := e.telling(), o.telling()
	for i := range max(len(one), len(two)) {
		switch {
		case i >= len(one):
			return two[i].Type.String(), "not there", dump(two[i].Payload())
		case i >= len(two):
			return one[i].Type.String(), dump(one[i].Payload()), "not there"
		case one[i].Type != two[i].Type:
			return "box " + fmt.Sprint(i+1), one[i].Type.String(), two[i].Type.String()
		case !sameBox(one[i], two[i]):
			return e.setting(o, one[i], two[i])
		}
	}
	return "", "", ""
}

// field names the field at an offset of two entries' fixed fields.
func (e *entry) field(a, b []byte, at int) (what, old, now string) {
	type field struct {
		name     string
		at, size int
	}
	fields := []field{{"data reference index", 6, 2}}
	switch e.fields {
	case visualFields:
		fields = append(fields, field{"width", 24, 2}, field{"height", 26, 2}, field{"horizontal resolution", 28, 4},
			field{"vertical resolution", 32, 4}, field{"frame count", 40, 2}, field{"depth", 74, 2})
	case audioFields:
		fields = append(fields, field{"channel count", 16, 2}, field{"sample size", 18, 2}, field{"sample rate", 24, 4})
	}
	for _, f := range fields {
		if at >= f.at && at < f.at+f.size && len(a) >= f.at+f.size && len(b) >= f.at+f.size {
			value := func(p []byte) string {
				if f.size == 2 {
					return fmt.Sprint(be16(p[f.at:]))
				}
				return fmt.Sprint(float64(be32(p[f.at:])) / 65536)
			}
			return f.name, value(a), value(b)
		}
	}
	return fmt.Sprintf("byte %d", at), dump(a[min(at, len(a)):]), dump(b[min(at, len(b)):])
}

// setting names what differs between two boxes of one type: of parameter sets what
// the pictures are, if that is it.
func (e *entry) setting(o *entry, x, y Box) (what, old, now string) {
	var a, b coding
	a.video(e, picture{})
	b.video(o, picture{})
	if name := x.Type.String(); a.scheme != opaque && (name == "avcC" || name == "hvcC" || name == "av1C") {
		for i := range min(len(a.pictures), len(b.pictures)) {
			if p, q := a.pictures[i], b.pictures[i]; p != q {
				return "picture (parameter sets in " + name + ")", p.String(), q.String()
			}
		}
	}
	p, q := x.Payload(), y.Payload()
	from := 0
	for from < min(len(p), len(q)) && p[from] == q[from] {
		from++
	}
	return fmt.Sprintf("%s from byte %d on", x.Type, from), dump(p[from:]), dump(q[from:])
}

// dump is the first bytes of something that has no better form.
func dump(b []byte) string {
	if len(b) > 16 {
		return fmt.Sprintf("%x... (%d bytes)", b[:16], len(b))
	}
	return fmt.Sprintf("%x (%d bytes)", b, len(b))
}

// telling is the boxes of the entry that a decoder looks at.
func (e *entry) telling() []Box {
	var out []Box
	for _, c := range e.children {
		if c.Type != boxFree && c.Type != boxSkip && !c.Type.Is("btrt") {
			out = append(out, c)
		}
	}
	return out
}

func sameBox(a, b Box) bool {
	if bytes.Equal(a.Data, b.Data) {
		return true
	}
	if a.Type != b.Type || !a.Type.Is("esds") || len(a.Payload()) < 4 || len(b.Payload()) < 4 {
		return false
	}
	// esds holds bit rates and a buffer size.
	one, ok1 := parseES(a.Payload()[4:])
	two, ok2 := parseES(b.Payload()[4:])
	return ok1 && ok2 && one.objectType == two.objectType && one.streamType == two.streamType && bytes.Equal(one.specific, two.specific)
}
