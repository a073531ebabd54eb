package token

import (
	"encoding/base64"
	"math"
	"net/netip"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The names that a JWT has for what a CWT numbers. What is binary in CBOR is a text:
//
//	{"exp": 1795464000, "catu": {"path": {"prefix": "/acme/final/"}}, "catnip": ["192.0.2.0/24"],
//	 "catr": {"type": "cookie", "expadd": 300, "deadline": 60}}
var (
	partNames = map[string]Part{"scheme": Scheme, "host": Host, "port": Port, "path": Path, "query": Query,
		"parent-path": ParentPath, "filename": Filename, "stem": Stem, "extension": Extension}
	matchNames   = map[string]Match{"exact": Exact, "prefix": Prefix, "suffix": Suffix, "contains": Contains, "regex": Regexp, "sha256": SHA256, "sha512-256": SHA512256}
	renewalNames = map[string]RenewalKind{"automatic": Automatic, "cookie": ByCookie, "header": ByHeader, "redirect": ByRedirect}
)

// read takes one claim, of either form, by its name in a JWT. It returns false where
// that is malformed.
func (c *Claims) read(name string, v any) (ok bool) {
	ok = true
	switch name {
	case "iss":
		c.Issuer, ok = v.(string)
	case "aud":
		c.Audience, ok = stringsOf(v)
	case "exp":
		c.Expires, ok = timeOf(v)
	case "nbf":
		c.NotBefore, ok = timeOf(v)
	case "catreplay": // 0: it may be used again and again
		c.unfit = c.unfit || v != int64(0) && v != 0.
	case "catv":
		c.unfit = c.unfit || v != int64(1) && v != 1.
	case "catm":
		c.Methods, ok = stringsOf(v)
	case "catp":
		c.Paths, ok = stringsOf(v)
	case "catnip":
		ok = c.networks(v)
	case "catu":
		ok = c.uri(v)
	case "catr":
		ok = c.renewal(v)
	case "catif", "catifdata":
		// What to do where the token does not open: it is refused.
	default:
		c.unfit = c.unfit || strings.HasPrefix(name, "cat") // it would restrict what the token opens
	}
	return ok
}

func (c *Claims) networks(v any) bool {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	if len(list) == 0 || len(list) > maxList {
		return false
	}
	for _, x := range list {
		var p netip.Prefix
		switch x := x.(type) {
		case string:
			p = namedNetwork(x)
		case cbor.Tag:
			p = taggedNetwork(x)
		default:
			c.unfit = true // the number of an autonomous system
			continue
		}
		if !p.IsValid() {
			return false
		}
		c.Networks = append(c.Networks, p)
	}
	return true
}

func namedNetwork(s string) netip.Prefix {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, _ := netip.ParsePrefix(s)
	return p
}

// taggedNetwork is an address or a prefix of RFC 9164.
func taggedNetwork(tag cbor.Tag) (none netip.Prefix) {
	size := map[uint64]int{tagIPv4: 4, tagIPv6: 16}[tag.Number]
	bits, b, ok := int64(size*8), []byte(nil), true
	switch x := tag.Content.(type) {
	case []byte:
		b = x
	case []any:
		if len(x) < 2 {
			return none
		}
		bits, ok = x[0].(int64)
		b, _ = x[1].([]byte)
	}
	if !ok || size == 0 || len(b) == 0 || len(b) > size || bits < 0 || bits > int64(size*8) {
		return none
	}
	full := make([]byte, size) // trailing zeros may be left out
	copy(full, b)
	addr, _ := netip.AddrFromSlice(full)
	return netip.PrefixFrom(addr, int(bits)).Masked()
}

// members are those of an object, by number or by name.
func members(v any) (map[any]any, bool) {
	switch m := v.(type) {
	case map[any]any:
		return m, true
	case map[string]any:
		out := make(map[any]any, len(m))
		for k, x := range m {
			out[k] = x
		}
		return out, true
	}
	return nil, false
}

// numbered is a number, or what a name stands for; false where it is neither. A name
// that is not known has a number that nothing has.
func numbered[T ~int64](v any, names map[string]T) (T, bool) {
	switch x := v.(type) {
	case int64:
		return T(x), true
	case string:
		n, known := names[x]
		if !known {
			n = math.MinInt64
		}
		return n, true
	}
	return 0, false
}

func (c *Claims) uri(v any) bool {
	parts, ok := members(v)
	if !ok || len(parts) > maxURI {
		return false
	}
	for part, matches := range parts {
		p, ok1 := numbered(part, partNames)
		m, ok2 := members(matches)
		if !ok1 || !ok2 || len(m) > maxURI {
			return false
		}
		for kind, value := range m {
			k, ok := numbered(kind, matchNames)
			if !ok || !c.condition(p, k, value) {
				return false
			}
		}
	}
	return true
}

// condition adds one of catu.
func (c *Claims) condition(p Part, k Match, value any) bool {
	var b []byte
	switch x := value.(type) {
	case string:
		b = []byte(x)
		if k == SHA256 || k == SHA512256 {
			var err error
			if b, err = base64.RawURLEncoding.DecodeString(x); err != nil {
				return false
			}
		}
	case []byte:
		b = x
	case []any: // a pattern, and what its groups are held against
		s, ok := "", false
		if len(x) == 1 {
			s, ok = x[0].(string)
		}
		if !ok {
			c.unfit = true
			return true
		}
		b = []byte(s)
	default:
		return false
	}
	m, err := newMatch(p, k, b)
	if ReasonOf(err) == Unsupported && err != nil {
		c.unfit = true
		return true
	}
	c.URI = append(c.URI, m)
	return err == nil
}

func (c *Claims) renewal(v any) bool {
	m, ok := members(v)
	if !ok {
		return false
	}
	member := func(number int64, name string) any {
		if x, ok := m[number]; ok {
			return x
		}
		return m[name]
	}
	kind, ok1 := numbered(member(0, "type"), renewalNames)
	add, ok2 := seconds(member(1, "expadd"))
	deadline, _ := seconds(member(2, "deadline"))
	c.Renewal = Renewal{Kind: kind, Add: add, Deadline: deadline, Cookie: CookieName, Header: HeaderName}
	if s, ok := member(3, "cookie-name").(string); ok {
		c.Renewal.Cookie = s
	}
	if s, ok := member(4, "header-name").(string); ok {
		c.Renewal.Header = s
	}
	return ok1 && ok2 && c.Renewal.valid()
}

// valid reports whether names can stand in a header.
func (r *Renewal) valid() bool {
	for _, s := range []string{r.Cookie, r.Header} {
		if s == "" || len(s) > maxList {
			return false
		}
		for i := range len(s) {
			if c := s[i]; (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return r.Kind >= Automatic && r.Kind <= ByRedirect
}

func stringsOf(v any) ([]string, bool) {
	if s, ok := v.(string); ok {
		return []string{s}, true
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 || len(list) > maxList {
		return nil, false
	}
	var out []string
	for _, x := range list {
		s, ok := x.(string)
		if !ok {
			return nil, false
		}
		out = append(out, s)
	}
	return out, true
}

// mostSeconds keeps times inside what time.Time can be added to.
const mostSeconds = 1 << 40

func seconds(v any) (time.Duration, bool) {
	switch x := v.(type) {
	case int64:
		if x >= 0 && x < 1<<32 {
			return time.Duration(x) * time.Second, true
		}
	case float64:
		if x >= 0 && x < 1<<32 {
			return time.Duration(x * float64(time.Second)), true
		}
	}
	return 0, false
}

func timeOf(v any) (time.Time, bool) {
	switch x := v.(type) {
	case int64:
		if x >= 0 && x < mostSeconds {
			return time.Unix(x, 0), true
		}
	case float64:
		if x >= 0 && x < mostSeconds {
			return time.UnixMicro(int64(x * 1e6)), true
		}
	}
	return time.Time{}, false
}
