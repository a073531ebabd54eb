package site

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"headwater/edge/parents"
	"headwater/live"
)

// What the answer to a probe means.
func TestHearingOfAPeer(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	told := live.SiteNode{Name: "b", ID: "n1", Up: 5 * time.Second, From: at(3), Sees: []live.Sight{{Name: "a", Ago: time.Second}}}
	was := known{member: member{name: "b", id: "n1", start: at(5), from: at(3)}, misses: 1, sees: map[string]time.Time{"a": at(0)}}
	for name, c := range map[string]struct {
		was  func(*known)
		told func(*live.SiteNode)
		lost time.Time // zero: it is not
		want hearing
	}{
		"nothing new":              {nil, nil, time.Time{}, hearing{}},
		"it was lost":              {nil, nil, at(9), hearing{back: true, changed: true}},
		"it was lost since":        {nil, nil, at(10), hearing{stale: true}},
		"it started anew":          {func(k *known) { k.id = "n0" }, nil, time.Time{}, hearing{renewed: true, changed: true}},
		"it is heard of first":     {func(k *known) { k.id = "" }, nil, at(-1), hearing{back: true, renewed: true, changed: true}},
		"it has no parents":        {nil, func(n *live.SiteNode) { n.Orphan = true }, time.Time{}, hearing{renewed: true, changed: true}},
		"it still has none":        {func(k *known) { k.orphan = true }, func(n *live.SiteNode) { n.Orphan = true }, time.Time{}, hearing{}},
		"it has parents again":     {func(k *known) { k.orphan = true }, nil, time.Time{}, hearing{changed: true}},
		"it takes on from later":   {nil, func(n *live.SiteNode) { n.From = at(4) }, time.Time{}, hearing{changed: true}},
		"it sees another":          {nil, func(n *live.SiteNode) { n.Sees[0].Name = "c" }, time.Time{}, hearing{changed: true}},
		"it sees one more":         {nil, func(n *live.SiteNode) { n.Sees = append(n.Sees, live.Sight{Name: "c"}) }, time.Time{}, hearing{changed: true}},
		"it sees nobody any more":  {nil, func(n *live.SiteNode) { n.Sees = nil }, time.Time{}, hearing{changed: true}},
		"it saw nobody until then": {func(k *known) { k.sees = nil }, nil, time.Time{}, hearing{changed: true}},
	} {
		k, n := was, told
		n.Sees = append([]live.Sight(nil), told.Sees...)
		if c.was != nil {
			c.was(&k)
		}
		if c.told != nil {
			c.told(&n)
		}
		next, got := k.hear(n, !c.lost.IsZero(), c.lost, at(10), at(11))
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if got.stale {
			if next.misses != 1 {
				t.Errorf("%s: it counts all the same", name)
			}
			continue
		}
		start := at(5)
		if k.id != n.ID {
			start = at(6) // 5 s before it was heard
		}
		if next.misses != 0 || next.contact != at(10) || next.answered != at(11) || !next.start.Equal(start) || next.id != n.ID ||
			next.orphan != n.Orphan || !next.from.Equal(n.From) || len(next.sees) != len(n.Sees) {
			t.Errorf("%s: %+v", name, next)
		}
		if seen, ok := next.sees["a"]; ok && !seen.Equal(at(9)) {
			t.Errorf("%s: a was seen at %v", name, seen)
		}
	}
}

// Why a peer does not come up is told once for each reason; nothing is of one that did.
func TestPeerThatDoesNotComeUp(t *testing.T) {
	gone, stranger := errors.New("connection refused"), fmt.Errorf("%w: it says %q", errNotPeer, "c")
	k := known{misses: 1}
	if k.unheard(gone) {
		t.Error("it may come yet")
	}
	k.misses = probeMisses
	for i, c := range []struct {
		err  error
		want bool
	}{{gone, true}, {gone, false}, {stranger, true}, {stranger, false}} {
		if got := k.unheard(c.err); got != c.want {
			t.Errorf("probe %d: %v", i, got)
		}
	}
	if up := (&known{member: member{id: "n1"}, misses: probeMisses}); up.unheard(gone) {
		t.Error("it was up: that it is down is told")
	}
}

