package origin

import (
	"crypto/subtle"
	"fmt"
	"net/http"
	"strings"

	"headwater/live"
)

// authorise checks the tenant's secret.
func (o *Origin) authorise(p *publication) error {
	if len(o.cfg.PublishTokens) == 0 {
		return nil
	}
	secret, ok := credentials(p.r)
	if !ok {
		p.w.Header().Set("WWW-Authenticate", `Bearer realm="publish"`)
		return live.ErrUnauthorized.With("send Authorization: Bearer SECRET, or Basic with SECRET as the password")
	}
	known := false
	for tenant, want := range o.cfg.PublishTokens {
		if subtle.ConstantTimeCompare([]byte(secret), []byte(want)) == 1 {
			known = true
			if tenant == p.path.Event.Tenant {
				return nil
			}
		}
	}
	if known {
		return live.ErrForbidden.With(fmt.Sprintf("the credentials are not for tenant %q", p.path.Event.Tenant))
	}
	p.w.Header().Set("WWW-Authenticate", `Bearer realm="publish"`)
	return live.ErrUnauthorized.With("nobody has these credentials")
}

// credentials is the secret of a Bearer token or of Basic's password.
func credentials(r *http.Request) (string, bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return secret, strings.EqualFold(scheme, "Bearer") && secret != "" // RFC 9110, 11.1: the scheme in any case
}
