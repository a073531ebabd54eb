package live

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
)

// The header names of the wire.
const (
	HeaderPipeline      = "Live-Pipeline"
	HeaderDefects       = "Live-Defects"
	HeaderQuality       = "Live-Quality"
	HeaderNotifications = "Live-Notifications"
	HeaderEdge          = "Live-Edge"
	HeaderVersion       = "Live-Version"
	HeaderPublished     = "Live-Published"
	HeaderSite          = "Live-Site"
	HeaderNames         = "Live-Names"
	HeaderClock         = "Live-Clock"
	HeaderContentDigest = "Content-Digest"
	HeaderCacheControl  = "Cache-Control"
	HeaderServerTiming  = "Server-Timing"
	HeaderCacheStatus   = "Cache-Status"
	HeaderCDNLoop       = "CDN-Loop"
	HeaderCMSDStatic    = "CMSD-Static"
)

// ExposedHeaders is what CORS lets a page read.
const ExposedHeaders = HeaderPipeline + ", " + HeaderDefects + ", " + HeaderQuality + ", " + HeaderNotifications + ", " + HeaderEdge + ", " +
	HeaderVersion + ", " + HeaderPublished + ", " + HeaderContentDigest + ", " + HeaderServerTiming + ", " +
	HeaderCacheStatus + ", " + HeaderCMSDStatic + ", Repr-Digest, Age, Date, ETag, Content-Range, Content-Length, Retry-After"

// ErrHeader is wrapped by every error about the form of a header.
var ErrHeader = errors.New("live: header")

func badHeader(name, format string, a ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrHeader, name, fmt.Sprintf(format, a...))
}

// Live-Pipeline

// A Source says which pipeline made bytes and which region answered with them.
type Source struct{ Pipeline, Region string }

// String is the Live-Pipeline form.
func (s Source) String() string {
	if s.Region == "" {
		return s.Pipeline
	}
	return s.Pipeline + ";region=" + s.Region
}

// ParseSource reads a Live-Pipeline header.
func ParseSource(v string) (Source, error) {
	name, rest, _ := strings.Cut(v, ";")
	s := Source{Pipeline: strings.TrimSpace(name)}
	for part := range strings.SplitSeq(rest, ";") {
		if k, val, _ := strings.Cut(strings.TrimSpace(part), "="); k == "region" {
			s.Region = strings.Trim(val, `"`)
		}
	}
	if !ValidName(s.Pipeline) || s.Region != "" && !ValidName(s.Region) {
		return Source{}, badHeader(HeaderPipeline, "%q is not a pipeline with a region", clip(v))
	}
	return s, nil
}

// Live-Defects

// MaxFindings bounds a Live-Defects header.
const MaxFindings = 32

// ParseFindings reads Live-Defects values (RFC 9651, a list of tokens with the
// parameters ms and n). No value at all is clean. Kinds this program does not
// know are kept: they are defects too.
func ParseFindings(values []string) (Findings, error) {
	if len(values) == 0 {
		return nil, nil
	}
	list, err := httpsfv.UnmarshalList(values)
	if err != nil {
		return nil, badHeader(HeaderDefects, "%v", err)
	}
	if len(list) > MaxFindings {
		return nil, badHeader(HeaderDefects, "%d members, at most %d", len(list), MaxFindings)
	}
	var out Findings
	for _, m := range list {
		item, ok := m.(httpsfv.Item)
		if !ok {
			return nil, badHeader(HeaderDefects, "an inner list is not a defect")
		}
		token, ok := item.Value.(httpsfv.Token)
		if !ok {
			return nil, badHeader(HeaderDefects, "%v is not a token", item.Value)
		}
		f := Finding{Kind: Kind(token)}
		if f.MissingMS, err = intParam(item.Params, "ms"); err != nil {
			return nil, badHeader(HeaderDefects, "%s: %v", token, err)
		}
		if f.Samples, err = intParam(item.Params, "n"); err != nil {
			return nil, badHeader(HeaderDefects, "%s: %v", token, err)
		}
		if f.Kind.Remark() { // what is only remarked costs nothing, whoever says it
			f.MissingMS, f.OffMS = 0, f.MissingMS
		}
		out = append(out, f)
	}
	return out, nil
}

