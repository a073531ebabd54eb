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
	for _, f := range []struct{ dst, src *string }{{&a.PSSH, &b.PSSH}, {&a.ContentProtection, &b.ContentProtection}, {&a.LicenseURL, &b.LicenseURL}, {&a.KeyURI, &b.KeyURI},
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
		if d.ContentProtection != "" { // with pssh, where it is to be there
			x.elements(d.ContentProtection)
		} else {
			boxes, _ := live.SplitPSSH(d.PSSH)
			for _, b := range boxes {
				x.start("cenc:pssh")
				x.text(base64.StdEncoding.EncodeToString(b.Box))
				x.end()
			}
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

// A keyring is what a playlist says of the keys of the segment that it has come to.
type keyring struct {
	rendition  string
	encrypted  bool // any segment may be
	key        live.SegmentKey
	generation int    // of the init segment
	text       []byte // tags
}

// keys are those of the first segment of a playlist: where nothing is known of it, of the
// first of which something is.
func (in *Input) keys(rendition string, oldest, newest live.Number) keyring {
	k := keyring{rendition: rendition, encrypted: in.isEncrypted(rendition)}
	if !k.encrypted {
		return k
	}
	k.generation, _ = in.Config.InitAt(rendition, oldest)
	for n := oldest; in.Key != nil && n <= newest; n++ {
		if generation, _ := in.Config.InitAt(rendition, n); generation != k.generation {
			break
		}
		if key, ok := in.Key(rendition, n); ok {
			k.key = key
			break
		}
	}
	k.text = in.keyTags(rendition, oldest, k.key)
	return k
}

// upTo goes on to segment n, from the one after which it is. It reports whether any on
// the way has other tags than the one before it.
func (k *keyring) upTo(in *Input, from, n live.Number) (changed bool) {
	for ; k.encrypted && from <= n; from++ {
		key := k.key
		generation, _ := in.Config.InitAt(k.rendition, from)
		if generation != k.generation {
			key = ""
		}
		if in.Key != nil {
			if is, ok := in.Key(k.rendition, from); ok {
				key = is
			}
		}
		kid, pssh := key.Split()
		was, had := k.key.Split()
		if generation == k.generation && (key == k.key || kid == was && pssh == "" && had != "") {
			continue // not every segment says all
		}
		k.key, k.generation = key, generation
		if text := in.keyTags(k.rendition, from, key); len(text) > 0 && !bytes.Equal(text, k.text) {
			k.text, changed = text, true
		}
	}
	return changed
}

// keyTags says which keys a rendition's segments have from n on, which have one of their
// own.
func (in *Input) keyTags(rendition string, n live.Number, key live.SegmentKey) []byte {
	r, _ := in.Config.RenditionAt(rendition, n)
	if r.Scheme != "" {
		r = key.Of(r)
	}
	if r.Scheme != "" {
		return appendKeys(nil, keyTag, in.Config.DRM, &r)
	}
	return []byte(keyTag + "METHOD=NONE\n") // others are not
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
		if uri == "" || name == "" || kid == "" && strings.Contains(d.KeyURI, "{kid}") { // {kid} stands for nothing
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

// appendSessionKeys has players ask for all keys before they need them: those of what is
// filmed now first, then of the other generations that are to come or not gone yet.
func (in *Input) appendSessionKeys(b []byte, tl *live.Timeline) []byte {
	oldest := tl.Oldest(in.Now)
	of := []live.Number{tl.At(in.Now), oldest}
	for _, g := range in.Config.Generations {
		if g.From > oldest {
			of = append(of, g.From)
		}
	}
	seen := map[string]bool{}
	for _, n := range of {
		for _, r := range in.Config.RenditionsAt(n) {
			for line := range bytes.Lines(appendKeys(nil, "#EXT-X-SESSION-KEY:", in.Config.DRM, &r)) {
				if known(&r) && !seen[string(line)] {
					seen[string(line)] = true
					b = append(b, line...)
				}
			}
		}
	}
	return b
}
