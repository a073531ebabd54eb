package live

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unique"
)

// Limits of what an event says of DRM.
const (
	MaxDRM      = 256
	maxPSSH     = 8192 // characters of base64
	maxKeyURL   = 2048
	maxXML      = 16 << 10
	maxElements = 32 // inside of each other
	psshHeader  = 28 // size, type, version and flags, system ID, and the size of what follows
	uuidLetters = 36
)

// Schemes are those of ISO/IEC 23001-7.
var Schemes = []string{"cenc", "cbc1", "cens", "cbcs"}

// A DRM is what players are told of one DRM system: where to get keys, and what to show
// for them. Keys themselves are never here.
type DRM struct {
	// System is the system's UUID, as registered with DASH-IF.
	System string `json:"system"`
	// KID is the UUID of the key of which this is; without it, it is of all.
	KID string `json:"kid,omitempty"`
	// PSSH has pssh boxes of the system, in base64. Without it those of the init
	// segment are told.
	PSSH string `json:"pssh,omitempty"`
	// ContentProtection is what DASH says of the system besides, in place of PSSH: XML
	// elements for its ContentProtection, each in a namespace that it declares. It is
	// CPIX's ContentProtectionData.
	ContentProtection string `json:"content_protection,omitempty"`
	// LicenseURL is where licenses are to be had, for DASH.
	LicenseURL string `json:"license_url,omitempty"`
	// KeyURI, KeyFormat and KeyFormatVersions are for HLS (RFC 8216bis, 4.4.4.4): in the
	// first {kid} stands for the key's ID in hexadecimal. KeyFormat has defaults.
	KeyURI            string `json:"key_uri,omitempty"`
	KeyFormat         string `json:"key_format,omitempty"`
	KeyFormatVersions string `json:"key_format_versions,omitempty"`
}

func (e *Event) validateDRM() error {
	if n := len(e.DRM); n > MaxDRM {
		return badField("drm", "%d given, at most %d are possible", n, MaxDRM)
	}
	for i, d := range e.DRM {
		at := "drm[" + strconv.Itoa(i) + "]."
		if !validUUID(d.System) {
			return badField(at+"system", "%q is not a UUID like edef8ba9-79d6-4ace-a3c8-27dcd51d21ed", clip(d.System))
		}
		if d.KID != "" && !validUUID(d.KID) {
			return badField(at+"kid", "%q is not a UUID in lower case", clip(d.KID))
		}
		if slices.ContainsFunc(e.DRM[:i], func(o DRM) bool { return o.System == d.System && o.KID == d.KID }) {
			return badField(at+"system", "%q is there twice for the same key", d.System)
		}
		boxes, ok := SplitPSSH(d.PSSH)
		if !ok || slices.ContainsFunc(boxes, func(b PSSH) bool { return b.System != d.System }) {
			return badField(at+"pssh", "is not base64 of pssh boxes of that system, %d characters at most", maxPSSH)
		}
		if err := validElements(d.ContentProtection); err != nil {
			return badField(at+"content_protection", "%v", err)
		}
		if u, err := url.Parse(d.LicenseURL); d.LicenseURL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !quotable(d.LicenseURL)) {
			return badField(at+"license_url", "%q is not an absolute http or https URL", clip(d.LicenseURL))
		}
		if !quotable(d.KeyURI) {
			return badField(at+"key_uri", "%q is not a URI", clip(d.KeyURI))
		}
		if !plain(d.KeyFormat) {
			return badField(at+"key_format", "%q is not a name", clip(d.KeyFormat))
		}
		if strings.Trim(d.KeyFormatVersions, "0123456789/") != "" || len(d.KeyFormatVersions) > 32 {
			return badField(at+"key_format_versions", "%q is not a list like 1/2", clip(d.KeyFormatVersions))
		}
	}
	return nil
}

// mpdNamespace is DASH's own: what is of it has its place in an MPD.
const mpdNamespace = "urn:mpeg:dash:schema:mpd:2011"

// validElements says why text is not XML that can stand as it is inside of an element of
// an MPD: nothing but whole elements, in other namespaces than DASH's, which they declare
// themselves (cenc: is declared there). Entities, comments and instructions are not taken.
func validElements(text string) error {
	if len(text) > maxXML || !utf8.ValidString(text) {
		return fmt.Errorf("is not UTF-8 of at most %d bytes", maxXML)
	}
	d := xml.NewDecoder(strings.NewReader(text))
	var open []xml.Name
	scopes := []map[string]string{{"": mpdNamespace, "cenc": "urn:mpeg:cenc:2013", "xml": "http://www.w3.org/XML/1998/namespace"}}
	for {
		token, err := d.RawToken()
		if err == io.EOF && len(open) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("is not well-formed: %w", err)
		}
		switch x := token.(type) {
		case xml.StartElement:
			if len(open) == maxElements {
				return fmt.Errorf("is nested more than %d deep", maxElements)
			}
			scope, err := inScope(x, scopes[len(scopes)-1])
			if err != nil {
				return err
			}
			scopes, open = append(scopes, scope), append(open, x.Name)
		case xml.EndElement:
			if n := len(open); n == 0 || open[n-1] != x.Name {
				return fmt.Errorf("ends %s, which did not begin", x.Name.Local)
			}
			scopes, open = scopes[:len(scopes)-1], open[:len(open)-1]
		case xml.CharData:
			if len(open) == 0 && strings.TrimSpace(string(x)) != "" {
				return errors.New("has text outside of elements")
			}
		default:
			return errors.New("has more than elements and text")
		}
	}
}

