package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// The JWT form of a Common Access Token has the claims by their names, and of
// catu, catr and catnip what is numbered or binary in CBOR by its name too:
//
//	{"exp": 1795464000, "catu": {"path": {"prefix": "/acme/final/"}}, "catnip": ["192.0.2.0/24"],
//	 "catr": {"type": "cookie", "expadd": 300, "deadline": 60}}

var parts = map[string]Part{"scheme": Scheme, "host": Host, "port": Port, "path": Path, "query": Query,
	"parent-path": ParentPath, "filename": Filename, "stem": Stem, "extension": Extension}

var matchNames = map[string]Match{"exact": Exact, "prefix": Prefix, "suffix": Suffix, "contains": Contains, "regex": Regexp, "sha256": SHA256, "sha512-256": SHA512256}

var renewals = map[string]RenewalKind{"automatic": Automatic, "cookie": ByCookie, "header": ByHeader, "redirect": ByRedirect}

// parseJWT reads a JWT, and verifies it.
func parseJWT(text string, keys *Keys, tenant string) (*Claims, error) {
	malformed := func(err error) error { return fmt.Errorf("%w: %w", Malformed, err) }
	signed := text[:strings.LastIndexByte(text, '.')]
	head, payload, _ := strings.Cut(signed, ".")
	var header struct {
		Alg  string          `json:"alg"`
		Kid  string          `json:"kid"`
		Crit json.RawMessage `json:"crit"`
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(head)
	if err == nil {
		err = json.Unmarshal(b, &header)
	}
	signature, err2 := base64.RawURLEncoding.Strict().DecodeString(text[len(signed)+1:])
	if err := errors.Join(err, err2); err != nil {
		return nil, malformed(err)
	}
	if header.Crit != nil {
		return nil, Unsupported
	}
	key, err := keys.Find(header.Kid, header.Alg, tenant)
	if err != nil {
		return nil, err
	}
	if err := key.verify([]byte(signed), signature); err != nil {
		return nil, err
	}
	raw := map[string]any{}
	if b, err = base64.RawURLEncoding.Strict().DecodeString(payload); err == nil {
		dec := json.NewDecoder(bytes.NewReader(b))
		err = dec.Decode(&raw)
	}
	if err != nil {
		return nil, malformed(err)
	}
	claims, err := jwtClaims(raw)
	if err != nil {
		return nil, err
	}
	claims.key, claims.rawJSON = key, raw
	return claims, nil
}

// jwtClaims reads the claims of a JWT.
func jwtClaims(raw map[string]any) (*Claims, error) {
	c := new(Claims)
	for name, v := range raw {
		ok := true
		switch name {
		case "iss":
			c.Issuer, ok = v.(string)
		case "aud":
			c.Audience, ok = stringsOf(v)
		case "exp":
			c.Expires, ok = timeOf(v)
		case "nbf":
			c.NotBefore, ok = timeOf(v)
		case "catreplay":
			c.unfit = c.unfit || v != 0.
		case "catv":
			c.unfit = c.unfit || v != 1.
		case "catm":
			c.Methods, ok = stringsOf(v)
		case "catp":
			c.Paths, ok = stringsOf(v)
		case "catnip":
			var list []string
			list, ok = stringsOf(v)
			for _, s := range list {
				p, err := netip.ParsePrefix(s)
				if addr, err2 := netip.ParseAddr(s); err != nil && err2 == nil {
					p, err = addr.Prefix(addr.BitLen())
				}
				c.Networks = append(c.Networks, p)
				ok = ok && err == nil
			}
		case "catu":
			ok = c.uriNames(v)
		case "catr":
			ok = c.renewalNames(v)
		case "catif", "catifdata":
		default:
			c.unfit = c.unfit || strings.HasPrefix(name, "cat")
		}
		if !ok {
			return nil, Malformed
		}
	}
	return c, nil
}

func (c *Claims) uriNames(v any) bool {
	named, ok := v.(map[string]any)
	if !ok || len(named) > maxURI {
		return false
	}
	for part, matches := range named {
		p, known := parts[part]
		m, ok := matches.(map[string]any)
		if !ok || len(m) > maxURI {
			return false
		}
		for kind, value := range m {
			k, ok := matchNames[kind]
			switch s, is := value.(string); {
			case !known || !ok:
				c.unfit = true
			case (k == SHA256 || k == SHA512256) && is:
				b, err := base64.RawURLEncoding.DecodeString(s)
				if err != nil || !c.condition(p, k, b) {
					return false
				}
			case !c.condition(p, k, value):
				return false
			}
		}
	}
	return true
}

func (c *Claims) renewalNames(v any) bool {
	m, ok := v.(map[string]any)
	if !ok {
		return false
	}
	name, _ := m["type"].(string)
	kind, ok1 := renewals[name]
	add, ok2 := seconds(m["expadd"])
	deadline, _ := seconds(m["deadline"])
	c.Renewal = Renewal{Kind: kind, Add: add, Deadline: deadline, Cookie: CookieName, Header: HeaderName}
	if s, ok := m["cookie-name"].(string); ok {
		c.Renewal.Cookie = s
	}
	if s, ok := m["header-name"].(string); ok {
		c.Renewal.Header = s
	}
	return ok1 && ok2 && c.Renewal.valid()
}
