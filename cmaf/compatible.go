package cmaf

import (
	"bytes"
	"fmt"
)

// Compatible says whether segments made for one of two tracks can be decoded
// with the init segment of the other. It returns nil, or an error that names
// the first thing that differs: type, track ID, timescale, defaults of trex,
// edit offset, sample entries. What does not matter to a decoder may differ:
// language, bit rates (btrt, esds), the compressor's name.
func (t *Track) Compatible(b *Track) error {
	differ := func(what string, a, b any) error {
		return fmt.Errorf("cmaf: %s is %v in one init segment and %v in the other", what, a, b)
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
		if what := one[i].differs(&two[i]); what != "" {
			return fmt.Errorf("cmaf: sample entry %d (%s): %s differs", i+1, one[i].box.Type, what)
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

// differs names what differs between two sample entries, "" for nothing.
func (e *entry) differs(o *entry) string {
	if e.box.Type != o.box.Type || e.format != o.format {
		return "format"
	}
	a, b := e.box.Payload()[:e.fields], o.box.Payload()[:o.fields]
	if e.fields == visualFields && o.fields == visualFields {
		if !bytes.Equal(a[:nameFrom], b[:nameFrom]) || !bytes.Equal(a[nameTo:], b[nameTo:]) {
			return "a field of the sample entry"
		}
	} else if !bytes.Equal(a, b) {
		return "a field of the sample entry"
	}
	one, two := e.telling(), o.telling()
	for i := range max(len(one), len(two)) {
		switch {
		case i >= len(one):
			return two[i].Type.String()
		case i >= len(two) || !sameBox(one[i], two[i]):
			return one[i].Type.String()
		}
	}
	return ""
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
