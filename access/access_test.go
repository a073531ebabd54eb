package access

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// identity has the grants that are written as in a file.
func identity(t *testing.T, grants string) *Identity {
	t.Helper()
	id := &Identity{Name: grants}
	for _, s := range strings.Fields(grants) {
		g, err := ParseGrant(s)
		if err != nil {
			t.Fatal(err)
		}
		if g.String() != s {
			t.Errorf("%q is written %q", s, g)
		}
		id.Grants = append(id.Grants, g)
	}
	return id
}

func TestDecide(t *testing.T) {
	publish := func(tenant, pipeline string) Want { return Want{Publish, tenant, pipeline} }
	first := func(tenant, pipeline string) Want { return Want{Init, tenant, pipeline} }
	for _, c := range []struct {
		grants string
		want   Want
		is     Verdict
	}{
		{"publish", publish("acme", "a"), Allowed},
		{"publish:acme", publish("acme", "a"), Allowed},
		{"publish:acme", publish("globex", "a"), WrongTenant},
		{"publish:acme/b", publish("acme", "b"), Allowed},
		{"publish:acme/b", publish("acme", "a"), WrongPipeline},
		{"publish:acme/b", publish("globex", "b"), WrongTenant},
		{"publish:acme/b publish:globex", publish("globex", "a"), Allowed},
		{"init:acme/a", publish("acme", "a"), WrongRight},

		// The init segment of a rendition is all pipelines'.
		{"publish:acme", first("acme", "a"), Allowed},
		{"publish:acme/b", first("acme", "b"), WrongRight},
		{"publish:acme/b init:acme/b", first("acme", "b"), Allowed},
		{"publish:acme/b init:acme/b", first("acme", "a"), WrongPipeline},
		{"publish:acme/b publish:globex", first("acme", "b"), WrongTenant},

		{"read", Want{Right: Read, Tenant: "acme"}, Allowed},
		{"read:acme", Want{Right: Read, Tenant: "acme"}, Allowed},
		{"read:acme", Want{Right: Read}, WrongTenant},
		{"read", Want{Right: Operate, Tenant: "acme"}, WrongRight},
		{"operate", Want{Right: Read, Tenant: "acme"}, Allowed},
		{"operate", Want{Right: Admin, Tenant: "acme"}, WrongRight},
		{"operate:acme", Want{Right: Operate, Tenant: "globex"}, WrongTenant},
		{"admin", Want{Right: Operate, Tenant: "acme"}, Allowed},
		{"admin:acme", Want{Right: Admin, Tenant: "acme"}, Allowed},
		{"admin", publish("acme", "a"), WrongRight},
		{"publish", Want{Right: Operate, Tenant: "acme"}, WrongRight},

		{"deliver", Want{Right: Deliver, Tenant: "acme"}, Allowed},
		{"deliver:acme", Want{Right: Deliver, Tenant: "globex"}, WrongTenant},
		{"publish:acme/b", Want{Right: Deliver, Tenant: "acme"}, Allowed}, // a packager reads its event
		{"peer", Want{Right: Deliver, Tenant: "acme"}, Allowed},
		{"deliver", Want{Right: Peer}, WrongRight},
		{"admin", Want{Right: Peer}, WrongRight},
		{"peer", Want{Right: Peer}, Allowed},
	} {
		if v := Decide(identity(t, c.grants), c.want); v != c.is {
			t.Errorf("%q %+v: %s, want %s", c.grants, c.want, v, c.is)
		}
		if p := c.is.Problem(c.want); (p == nil) != (c.is == Allowed) {
			t.Errorf("%s: %v", c.is, p)
		}
	}
	if v := Decide(nil, publish("acme", "a")); v != Unknown {
		t.Errorf("nobody: %s", v)
	}
	for r := range rights {
		if v := Decide(Anyone, Want{r, "acme", "a"}); v != Allowed {
			t.Errorf("anyone may not %s: %s", r, v)
		}
	}
}

func TestGrantsThatAreNone(t *testing.T) {
	for _, s := range []string{"", "fly", "publish:", "publish:Acme", "publish:acme/", "publish:acme/A", "publish:acme/a/b", "read:acme/a", "peer:acme", "publish/a", "deliver:acme/a"} {
		if g, err := ParseGrant(s); err == nil {
			t.Errorf("%q is %v", s, g)
		}
	}
}

