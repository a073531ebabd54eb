package cmaf

import (
	"bytes"
	"slices"

	"headwater/live"
)

// An entry is one sample entry of stsd (ISO/IEC 14496-12, 8.5.2).
type entry struct {
	box      Box
	format   FourCC // of the samples: frma's where they are protected
	fields   int    // bytes of the payload before the boxes
	children []Box
	scheme   string
	key      Box // tenc
}

// maxEntryBoxes bounds the boxes of one sample entry.
const maxEntryBoxes = 64

// Sizes of the fixed fields of sample entries, in bytes of payload.
const (
	plainFields  = 8
	visualFields = 78
	audioFields  = 28
	// compressorname, which says nothing of the samples
	nameFrom, nameTo = 42, 74
)

// parseEntry reads a sample entry of a track with handler kind. Entries of
// handlers that are none of ours are not looked into.
func parseEntry(x Box, kind live.MediaType, version byte) (entry, error) {
	e := entry{box: x, format: x.Type, fields: plainFields}
	switch kind {
	case live.Video:
		e.fields = visualFields
	case live.Audio:
		e.fields = audioFields
	}
	p, err := x.fields(e.fields)
	if err != nil {
		return e, err
	}
	switch {
	case kind == "":
		e.fields = len(p)
	case kind == live.Audio && version == 0:
		// QuickTime's longer forms of the entry.
		switch be16(p[8:]) {
		case 1:
			e.fields += 16
		case 2:
			e.fields += 36
		}
	case kind == live.Text:
		e.fields = textFields(x)
	}
	for s := x.children(e.fields); s.more(); {
		if len(s.rest) < 8 && len(bytes.Trim(s.rest, "\x00")) == 0 {
			break // QuickTime ends such a list with a zero
		}
		c, err := s.next()
		if err != nil {
			return e, within(x.Type, err)
		}
		if len(e.children) == maxEntryBoxes {
			return e, malformed(c.Offset, "more than %d boxes", maxEntryBoxes).in(x.Type)
		}
		e.children = append(e.children, c)
	}
	return e, within(x.Type, e.protection())
}

// textFields finds where the boxes of a text entry begin: stpp has three
// strings before them, and a protected entry does not say which it is.
func textFields(x Box) int {
	p := x.Payload()
	if x.Type.Is("enct") || x.Type.Is("encs") {
		s := x.children(plainFields)
		if _, err := s.next(); err == nil {
			return plainFields
		}
	} else if !x.Type.Is("stpp") {
		return plainFields
	}
	at := plainFields
	for range 3 {
		n := bytes.IndexByte(p[at:], 0)
		if n < 0 {
			return len(p)
		}
		at += n + 1
	}
	return at
}

// child is the first box of a type, or a Box without Data.
func (e *entry) child(t string) Box {
	for _, c := range e.children {
		if c.Type.Is(t) {
			return c
		}
	}
	return Box{}
}

// need is child where there must be one, with n bytes of payload.
func (e *entry) need(t string, n int) ([]byte, error) {
	c := e.child(t)
	if c.Data == nil {
		return nil, malformed(e.box.Offset, "%s without %s: nothing could decode it", e.format, t).in(e.box.Type)
	}
	p, err := c.fields(n)
	return p, within(e.box.Type, err)
}

func (e *entry) protected() bool {
	switch e.box.Type.String() {
	case "encv", "enca", "enct", "encs", "encm":
		return true
	}
	return false
}

// protection reads sinf (ISO/IEC 14496-12, 8.12, and 23001-7).
func (e *entry) protection() error {
	if !e.protected() {
		return nil
	}
	sinf := e.child("sinf")
	if sinf.Data == nil {
		return malformed(e.box.Offset, "no sinf: the original format is unknown")
	}
	found := false
	for s := sinf.children(0); s.more(); {
		c, err := s.next()
		if err != nil {
			return within(boxSinf, err)
		}
		switch c.Type {
		case boxFrma:
			p, err := c.fields(4)
			if err != nil {
				return within(boxSinf, err)
			}
			e.format, found = FourCC(be32(p)), true
		case boxSchm:
			_, _, p, err := c.full(4)
			if err != nil {
				return within(boxSinf, err)
			}
			if s := FourCC(be32(p)).String(); slices.Contains(live.Schemes, s) {
				e.scheme = s
			}
		case boxSchi:
			for s := c.children(0); s.more(); {
				k, err := s.next()
				if err != nil {
					return within(boxSinf, within(boxSchi, err))
				}
				if k.Type == boxTenc {
					e.key = k
				}
			}
		}
	}
	if !found {
		return malformed(sinf.Offset, "no frma: the original format is unknown").in(boxSinf)
	}
	return nil
}

// ivSize is the size of each sample's initialization vector.
func (e *entry) ivSize() (int, error) {
	if e.key.Data == nil {
		return 0, nil
	}
	_, _, p, err := e.key.full(20)
	if err != nil {
		return 0, within(e.box.Type, within(boxSinf, within(boxSchi, err)))
	}
	switch n := int(p[3]); n {
	case 0, 8, 16:
		return n, nil
	default:
		return 0, malformed(e.key.Offset, "initialization vectors of %d bytes", n).in(boxTenc)
	}
}

// descriptions reads the sample entries of stsd. Codecs and what else there is
// of the track come from the first: the others must be of a kind with it.
func (t *Track) descriptions(stsd Box) error {
	version, _, p, err := stsd.full(4)
	if err != nil {
		return err
	}
	t.Config = stsd.Data
	t.Descriptions, t.codings, t.open = 0, nil, nil
	n := be32(p)
	for s := stsd.children(8); s.more(); {
		x, err := s.next()
		if err != nil {
			return err
		}
		e, err := parseEntry(x, t.Type, version)
		if err != nil {
			return err
		}
		t.Descriptions++
		if e.protected() && !t.Encrypted {
			t.Encrypted, t.Scheme = true, e.scheme
			if _, _, p, err := e.key.full(20); e.key.Data != nil && err == nil {
				copy(t.KID[:], p[4:])
			}
		}
		if t.Descriptions == 1 {
			if err := t.describe(&e); err != nil {
				return err
			}
		}
		t.codings, t.open = append(t.codings, t.coding(&e)), append(t.open, !e.protected())
		if t.Descriptions > 1 {
			continue
		}
		if t.ivSize, err = e.ivSize(); err != nil {
			return err
		}
	}
	if int64(t.Descriptions) != int64(n) {
		return malformed(stsd.Offset, "claims %d sample entries, has %d", n, t.Descriptions)
	}
	return nil
}

// describe sets what the entry says: codecs, and size or channels.
func (t *Track) describe(e *entry) error {
	p := e.box.Payload()
	if b := e.child("btrt"); b.Data != nil && len(b.Payload()) >= 12 {
		t.Bitrate = int64(max(be32(b.Payload()[4:]), be32(b.Payload()[8:])))
	}
	switch t.Type {
	case live.Video:
		t.Width, t.Height = int(be16(p[24:])), int(be16(p[26:]))
		t.picture(e)
		return t.videoCodecs(e)
	case live.Audio:
		t.Channels, t.SampleRate = int(be16(p[16:])), int(be32(p[24:])>>16)
		if t.SampleRate == 0 {
			t.SampleRate = int(t.Timescale) // above 65,535 Hz it does not fit
		}
		return t.audioCodecs(e)
	}
	t.Codecs = e.format.String()
	t.EventMessages = t.Type == "" && t.Codecs == "evte"
	if t.Type == live.Text && t.Codecs == "stpp" {
		t.Codecs = timedTextCodecs(p[plainFields:])
	}
	return nil
}
