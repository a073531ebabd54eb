package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

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
		if !c.read(name, v) {
			return nil, Malformed
		}
	}
	return c, nil
}
