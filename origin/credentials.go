package origin

import (
	"net/http"
	"strings"
)

// credentials is the secret of a Bearer token or of Basic's password.
func credentials(r *http.Request) (string, bool) {
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return secret, strings.EqualFold(scheme, "Bearer") && secret != "" // RFC 9110, 11.1: the scheme in any case
}
