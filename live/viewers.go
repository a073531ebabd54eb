package live

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Viewers says who may watch an event. Edges hold viewers to it; origins then
// deliver the event only to whom may fill.
type Viewers struct {
	// Tokens says that viewers must show a token. Default: anybody may watch.
	Tokens bool `json:"tokens,omitempty"`
	// Issuers are whose tokens are taken. Default: whoever has a key.
	Issuers []string `json:"issuers,omitempty"`
	// Audience is what tokens that are for somebody in particular must name.
	Audience string `json:"audience,omitempty"`
	// Origins are those of pages that may read the event with their viewers'
	// cookies, as https://www.example. Default: any page may read it, without.
	Origins []string `json:"origins,omitempty"`
}

// Limits of who may watch.
const (
	maxIssuers = 16
	maxOrigins = 32
	maxIssuer  = 256 // characters
)

// NeedsToken reports whether viewers must show a token.
func (e *Event) NeedsToken() bool { return e.Viewers != nil && e.Viewers.Tokens }

func (v *Viewers) validate() error {
	if v == nil {
		return nil
	}
	switch {
	case len(v.Issuers) > maxIssuers:
		return badField("viewers.issuers", "%d given, at most %d are possible", len(v.Issuers), maxIssuers)
	case len(v.Origins) > maxOrigins:
		return badField("viewers.origins", "%d given, at most %d are possible", len(v.Origins), maxOrigins)
	case len(v.Audience) > maxIssuer:
		return badField("viewers.audience", "is longer than %d characters", maxIssuer)
	}
	for i, s := range v.Issuers {
		if s == "" || len(s) > maxIssuer {
			return badField("viewers.issuers["+strconv.Itoa(i)+"]", "is empty, or longer than %d characters", maxIssuer)
		}
	}
	for i, s := range v.Origins {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+strings.ToLower(u.Host) != s || !plain(s) {
			return badField("viewers.origins["+strconv.Itoa(i)+"]", "%q is not an origin like https://www.example", s)
		}
		if slices.Contains(v.Origins[:i], s) {
			return badField("viewers.origins["+strconv.Itoa(i)+"]", "%q is there twice", s)
		}
	}
	return nil
}