func TestKeyring(t *testing.T) {
	now := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	k, err := NewKeyring(
		Credential{Name: "a", Secrets: []string{Hash("old"), Hash("new")}, Grants: []string{"publish:acme/a"}},
		Credential{Name: "b", Secrets: []string{Hash("b")}, Grants: []string{"publish:acme/b"}, Expires: now},
		Credential{Name: "edge", Certificates: []string{"edge.example", "spiffe://example/edge"}, Grants: []string{"deliver", "peer"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	for secret, name := range map[string]string{"old": "a", "new": "a", "b": "", "": "", "edge.example": "", Hash("old"): ""} {
		id := k.Secret(secret, now)
		if got := nameOf(id); got != name {
			t.Errorf("%q is %q, want %q", secret, got, name)
		}
	}
	if nameOf(k.Secret("b", now.Add(-1))) != "b" {
		t.Error("a credential ends before it expires")
	}
	spiffe, _ := url.Parse("spiffe://example/edge")
	for _, c := range []struct {
		cert *x509.Certificate
		name string
	}{
		{&x509.Certificate{DNSNames: []string{"x.example", "edge.example"}}, "edge"},
		{&x509.Certificate{URIs: []*url.URL{spiffe}}, "edge"},
		{&x509.Certificate{Subject: pkix.Name{CommonName: "edge.example"}}, "edge"},
		// A common name says nothing where there are others.
		{&x509.Certificate{Subject: pkix.Name{CommonName: "edge.example"}, DNSNames: []string{"x.example"}}, ""},
		{&x509.Certificate{}, ""},
	} {
		if got := nameOf(k.Certificate(c.cert, now)); got != c.name {
			t.Errorf("%v: %q, want %q", c.cert.Subject, got, c.name)
		}
	}
}

func nameOf(id *Identity) string {
	if id == nil {
		return ""
	}
	return id.Name
}

func TestFilesThatAreNone(t *testing.T) {
	one := `{"name": "a", "secrets": ["` + Hash("s") + `"], "grants": ["publish:acme"]}`
	if f, err := ParseFile([]byte(`{"credentials": [` + one + `]}`)); err != nil || len(f.Credentials) != 1 {
		t.Fatal(f, err)
	}
	for name, text := range map[string]string{
		"not JSON":           `credentials`,
		"an unknown field":   `{"credentials": [{"name": "a", "secret": "s", "grants": ["publish"]}]}`,
		"something after it": `{"credentials": []} x`,
	} {
		if _, err := ParseFile([]byte(text)); err == nil {
			t.Error(name)
		}
	}
	for name, text := range map[string]string{
		"no name":           `{"secrets": ["` + Hash("s") + `"], "grants": ["publish"]}`,
		"a line in a name":  `{"name": "a\nb", "secrets": ["` + Hash("s") + `"], "grants": ["publish"]}`,
		"no grants":         `{"name": "a", "secrets": ["` + Hash("s") + `"], "grants": []}`,
		"a grant of none":   `{"name": "a", "secrets": ["` + Hash("s") + `"], "grants": ["fly"]}`,
		"nothing to send":   `{"name": "a", "grants": ["publish"]}`,
		"a secret as it is": `{"name": "a", "secrets": ["hush"], "grants": ["publish"]}`,
		"one secret of two": one + `, {"name": "b", "secrets": ["` + Hash("s") + `"], "grants": ["admin"]}`,
		"no certificate":    `{"name": "a", "certificates": [""], "grants": ["publish"]}`,
	} {
		f, err := ParseFile([]byte(`{"credentials": [` + text + `]}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := NewKeyring(f.Credentials...); err == nil {
			t.Error(name)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: the error has the secret: %v", name, err)
		}
	}
}

func FuzzCredentials(f *testing.F) {
	f.Add([]byte(`{"credentials": [{"name": "a", "secrets": ["` + Hash("s") + `"], "certificates": ["x"], "grants": ["publish:acme/a"], "expires": "2026-11-23T20:00:00Z"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := ParseFile(b)
		if err != nil {
			return
		}
		k, err := NewKeyring(file.Credentials...)
		if err != nil {
			return
		}
		for _, secret := range []string{"", "s"} {
			listed := slices.ContainsFunc(file.Credentials, func(c Credential) bool {
				return slices.ContainsFunc(c.Secrets, func(h string) bool { return strings.EqualFold(h, Hash(secret)) })
			})
			if id := k.Secret(secret, time.Time{}); id != nil && (!listed || len(id.Grants) == 0) {
				t.Errorf("%q stands for %v; it is in the file: %v", secret, id, listed)
			}
		}
	})
}
