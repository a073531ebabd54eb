package edge

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"headwater/access/token"
	"headwater/edge/exchange"
	"headwater/live"
)

// Who may watch. An event says whether viewers must show a token; it is verified
// here, with keys that are here, without asking anyone. It is no part of what is
// asked for: who may watch gets what the cache has, as all do. Nodes below this one,
// and of its site, show credentials of their own and hold their viewers to it.

// shown is what a request shows of who asks. It may lie in a buffer.
type shown struct {
	authorization, token, cookie, query, origin, host string
	secure                                            bool
	address                                           netip.Addr
}

func show(s exchange.Said) shown {
	if s == nil {
		return shown{}
	}
	return shown{authorization: s.Field("authorization"), token: s.Field("cta-common-access-token"), cookie: s.Field("cookie"),
		query: s.Query(), origin: s.Field("origin"), host: s.Host(), secure: s.Secure(), address: s.Address()}
}

// keepShown makes what is shown the request's own, for when it has waited.
func (q *request) keepShown() {
	if q.Said == nil || q.shown != nil {
		return
	}
	s := show(q.Said)
	for _, p := range []*string{&s.authorization, &s.token, &s.cookie, &s.query, &s.origin, &s.host} {
		*p = strings.Clone(*p)
	}
	q.shown = &s
}

// authorise lets a request on: where the event says so, only with a token that
// opens what is asked for.
func (q *request) authorise() step {
	v := q.config.Viewers
	if v == nil {
		return stepSelect
	}
	var s shown
	if q.shown != nil {
		s = *q.shown
	} else {
		s = show(q.Said)
	}
	q.trusted = q.ed.trusts(s.authorization)
	if q.Path.File == live.FileConfig {
		q.keepShown() // who waits here is located again
	}
	if slices.Contains(v.Origins, s.origin) {
		q.origin = strings.Clone(s.origin)
	}
	if !v.Tokens || q.trusted {
		return stepSelect
	}
	if err := q.open(v, &s); err != nil {
		return q.refuseToken(err)
	}
	return stepSelect
}

// open finds a token that opens what is asked for.
func (q *request) open(v *live.Viewers, s *shown) error {
	verifier, now := q.ed.cfg.Tokens(), q.now()
	policy := token.Policy{Issuers: v.Issuers, Audience: v.Audience}
	r := token.Request{Method: q.Method, Scheme: "http", Host: s.host, Path: q.Path.String(), Address: s.address}
	if s.secure {
		r.Scheme = "https"
	}
	var err error = token.Missing
	for _, text := range s.tokens() {
		if text == "" {
			continue
		}
		var c *token.Claims
		if c, err = verifier.Verify(text, q.Path.Event.Tenant); err != nil {
			continue
		}
		if err = c.Permit(&policy, &r, now); err != nil {
			continue
		}
		q.ends = c.Expires
		q.renew(c, s, now)
		return nil
	}
	return err
}

// tokens are those that a request shows, in the order in which they are tried.
func (s *shown) tokens() [4]string {
	scheme, secret, _ := strings.Cut(s.authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		secret = ""
	}
	return [...]string{s.token, secret, member(s.cookie, ';', token.CookieName), member(s.query, '&', token.QueryName)}
}

// member is the value of name in a list of NAME=VALUE.
func member(list string, separator byte, name string) string {
	for list != "" {
		item := list
		if i := strings.IndexByte(list, separator); i >= 0 {
			item, list = list[:i], list[i+1:]
		} else {
			list = ""
		}
		if n, v, ok := strings.Cut(strings.TrimLeft(item, " "), "="); ok && n == name {
			return strings.TrimRight(v, " ")
		}
	}
	return ""
}

// renew gives a viewer the token that follows his, where his says so.
func (q *request) renew(c *token.Claims, s *shown, now time.Time) {
	next, err := c.Renew(now)
	if next == "" || err != nil {
		return
	}
	switch r := c.Renewal; r.Kind {
	case token.ByHeader:
		q.renewed = [2]string{http.CanonicalHeaderKey(r.Header), next}
	default:
		cookie := http.Cookie{Name: r.Cookie, Value: next, Path: "/" + q.Path.Event.String() + "/", MaxAge: int(r.Add / time.Second), HttpOnly: true, Secure: s.secure}
		if s.secure && q.origin != "" {
			cookie.SameSite = http.SameSiteNoneMode // a page of another site plays it
		}
		q.renewed = [2]string{"Set-Cookie", cookie.String()}
	}
	q.ed.metrics.tokensRenewed.Inc()
}

// refuseToken answers that a request shows no token that opens it. Caches must not
// answer others with that, and it says no more of the event than that it exists.
func (q *request) refuseToken(err error) step {
	reason := token.ReasonOf(err)
	q.ed.metrics.tokensRefused[reason].Inc()
	q.outcome = "" // it was not met
	return q.refuse(live.ErrToken.With(string(reason)))
}

// over reports whether the token of a request that is held has ended.
func (q *request) over() bool { return !q.ends.IsZero() && !time.Now().Before(q.ends) }

// trusts reports whether a node sends a request: of the site, or below this one.
func (ed *Edge) trusts(authorization string) bool {
	return ed.cfg.Peers != nil && ed.cfg.Peers(authorization)
}

// guarded are the fields about who may read an answer.
func (q *request) guarded(f *exchange.Fields) {
	v := (*live.Viewers)(nil)
	if q.config != nil {
		v = q.config.Viewers
	}
	if v == nil || len(v.Origins) == 0 {
		f.Add(cors)
	} else {
		f.Put("Vary", "Origin")
		if q.origin != "" {
			f.Put("Access-Control-Allow-Origin", q.origin)
			f.Put("Access-Control-Allow-Credentials", "true")
			f.Put("Access-Control-Expose-Headers", live.ExposedHeaders)
			f.Put("Timing-Allow-Origin", q.origin)
		}
	}
	if q.renewed[0] != "" {
		f.Put(q.renewed[0], q.renewed[1])
	}
}

// private reports whether only who asked may keep the answer.
func (q *request) private() bool {
	return q.config != nil && q.config.NeedsToken() && !q.trusted
}

// scope begins the value of Cache-Control.
func (q *request) scope(b []byte) []byte {
	if q.private() {
		b = append(b, "private, "...)
	}
	return b
}

// preflight answers OPTIONS, of any event and without knowing it: a page may always
// ask, with what its viewers have. Whether it may read the answer is in that.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	live.AllowCORS(h)
	if origin := r.Header.Get("Origin"); origin != "" && origin != "null" {
		h.Set("Vary", "Origin")
		h["Access-Control-Allow-Origin"] = []string{origin}
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	live.ServePreflight(w)
}
