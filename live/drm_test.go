package live

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// psshOf is a pssh box of version 0, or with keys of version 1.
func psshOf(system byte, keys int, data string) []byte {
	b := append([]byte{0, 0, 0, 0}, "pssh\x00\x00\x00\x00"...)
	b = append(b, bytes.Repeat([]byte{system}, 16)...)
	if keys > 0 {
		b[8] = 1
		b = append(append(b, 0, 0, 0, byte(keys)), bytes.Repeat([]byte{9}, 16*keys)...)
	}
	b = append(append(b, 0, 0, 0, byte(len(data))), data...)
	b[3] = byte(len(b))
	return b
}

func TestSplitPSSH(t *testing.T) {
	one, two := psshOf(0xab, 0, "data"), psshOf(0xcd, 2, "")
	text := base64.StdEncoding.EncodeToString
	boxes, ok := SplitPSSH(text(append(bytes.Clone(one), two...)))
	if !ok || len(boxes) != 2 || boxes[0].System != "abababab-abab-abab-abab-abababababab" || string(boxes[0].Data) != "data" ||
		!bytes.Equal(boxes[1].Box, two) || len(boxes[1].Data) != 0 {
		t.Errorf("%v %+v", ok, boxes)
	}
	if boxes, ok := SplitPSSH(""); !ok || boxes != nil {
		t.Errorf("of nothing: %v, %v", boxes, ok)
	}
	for _, wrong := range []string{"%", text(one[:len(one)-1]), text(append(bytes.Clone(one), 0)), text(bytes.Replace(one, []byte("pssh"), []byte("tenc"), 1)),
		text(bytes.Replace(two, []byte{0, 0, 0, 2}, []byte{0xff, 0xff, 0xff, 0xff}, 1)), strings.Repeat("A", maxPSSH+4)} {
		if _, ok := SplitPSSH(wrong); ok {
			t.Errorf("%.60s is taken", wrong)
		}
	}
}

func FuzzSplitPSSH(f *testing.F) {
	f.Add(psshOf(1, 0, "x"))
	f.Add(append(psshOf(1, 3, "x"), psshOf(2, 0, "")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		boxes, ok := SplitPSSH(base64.StdEncoding.EncodeToString(b))
		var again []byte
		for _, x := range boxes {
			again = append(again, x.Box...)
			if !validUUID(x.System) || len(x.Data) > len(x.Box)-psshHeader-4 {
				t.Errorf("%+v", x)
			}
		}
		if ok && !bytes.Equal(again, b) {
			t.Errorf("%x is read as %x", b, again)
		}
	})
}

func TestDRMOfAnEvent(t *testing.T) {
	const system, kid = "abababab-abab-abab-abab-abababababab", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	good := DRM{System: system, KID: kid, PSSH: base64.StdEncoding.EncodeToString(psshOf(0xab, 0, "x")), LicenseURL: "https://keys.example.com/l?a=b&c=d",
		KeyURI: "skd://{kid}", KeyFormat: "com.example", KeyFormatVersions: "1/2"}
	for _, c := range []struct {
		field  string
		change func(*DRM)
	}{
		{"", func(*DRM) {}},
		{"", func(d *DRM) { *d = DRM{System: system} }},
		{"drm[1].system", func(d *DRM) { d.System = strings.ToUpper(system) }},
		{"drm[1].system", func(d *DRM) { *d = DRM{System: "11111111-1111-1111-1111-111111111111", KID: kid} }},
		{"drm[1].kid", func(d *DRM) { d.KID = "key" }},
		{"drm[1].pssh", func(d *DRM) { d.PSSH = base64.StdEncoding.EncodeToString(psshOf(0xcd, 0, "x")) }},
		{"drm[1].license_url", func(d *DRM) { d.LicenseURL = "javascript:x" }},
		{"drm[1].key_uri", func(d *DRM) { d.KeyURI = `a"b` }},
		{"drm[1].key_format", func(d *DRM) { d.KeyFormat = "a b" }},
		{"drm[1].key_format_versions", func(d *DRM) { d.KeyFormatVersions = "x" }},
	} {
		d := good
		c.change(&d)
		e := Event{DRM: []DRM{{System: "11111111-1111-1111-1111-111111111111", KID: kid}, d}}
		var bad *FieldError
		if err := e.validateDRM(); (err == nil) != (c.field == "") || errors.As(err, &bad) && bad.Field != c.field {
			t.Errorf("want %q: %v", c.field, err)
		}
	}
}

