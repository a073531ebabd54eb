package origin

import (
	"crypto/subtle"
	"fmt"
	"headwater/live"
	"net/http"
	"strings"
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

func credentials(r *http.Request) (string, bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	return strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
}
