package cmaf

import (
	"bytes"
	"encoding/base64"
	"testing"

	"headwater/live"
)

// TestKeyOf: what a segment says of its key, by its sample entry and its sample groups.
func TestKeyOf(t *testing.T) {
	kid, other := bytes.Repeat([]byte{0xab}, 16), bytes.Repeat([]byte{0xcd}, 16)
	track := &Track{ID: 7, Encrypted: true, DefaultDescription: 1, KID: [16]byte(kid), open: []bool{false, true}}
	pssh := full("pssh", 0, 0, make([]byte, 16), uint32(0))
	type group struct {
		protected byte
		kid       []byte
	}
	// groups describes some, and has samples of some of them.
	groups := func(length uint32, of []group, samples ...uint32) []byte {
		sgpd := [][]byte{}
		for _, g := range of {
			e := append([]byte{0, 0, g.protected, 8}, g.kid...)
			if length == 0 {
				e = append([]byte{0, 0, 0, 20}, e...)
			}
			sgpd = append(sgpd, e)
		}
		runs := [][]byte{}
		for _, s := range samples {
			runs = append(runs, []byte{0, 0, 0, 3, byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)})
		}
		return join(full("sgpd", 1, 0, "seig", length, uint32(len(of)), bytes.Join(sgpd, nil)),
			full("sbgp", 0, 0, "seig", uint32(len(samples)), bytes.Join(runs, nil)))
	}
	fragment := func(id, description uint32, groups []byte, after ...[]byte) []byte {
		traf := box("traf", full("tfhd", 0, tfhdDescription, id, description), full("tfdt", 0, 0, uint32(0)), groups)
		return join(box("moof", full("mfhd", 0, 0, uint32(1)), traf, bytes.Join(after, nil)), box("mdat"))
	}
	first, second := group{1, kid}, group{1, other}
	clear := group{0, make([]byte, 16)}
	otherID := live.FormatUUID([16]byte(other))
	for name, tt := range map[string]struct {
		seg  []byte
		want live.SegmentKey
	}{
		"the init segment's":           {fragment(7, 1, nil), ""},
		"its own entry in the clear":   {fragment(7, 2, nil), live.KeyNone},
		"an entry that there is not":   {fragment(7, 9, nil), ""},
		"another track":                {fragment(8, 2, nil), ""},
		"a group":                      {fragment(7, 1, groups(20, []group{second}, 0x10001)), live.SegmentKey(otherID)},
		"with boxes":                   {fragment(7, 1, groups(20, []group{second}, 0x10001), pssh), live.NewSegmentKey(otherID, base64.StdEncoding.EncodeToString(pssh))},
		"the second, of varying size":  {fragment(7, 1, groups(0, []group{first, second}, 0x10002)), live.SegmentKey(otherID)},
		"a group of the same key":      {fragment(7, 1, groups(20, []group{first}, 0x10001)), ""},
		"a group in the clear":         {fragment(7, 1, groups(20, []group{clear}, 0x10001)), live.KeyNone},
		"in the clear, and then not":   {fragment(7, 1, groups(20, []group{clear, second}, 0x10001, 0x10002)), live.SegmentKey(otherID)},
		"in the clear, and then of no": {fragment(7, 1, groups(20, []group{clear}, 0x10001, 0)), ""},
		"a group that there is not":    {fragment(7, 1, groups(20, []group{second}, 0x10009)), ""},
		"the first fragment clear":     {join(fragment(7, 2, nil), fragment(7, 1, groups(20, []group{second}, 0x10001))), live.SegmentKey(otherID)},
		"cut off":                      {fragment(7, 1, nil)[:20], ""},
	} {
		if got := KeyOf(tt.seg, track); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
	if got := KeyOf(fragment(7, 2, nil), &Track{ID: 7, open: []bool{true, true}}); got != "" {
		t.Errorf("of a track in the clear: %q", got)
	}
}

// TestKeyOfManyGroups: as many groups as a segment has room for are read once, not once
// for each run of samples.
func TestKeyOfManyGroups(t *testing.T) {
	const many = 400_000 // groups, and ten times as many runs
	kid := bytes.Repeat([]byte{0xcd}, 16)
	clear := append([]byte{0, 0, 0, 0}, make([]byte, 16)...)
	last := uint32(localGroup) // the last of those that a fragment can have
	sgpd := full("sgpd", 1, 0, "seig", uint32(20), uint32(many), bytes.Repeat(clear, localGroup-1), []byte{0, 0, 1, 8}, kid, bytes.Repeat(clear, many-localGroup))
	run := []byte{0, 0, 0, 1, 0, 1, 0xff, 0xff} // of the one before
	sbgp := full("sbgp", 0, 0, "seig", uint32(10*many+1), bytes.Repeat(run, 10*many), uint32(1), localGroup+last)
	traf := box("traf", full("tfhd", 0, tfhdDescription, uint32(7), uint32(1)), full("tfdt", 0, 0, uint32(0)), sgpd, sbgp)
	seg := join(box("moof", full("mfhd", 0, 0, uint32(1)), traf), box("mdat"))
	track := &Track{ID: 7, Encrypted: true, DefaultDescription: 1, KID: [16]byte(bytes.Repeat([]byte{0xab}, 16)), open: []bool{false}}
	if got, want := KeyOf(seg, track), live.SegmentKey(live.FormatUUID([16]byte(kid))); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