// intParam is a parameter that is a count: absent is 0, negative an error.
func intParam(p *httpsfv.Params, name string) (int64, error) {
	v, ok := p.Get(name)
	if !ok {
		return 0, nil
	}
	n, ok := v.(int64)
	if !ok || n < 0 {
		return 0, fmt.Errorf("%s=%v is not a count", name, v)
	}
	return n, nil
}

// Live-Edge, Live-Version, Live-Published

// ParseNumber reads Live-Edge.
func ParseNumber(v string) (Number, error) {
	n, err := parseCount(v)
	if err != nil || n > MaxNumber {
		return 0, badHeader(HeaderEdge, "%q is not a segment number", clip(v))
	}
	return Number(n), nil
}

// ParseVersion reads Live-Version.
func ParseVersion(v string) (int64, error) {
	n, err := parseCount(v)
	if err != nil {
		return 0, badHeader(HeaderVersion, "%q is not a version", clip(v))
	}
	return n, nil
}

// parseCount reads digits, without a sign.
func parseCount(v string) (int64, error) {
	n, err := strconv.ParseUint(v, 10, 63)
	return int64(n), err
}

// FormatPublished is the Live-Published form: seconds of Unix time with milliseconds.
func FormatPublished(t time.Time) string {
	ms := max(t.UnixMilli(), 0)
	return fmt.Sprintf("%d.%03d", ms/1000, ms%1000)
}

// Unstored is what stands behind Live-Published of what is delivered before it is durable.
const Unstored = ";unstored"

// ParsePublished reads Live-Published.
func ParsePublished(v string) (time.Time, error) {
	v, _, _ = strings.Cut(v, ";") // parameters (RFC 9651, 3.1.2)
	sec, frac, _ := strings.Cut(v, ".")
	s, err := parseCount(sec)
	if err != nil || s > 1<<34 || len(frac) > 9 {
		return time.Time{}, badHeader(HeaderPublished, "%q is not seconds with milliseconds", clip(v))
	}
	var ns int64
	if frac != "" {
		u, err := strconv.ParseUint(frac, 10, 32)
		if err != nil {
			return time.Time{}, badHeader(HeaderPublished, "%q is not seconds with milliseconds", clip(v))
		}
		ns = int64(u)
		for range 9 - len(frac) {
			ns *= 10
		}
	}
	return time.Unix(s, ns).UTC(), nil
}

// Cache-Control

// MaxLifetime is the longest that is written or believed. Longer ones tell a
// cache nothing more, and numbers past 2^31 s some cannot read (RFC 9111, 1.2.2).
const MaxLifetime = 366 * 24 * time.Hour

// FormatLifetime is the Cache-Control of an answer that is fresh for d: whole
// seconds rounded down for every cache, and milliseconds for those of ours.
// Rounding is always down: nothing is served past its lifetime.
func FormatLifetime(d time.Duration) string {
	return FormatLifetimes(d, d)
}

// FormatLifetimes is FormatLifetime of plain, and besides, where that is longer,
// how long the answer is fresh for a cache that heeds the event's flush version
// and invalidations.
func FormatLifetimes(plain, heeded time.Duration) string {
	return string(AppendLifetimes(nil, plain, heeded))
}

// AppendLifetimes appends FormatLifetimes.
func AppendLifetimes(b []byte, plain, heeded time.Duration) []byte {
	ms := min(max(min(plain, heeded), 0), MaxLifetime).Milliseconds()
	b = strconv.AppendInt(append(b, "max-age="...), ms/1000, 10)
	b = strconv.AppendInt(append(b, ", max-age-ms="...), ms, 10)
	if heeded > plain {
		b = append(b, ", "+heededDirective+"="...)
		b = strconv.AppendInt(b, min(heeded, MaxLifetime).Milliseconds(), 10)
	}
	return b
}

