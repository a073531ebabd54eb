package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"

	"headwater/live"
)

// The algorithms, by their names in JOSE.
const (
	HS256 = "HS256" // HMAC with SHA-256
	ES256 = "ES256" // ECDSA on P-256 with SHA-256
	PS256 = "PS256" // RSA-PSS with SHA-256
)

// A Key verifies tokens, and where it is a secret makes them too.
type Key struct {
	ID        string
	Algorithm string
	Tenants   []string // whose events it opens; none: all
	secret    []byte
	public    crypto.PublicKey
}

// Keys are those of a file. They are never changed.
type Keys struct{ list []*Key }

// MaxFileBytes bounds a file of keys.
const (
	MaxFileBytes = 1 << 20
	maxKeys      = 1024
	minSecret    = 32 // bytes: as long as what HMAC makes (RFC 7518, 3.2)
)

// A jwk is a key as JSON (RFC 7517), with the tenants whose events it opens.
type jwk struct {
	Type      string   `json:"kty"`
	ID        string   `json:"kid"`
	Algorithm string   `json:"alg"`
	Tenants   []string `json:"tenants"`
	K         string   `json:"k"`
	Curve     string   `json:"crv"`
	X         string   `json:"x"`
	Y         string   `json:"y"`
	N         string   `json:"n"`
	E         string   `json:"e"`
}

// ParseKeys reads a JSON Web Key Set (RFC 7517, 5). Errors say nothing of secrets.
func ParseKeys(b []byte) (*Keys, error) {
	if len(b) > MaxFileBytes {
		return nil, fmt.Errorf("token: more than %d bytes of keys", MaxFileBytes)
	}
	var set struct {
		Keys []jwk `json:"keys"`
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&set); err != nil {
		return nil, errors.New("token: the keys are not a JSON Web Key Set")
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("token: there is something after the JSON object")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("token: %d keys, at most %d", len(set.Keys), maxKeys)
	}
	out := new(Keys)
	for i := range set.Keys {
		k, err := set.Keys[i].key()
		if err != nil {
			return nil, fmt.Errorf("token: keys[%d] (%s): %w", i, set.Keys[i].ID, err)
		}
		if slices.ContainsFunc(out.list, func(x *Key) bool { return x.ID == k.ID }) {
			return nil, fmt.Errorf("token: keys[%d]: %q is there twice", i, k.ID)
		}
		out.list = append(out.list, k)
	}
	return out, nil
}

func (j *jwk) key() (*Key, error) {
	k := &Key{ID: j.ID, Tenants: j.Tenants}
	if j.ID == "" {
		return nil, errors.New("it has no kid")
	}
	for _, t := range j.Tenants {
		if !live.ValidName(t) {
			return nil, fmt.Errorf("%q is not the name of a tenant", t)
		}
	}
	number := func(s string) (*big.Int, error) {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil || len(b) == 0 {
			return nil, errors.New("a number is not in base64url")
		}
		return new(big.Int).SetBytes(b), nil
	}
	switch j.Type {
	case "oct":
		k.Algorithm = HS256
		var err error
		if k.secret, err = base64.RawURLEncoding.DecodeString(j.K); err != nil {
			return nil, errors.New("k is not in base64url")
		}
		if len(k.secret) < minSecret {
			return nil, fmt.Errorf("k has %d bytes, at least %d are needed", len(k.secret), minSecret)
		}
	case "EC":
		k.Algorithm = ES256
		x, err1 := number(j.X)
		y, err2 := number(j.Y)
		if err := errors.Join(err1, err2); err != nil || j.Curve != "P-256" || x.BitLen() > 256 || y.BitLen() > 256 {
			return nil, errors.New("it is not a key on P-256")
		}
		point := make([]byte, 65) // uncompressed (SEC 1, 2.3.3)
		point[0] = 4
		x.FillBytes(point[1:33])
		y.FillBytes(point[33:])
		pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		if err != nil {
			return nil, errors.New("it is not a point on P-256")
		}
		k.public = pub
	case "RSA":
		k.Algorithm = PS256
		n, err1 := number(j.N)
		e, err2 := number(j.E)
		if err := errors.Join(err1, err2); err != nil || n.BitLen() < 2048 || n.BitLen() > 8192 || !e.IsInt64() || e.Int64() < 3 || e.Int64() > 1<<31-1 {
			return nil, errors.New("it is not an RSA key of 2048 to 8192 bits")
		}
		k.public = &rsa.PublicKey{N: n, E: int(e.Int64())}
	default:
		return nil, fmt.Errorf("kty is %q: there are oct, EC and RSA", j.Type)
	}
	if j.Algorithm != "" && j.Algorithm != k.Algorithm {
		return nil, fmt.Errorf("alg is %q, of such a key it is %s", j.Algorithm, k.Algorithm)
	}
	return k, nil
}

// NewKey makes a secret key, and what a key set has of it.
func NewKey(id string, tenants ...string) (*Key, json.RawMessage) {
	secret := make([]byte, minSecret)
	rand.Read(secret)
	k := &Key{ID: id, Algorithm: HS256, Tenants: tenants, secret: secret}
	fields := map[string]any{"kty": "oct", "kid": id, "alg": HS256, "k": base64.RawURLEncoding.EncodeToString(secret)}
	if len(tenants) > 0 {
		fields["tenants"] = tenants
	}
	b, _ := json.Marshal(fields) // strings only
	return k, b
}

// Len is how many there are.
func (s *Keys) Len() int { return len(s.list) }

// Find is the key of that name for a tenant, with that algorithm. The algorithm
// is the key's, whatever a token says: one that says another is refused. Without
// a name it is the only key that fits.
func (s *Keys) Find(id, algorithm, tenant string) (*Key, error) {
	var found *Key
	for _, k := range s.list {
		if (id != "" && k.ID != id) || k.Algorithm != algorithm || !k.opens(tenant) {
			continue
		}
		if found != nil {
			return nil, UnknownKey // one of several: it must say which
		}
		found = k
	}
	if found == nil {
		return nil, UnknownKey
	}
	return found, nil
}

// Only is the secret key of that name, or the only one, to make tokens with.
func (s *Keys) Only(id string) (*Key, error) {
	var found *Key
	for _, k := range s.list {
		if k.secret != nil && (id == "" || k.ID == id) {
			if found != nil {
				return nil, errors.New("token: there are several keys: name one")
			}
			found = k
		}
	}
	if found == nil {
		return nil, errors.New("token: there is no such secret key")
	}
	return found, nil
}

// verify holds a signature against what was signed.
func (k *Key) verify(signed, signature []byte) error {
	sum := sha256.Sum256(signed)
	ok := false
	switch pub := k.public.(type) {
	case nil:
		ok = hmac.Equal(k.mac(signed), signature)
	case *ecdsa.PublicKey:
		if len(signature) == 64 {
			ok = ecdsa.Verify(pub, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
		}
	case *rsa.PublicKey:
		ok = rsa.VerifyPSS(pub, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	}
	if !ok {
		return BadSignature
	}
	return nil
}

func (k *Key) mac(b []byte) []byte {
	h := hmac.New(sha256.New, k.secret)
	h.Write(b)
	return h.Sum(nil)
}
