package access

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"headwater/live"
)

// A Credential is one entry of a file of credentials: who it is, what may be
// sent as it, and what it may do. Several secrets at once are for the time in
// which one takes the place of another.
type Credential struct {
	Name string `json:"name"`
	// Secrets are the SHA-256 of secrets, in hexadecimal. Secrets that NewSecret
	// makes cannot be guessed, so their hash needs no salt and no stretching.
	Secrets []string `json:"secrets,omitempty"`
	// Certificates are names in certificates of clients: a DNS name, URI or
	// e-mail address of the subject, or its common name where there are none.
	Certificates []string `json:"certificates,omitempty"`
	Grants       []string `json:"grants"`
	// Expires ends it; zero: never.
	Expires time.Time `json:"expires,omitzero"`
}

// Limits of a file of credentials.
const (
	MaxFileBytes   = 1 << 20
	maxCredentials = 4096
	maxName        = 64
)

// A File is what a file of credentials holds.
type File struct {
	Credentials []Credential `json:"credentials"`
}

// ParseFile reads a file of credentials, strictly: what is misspelt must not
// leave somebody shut out, or let in.
func ParseFile(b []byte) (*File, error) {
	if len(b) > MaxFileBytes {
		return nil, fmt.Errorf("access: more than %d bytes", MaxFileBytes)
	}
	f := new(File)
	if err := live.ParseJSON(b, "file", f); err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	return f, nil
}

// A Keyring finds who sends credentials. It is never changed.
type Keyring struct {
	secrets      []hashed
	certificates map[string]entry
	size         int
}

type entry struct {
	id      *Identity
	expires time.Time
}

type hashed struct {
	entry
	sum [sha256.Size]byte
}

// NewKeyring makes a keyring of credentials.
func NewKeyring(list ...Credential) (*Keyring, error) {
	k := &Keyring{certificates: make(map[string]entry), size: len(list)}
	if len(list) > maxCredentials {
		return nil, fmt.Errorf("access: %d credentials, at most %d", len(list), maxCredentials)
	}
	for i, c := range list {
		fail := func(format string, a ...any) error {
			return fmt.Errorf("access: credentials[%d] (%s): %s", i, c.Name, fmt.Sprintf(format, a...))
		}
		if c.Name == "" || len(c.Name) > maxName || strings.ContainsFunc(c.Name, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return nil, fmt.Errorf("access: credentials[%d]: %q is not a name of 1 to %d printable ASCII characters", i, c.Name, maxName)
		}
		e := entry{&Identity{Name: c.Name}, c.Expires}
		for _, s := range c.Grants {
			g, err := ParseGrant(s)
			if err != nil {
				return nil, fail("%v", err)
			}
			e.id.Grants = append(e.id.Grants, g)
		}
		if len(e.id.Grants) == 0 {
			return nil, fail("it has no grants")
		}
		if len(c.Secrets)+len(c.Certificates) == 0 {
			return nil, fail("it has neither secrets nor certificates")
		}
		for _, s := range c.Secrets {
			b, err := hex.DecodeString(s)
			if err != nil || len(b) != sha256.Size {
				return nil, fail("a secret is not the SHA-256 of one, in hexadecimal")
			}
			h := hashed{entry: e}
			copy(h.sum[:], b)
			for _, x := range k.secrets {
				if x.sum == h.sum {
					return nil, fail("its secret is that of %s", x.id.Name)
				}
			}
			k.secrets = append(k.secrets, h)
		}
		for _, name := range c.Certificates {
			if x, twice := k.certificates[name]; twice || name == "" {
				return nil, fail("certificate %q is empty, or that of %v", name, x.id)
			}
			k.certificates[name] = e
		}
	}
	return k, nil
}

// Secret is who sends a secret at a time; nil where nobody has it. How long it
// takes tells nothing of any secret: hashes are compared, each with all.
func (k *Keyring) Secret(secret string, now time.Time) *Identity {
	sum := sha256.Sum256([]byte(secret))
	var found *Identity
	for i := range k.secrets {
		h := &k.secrets[i]
		if subtle.ConstantTimeCompare(h.sum[:], sum[:]) == 1 && !h.over(now) {
			found = h.id
		}
	}
	return found
}

func (e *entry) over(now time.Time) bool { return !e.expires.IsZero() && !now.Before(e.expires) }

// Certificate is whom a client's certificate stands for, once it is verified;
// nil where that is nobody.
func (k *Keyring) Certificate(cert *x509.Certificate, now time.Time) *Identity {
	names := append(append([]string{}, cert.DNSNames...), cert.EmailAddresses...)
	for _, u := range cert.URIs {
		names = append(names, u.String())
	}
	if len(names) == 0 {
		names = append(names, cert.Subject.CommonName)
	}
	for _, name := range names {
		if e, ok := k.certificates[name]; ok && !e.over(now) {
			return e.id
		}
	}
	return nil
}

// NewSecret makes a secret of 130 random bits, and its hash for a file.
func NewSecret() (secret, hash string) {
	secret = rand.Text()
	return secret, Hash(secret)
}

// Hash is what a file of credentials has of a secret.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
