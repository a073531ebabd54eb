// Package access decides who may do what: publish as a pipeline, fill from an
// origin, use the control API.
//
// An [Identity] is what credentials stand for: a secret, or the certificate of a
// client. It has grants, and [Decide] holds a [Want] against these, without a
// clock or I/O. A [Keyring] finds the identity; a [Guard] has the keyring of a
// file that may change, and slows down and counts those who guess.
package access

import (
	"fmt"
	"slices"
	"strings"

	"headwater/live"
)

// A Right is what a grant allows.
type Right string

// The rights. Admin includes operate, operate includes read.
const (
	Publish Right = "publish" // PUT segments, and init segments that fit the one viewers have
	Init    Right = "init"    // set the init segment of a rendition, which is all pipelines'
	Deliver Right = "deliver" // fill from a delivery listener
	Read    Right = "read"    // see events, what was done, and metrics
	Operate Right = "operate" // change events that there are
	Admin   Right = "admin"   // create and delete them, and say who may watch
	Peer    Right = "peer"    // be a node of the site
)

// rights says of each what else includes it.
var rights = map[Right][]Right{
	Publish: nil, Init: nil, Deliver: nil, Peer: nil,
	Read: {Operate, Admin}, Operate: {Admin}, Admin: nil,
}

// A Grant is a right, of one tenant or of one pipeline of it; "" is all.
type Grant struct {
	Right            Right
	Tenant, Pipeline string
}

// ParseGrant reads RIGHT, RIGHT:TENANT or, of publish and init, RIGHT:TENANT/PIPELINE.
func ParseGrant(s string) (Grant, error) {
	right, of, scoped := strings.Cut(s, ":")
	tenant, pipeline, one := strings.Cut(of, "/")
	g := Grant{Right(right), tenant, pipeline}
	switch _, known := rights[g.Right]; {
	case !known:
		return g, fmt.Errorf("%q is not a right: there are publish, init, deliver, read, operate, admin and peer", right)
	case scoped && !live.ValidName(tenant):
		return g, fmt.Errorf("%q: %q is not the name of a tenant", s, tenant)
	case one && !live.ValidName(pipeline):
		return g, fmt.Errorf("%q: %q is not the name of a pipeline", s, pipeline)
	case one && g.Right != Publish && g.Right != Init:
		return g, fmt.Errorf("%q: only publish and init are for a pipeline", s)
	case scoped && g.Right == Peer:
		return g, fmt.Errorf("%q: a node of a site is one for all tenants", s)
	}
	return g, nil
}

func (g Grant) String() string {
	s := string(g.Right)
	if g.Tenant != "" {
		s += ":" + g.Tenant
	}
	if g.Pipeline != "" {
		s += "/" + g.Pipeline
	}
	return s
}

// An Identity is who credentials stand for.
type Identity struct {
	Name   string // in logs and in the audit log
	Grants []Grant
}

// Anyone is who asks where no credentials are wanted: everything is allowed.
var Anyone = &Identity{Name: "anyone", Grants: func() (all []Grant) {
	for r := range rights {
		all = append(all, Grant{Right: r})
	}
	return all
}()}

// A Want is what somebody wants to do. An empty tenant is something that is all
// tenants': only grants without a tenant allow it.
type Want struct {
	Right            Right
	Tenant, Pipeline string
}

// A Verdict is what comes of a want.
type Verdict string

// The verdicts.
const (
	Allowed       Verdict = "allowed"
	Unknown       Verdict = "unknown"        // credentials are missing, or nobody's
	WrongRight    Verdict = "wrong-right"    // the identity may not do such a thing
	WrongTenant   Verdict = "wrong-tenant"   // it may, for another tenant
	WrongPipeline Verdict = "wrong-pipeline" // it may, for another pipeline
)

// Decide says whether an identity, nil where it is not known, may do something.
func Decide(id *Identity, w Want) Verdict {
	if id == nil {
		return Unknown
	}
	best := WrongRight
	for _, g := range id.Grants {
		switch {
		case !g.covers(w):
		case g.Tenant != "" && g.Tenant != w.Tenant:
			if best == WrongRight {
				best = WrongTenant
			}
		case g.Pipeline != "" && g.Pipeline != w.Pipeline && w.Right != Deliver:
			best = WrongPipeline
		default:
			return Allowed
		}
	}
	return best
}

// covers reports whether a grant is of the right, whoever's.
func (g Grant) covers(w Want) bool {
	switch {
	case g.Right == w.Right, slices.Contains(rights[w.Right], g.Right):
		return true
	case w.Right == Init:
		// Who may speak for all of a tenant's pipelines may set what is all of
		// theirs; who may speak for one has to be given it.
		return g.Right == Publish && g.Pipeline == ""
	case w.Right == Deliver:
		// A packager reads its event, an operator looks at it, a peer is asked.
		return g.Right != Init
	}
	return false
}

// Problem is the refusal on the wire; nil where it is allowed.
func (v Verdict) Problem(w Want) *live.Problem {
	switch v {
	case Allowed:
		return nil
	case Unknown:
		return live.ErrUnauthorized.With("send Authorization: Bearer SECRET, or Basic with SECRET as the password, or over TLS show a certificate that the credentials name")
	case WrongTenant:
		return live.ErrForbidden.With(fmt.Sprintf("the credentials are not for tenant %q", w.Tenant))
	case WrongPipeline:
		return live.ErrForbidden.With(fmt.Sprintf("the credentials are not for pipeline %q of tenant %q", w.Pipeline, w.Tenant))
	}
	if w.Right == Init {
		return live.ErrForbidden.With("the first init segment of a rendition is all pipelines': PUT this one again when there is one, or get the right init for the pipeline")
	}
	return live.ErrForbidden.With(fmt.Sprintf("the credentials have not the right %s", w.Right))
}
