package token

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

var now = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)

// b64 is base64url.
var b64 = base64.RawURLEncoding

// ring makes a key set of secrets, each with the tenants that it opens.
func ring(t *testing.T, names ...string) (*Keys, map[string]*Key) {
	t.Helper()
	var list []string
	for _, name := range names {
		id, tenants, _ := strings.Cut(name, ":")
		_, text := NewKey(id, strings.Fields(tenants)...)
		list = append(list, string(text))
	}
	keys, err := ParseKeys([]byte(`{"keys": [` + strings.Join(list, ",") + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	by := make(map[string]*Key)
	for _, k := range keys.list {
		by[k.ID] = k
	}
	return keys, by
}

var segment = Request{Method: "GET", Scheme: "https", Host: "Edge.example:8443", Path: "/acme/final/v720/1042.m4s", Address: netip.MustParseAddr("192.0.2.7")}

// TestClaims holds the claims of both forms against a request.
func TestClaims(t *testing.T) {
	keys, by := ring(t, "k1")
	exp := now.Add(time.Minute).Unix()
	ip := func(prefix string) cbor.Tag {
		p := netip.MustParsePrefix(prefix)
		n := uint64(tagIPv4)
		if p.Addr().Is6() {
			n = tagIPv6
		}
		return cbor.Tag{Number: n, Content: []any{p.Bits(), p.Addr().AsSlice()}}
	}
	sum := sha256.Sum256([]byte("/acme/final/v720"))
	uri := func(part Part, match Match, v any) map[any]any {
		return map[any]any{claimCatU: map[any]any{int64(part): map[any]any{int64(match): v}}}
	}
	named := func(part, match string, v any) map[string]any {
		return map[string]any{"catu": map[string]any{part: map[string]any{match: v}}}
	}
	for _, c := range []struct {
		name string
		cwt  map[any]any
		jwt  map[string]any
		want error
	}{
		{"nothing but an end", nil, nil, nil},
		{"no end", map[any]any{claimEXP: nil}, map[string]any{"exp": nil}, Endless},
		{"over", map[any]any{claimEXP: now.Unix()}, map[string]any{"exp": now.Unix()}, Expired},
		{"the last moment", map[any]any{claimEXP: now.Unix() + 1}, map[string]any{"exp": now.Unix() + 1}, nil},
		{"an end with a fraction", map[any]any{claimEXP: float64(now.Unix()) + 0.5}, map[string]any{"exp": float64(now.Unix()) + 0.5}, nil},
		{"not yet", map[any]any{claimNBF: now.Unix() + 1}, map[string]any{"nbf": now.Unix() + 1}, NotYet},
		{"from now on", map[any]any{claimNBF: now.Unix()}, map[string]any{"nbf": now.Unix()}, nil},
		{"an end that is no time", map[any]any{claimEXP: "soon"}, map[string]any{"exp": "soon"}, Malformed},
		{"an end before 1970", map[any]any{claimEXP: -1}, map[string]any{"exp": -1}, Malformed},
		{"its issuer", map[any]any{claimISS: "us"}, map[string]any{"iss": "us"}, nil},
		{"another issuer", map[any]any{claimISS: "them"}, map[string]any{"iss": "them"}, WrongIssuer},
		{"its audience", map[any]any{claimAUD: []any{"x", "here"}}, map[string]any{"aud": []any{"x", "here"}}, nil},
		{"another audience", map[any]any{claimAUD: "there"}, map[string]any{"aud": "there"}, WrongAudience},

		{"the path's beginning", uri(Path, Prefix, "/acme/final/"), named("path", "prefix", "/acme/final/"), nil},
		{"another path", uri(Path, Prefix, "/acme/other/"), named("path", "prefix", "/acme/other/"), WrongPath},
		{"the path", uri(Path, Exact, segment.Path), named("path", "exact", segment.Path), nil},
		{"its end", uri(Path, Suffix, ".m4s"), named("path", "suffix", ".m4s"), nil},
		{"a part", uri(Path, Contains, "/v720/"), named("path", "contains", "/v720/"), nil},
		{"a pattern", uri(Path, Regexp, []any{"/acme/.*/v(720|360)/.*"}), named("path", "regex", "/acme/.*/v(720|360)/.*"), nil},
		{"a pattern is of all of it", uri(Path, Regexp, []any{"acme"}), named("path", "regex", "acme"), WrongPath},
		{"no pattern", uri(Path, Regexp, []any{"("}), named("path", "regex", "("), Malformed},
		{"a pattern too long", uri(Path, Regexp, strings.Repeat("a", maxPattern+1)), named("path", "regex", strings.Repeat("a", maxPattern+1)), Malformed},
		{"a hash", uri(ParentPath, SHA256, sum[:]), named("parent-path", "sha256", b64.EncodeToString(sum[:])), nil},
		{"the host", uri(Host, Exact, "edge.example"), named("host", "exact", "edge.example"), nil},
		{"another host", uri(Host, Suffix, ".com"), named("host", "suffix", ".com"), WrongPath},
		{"the port", uri(Port, Exact, "8443"), named("port", "exact", "8443"), nil},
		{"the scheme", uri(Scheme, Exact, "http"), named("scheme", "exact", "http"), WrongPath},
		{"the file", uri(Filename, Exact, "1042.m4s"), named("filename", "exact", "1042.m4s"), nil},
		{"the stem", uri(Stem, Exact, "1042"), named("stem", "exact", "1042"), nil},
		{"the extension", uri(Extension, Exact, ".mpd"), named("extension", "exact", ".mpd"), WrongPath},
		{"a query", uri(Query, Exact, ""), named("query", "exact", ""), Unsupported},
		{"a match that is none", uri(Path, 9, ""), named("path", "like", ""), Unsupported},
		{"one of some paths", map[any]any{"catp": []any{"/x/*", "/acme/final/*"}}, map[string]any{"catp": []any{"/x/*", "/acme/final/*"}}, nil},
		{"a path without a star", map[any]any{"catp": "/acme/final/"}, map[string]any{"catp": "/acme/final/"}, WrongPath},

		{"the network", map[any]any{claimCatNIP: []any{ip("2001:db8::/32"), ip("192.0.2.0/24")}}, map[string]any{"catnip": []any{"2001:db8::/32", "192.0.2.0/24"}}, nil},
		{"another network", map[any]any{claimCatNIP: []any{ip("198.51.100.0/24")}}, map[string]any{"catnip": "198.51.100.1"}, WrongNetwork},
		{"a network by its number", map[any]any{claimCatNIP: []any{64496}}, map[string]any{"catnip": []any{64496}}, Unsupported},
		{"no networks at all", map[any]any{claimCatNIP: []any{}}, map[string]any{"catnip": []any{}}, Malformed},
		{"no network", map[any]any{claimCatNIP: []any{cbor.Tag{Number: tagIPv4, Content: []any{99, []byte{1, 2, 3, 4}}}}}, map[string]any{"catnip": "x"}, Malformed},
		{"the method", map[any]any{claimCatM: []any{"GET", "HEAD"}}, map[string]any{"catm": []any{"GET", "HEAD"}}, nil},
		{"another method", map[any]any{claimCatM: "HEAD"}, map[string]any{"catm": "HEAD"}, WrongMethod},
		{"the version", map[any]any{claimCatV: 1, claimCatReplay: 0}, map[string]any{"catv": 1, "catreplay": 0}, nil},
		{"another version", map[any]any{claimCatV: 2}, map[string]any{"catv": 2}, Unsupported},
		{"a version by its name", map[any]any{claimCatV: "1"}, map[string]any{"catv": "1"}, Unsupported},
		{"a part that is none", uri(9, Exact, "x"), named("user", "exact", "x"), Unsupported},
		{"a hash that is none", uri(Path, SHA256, 1), named("path", "sha256", "="), Malformed},
		{"conditions that are none", map[any]any{claimCatU: 1}, map[string]any{"catu": map[string]any{"path": "/"}}, Malformed},
		{"once only", map[any]any{claimCatReplay: 1}, map[string]any{"catreplay": 1}, Unsupported},
		{"a country", map[any]any{316: []any{"NZ"}}, map[string]any{"catgeoiso3166": "NZ"}, Unsupported},
		{"a key of the viewer's", map[any]any{319: []byte{1}}, map[string]any{"cattpk": "x"}, Unsupported},
		{"what to do else", map[any]any{claimCatIF: map[any]any{4: 1}}, map[string]any{"catif": map[string]any{}}, nil},
		{"what says nothing of access", map[any]any{2: "viewer", 900: 1, "x": 1}, map[string]any{"sub": "viewer", "x": 1}, nil},
	} {
		cwt, jwt := map[any]any{claimEXP: exp, claimISS: "us"}, map[string]any{"exp": exp, "iss": "us"}
		for k, v := range c.cwt {
			if cwt[k] = v; v == nil {
				delete(cwt, k)
			}
		}
		for k, v := range c.jwt {
			if jwt[k] = v; v == nil {
				delete(jwt, k)
			}
		}
		one, err1 := by["k1"].CWT(cwt)
		two, err2 := by["k1"].JWT(jwt)
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(c.name, err)
		}
		for form, text := range map[string]string{"CWT": one, "JWT": two} {
			claims, err := NewVerifier(keys).Verify(text, "acme")
			if err == nil {
				err = claims.Permit(&Policy{Issuers: []string{"us"}, Audience: "here"}, &segment, now)
			}
			if !errors.Is(err, c.want) || err == nil && c.want != nil {
				t.Errorf("%s as %s: %v, want %v", c.name, form, err, c.want)
			}
		}
	}
}

// TestSignatures: a token opens only with the key that it names, of the tenant,
// by the algorithm of that key, and as it was signed.
func TestSignatures(t *testing.T) {
	keys, by := ring(t, "k1", "k2:acme", "k3:globex")
	other, _ := ring(t, "k1")
	v := NewVerifier(keys)
	for name, make := range map[string]func(k *Key) string{
		"CWT": func(k *Key) string { s, _ := k.CWT(map[any]any{claimEXP: now.Add(time.Hour).Unix()}); return s },
		"JWT": func(k *Key) string { s, _ := k.JWT(map[string]any{"exp": now.Add(time.Hour).Unix()}); return s },
		"URL": func(k *Key) string { s, _ := k.Sign("/acme/*", now.Add(time.Hour)); return s },
	} {
		text := make(by["k2"])
		for i := range 2 { // the second time it is known
			if _, err := v.Verify(text, "acme"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if _, err := v.Verify(text, "globex"); !errors.Is(err, UnknownKey) {
				t.Errorf("%s: another tenant's, %d: %v", name, i, err)
			}
		}
		if _, err := v.Verify(make(by["k3"]), "acme"); !errors.Is(err, UnknownKey) {
			t.Errorf("%s: the key of another tenant: %v", name, err)
		}
		if _, err := v.Verify(make(other.list[0]), "acme"); !errors.Is(err, BadSignature) {
			t.Errorf("%s: a key of the same name: %v", name, err)
		}
		// No bit of it may be changed.
		for i := range text {
			for _, c := range []byte{text[i] ^ 1, text[i] ^ 4} {
				forged := text[:i] + string(c) + text[i+1:]
				if claims, err := v.Verify(forged, "acme"); err == nil && !sameBytes(forged, text) {
					t.Fatalf("%s: changed at %d: %q opens: %+v", name, i, forged, claims)
				}
			}
		}
		for n := range len(text) {
			if _, err := v.Verify(text[:n], "acme"); err == nil && !sameBytes(text[:n], text) {
				t.Fatalf("%s: the first %d of %d characters open", name, n, len(text))
			}
		}
	}
	if _, err := v.Verify("", "acme"); !errors.Is(err, Missing) {
		t.Error(err)
	}
	if _, err := v.Verify(strings.Repeat("a", MaxBytes+1), "acme"); !errors.Is(err, Malformed) {
		t.Error(err)
	}
}

// sameBytes reports whether two texts are the same in base64, whose last
// character has bits to spare.
func sameBytes(a, b string) bool {
	x, err := b64.DecodeString(a)
	y, err2 := b64.DecodeString(b)
	return err == nil && err2 == nil && string(x) == string(y)
}

// TestAlgorithmsAreTheKeys: what a token says of its algorithm does not make a
// public key a secret, or need none.
func TestAlgorithmsAreTheKeys(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	x, y := point[1:33], point[33:]
	set := fmt.Sprintf(`{"keys": [{"kty": "EC", "kid": "e", "crv": "P-256", "x": %q, "y": %q}]}`, b64.EncodeToString(x), b64.EncodeToString(y))
	keys, err := ParseKeys([]byte(set))
	if err != nil {
		t.Fatal(err)
	}
	v := NewVerifier(keys)
	claims := map[string]any{"exp": now.Add(time.Hour).Unix()}
	forger := &Key{ID: "e", Algorithm: HS256, secret: point[1:]}
	text, _ := forger.JWT(claims)
	if _, err := v.Verify(text, "acme"); !errors.Is(err, UnknownKey) {
		t.Errorf("a public key as a secret: %v", err)
	}
	none := b64.EncodeToString([]byte(`{"alg":"none","kid":"e"}`)) + "." + strings.Split(text, ".")[1] + "."
	if _, err := v.Verify(none, "acme"); err == nil {
		t.Error("a token that nobody signed opens")
	}
	// Another program's COSE, of both keys that have two halves.
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	set = fmt.Sprintf(`{"keys": [{"kty": "EC", "kid": "e", "crv": "P-256", "x": %q, "y": %q}, {"kty": "RSA", "kid": "r", "n": %q, "e": "AQAB"}]}`,
		b64.EncodeToString(x), b64.EncodeToString(y), b64.EncodeToString(rsaKey.N.Bytes()))
	if keys, err = ParseKeys([]byte(set)); err != nil {
		t.Fatal(err)
	}
	v = NewVerifier(keys)
	for _, c := range []struct {
		kid    string
		alg    cose.Algorithm
		signer any
	}{{"e", cose.AlgorithmES256, ec}, {"r", cose.AlgorithmPS256, rsaKey}} {
		var signer cose.Signer
		if c.kid == "e" {
			signer, err = cose.NewSigner(c.alg, ec)
		} else {
			signer, err = cose.NewSigner(c.alg, rsaKey)
		}
		if err != nil {
			t.Fatal(err)
		}
		payload, err := cbor.Marshal(map[int]any{claimEXP: now.Add(time.Hour).Unix(), claimCatU: map[int]any{3: map[int]any{1: "/acme/"}}})
		if err != nil {
			t.Fatal(err)
		}
		m := cose.NewSign1Message()
		m.Headers.Protected.SetAlgorithm(c.alg)
		m.Headers.Unprotected[cose.HeaderLabelKeyID] = []byte(c.kid)
		m.Payload = payload
		if err := m.Sign(rand.Reader, nil, signer); err != nil {
			t.Fatal(err)
		}
		tagged, err := m.MarshalCBOR()
		if err != nil {
			t.Fatal(err)
		}
		untagged := tagged[1:]
		cwt, _ := cbor.Marshal(cbor.Tag{Number: tagCWT, Content: cbor.RawMessage(tagged)})
		for form, b := range map[string][]byte{"tagged": tagged, "untagged": untagged, "as CWT": cwt} {
			claims, err := v.Verify(b64.EncodeToString(b), "acme")
			if err != nil {
				t.Errorf("%s %s: %v", c.kid, form, err)
				continue
			}
			if err := claims.Permit(&Policy{}, &segment, now); err != nil {
				t.Errorf("%s %s: %v", c.kid, form, err)
			}
			if s, err := claims.Renew(now); s != "" || err != nil {
				t.Errorf("a key that only verifies made %q %v", s, err)
			}
		}
		tagged[len(tagged)-1] ^= 1
		if _, err := v.Verify(b64.EncodeToString(tagged), "acme"); !errors.Is(err, BadSignature) {
			t.Errorf("%s: %v", c.kid, err)
		}
	}
}

// TestCriticalHeaders: what must be understood and is not refuses the token.
func TestCriticalHeaders(t *testing.T) {
	keys, by := ring(t, "k1")
	k := by["k1"]
	protected, _ := encoding.Marshal(map[any]any{labelAlg: 5, labelKid: []byte("k1"), labelCrit: []any{99}, 99: 1})
	payload, _ := encoding.Marshal(map[any]any{claimEXP: now.Add(time.Hour).Unix()})
	signed, _ := encoding.Marshal([]any{"MAC0", protected, []byte{}, payload})
	b, _ := encoding.Marshal(cbor.Tag{Number: tagMac0, Content: coseOf(protected, payload, k.mac(signed))})
	if _, err := NewVerifier(keys).Verify(b64.EncodeToString(b), "acme"); !errors.Is(err, Unsupported) {
		t.Error(err)
	}
	header := b64.EncodeToString([]byte(`{"alg":"HS256","kid":"k1","crit":["x"],"x":1}`)) + "." + b64.EncodeToString([]byte(`{"exp":9999999999}`))
	if _, err := NewVerifier(keys).Verify(header+"."+b64.EncodeToString(k.mac([]byte(header))), "acme"); !errors.Is(err, Unsupported) {
		t.Error(err)
	}
}

func coseOf(protected, payload, mac []byte) any {
	return []any{protected, map[any]any{}, payload, mac}
}

func TestRenew(t *testing.T) {
	_, by := ring(t, "k1")
	k := by["k1"]
	keys := &Keys{[]*Key{k}}
	exp := now.Add(time.Minute)
	renewal := map[any]any{int64(0): int64(ByCookie), int64(1): 300, int64(2): 30}
	cwt, _ := k.CWT(map[any]any{claimEXP: exp.Unix(), claimCatR: renewal, claimCatNIP: []any{cbor.Tag{Number: tagIPv4, Content: []byte{192, 0, 2, 7}}}})
	jwt, _ := k.JWT(map[string]any{"exp": exp.Unix(), "catr": map[string]any{"type": "header", "expadd": 300, "deadline": 30, "header-name": "X-Next"}})
	plain, _ := k.CWT(map[any]any{claimEXP: exp.Unix()})
	sure := func(text string) *Claims {
		t.Helper()
		c, err := NewVerifier(keys).Verify(text, "acme")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, text := range []string{cwt, jwt} {
		c := sure(text)
		if s, err := c.Renew(exp.Add(-31 * time.Second)); s != "" || err != nil {
			t.Errorf("before its time: %q %v", s, err)
		}
		s, err := c.Renew(exp.Add(-30 * time.Second))
		if err != nil || s == "" {
			t.Fatalf("%q %v", s, err)
		}
		next := sure(s)
		if want := exp.Add(270 * time.Second); !next.Expires.Equal(want) || len(next.Networks) != len(c.Networks) || next.Renewal != c.Renewal {
			t.Errorf("%+v, want an end at %v", next, want)
		}
		if text == jwt && c.Renewal.Header != "X-Next" {
			t.Errorf("%+v", c.Renewal)
		}
	}
	if s, err := sure(plain).Renew(exp.Add(-time.Second)); s != "" || err != nil {
		t.Errorf("without catr: %q %v", s, err)
	}
	bad, _ := k.CWT(map[any]any{claimEXP: exp.Unix(), claimCatR: map[any]any{int64(0): 1, int64(1): 1, int64(3): "a; Domain=evil.example"}})
	if _, err := NewVerifier(keys).Verify(bad, "acme"); !errors.Is(err, Malformed) {
		t.Errorf("a cookie with parameters of its own: %v", err)
	}
}

func TestKeySets(t *testing.T) {
	_, good := NewKey("k1", "acme")
	short := `{"kty": "oct", "kid": "k", "k": "c2hvcnQ"}`
	for name, text := range map[string]string{
		"not JSON": `keys`, "no kid": `{"keys": [{"kty": "oct", "k": "` + strings.Repeat("A", 43) + `"}]}`,
		"a short secret": `{"keys": [` + short + `]}`, "twice": `{"keys": [` + string(good) + `,` + string(good) + `]}`,
		"another algorithm": strings.Replace(`{"keys": [`+string(good)+`]}`, "HS256", "ES256", 1),
		"a bad tenant":      strings.Replace(`{"keys": [`+string(good)+`]}`, `"acme"`, `"Acme"`, 1),
		"no point":          `{"keys": [{"kty": "EC", "kid": "e", "crv": "P-256", "x": "AQ", "y": "AQ"}]}`,
		"a small RSA key":   `{"keys": [{"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"}]}`,
		"an unknown kind":   `{"keys": [{"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": "AQ"}]}`,
		"something after":   `{"keys": []} x`,
	} {
		if _, err := ParseKeys([]byte(text)); err == nil {
			t.Error(name)
		} else if strings.Contains(err.Error(), "c2hvcnQ") {
			t.Errorf("%s: the error has the secret: %v", name, err)
		}
	}
	k, err := ParseKeys([]byte(`{"keys": [` + string(good) + `]}`))
	if err != nil || len(k.list) != 1 {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(good, &fields); err != nil || fields["alg"] != HS256 {
		t.Error(string(good), err)
	}
}

// TestKnownTokensAreBounded: who shows many tokens does not fill memory.
func TestKnownTokensAreBounded(t *testing.T) {
	keys, by := ring(t, "k1")
	v := NewVerifier(keys)
	v.bytes = maxKnown - 2000
	var texts []string
	for i := range 30 {
		s, err := by["k1"].Sign(fmt.Sprintf("/acme/%d/*", i), now.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, s)
		if _, err := v.Verify(s, "acme"); err != nil {
			t.Fatal(err)
		}
		if v.bytes > maxKnown {
			t.Fatalf("%d bytes", v.bytes)
		}
	}
	if len(v.known) == 0 || len(v.known) >= len(texts) {
		t.Errorf("%d are known", len(v.known))
	}
	if n := testing.AllocsPerRun(100, func() {
		for s := range v.known {
			v.Verify(s, "acme")
			break
		}
	}); n > 0 {
		t.Errorf("a known token costs %v allocations", n)
	}
}

func FuzzVerify(f *testing.F) {
	_, text := NewKey("k1")
	keys, err := ParseKeys([]byte(`{"keys": [` + string(text) + `]}`))
	if err != nil {
		f.Fatal(err)
	}
	k := keys.list[0]
	cwt, _ := k.CWT(map[any]any{claimEXP: 9999999999, claimCatU: map[any]any{3: map[any]any{1: "/acme/"}}})
	jwt, _ := k.JWT(map[string]any{"exp": 9999999999, "catp": "/acme/*"})
	signed, _ := k.Sign("/acme/*", now)
	for _, s := range []string{cwt, jwt, signed, "..", "url....", "2D3R"} {
		f.Add(s)
	}
	v := NewVerifier(keys)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := v.Verify(s, "acme")
		if err != nil {
			if c != nil {
				t.Error("an error, and claims")
			}
			return
		}
		c.Permit(&Policy{}, &segment, now)
	})
}

// FuzzClaims reads claims that a key has signed, whatever they are.
func FuzzClaims(f *testing.F) {
	for _, m := range []map[any]any{
		{claimEXP: 9, claimCatU: map[any]any{3: map[any]any{4: []any{"a|b"}}}, claimCatNIP: []any{cbor.Tag{Number: tagIPv4, Content: []any{8, []byte{10}}}}},
		{claimCatR: map[any]any{0: 1, 1: 300}, claimCatM: []any{"GET"}, "catp": "/x*"},
	} {
		b, _ := encoding.Marshal(m)
		f.Add(b)
	}
	f.Add([]byte(`{"exp": 1e300, "catu": {"path": {"regex": "("}}, "catnip": "1.2.3.4/33", "catr": {"type": "cookie"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var raw map[any]any
		if decoding.Unmarshal(b, &raw) == nil {
			if c, err := cwtClaims(raw); err == nil {
				c.Permit(&Policy{}, &segment, now)
			}
		}
		var named map[string]any
		if json.Unmarshal(b, &named) == nil {
			if c, err := jwtClaims(named); err == nil {
				c.Permit(&Policy{}, &segment, now)
			}
		}
	})
}
