package token

import (
	"encoding/base64"
	"slices"
	"strings"
	"sync"
)

// A Verifier knows keys, and the tokens that it has verified lately: a viewer
// shows the same one with each request. It forgets all of them with new keys.
type Verifier struct {
	keys *Keys

	mu    sync.Mutex // guards the following
	known map[string]*Claims
	bytes int
}

// maxKnown bounds the tokens that are remembered, in bytes of their text.
const maxKnown = 16 << 20

// NewVerifier verifies with keys.
func NewVerifier(keys *Keys) *Verifier { return &Verifier{keys: keys, known: make(map[string]*Claims)} }

// Verify reads a token and verifies it for a tenant. What it says is still to be
// held against the request: see Permit. text may lie in a buffer that is used again.
func (v *Verifier) Verify(text, tenant string) (*Claims, error) {
	if text == "" {
		return nil, Missing
	}
	if len(text) > MaxBytes {
		return nil, Malformed
	}
	v.mu.Lock()
	c := v.known[text]
	v.mu.Unlock()
	if c == nil {
		var err error
		if c, err = parse(text, v.keys, tenant); err != nil {
			return nil, err
		}
		v.remember(strings.Clone(text), c)
	}
	if !c.key.opens(tenant) {
		return nil, UnknownKey
	}
	return c, nil
}

func (k *Key) opens(tenant string) bool {
	return len(k.Tenants) == 0 || slices.Contains(k.Tenants, tenant)
}

// remember keeps a token that is verified, in place of any other where there is
// no room: those that are in use are soon back.
func (v *Verifier) remember(text string, c *Claims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.known[text]; ok {
		return
	}
	v.bytes += len(text)
	v.known[text] = c
	for old := range v.known {
		if v.bytes <= maxKnown {
			break
		}
		if old != text {
			delete(v.known, old)
			v.bytes -= len(old)
		}
	}
}

// parse reads a token of any form.
func parse(text string, keys *Keys, tenant string) (*Claims, error) {
	switch fields := strings.Split(text, "."); {
	case len(fields) == 5 && fields[0] == signedForm:
		return parseSigned(fields, keys, tenant)
	case len(fields) == 3:
		return parseJWT(text, keys, tenant)
	case len(fields) != 1:
		return nil, Malformed
	}
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, Malformed
	}
	return parseCWT(b, keys, tenant)
}
