// Package token verifies what viewers show: Common Access Tokens (CTA-5007-B), as
// CWT in COSE (RFC 8392, RFC 9052) or as JWT (RFC 7519), and signed URLs. It takes
// time as an argument, and asks nobody: keys are given.
package token

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// MaxBytes bounds a token.
const MaxBytes = 4 << 10

// A Reason says why a token does not open. Counters share the names.
type Reason string

// The reasons. They implement error.
const (
	Missing       Reason = "missing"        // no token was sent
	Malformed     Reason = "malformed"      // it cannot be read
	UnknownKey    Reason = "unknown-key"    // no key of the tenant has that name, or is of that kind
	BadSignature  Reason = "bad-signature"  // it was not signed by the key it names
	Unsupported   Reason = "unsupported"    // it has a claim that cannot be held against a request here
	Endless       Reason = "endless"        // it does not say when it ends
	Expired       Reason = "expired"        //
	NotYet        Reason = "not-yet"        // it is not valid yet
	WrongIssuer   Reason = "wrong-issuer"   // the event does not take tokens of who made it
	WrongAudience Reason = "wrong-audience" // it is for others
	WrongPath     Reason = "wrong-path"     // it is for other URLs
	WrongNetwork  Reason = "wrong-network"  // it is for other addresses
	WrongMethod   Reason = "wrong-method"   // it is for other methods
)

// Reasons are all of them.
var Reasons = []Reason{Missing, Malformed, UnknownKey, BadSignature, Unsupported, Endless, Expired, NotYet, WrongIssuer, WrongAudience, WrongPath, WrongNetwork, WrongMethod}

func (r Reason) Error() string { return "token: " + string(r) }

// ReasonOf is the reason in an error.
func ReasonOf(err error) Reason {
	var r Reason
	if errors.As(err, &r) {
		return r
	}
	return Malformed
}

// Claims are what a verified token says. They are never changed.
type Claims struct {
	Issuer    string
	Audience  []string
	Expires   time.Time
	NotBefore time.Time
	Methods   []string       // catm; none: any
	Networks  []netip.Prefix // catnip; none: any
	URI       []URIMatch     // catu: all must match
	Paths     []string       // catp: one must match: a path, or the beginning of one and *
	Renewal   Renewal        // catr
	unfit     bool           // it has a claim that is not known here, and would restrict it
	raw       map[any]any    // of CWT, for renewal
	rawJSON   map[string]any // of JWT
	key       *Key
}

// A URIMatch is one condition of catu.
type URIMatch struct {
	Part  Part
	Match Match
	Value []byte
	re    *regexp.Regexp
}

// A Part of a URI, as catu numbers them.
type Part int64

// A Match is how a part is compared, as catu numbers them.
type Match int64

// The parts and matches of catu.
const (
	Scheme Part = iota
	Host
	Port
	Path
	Query
	ParentPath
	Filename
	Stem
	Extension

	Exact     Match = 0
	Prefix    Match = 1
	Suffix    Match = 2
	Contains  Match = 3
	Regexp    Match = 4
	SHA256    Match = -1
	SHA512256 Match = -2
)

// A Renewal says how a token is made anew while it is in use.
type Renewal struct {
	Kind     RenewalKind
	Add      time.Duration // to the time of the request; 0: not at all
	Deadline time.Duration // before its end, from when on it is renewed
	Cookie   string        // the name of the cookie
	Header   string        // the name of the header field
}

// A RenewalKind is how a renewed token reaches the viewer, as catr numbers them.
type RenewalKind int64

// The kinds of renewal.
const (
	Automatic RenewalKind = iota
	ByCookie
	ByHeader
	ByRedirect
)

// Defaults of renewal, and of where tokens are looked for.
const (
	HeaderName = "CTA-Common-Access-Token"
	CookieName = "CTA-Common-Access-Token"
	QueryName  = "CAT"
)

// A Request is what a token is held against.
type Request struct {
	Method       string
	Scheme, Host string // Host with its port, where there is any
	Path         string
	Address      netip.Addr
}

