package main

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"headwater/live"
)

func TestCPIX(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString
	const fairPlay, kid = "94ce86fb-07ff-4f43-adb8-93d2fa968ca2", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
	const head = `<?xml version="1.0" encoding="UTF-8"?><CPIX xmlns="urn:dashif:org:cpix" xmlns:pskc="urn:ietf:params:xml:ns:keyprov:pskc">`
	const secret = `<ContentKeyList><ContentKey kid="` + kid + `"><Data><pskc:Secret><pskc:PlainValue>c2VjcmV0c2VjcmV0c2VjcmV0</pskc:PlainValue></pskc:Secret></Data></ContentKey></ContentKeyList>`
	of := func(children string) string {
		return head + secret + `<DRMSystemList><DRMSystem kid="` + strings.ToUpper(kid) + `" systemId="` + fairPlay + `">` + children + `</DRMSystem></DRMSystemList></CPIX>`
	}
	tag := b64([]byte("#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://other\",KEYFORMAT=\"com.apple.streamingkeydelivery\",KEYFORMATVERSIONS=\"1\"\n"))
	for _, c := range []struct {
		name, doc string
		want      []live.DRM
	}{
		{"a URI, and tags of the media playlist", of("<URIExtXKey>" + b64([]byte("skd://k1")) + "</URIExtXKey><HLSSignalingData playlist=\"media\">\n" + tag + "</HLSSignalingData>"),
			[]live.DRM{{System: fairPlay, KID: kid, KeyURI: "skd://k1", KeyFormat: "com.apple.streamingkeydelivery", KeyFormatVersions: "1"}}},
		{"elements of an MPD", of("<ContentProtectionData>" + b64([]byte(`<x:a xmlns:x="urn:x">b</x:a>`)) + "</ContentProtectionData>"),
			[]live.DRM{{System: fairPlay, KID: kid, ContentProtection: `<x:a xmlns:x="urn:x">b</x:a>`}}},
		{"elements that are no base64", of("<ContentProtectionData>%</ContentProtectionData>"), nil},
		{"tags of the other playlist", of("<HLSSignalingData playlist=\"master\">" + tag + "</HLSSignalingData><PSSH>AA\n==</PSSH>"),
			[]live.DRM{{System: fairPlay, KID: kid, PSSH: "AA=="}}},
		{"nothing of a system", head + secret + "</CPIX>", nil},
		{"another namespace", strings.Replace(of(""), "urn:dashif:org:cpix", "urn:other", 1), nil},
		{"a document type", strings.Replace(of(""), "<CPIX", `<!DOCTYPE CPIX [<!ENTITY x "y">]><CPIX`, 1), nil},
		{"cut off", of("")[:300], nil},
		{"two documents", of("") + "<x/>", nil},
		{"something behind it", of("") + "x", nil},
		{"no base64", of("<URIExtXKey>%</URIExtXKey>"), nil},
		{"too deep", head + strings.Repeat("<x>", 40) + strings.Repeat("</x>", 40) + "</CPIX>", nil},
		{"too long", of("<!--" + strings.Repeat("x", maxCPIX) + "-->"), nil},
	} {
		got, err := parseCPIX([]byte(c.doc))
		if (err == nil) != (c.want != nil) || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %+v", c.name, err, got)
		}
		if b, _ := json.Marshal(got); strings.Contains(string(b), "c2VjcmV0") {
			t.Errorf("%s: has a key: %s", c.name, b)
		}
	}
}