// TestContentProtection: what goes into MPDs as it is must not be able to break them.
func TestContentProtection(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true,
		`<mspr:pro xmlns:mspr="urn:microsoft:playready">AAAA</mspr:pro>`:                               true,
		"\n <cenc:pssh>AAAA</cenc:pssh>\n <pro xmlns=\"urn:x\"><b x:y=\"1\" xmlns:x=\"urn:y\"/></pro>": true,
		`<a xmlns="urn:x"><![CDATA[</a>]]></a>`:                                                        true,
		`<pro>AAAA</pro>`:                                                                              false, // DASH's own
		`<x:pro xmlns:x="urn:mpeg:dash:schema:mpd:2011"/>`:                                             false,
		`<x:pro>AAAA</x:pro>`:                                                                          false, // undeclared
		`<x:pro xmlns:x=""/>`:                                                                          false,
		`<a xmlns="urn:x" y:z="1"/>`:                                                                   false,
		`<a xmlns="urn:x" z="1" z="2"/>`:                                                               false,
		`<a xmlns="urn:x"><b></a>`:                                                                     false,
		`<a xmlns="urn:x">`:                                                                            false,
		`</ContentProtection><a xmlns="urn:x"/>`:                                                       false,
		`text`:                                                                                         false,
		`<a xmlns="urn:x"/>text`:                                                                       false,
		`<!-- --><a xmlns="urn:x"/>`:                                                                   false,
		`<?xml version="1.0"?><a xmlns="urn:x"/>`:                                                      false,
		`<!DOCTYPE a><a xmlns="urn:x"/>`:                                                               false,
		`<a xmlns="urn:x">&b;</a>`:                                                                     false,
		"<a xmlns=\"urn:x\">\xff</a>":                                                                  false,
		`<a xmlns="urn:x">` + strings.Repeat("<a>", 31) + strings.Repeat("</a>", 31) + `</a>`: true,
		`<a xmlns="urn:x">` + strings.Repeat("<a>", 32) + strings.Repeat("</a>", 32) + `</a>`: false,
		`<a xmlns="urn:x">` + strings.Repeat("x", maxXML) + `</a>`:                            false,
	} {
		ev := Event{DRM: []DRM{{System: "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed", ContentProtection: text}}}
		if err := ev.validateDRM(); (err == nil) != ok {
			t.Errorf("%.70s: %v", text, err)
		}
	}
}

func TestSegmentKey(t *testing.T) {
	const kid, other = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "1f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	text := base64.StdEncoding.EncodeToString
	box := text(psshOf(0xab, 0, "data"))
	r := Rendition{Scheme: "cenc", KID: kid, PSSH: "own"}
	for s, want := range map[string]Rendition{
		"":                r,
		"none":            {},
		kid:               r,
		other:             {Scheme: "cenc", KID: other},
		kid + " " + box:   {Scheme: "cenc", KID: kid, PSSH: box},
		other + " " + box: {Scheme: "cenc", KID: other, PSSH: box},
	} {
		k, err := ParseSegmentKey(s)
		if err != nil || k.Of(r) != want {
			t.Errorf("%q: %+v, %v", s, k.Of(r), err)
		}
	}
	for _, s := range []string{"None", "x", kid + " ", kid + " %", kid + " AAAA", strings.ToUpper(kid), kid + " " + box + " "} {
		if k, err := ParseSegmentKey(s); err == nil {
			t.Errorf("%q is taken: %q", s, k)
		}
	}
	if k := NewSegmentKey(kid, text(psshOf(1, 0, strings.Repeat("x", maxSegmentPSSH)))); k != kid {
		t.Errorf("boxes too large to be told: %.80s", k)
	}
}
