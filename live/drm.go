package live

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Limits of what an event says of DRM.
const (
	MaxDRM      = 256
	maxPSSH     = 8192 // characters of base64
	maxKeyURL   = 2048
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