// From when on a node takes on what is due.
func TestWhenANodeTakesOn(t *testing.T) {
	now := time.Unix(1000, 500_700_000)
	theirs := now.Add(time.Hour)
	sees := map[string]time.Time{"a": now}
	for name, c := range map[string]struct {
		st   standpoint
		was  time.Time
		want time.Time
	}{
		"nobody is there":      {standpoint{}, now, time.Time{}},
		"one sees it":          {standpoint{peers: []sight{{known: known{answered: now, sees: sees}}}}, time.Time{}, theirs.Add(margin).Truncate(time.Millisecond)},
		"one goes on":          {standpoint{peers: []sight{{known: known{answered: now, sees: sees}}}}, now, now},
		"just in time":         {standpoint{peers: []sight{{known: known{answered: now.Add(-peerFresh), sees: sees}}}}, now, now},
		"too long ago":         {standpoint{peers: []sight{{known: known{answered: now.Add(-peerFresh - 1), sees: sees}}}}, now, time.Time{}},
		"one is lost":          {standpoint{peers: []sight{{known: known{answered: now, sees: sees}, down: true}}}, now, time.Time{}},
		"one sees others only": {standpoint{peers: []sight{{known: known{answered: now, sees: map[string]time.Time{"c": now}}}}}, now, time.Time{}},
		"without parents":      {standpoint{orphan: true, peers: []sight{{known: known{answered: now, sees: sees}}}}, now, time.Time{}},
	} {
		c.st.self.name = "a"
		if got := c.st.takesOn(c.was, now, theirs); !got.Equal(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// Where to ask, as one of three nodes sees it.
func TestRoute(t *testing.T) {
	now, due := time.Unix(1000, 0), time.Unix(990, 0)
	own := parents.New("origin")
	names := []string{"a", "b", "c"}
	// The key that ranks them in their order.
	var key string
	for i := 0; ; i++ {
		key = fmt.Sprint("r", i)
		if o := rank(key, due, []member{{name: "a", id: "a"}, {name: "b", id: "b"}, {name: "c", id: "c"}}); o[0] == 0 && o[1] == 1 {
			break
		}
	}
	for name, c := range map[string]struct {
		self   string
		orphan bool
		edit   func(map[string]*sight)
		own    time.Time
		want   string // who is asked, in order
		sure   bool
		again  time.Time
	}{
		"the first":                  {"a", false, nil, time.Time{}, "origin", true, time.Time{}},
		"the second":                 {"b", false, nil, time.Time{}, "a origin", true, time.Time{}},
		"the third":                  {"c", false, nil, time.Time{}, "a b origin", true, time.Time{}},
		"the first asks":             {"b", false, func(m map[string]*sight) { m["a"].barred = true }, time.Time{}, "origin", true, time.Time{}},
		"the first was never there":  {"b", false, func(m map[string]*sight) { m["a"].down, m["a"].id = true, "" }, time.Time{}, "origin", true, time.Time{}},
		"the first is lost just now": {"b", false, func(m map[string]*sight) { m["a"].down, m["a"].since = true, now }, time.Time{}, "", false, now.Add(doubtFor)},
		"the first is lost to all": {"b", false, func(m map[string]*sight) {
			m["a"].down, m["a"].since, m["c"].contact = true, now.Add(-time.Second), now
		}, time.Time{}, "origin", true, time.Time{}},
		"the first is lost to us alone": {"b", false, func(m map[string]*sight) {
			m["a"].down, m["a"].since, m["c"].sees = true, now.Add(-time.Second), map[string]time.Time{"a": now}
		}, time.Time{}, "c origin", true, time.Time{}},
		"nobody knows, for too long":          {"b", false, func(m map[string]*sight) { m["a"].down, m["a"].since = true, now.Add(-doubtFor) }, time.Time{}, "origin", true, time.Time{}},
		"without parents":                     {"a", true, nil, time.Time{}, "origin b c", true, time.Time{}},
		"without parents, and b has none too": {"a", true, func(m map[string]*sight) { m["b"].orphan = true }, time.Time{}, "origin c", true, time.Time{}},
		"held":                                {"a", false, nil, now, "origin", true, now.Add(parents.HedgeAfter)},
		"held, and late for everybody":        {"a", false, nil, now.Add(-parents.HedgeAfter), "origin b", true, time.Time{}},
	} {
		st := standpoint{self: member{name: c.self, id: c.self}, orphan: c.orphan}
		m := map[string]*sight{}
		for _, n := range names {
			if n != c.self {
				st.peers = append(st.peers, sight{known: known{member: member{name: n, id: n}}, parent: parents.NewPeer(n, n)})
			}
		}
		for i := range st.peers {
			m[st.peers[i].name] = &st.peers[i]
		}
		if c.edit != nil {
			c.edit(m)
		}
		r := st.route(now, quest{key: key, due: due, own: c.own, step: time.Second}, []*parents.Parent{own})
		var got []string
		for _, p := range r.Parents {
			got = append(got, p.Base)
		}
		if strings.Join(got, " ") != c.want || r.Sure != c.sure || !r.Again.Equal(c.again) {
			t.Errorf("%s: %q, sure %v, again %v", name, got, r.Sure, r.Again)
		}
	}
}
