package token

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// The claims' keys in a CWT: of RFC 8392, and of CTA-5007-B as they are registered
// with IANA.
const (
	claimISS       = 1
	claimAUD       = 3
	claimEXP       = 4
	claimNBF       = 5
	claimCatReplay = 308
	claimCatV      = 310
	claimCatNIP    = 311
	claimCatU      = 312
	claimCatM      = 313
	claimCatIFData = 320
	claimCatIF     = 322
	claimCatR      = 323
)

// Tags and labels of COSE (RFC 9052) and CWT.
const (
	tagCWT   = 61
	tagMac0  = 17
	tagSign1 = 18
	tagIPv4  = 52 // RFC 9164
	tagIPv6  = 54

	labelAlg  = 1
	labelCrit = 2
	labelKid  = 4
)

// algorithms are COSE's, by JOSE's names.
var algorithms = map[int64]string{5: HS256, -7: ES256, -37: PS256}

// decoding refuses what two readers could understand in two ways, and bounds what
// a stranger can have us do.
var decoding = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 8, MaxArrayElements: 256, MaxMapPairs: 128,
		IntDec: cbor.IntDecConvertSignedOrFail, UTF8: cbor.UTF8RejectInvalid, IndefLength: cbor.IndefLengthForbidden,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

var encoding = func() cbor.EncMode {
	m, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	return m
}()

// A message is COSE_Mac0 or COSE_Sign1: both have these four members.
type message struct {
	_           struct{} `cbor:",toarray"`
	Protected   []byte
	Unprotected map[any]any
	Payload     []byte
	Signature   []byte
}

// parseCWT reads a CWT in COSE, and verifies it.
func parseCWT(b []byte, keys *Keys, tenant string) (*Claims, error) {
	malformed := func(err error) error { return fmt.Errorf("%w: %w", Malformed, err) }
	kind := uint64(0)
	for range 2 {
		var tag cbor.RawTag
		if len(b) == 0 || b[0]>>5 != 6 {
			break
		}
		if err := decoding.Unmarshal(b, &tag); err != nil {
			return nil, malformed(err)
		}
		switch {
		case tag.Number == tagCWT && kind == 0:
		case tag.Number == tagMac0, tag.Number == tagSign1:
			kind = tag.Number
		default:
			return nil, Malformed
		}
		b = tag.Content
	}
	var c message
	if err := decoding.Unmarshal(b, &c); err != nil {
		return nil, malformed(err)
	}
	protected := map[any]any{}
	if len(c.Protected) > 0 {
		if err := decoding.Unmarshal(c.Protected, &protected); err != nil {
			return nil, malformed(err)
		}
	}
	if _, critical := protected[int64(labelCrit)]; critical {
		return nil, Unsupported
	}
	number, ok := protected[int64(labelAlg)].(int64)
	if !ok {
		return nil, Malformed // what is not protected says nothing
	}
	algorithm := algorithms[number]
	context := "Signature1"
	if algorithm == HS256 {
		context = "MAC0"
	}
	if kind == tagMac0 && algorithm != HS256 || kind == tagSign1 && algorithm == HS256 {
		return nil, Malformed
	}
	kid, _ := protected[int64(labelKid)].([]byte)
	if kid == nil {
		kid, _ = c.Unprotected[int64(labelKid)].([]byte)
	}
	key, err := keys.Find(string(kid), algorithm, tenant)
	if err != nil {
		return nil, err
	}
	signed, err := encoding.Marshal([]any{context, c.Protected, []byte{}, c.Payload})
	if err != nil {
		return nil, malformed(err)
	}
	if err := key.verify(signed, c.Signature); err != nil {
		return nil, err
	}
	raw := map[any]any{}
	if err := decoding.Unmarshal(c.Payload, &raw); err != nil {
		return nil, malformed(err)
	}
	claims, err := cwtClaims(raw)
	if err != nil {
		return nil, err
	}
	claims.key, claims.raw = key, raw
	return claims, nil
}

// cwtClaims reads the claims of a CWT.
func cwtClaims(raw map[any]any) (*Claims, error) {
	c := new(Claims)
	for k, v := range raw {
		ok := true
		label, _ := k.(int64)
		switch label {
		case claimISS:
			c.Issuer, ok = v.(string)
		case claimAUD:
			c.Audience, ok = stringsOf(v)
		case claimEXP:
			c.Expires, ok = timeOf(v)
		case claimNBF:
			c.NotBefore, ok = timeOf(v)
		case claimCatReplay:
			n, is := v.(int64)
			c.unfit = c.unfit || n != 0 // 0: it may be used again and again
			ok = is
		case claimCatV:
			n, is := v.(int64)
			c.unfit = c.unfit || n != 1
			ok = is
		case claimCatM:
			c.Methods, ok = stringsOf(v)
		case claimCatNIP:
			ok = c.networks(v)
		case claimCatU:
			ok = c.uri(v)
		case claimCatR:
			ok = c.renewal(v)
		case claimCatIF, claimCatIFData:
			// What to do where the token does not open: it is refused.
		default:
			switch name, _ := k.(string); {
			case name == "catp":
				c.Paths, ok = stringsOf(v)
			case label >= claimCatReplay && label <= claimCatR:
				c.unfit = true // it would restrict what the token opens
			}
		}
		if !ok {
			return nil, Malformed
		}
	}
	return c, nil
}

func (c *Claims) networks(v any) bool {
	list, ok := v.([]any)
	if !ok || len(list) > maxList {
		return false
	}
	for _, x := range list {
		tag, ok := x.(cbor.Tag)
		if !ok {
			c.unfit = true // the number of an autonomous system
			continue
		}
		size := map[uint64]int{tagIPv4: 4, tagIPv6: 16}[tag.Number]
		bits, b := int64(size*8), []byte(nil)
		switch x := tag.Content.(type) {
		case []byte:
			b = x
		case []any:
			if len(x) < 2 {
				return false
			}
			bits, ok = x[0].(int64)
			b, _ = x[1].([]byte)
		}
		if !ok || size == 0 || len(b) == 0 || len(b) > size || bits < 0 || bits > int64(size*8) {
			return false
		}
		full := make([]byte, size) // trailing zeros may be left out
		copy(full, b)
		addr, _ := netip.AddrFromSlice(full)
		c.Networks = append(c.Networks, netip.PrefixFrom(addr, int(bits)).Masked())
	}
	return true
}

func (c *Claims) uri(v any) bool {
	parts, ok := v.(map[any]any)
	if !ok || len(parts) > maxURI {
		return false
	}
	for part, matches := range parts {
		p, ok1 := part.(int64)
		m, ok2 := matches.(map[any]any)
		if !ok1 || !ok2 || len(m) > maxURI {
			return false
		}
		for kind, value := range m {
			k, ok := kind.(int64)
			if !ok || !c.condition(Part(p), Match(k), value) {
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
	m, ok := v.(map[any]any)
	if !ok {
		return false
	}
	kind, ok1 := m[int64(0)].(int64)
	add, ok2 := seconds(m[int64(1)])
	deadline, _ := seconds(m[int64(2)])
	c.Renewal = Renewal{Kind: RenewalKind(kind), Add: add, Deadline: deadline, Cookie: CookieName, Header: HeaderName}
	if s, ok := m[int64(3)].(string); ok {
		c.Renewal.Cookie = s
	}
	if s, ok := m[int64(4)].(string); ok {
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
