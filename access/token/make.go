package token

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// errNotSecret: only a secret key makes tokens here.
var errNotSecret = errors.New("token: the key only verifies")

// CWT makes a Common Access Token of claims, by the numbers of their names.
func (k *Key) CWT(claims map[any]any) (string, error) {
	if k.secret == nil {
		return "", errNotSecret
	}
	payload, err := encoding.Marshal(claims)
	if err != nil {
		return "", err
	}
	protected, err := encoding.Marshal(map[any]any{labelAlg: 5, labelKid: []byte(k.ID)})
	if err != nil {
		return "", err
	}
	signed, err := encoding.Marshal([]any{"MAC0", protected, []byte{}, payload})
	if err != nil {
		return "", err
	}
	c := message{Protected: protected, Unprotected: map[any]any{}, Payload: payload, Signature: k.mac(signed)}
	b, err := encoding.Marshal(cbor.Tag{Number: tagCWT, Content: cbor.Tag{Number: tagMac0, Content: c}})
	return base64.RawURLEncoding.EncodeToString(b), err
}

// JWT makes one of claims, by their names.
func (k *Key) JWT(claims map[string]any) (string, error) {
	if k.secret == nil {
		return "", errNotSecret
	}
	header, err := json.Marshal(map[string]string{"alg": HS256, "typ": "JWT", "kid": k.ID})
	if err != nil {
		return "", err
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	signed := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	return signed + "." + base64.RawURLEncoding.EncodeToString(k.mac([]byte(signed))), nil
}

// The form of a signed URL's query: CAT=url.KID.EXPIRES.PATH.MAC, where KID and
// PATH are in base64url, EXPIRES is Unix time in seconds, and MAC is over all
// before it. PATH is a path, or the beginning of one and *. A signed URL is a
// token of another form, so that all that is true of tokens is true of it.
const signedForm = "url"

// Sign makes the token of a signed URL.
func (k *Key) Sign(path string, expires time.Time) (string, error) {
	if k.secret == nil {
		return "", errNotSecret
	}
	s := signedForm + "." + base64.RawURLEncoding.EncodeToString([]byte(k.ID)) + "." + strconv.FormatInt(expires.Unix(), 10) + "." + base64.RawURLEncoding.EncodeToString([]byte(path))
	return s + "." + base64.RawURLEncoding.EncodeToString(k.mac([]byte(s))), nil
}

// parseSigned reads the token of a signed URL, and verifies it.
func parseSigned(fields []string, keys *Keys, tenant string) (*Claims, error) {
	var out [3][]byte
	var errs error
	for i, n := range []int{1, 3, 4} {
		var err error
		out[i], err = base64.RawURLEncoding.Strict().DecodeString(fields[n])
		errs = errors.Join(errs, err)
	}
	expires, err := strconv.ParseInt(fields[2], 10, 64)
	if errs = errors.Join(errs, err); errs != nil || expires < 0 || expires >= mostSeconds || len(out[1]) == 0 {
		return nil, Malformed
	}
	key, err := keys.Find(string(out[0]), HS256, tenant)
	if err != nil {
		return nil, err
	}
	signed := fields[0] + "." + fields[1] + "." + fields[2] + "." + fields[3]
	if err := key.verify([]byte(signed), out[2]); err != nil {
		return nil, err
	}
	return &Claims{Expires: time.Unix(expires, 0), Paths: []string{string(out[1])}, key: key}, nil
}

// Renew makes the token that follows one in use, where it is time for that by
// what it says itself; "" where it is not, or only a secret that is not here
// could.
func (c *Claims) Renew(now time.Time) (string, error) {
	r := c.Renewal
	if r.Add <= 0 || r.Kind == ByRedirect || c.key.secret == nil || r.Deadline > 0 && now.Before(c.Expires.Add(-r.Deadline)) {
		return "", nil
	}
	expires := now.Add(r.Add).Unix()
	if expires <= c.Expires.Unix() {
		return "", nil
	}
	switch {
	case c.raw != nil:
		next := maps.Clone(c.raw)
		next[int64(claimEXP)] = expires
		return c.key.CWT(next)
	case c.rawJSON != nil:
		next := maps.Clone(c.rawJSON)
		next["exp"] = expires
		return c.key.JWT(next)
	}
	return "", nil
}