// AppendShared appends s-maxage to a lifetime: rounded up, so that caches that
// count in seconds ask once for all in the last part of a second too. It is for
// what is a little old at any time.
func AppendShared(b []byte, d time.Duration) []byte {
	return strconv.AppendInt(append(b, ", s-maxage="...), int64((d+time.Second-1)/time.Second), 10)
}

const heededDirective = "live-max-age-ms"

// ParseLifetimes reads both: they are the same where one is all that is said.
func ParseLifetimes(values []string) (plain, heeded time.Duration, ok bool) {
	if plain, ok = ParseLifetime(values); !ok || plain == 0 {
		return plain, plain, ok
	}
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if name, val, _ := strings.Cut(textproto.TrimString(part), "="); strings.EqualFold(name, heededDirective) {
				return plain, max(plain, delta(val, time.Millisecond)), true
			}
		}
	}
	return plain, plain, true
}

// ParseLifetime reads how long an answer is fresh from Cache-Control values:
// max-age-ms where there is one, else max-age (RFC 9111, 5.2.2), of each the
// first. It is at most MaxLifetime. ok is false where nothing is said;
// no-store, no-cache and private say zero.
func ParseLifetime(values []string) (d time.Duration, ok bool) {
	var ms, sec time.Duration = -1, -1
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			name, val, _ := strings.Cut(textproto.TrimString(part), "=")
			switch strings.ToLower(name) {
			case "no-store", "no-cache", "private":
				return 0, true
			case "max-age":
				if sec < 0 {
					sec = delta(val, time.Second)
				}
			case "max-age-ms":
				if ms < 0 {
					ms = delta(val, time.Millisecond)
				}
			}
		}
	}
	switch {
	case ms >= 0:
		return ms, true
	case sec >= 0:
		return sec, true
	}
	return 0, false
}

// delta is a count of units: what cannot be read is stale at once (RFC 9111,
// 4.2.1), what is too large is MaxLifetime.
func delta(v string, unit time.Duration) time.Duration {
	n, err := strconv.ParseUint(strings.Trim(v, `"`), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0
	}
	return time.Duration(min(n, uint64(MaxLifetime/unit))) * unit
}

// Content-Digest

// A Digest is the SHA-256 of a whole representation.
type Digest [sha256.Size]byte

// DigestOf digests bytes.
func DigestOf(b []byte) Digest { return sha256.Sum256(b) }

// IsZero reports whether no digest is known.
func (d Digest) IsZero() bool { return d == Digest{} }

// String is the Content-Digest form (RFC 9530): sha-256=:base64:.
func (d Digest) String() string {
	const prefix = "sha-256=:"
	b := make([]byte, 0, len(prefix)+base64.StdEncoding.EncodedLen(len(d))+1)
	b = append(b, prefix...)
	b = base64.StdEncoding.AppendEncode(b, d[:])
	return string(append(b, ':'))
}

// ETag is the strong entity tag of bytes with this digest.
func (d Digest) ETag() string {
	return `"` + base64.RawURLEncoding.EncodeToString(d[:18]) + `"`
}

// ParseDigest reads the sha-256 of Content-Digest values. It returns zero, and
// no error, where there is no such header or only algorithms we do not know
// (RFC 9530, 2: those are ignored).
func ParseDigest(values []string) (Digest, error) {
	var d Digest
	if len(values) == 0 {
		return d, nil
	}
	dict, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return d, badHeader(HeaderContentDigest, "%v", err)
	}
	m, ok := dict.Get("sha-256")
	if !ok {
		return d, nil
	}
	item, ok := m.(httpsfv.Item)
	if !ok {
		return d, badHeader(HeaderContentDigest, "sha-256 is not a byte sequence")
	}
	b, ok := item.Value.([]byte)
	if !ok || len(b) != len(d) {
		return d, badHeader(HeaderContentDigest, "sha-256 is not a byte sequence of %d bytes", len(d))
	}
	copy(d[:], b)
	return d, nil
}
