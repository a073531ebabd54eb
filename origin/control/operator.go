package control

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"headwater/access"
	"headwater/live"
)

// Who may use the control API, and from where. Operators' browsers can be made
// to send requests by pages they only look at, so besides its credentials a
// request must show that it is not such a page's.

// clipTypes are those of a slate's file.
var clipTypes = []string{"video/mp4", "audio/mp4", "application/mp4"}

type identityKey struct{}

// identityOf is who sends a request that control let through.
func identityOf(r *http.Request) *access.Identity {
	id, _ := r.Context().Value(identityKey{}).(*access.Identity)
	return id
}

// mayControl finds out who sends a request, and whether they may do such a thing.
func (s *server) mayControl(w http.ResponseWriter, r *http.Request) (*access.Identity, error) {
	want := access.Want{Right: access.Operate, Tenant: r.PathValue("tenant")}
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		want.Right = access.Read
	case r.Method == http.MethodDelete && r.Pattern == "DELETE "+eventPattern:
		want.Right = access.Admin
	}
	id := s.Access.Identify(w, r)
	v := access.Decide(id, want)
	switch {
	case v == access.WrongTenant && r.Pattern == "GET "+eventsPattern:
		v = access.Allowed // the list has the events of those tenants of which they may see any
	case v != access.Allowed && r.Pattern == "PUT "+eventPattern && s.Book.Get(live.EventID{Tenant: want.Tenant, Name: r.PathValue("event")}) == nil:
		want.Right = access.Admin // it would create one: that is the right to get
		v = access.Decide(id, want)
	}
	if v != access.Allowed {
		if v == access.Unknown {
			w.Header().Set("WWW-Authenticate", `Bearer realm="headwater"`)
		}
		return id, v.Problem(want)
	}
	return id, s.notForeign(r)
}

// notForeign refuses what a foreign page may have sent: a request that its
// browser says comes from another site, and one under a name that is not this
// listener's. Such a name can be made to lead here by whoever owns it (DNS
// rebinding), and browsers then take the answer for that page's own. A secret in
// the header was not put there by a browser.
func (s *server) notForeign(r *http.Request) error {
	if err := new(http.CrossOriginProtection).Check(r); err != nil {
		return live.ErrForbidden.With("the request comes from a page of another site")
	}
	if _, sent := access.SecretOf(r); sent && s.Access != nil && !isBasic(r) {
		return nil
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(host)
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return nil
	}
	// A name without a dot is nobody's on the Internet; with one at its end it is a
	// top-level domain. HTTP/1.0 has no names, and no browser speaks it.
	name := strings.TrimSuffix(host, ".")
	switch {
	case host == "" && (r.Host != "" || r.ProtoAtLeast(1, 1)):
	case !strings.Contains(host, "."), name == "localhost", strings.HasSuffix(name, ".localhost"), slices.Contains(s.Hosts, name):
		return nil
	}
	return live.ErrForbidden.With(fmt.Sprintf("%q is not known as a name of this listener (--control-host)", host))
}

func isBasic(r *http.Request) bool {
	_, _, ok := r.BasicAuth()
	return ok
}

// typed refuses bodies of other types than JSON, and than MP4 where a clip is sent: pages
// of any site may send those.
func typed(r *http.Request) error {
	if r.ContentLength == 0 {
		return nil
	}
	ct := r.Header.Get("Content-Type")
	t, _, err := mime.ParseMediaType(ct)
	clip := r.Pattern == "PUT "+slatePattern
	switch {
	case err == nil && clip && slices.Contains(clipTypes, t), err == nil && !clip && t == "application/json":
		return nil
	case clip:
		return live.ErrNotCMAF.With(fmt.Sprintf("Content-Type is %q: send %s", ct, strings.Join(clipTypes, " or ")))
	}
	return live.ErrNotJSON.With(fmt.Sprintf("Content-Type is %q: send application/json", ct))
}
