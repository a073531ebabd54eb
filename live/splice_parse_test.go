package live

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"
)

// splices are sections of ANSI/SCTE 35, 14, and ones of our own.
var splices = []struct{ name, section, want string }{
	{"time_signal: placement opportunity start", timeSignal, "scte35-out segment-1207959694-52 5m7s"},
	{"splice_insert", "/DAvAAAAAAAA///wFAVIAACPf+/+c2nALv4AUsz1AAAAAAAKAAhDVUVJAAABNWLbowo=", "scte35-out splice-1207959695 1m0s"},
	{"time_signal: placement opportunity end", "/DAvAAAAAAAA///wBQb+dGKQoAAZAhdDVUVJSAAAjn+fCAgAAAAALKChijUCAKnMZ1g=", "scte35-in segment-1207959694-52 0s"},
	{"time_signal: program end and start", "/DBIAAAAAAAA///wBQb+ek2ItgAyAhdDVUVJSAAAGH+fCAgAAAAALMvDRBEAAAIXQ1VFSUgAABl/nwgIAAAAACyk26AQAACZcuND",
		"scte35 segment-1207959576-17 0s, scte35 segment-1207959577-16 0s"},
	{"splice_null", "/DARAAAAAAAAAP/wAAAAAHpPv/8=", ""},
	{"our own, out", base64.StdEncoding.EncodeToString(AppendSpliceInsert(nil, 7, true, 90*time.Second)), "scte35-out splice-7 1m30s"},
	{"our own, out for long", base64.StdEncoding.EncodeToString(AppendSpliceInsert(nil, 7, true, 23*time.Hour+59*time.Minute)), "scte35-out splice-7 23h59m0s"},
	{"our own, back", base64.StdEncoding.EncodeToString(AppendSpliceInsert(nil, 7, false, 0)), "scte35-in splice-7 0s"},
}

func TestParseSplice(t *testing.T) {
	for _, c := range splices {
		b, err := base64.StdEncoding.DecodeString(c.section)
		if err != nil {
			t.Fatal(err)
		}
		list, err := ParseSplice(b)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		var got []string
		for _, s := range list {
			got = append(got, fmt.Sprintf("%s %s %v", s.Type, s.Name, s.Length.Round(time.Second)))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		wrapped := []byte(`<?xml version="1.0"?><Signal xmlns="http://www.scte.org/schemas/35/2016"><Binary>` + c.section[:8] + "\n " + c.section[8:] + `</Binary></Signal>`)
		if section, ours, err := SpliceSection(SpliceXML, wrapped); !ours || err != nil || string(section) != string(b) {
			t.Errorf("%s: from XML %x, %v, %v", c.name, section, ours, err)
		}
		b[len(b)-1] ^= 1
		if _, err := ParseSplice(b); err == nil {
			t.Errorf("%s: taken with another CRC", c.name)
		}
	}
	cancel := AppendSpliceInsert(nil, 9, true, 0)
	b := append([]byte(nil), cancel[:len(cancel)-4]...)
	b[18] |= 0x80 // splice_event_cancel_indicator
	if list, err := ParseSplice(sealed(b)); err != nil || len(list) != 1 || !list[0].Cancel || list[0].Name != "splice-9" {
		t.Errorf("cancelled: %+v, %v", list, err)
	}
	b[4] |= 0x80 // encrypted_packet
	if list, err := ParseSplice(sealed(b)); err != nil || len(list) != 1 || list[0].Type != TypeSCTE35 || list[0].Cancel {
		t.Errorf("encrypted: %+v, %v", list, err)
	}
	for scheme, ours := range map[string]bool{SpliceBinary: true, SpliceXML: true, "urn:mpeg:dash:event:2012": false} {
		if _, got, _ := SpliceSection(scheme, nil); got != ours {
			t.Errorf("%s: %v", scheme, got)
		}
	}
}

// sealed is a section with its CRC behind it.
func sealed(b []byte) []byte {
	crc := crcMPEG(b)
	return append(append([]byte(nil), b...), byte(crc>>24), byte(crc>>16), byte(crc>>8), byte(crc))
}

// FuzzParseSplice: whatever a section with a right CRC holds, what is read of it can be a
// notification's.
func FuzzParseSplice(f *testing.F) {
	for _, c := range splices {
		b, _ := base64.StdEncoding.DecodeString(c.section)
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 3 {
			b[0], b[1], b[2], b[3] = 0xfc, 0x30|byte((len(b)+1)>>8&0xf), byte(len(b)+1), 0
		}
		list, err := ParseSplice(sealed(b))
		if err != nil {
			return
		}
		if len(list) > len(b)/10 {
			t.Fatalf("%d splices in %d bytes", len(list), len(b))
		}
		for _, s := range list {
			n := Notification{Type: s.Type, ID: s.Name, From: 1}
			if err := n.Validate(); !s.Cancel && err != nil || s.Length < 0 || s.Length > 142*24*time.Hour /* of 40 bits, at 90 kHz */ {
				t.Fatalf("%+v: %v", s, err)
			}
		}
	})
}
