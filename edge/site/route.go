package site

import (
	"slices"
	"time"

	"headwater/edge/parents"
	"headwater/live"
)

// A standpoint is what this node knows of its site at some time.
type standpoint struct {
	self   member
	orphan bool // no parent answers
	peers  []sight
}

// A sight is what is known of one peer.
type sight struct {
	known
	parent *parents.Parent
	down   bool
	barred bool      // it is not to be asked: it is asking
	since  time.Time // with down
}

// takesOn is from when on this node takes on what is due, where it was was until
// now: not while the others have not said for too long that they see it, and not
// without parents. It decides and nothing else.
func (st *standpoint) takesOn(was, now, theirs time.Time) time.Time {
	seen := false
	for i := range st.peers {
		if x := &st.peers[i]; !x.down && now.Sub(x.answered) <= peerFresh {
			_, sees := x.sees[st.self.name]
			seen = seen || sees
		}
	}
	switch {
	case !seen || st.orphan:
		return time.Time{}
	case was.IsZero():
		return theirs.Add(margin).Truncate(time.Millisecond) // as exact as it is told
	}
	return was
}

// A quest is what a route is for.
type quest struct {
	key  string
	due  time.Time // by the parents' clock
	own  time.Time // as in a request
	step time.Duration
}

// route says where to ask: those who rank before this node, then its own
// parents. It decides and nothing else.
func (st *standpoint) route(now time.Time, q quest, own []*parents.Parent) parents.Route {
	members := make([]member, 0, len(st.peers)+1)
	for i := range st.peers {
		members = append(members, st.peers[i].member)
	}
	self := len(members)
	members = append(members, st.self)
	order := rank(q.key, q.due, members)
	at := slices.Index(order, self)
	before, after := order[:at], order[at+1:]

	r := parents.Route{Own: q.own.Add(time.Duration(max(at-1, 0)) * q.step)}
	add := func(p *parents.Parent) {
		if !slices.Contains(r.Parents, p) {
			r.Parents = append(r.Parents, p)
		}
	}
	for _, i := range before {
		p := &st.peers[i]
		r.Ahead = append(r.Ahead, p.parent)
		switch {
		case p.barred:
		case !p.down:
			add(p.parent)
		case p.id != "":
			relay, sure := st.find(p, order)
			if relay != nil {
				add(relay)
			} else if until := p.since.Add(doubtFor); !sure && now.Before(until) && r.Again.Before(until) {
				r.Again = until
			}
		}
	}
	if r.Sure = r.Again.IsZero(); r.Sure {
		r.Parents = append(r.Parents, own...)
	}
	// Whoever cannot fill goes to the next; and once, where the parents are so
	// late that others may have gone round us.
	spare := q.own.Add(parents.HedgeAfter)
	if late := !q.own.IsZero() && !now.Before(spare); st.orphan || late {
		for _, i := range after {
			if p := &st.peers[i]; !p.down && !p.orphan && !p.barred {
				if add(p.parent); !st.orphan {
					break
				}
			}
		}
	} else if !q.own.IsZero() && r.Again.IsZero() {
		r.Again = spare
	}
	return r
}

// find says what became of a peer that does not answer us: a relay still has
// contact to it, or it is sure that all the others lost it too.
//
// Both count only where the other's word is from after we lost it: when a node
// dies, one finds out before the other, and the other's word from before says
// that it is there.
func (st *standpoint) find(lost *sight, order []int) (relay *parents.Parent, sure bool) {
	sure = true
	for _, i := range order {
		if i == len(st.peers) || st.peers[i].name == lost.name || st.peers[i].down {
			continue
		}
		p := &st.peers[i]
		seen, sees := p.sees[lost.name]
		switch {
		case sees && seen.After(lost.since):
			if !p.barred {
				return p.parent, false
			}
			// It waits for us, and would ask the lost one itself.
		case !p.contact.After(lost.since), sees && seen.After(lost.since.Add(-doubtAgo)):
			sure = false
		}
	}
	return nil, sure
}

// keyOf is what of a path decides who owns it.
func keyOf(p live.Path) string {
	if p.Rendition == "" {
		return p.Event.String()
	}
	return p.Event.String() + "/" + p.Rendition
}
