package manifest

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

	"headwater/live"
)

// How players get the keys of encrypted renditions: ContentProtection in MPDs, and
// EXT-X-KEY and EXT-X-SESSION-KEY in playlists. What is told of a DRM system comes from the
// event's settings, and from the pssh boxes of init segments where these say nothing.

// Systems of which the defaults differ, by their UUIDs.
const (
	widevine  = "edef8ba9-79d6-4ace-a3c8-27dcd51d21ed"
	playReady = "9a04f079-9840-4286-ab92-e65be0885f95"
	fairPlay  = "94ce86fb-07ff-4f43-adb8-93d2fa968ca2"
	clearKey  = "e2719d58-a985-b3c9-781a-b030af78d30e"
	// commonSystem is none: its boxes list keys, for whoever has none of his own (W3C,
	// "cenc" initialization data). Players find them in init segments.
	commonSystem = "1077efec-c0b2-4d02-ace3-3c1e52e2fb4b"
)

// keyFormats are the systems' names in HLS.
var keyFormats = map[string]string{
	widevine:  "urn:uuid:" + widevine,
	playReady: "com.microsoft.playready",
	fairPlay:  "com.apple.streamingkeydelivery",
	clearKey:  "org.w3.clearkey",
}

// methods are how HLS calls the schemes that it knows (RFC 8216bis, 4.4.4.4).
var methods = map[string]string{"cenc": "SAMPLE-AES-CTR", "cbcs": "SAMPLE-AES"}

// protectionOf is what is told of each system for one rendition: what the settings say of
// its key goes before what they say of all.
func protectionOf(all []live.DRM, r *live.Rendition) []live.DRM {
	var out []live.DRM
	at := map[string]int{}
	for _, d := range all {
		i, ok := at[d.System]
		switch {
		case d.KID != "" && d.KID != r.KID:
		case !ok:
			at[d.System] = len(out)
			out = append(out, d)
		case d.KID != "":
			out[i] = over(d, out[i])
		default:
			out[i] = over(out[i], d)
		}
	}
	boxes, _ := live.SplitPSSH(r.PSSH)
	own := map[string][]byte{}
	for _, p := range boxes {
		if p.System == commonSystem {
			continue
		}
		if _, ok := at[p.System]; !ok {
			at[p.System] = len(out)
			out = append(out, live.DRM{System: p.System})
		}
		own[p.System] = append(own[p.System], p.Box...)
	}
	for i := range out {
		if out[i].PSSH == "" {
			out[i].PSSH = base64.StdEncoding.EncodeToString(own[out[i].System])
		}
	}
	return out
}

// over is a, and of b what a does not say.
func over(a, b live.DRM) live.DRM {
	for _, f := range []struct{ dst, src *string }{{&a.PSSH, &b.PSSH}, {&a.LicenseURL, &b.LicenseURL}, {&a.KeyURI, &b.KeyURI},
		{&a.KeyFormat, &b.KeyFormat}, {&a.KeyFormatVersions, &b.KeyFormatVersions}} {
		if *f.dst == "" {
			*f.dst = *f.src
		}
	}
	return a
}

// protection writes what an AdaptationSet says of keys (ISO/IEC 23009-1, 5.8.4.1, and
// 23001-7, 11.2): all renditions of one have the same key.
func (p *period) protection(x *xmlWriter, r *live.Rendition) {
	if r.Scheme == "" {
		return
	}
	x.start("ContentProtection")
	x.attr("schemeIdUri", "urn:mpeg:dash:mp4protection:2011")
	x.attr("value", r.Scheme)
	x.attr("cenc:default_KID", r.KID)
	x.end()
	for _, d := range protectionOf(p.config.DRM, r) {
		x.start("ContentProtection")
		x.attr("schemeIdUri", "urn:uuid:"+d.System)
		boxes, _ := live.SplitPSSH(d.PSSH)
		for _, b := range boxes {
			x.start("cenc:pssh")
			x.text(base64.StdEncoding.EncodeToString(b.Box))
			x.end()
		}
		if d.LicenseURL != "" {
			x.start("dashif:Laurl")
			x.text(d.LicenseURL)
			x.end()
		}
		x.end()
	}
}

// isEncrypted reports whether any segment of a rendition may be.
func (in *Input) isEncrypted(rendition string) bool {
	if r, _ := in.Config.Rendition(rendition); r.Scheme != "" {
		return true
	}
	return slices.ContainsFunc(in.Config.Generations, func(g live.Generation) bool {
		r := g.Renewed(rendition)
		return r != nil && r.Scheme != ""
	})
}

// appendKeys says which keys a rendition's segments have from n on.
func (in *Input) appendKeys(b []byte, rendition string, n live.Number) []byte {
	if r, _ := in.Config.RenditionAt(rendition, n); r.Scheme != "" {
		return appendKeys(b, keyTag, in.Config.DRM, &r)
	}
	if in.isEncrypted(rendition) { // in another generation
		return append(b, keyTag+"METHOD=NONE\n"...)
	}
	return b
}

const keyTag = "#EXT-X-KEY:"

// appendKeys writes a tag for each system that a player of HLS could use.
func appendKeys(b []byte, tag string, all []live.DRM, r *live.Rendition) []byte {
	method := methods[r.Scheme]
	if method == "" {
		return b
	}
	kid := strings.ReplaceAll(r.KID, "-", "")
	for _, d := range protectionOf(all, r) {
		uri, name := strings.ReplaceAll(d.KeyURI, "{kid}", kid), d.KeyFormat
		if name == "" {
			name = keyFormats[d.System]
		}
		if uri == "" && d.System != clearKey {
			uri = keyData(&d)
		}
		if uri == "" || name == "" {
			continue
		}
		a := attributes{b: append(b, tag...)}
		a.word("METHOD", method)
		a.quoted("URI", uri)
		a.quoted("KEYFORMAT", name)
		versions := d.KeyFormatVersions
		if versions == "" {
			versions = "1"
		}
		a.quoted("KEYFORMATVERSIONS", versions)
		if (d.System == widevine || d.System == clearKey) && kid != "" {
			a.word("KEYID", "0x"+strings.ToUpper(kid))
		}
		b = append(a.b, '\n')
	}
	return b
}

// keyData is the URI of systems for which what the pssh box has is enough.
func keyData(d *live.DRM) string {
	boxes, _ := live.SplitPSSH(d.PSSH)
	if len(boxes) == 0 {
		return ""
	}
	if d.System == playReady { // its object alone
		return "data:text/plain;charset=UTF-16;base64," + base64.StdEncoding.EncodeToString(boxes[0].Data)
	}
	return "data:text/plain;base64," + base64.StdEncoding.EncodeToString(boxes[0].Box)
}

// appendSessionKeys has players ask for all keys before they need them.
func appendSessionKeys(b []byte, all []live.DRM, rs []*live.Rendition) []byte {
	seen := map[string]bool{}
	for _, r := range rs {
		for line := range bytes.Lines(appendKeys(nil, "#EXT-X-SESSION-KEY:", all, r)) {
			if !seen[string(line)] {
				seen[string(line)] = true
				b = append(b, line...)
			}
		}
	}
	return b
}