// inScope is which namespaces there are inside of an element.
func inScope(x xml.StartElement, outer map[string]string) (map[string]string, error) {
	inner := maps.Clone(outer)
	for _, a := range x.Attr {
		switch {
		case a.Name.Space == "xmlns":
			inner[a.Name.Local] = a.Value
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			inner[""] = a.Value
		}
	}
	if ns := inner[x.Name.Space]; ns == "" || ns == mpdNamespace {
		return nil, fmt.Errorf("element %s is in no namespace of its own", clip(x.Name.Local))
	}
	seen := map[xml.Name]bool{}
	for _, a := range x.Attr {
		if a.Name.Space != "" && a.Name.Space != "xmlns" && inner[a.Name.Space] == "" {
			return nil, fmt.Errorf("attribute %s is in no namespace", clip(a.Name.Local))
		}
		if seen[a.Name] {
			return nil, fmt.Errorf("attribute %s is there twice", clip(a.Name.Local))
		}
		seen[a.Name] = true
	}
	return inner, nil
}

func (r *Rendition) validateProtection(at string) error {
	if r.Scheme != "" && !slices.Contains(Schemes, r.Scheme) {
		return badField(at+"scheme", "%q is none of %v", clip(r.Scheme), Schemes)
	}
	if r.KID != "" && !validUUID(r.KID) {
		return badField(at+"kid", "%q is not a UUID in lower case", clip(r.KID))
	}
	if _, ok := SplitPSSH(r.PSSH); !ok {
		return badField(at+"pssh", "is not base64 of pssh boxes, %d characters at most", maxPSSH)
	}
	return nil
}

// A PSSH is one pssh box (ISO/IEC 23001-7, 8.1).
type PSSH struct {
	System string // UUID
	Box    []byte // whole
	Data   []byte // of the system's own, a part of Box
}

// SplitPSSH reads pssh boxes one behind the other, in base64; ok is false where it is
// anything else.
func SplitPSSH(text string) (boxes []PSSH, ok bool) {
	if len(text) > maxPSSH {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	for len(b) > 0 {
		if len(b) < psshHeader+4 || string(b[4:8]) != "pssh" {
			return nil, false
		}
		size := int64(binary.BigEndian.Uint32(b))
		if size < psshHeader+4 || size > int64(len(b)) {
			return nil, false
		}
		box, rest := b[:size], b[size:]
		at := int64(psshHeader)
		if box[8] > 0 { // it lists keys
			at += 4 + 16*int64(binary.BigEndian.Uint32(box[psshHeader:]))
		}
		if at+4 > size || at+4+int64(binary.BigEndian.Uint32(box[at:])) != size {
			return nil, false
		}
		boxes = append(boxes, PSSH{System: FormatUUID([16]byte(box[12:28])), Box: box, Data: box[at+4:]})
		b = rest
	}
	return boxes, true
}

// FormatUUID writes a UUID as everybody does.
func FormatUUID(id [16]byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// validUUID reports whether s is a UUID in lower case.
func validUUID(s string) bool {
	if len(s) != uuidLetters {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
				return false
			}
		}
	}
	return true
}

// quotable reports whether s can stand in a quoted string of a playlist as a URI.
func quotable(s string) bool {
	return len(s) <= maxKeyURL && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' })
}

// A SegmentKey is by which key a segment is encrypted, where its init segment says
// another: the key's UUID, and behind a space the pssh boxes that go with it, in base64,
// where there are any. Empty it is what the init segment says.
type SegmentKey string

// KeyNone is that of a segment in the clear, of an encrypted rendition.
const KeyNone SegmentKey = "none"

// NewSegmentKey is that of a key; pssh boxes that are too large or none are left out.
func NewSegmentKey(kid, pssh string) SegmentKey {
	if _, ok := SplitPSSH(pssh); ok && pssh != "" && len(pssh) <= maxSegmentPSSH {
		kid += " " + pssh
	}
	return unique.Make(SegmentKey(kid)).Value() // many segments have it
}

// maxSegmentPSSH bounds what each segment brings along.
const maxSegmentPSSH = 4096

// ParseSegmentKey takes what a SegmentKey is, and nothing else.
func ParseSegmentKey(s string) (SegmentKey, error) {
	k := SegmentKey(s)
	if k == "" || k == KeyNone {
		return k, nil
	}
	kid, pssh := k.Split()
	if validUUID(kid) && NewSegmentKey(kid, pssh) == k {
		return NewSegmentKey(kid, pssh), nil
	}
	return "", fmt.Errorf("live: %q is no segment's key", clip(s))
}

// Split gives the key's UUID and its pssh boxes.
func (k SegmentKey) Split() (kid, pssh string) {
	kid, pssh, _ = strings.Cut(string(k), " ")
	return kid, pssh
}

// Of is a rendition as it is encrypted in such a segment.
func (k SegmentKey) Of(r Rendition) Rendition {
	switch k {
	case "":
	case KeyNone:
		r.Scheme, r.KID, r.PSSH = "", "", ""
	default:
		kid, pssh := k.Split()
		if kid != r.KID || pssh != "" { // those of the init segment are for the other key
			r.PSSH = pssh
		}
		r.KID = kid
	}
	return r
}
