package live

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// A Pathway is one of the ways by which viewers may have an event: a site of edges, or a
// CDN. Players that know content steering (RFC 8216bis, 7; ETSI TS 103 998) go from one to
// another when they are told.
type Pathway struct {
	// ID is its name, which edges of it are told (edge.Config).
	ID string `json:"id"`
	// URL is scheme, host and port, as viewers have them: http://host:8080. Only the
	// host differs between pathways, which is all that HLS players replace.
	URL string `json:"url"`
}

// Hostname is the host without its port.
func (p Pathway) Hostname() string {
	u, err := url.Parse(p.URL)
	if err != nil {
		return ""
	}
	if strings.Contains(u.Hostname(), ":") {
		return "[" + u.Hostname() + "]"
	}
	return u.Hostname()
}

// MaxPathways bounds those of an event: they are in each of its manifests.
const MaxPathways = 16

func (e *Event) validatePathways() error {
	if n := len(e.Pathways); n > MaxPathways {
		return badField("pathways", "%d given, at most %d are possible", n, MaxPathways)
	}
	for i, p := range e.Pathways {
		at := "pathways[" + strconv.Itoa(i) + "]."
		if !ValidName(p.ID) {
			return badField(at+"id", "%q is not %s", clip(p.ID), namePattern)
		}
		u, err := url.Parse(p.URL)
		if err != nil || !plain(p.URL) || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || p.URL != u.Scheme+"://"+u.Host {
			return badField(at+"url", "%q is not scheme and host alone, like https://edge.example", clip(p.URL))
		}
		if first, _ := url.Parse(e.Pathways[0].URL); u.Scheme != first.Scheme || u.Port() != first.Port() {
			return badField(at+"url", "%q has another scheme or port than the first: HLS players replace the host alone", clip(p.URL))
		}
		if slices.ContainsFunc(e.Pathways[:i], func(o Pathway) bool { return o.ID == p.ID }) {
			return badField(at+"id", "%q is there twice", p.ID)
		}
	}
	return nil
}
