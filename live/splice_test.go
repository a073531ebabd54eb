package live

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
)

// timeSignal is the first example of ANSI/SCTE 35, 14: the start of a placement opportunity.
const timeSignal = "/DA0AAAAAAAA///wBQb+cr0AUAAeAhxDVUVJSAAAjn/PAAGlmbAICAAAAAAsoKGKNAIAmsnRfg=="

func TestSpliceInfoSection(t *testing.T) {
	good, err := base64.StdEncoding.DecodeString(timeSignal)
	if err != nil {
		t.Fatal(err)
	}
	with := func(i int, v byte) []byte {
		b := slices.Clone(good)
		b[i] = v
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string // of the error; "" for none
	}{
		{"as the standard has it", good, ""},
		{"nothing", nil, "0xFC"},
		{"another table", with(0, 0xfd), "0xFC"},
		{"cut off", good[:len(good)-1], "bytes"},
		{"with something behind it", append(slices.Clone(good), 0), "bytes"},
		{"much too short", good[:8], "at least"},
		{"with a section syntax", with(1, 0xb0), "indicator"},
		{"of a later protocol", with(3, 1), "protocol_version"},
		{"with a bit changed", with(20, good[20]^1), "CRC_32"},
	} {
		n := Notification{Type: TypeSCTE35, ID: "s", From: 1, Data: c.b}
		err := checkSplice(c.b)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if len(c.b) > 0 && (n.Validate() == nil) != (c.want == "") {
			t.Errorf("%s: a notification with it: %v", c.name, n.Validate())
		}
	}
	// What only begins like one of the types is an application's own.
	for _, typ := range []string{"scte35-other", "scte35x", "scte35:out"} {
		if n := (Notification{Type: typ, ID: "s", From: 1, Data: []byte("{}")}); n.Validate() != nil {
			t.Errorf("%s: %v", typ, n.Validate())
		}
	}
}

// FuzzSpliceInfoSection: whatever comes is judged, and one bit off is not taken.
func FuzzSpliceInfoSection(f *testing.F) {
	good, _ := base64.StdEncoding.DecodeString(timeSignal)
	f.Add(good, 7)
	f.Add([]byte{0xfc, 0x30, 0x11}, 0)
	f.Fuzz(func(t *testing.T, b []byte, bit int) {
		if checkSplice(b) != nil || bit < 0 {
			return
		}
		bit %= 8 * len(b)
		b[bit/8] ^= 1 << (bit % 8)
		if checkSplice(b) == nil {
			t.Fatalf("taken with bit %d changed: %x", bit, b)
		}
	})
}