// A Policy is which tokens an event takes.
type Policy struct {
	Issuers  []string // none: any
	Audience string   // of tokens that are for somebody
}

// Permit says whether claims allow a request at a time; nil where they do.
func (c *Claims) Permit(p *Policy, r *Request, now time.Time) error {
	switch {
	case c.unfit:
		return Unsupported
	case c.Expires.IsZero():
		return Endless
	case !now.Before(c.Expires):
		return Expired
	case now.Before(c.NotBefore):
		return NotYet
	case len(p.Issuers) > 0 && !slices.Contains(p.Issuers, c.Issuer):
		return WrongIssuer
	case len(c.Audience) > 0 && !slices.Contains(c.Audience, p.Audience):
		return WrongAudience
	case len(c.Methods) > 0 && !slices.Contains(c.Methods, r.Method):
		return WrongMethod
	case !c.onNetwork(r.Address):
		return WrongNetwork
	case !c.onPath(r):
		return WrongPath
	}
	return nil
}

func (c *Claims) onNetwork(a netip.Addr) bool {
	a = a.Unmap()
	return len(c.Networks) == 0 || slices.ContainsFunc(c.Networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (c *Claims) onPath(r *Request) bool {
	if len(c.Paths) > 0 && !slices.ContainsFunc(c.Paths, func(p string) bool {
		begin, open := strings.CutSuffix(p, "*")
		return p == r.Path || open && strings.HasPrefix(r.Path, begin)
	}) {
		return false
	}
	for i := range c.URI {
		if !c.URI[i].matches(r) {
			return false
		}
	}
	return true
}

// part is the part of a request's URI.
func (r *Request) part(p Part) string {
	host, port := r.Host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host, port = host[:i], host[i+1:]
	}
	slash := strings.LastIndexByte(r.Path, '/')
	file := r.Path[slash+1:]
	dot := strings.LastIndexByte(file, '.')
	switch p {
	case Scheme:
		return r.Scheme
	case Host:
		return strings.ToLower(host)
	case Port:
		if port == "" {
			return map[string]string{"http": "80", "https": "443"}[r.Scheme]
		}
		return port
	case Path:
		return r.Path
	case ParentPath:
		return r.Path[:max(slash, 0)]
	case Filename:
		return file
	case Stem:
		if dot < 0 {
			return file
		}
		return file[:dot]
	case Extension:
		if dot < 0 {
			return ""
		}
		return file[dot:]
	}
	return ""
}

func (m *URIMatch) matches(r *Request) bool {
	part := r.part(m.Part)
	switch v := string(m.Value); m.Match {
	case Exact:
		return part == v
	case Prefix:
		return strings.HasPrefix(part, v)
	case Suffix:
		return strings.HasSuffix(part, v)
	case Contains:
		return strings.Contains(part, v)
	case Regexp:
		return m.re.MatchString(part)
	case SHA256:
		sum := sha256.Sum256([]byte(part))
		return bytes.Equal(sum[:], m.Value)
	case SHA512256:
		sum := sha512.Sum512_256([]byte(part))
		return bytes.Equal(sum[:], m.Value)
	}
	return false
}

// Limits of a token's claims.
const (
	maxURI     = 16
	maxList    = 64
	maxPattern = 256
)

// newMatch reads one condition of catu.
func newMatch(part Part, match Match, value []byte) (URIMatch, error) {
	m := URIMatch{Part: part, Match: match, Value: value}
	switch {
	case part < Scheme || part > Extension || part == Query:
		return m, Unsupported // queries have what players add to them
	case match == Regexp:
		if len(value) > maxPattern {
			return m, fmt.Errorf("%w: a pattern of %d bytes", Malformed, len(value))
		}
		var err error
		if m.re, err = regexp.Compile("^(?:" + string(value) + ")$"); err != nil {
			return m, fmt.Errorf("%w: %w", Malformed, err)
		}
	case match < SHA512256 || match > Regexp:
		return m, Unsupported
	}
	return m, nil
}
