package cmaf

import (
	"encoding/base64"

	"headwater/live"
)

// KeyOf says which key a segment of an encrypted track is for, where that is another
// than the init segment's: of a clear lead none, and where keys rotate that which its
// sample groups name (ISO/IEC 23001-7, 6), with what its moof boxes tell DRM systems.
// Of a segment with several it is the first. seg has been inspected: what cannot be
// read says nothing.
func KeyOf(seg []byte, t *Track) live.SegmentKey {
	if !t.Encrypted {
		return ""
	}
	var pssh []byte
	id, protected, any := t.KID, false, false
	for x, err := range Boxes(seg) {
		if err != nil {
			return ""
		}
		if x.Type != boxMoof {
			continue
		}
		for s := x.children(0); s.more(); {
			c, err := s.next()
			switch {
			case err != nil:
				return ""
			case c.Type == boxPssh:
				pssh = append(pssh, c.Data...)
			case c.Type == boxTraf && !protected:
				if kid, is, samples := t.fragmentKey(c); samples {
					id, protected, any = kid, is, true
				}
			}
		}
	}
	switch {
	case !any:
		return ""
	case !protected:
		return live.KeyNone
	case id == t.KID && len(pssh) == 0:
		return ""
	}
	return live.NewSegmentKey(live.FormatUUID(id), base64.StdEncoding.EncodeToString(pssh))
}

// fragmentKey is the key of the first protected sample of a traf; protected is false
// where none is. ok is false where it is of another track, or cannot be read.
func (t *Track) fragmentKey(traf Box) (kid [16]byte, protected, ok bool) {
	f, err := parseTraf(traf, 0, 0)
	if err != nil || f.id != t.ID {
		return kid, false, false
	}
	f.inherit(t)
	var groups, entries []byte // of sbgp, and sgpd behind the grouping type
	var version byte
	for s := traf.children(0); s.more(); {
		c, err := s.next()
		if err != nil {
			return kid, false, false
		}
		if c.Type != boxSbgp && c.Type != boxSgpd {
			continue
		}
		v, _, p, err := c.full(8)
		if err != nil || !FourCC(be32(p)).Is("seig") {
			continue
		}
		if c.Type == boxSgpd {
			version, entries = v, p[4:]
			continue
		}
		if groups = p[4:]; v > 0 && len(groups) >= 4 { // grouping_type_parameter
			groups = groups[4:]
		}
	}
	entry := f.description < 1 || int(f.description) > len(t.open) || !t.open[f.description-1] // is protected
	if kid, protected = t.KID, entry; len(groups) < 4 {
		return kid, protected, true
	}
	described, all := seigs(entries, version), groups[4:]
	for n := be32(groups); n > 0 && len(all) >= 8; n, all = n-1, all[8:] {
		count, index := be32(all), be32(all[4:])
		if count == 0 {
			continue
		}
		if i := int64(index) - localGroup - 1; i >= 0 && i < int64(len(described)) {
			if kid, protected = described[i].kid, described[i].protected; protected {
				return kid, true, true
			}
		} else if index == 0 && entry {
			return t.KID, true, true
		}
	}
	return kid, protected, true
}

// localGroup is where the indices of groups begin that a fragment describes itself
// (ISO/IEC 14496-12, 8.9.4).
const localGroup = 0x10000

// A seig is what a fragment describes of a group: whether its samples are protected, and
// by which key (ISO/IEC 23001-7, 6).
type seig struct {
	protected bool
	kid       [16]byte
}

// seigs reads all groups that a fragment describes, once for all its samples: there may be as many of
// either as a hostile segment has room for.
func seigs(p []byte, version byte) (out []seig) {
	const fields = 20
	if version == 0 || len(p) < 8 { // before version 1 no entry says how long it is
		return nil
	}
	length, n := be32(p), be32(p[4:])
	p = p[8:]
	for range min(n, localGroup) {
		size := length
		if length == 0 {
			if len(p) < 4 {
				break
			}
			size, p = be32(p), p[4:]
		}
		if size < fields || int64(size) > int64(len(p)) {
			break
		}
		out = append(out, seig{p[2] == 1, [16]byte(p[4:fields])})
		p = p[size:]
	}
	return out
}
