package edge

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

// What a race does next, by what is known.
func TestRaceDecides(t *testing.T) {
	now := time.Unix(1000, 0)
	s := func(d float64) time.Time { return now.Add(time.Duration(d * float64(time.Second))) }
	for name, c := range map[string]struct {
		s    stage
		want move
	}{
		"nothing was tried":                         {stage{first: true, until: s(2), untried: true}, move{tryNext, now}},
		"nothing was tried, and it is late":         {stage{first: true, until: s(-1), untried: true}, move{tryNext, now}},
		"one failed":                                {stage{until: s(2), untried: true}, move{tryNext, now}},
		"one failed, and it is late":                {stage{until: s(0)}, move{giveUp, now}},
		"all failed just now":                       {stage{until: s(2), notBefore: s(0.5)}, move{look, s(0.5)}},
		"all failed, and time is short":             {stage{until: s(0.2), notBefore: s(0.5)}, move{look, s(0.2)}},
		"one refused, another is untried":           {stage{refused: true, sure: true, untried: true, until: s(2)}, move{tryNext, now}},
		"all refused":                               {stage{refused: true, sure: true, until: s(2)}, move{giveUp, now}},
		"all refused, but others may come":          {stage{refused: true, until: s(2)}, move{tryNext, now}},
		"one runs, and is in time":                  {stage{running: 1, until: s(2), late: s(0.25), untried: true}, move{look, s(0.25)}},
		"one runs, and is late":                     {stage{running: 1, until: s(2), late: s(0), untried: true}, move{tryNext, now}},
		"one runs, is late, and is all there is":    {stage{running: 1, until: s(2), late: s(0)}, move{look, s(2.5)}},
		"one runs that may be as late as it likes":  {stage{running: 1, until: s(2), untried: true}, move{look, s(2.5)}},
		"one runs, and no more are made":            {stage{running: 1, until: s(0), late: s(-1), untried: true}, move{look, s(0.5)}},
		"one runs, and even its grace is over":      {stage{running: 1, until: s(-0.5), late: s(-1), untried: true}, move{giveUp, now}},
		"one runs, and the way may be another soon": {stage{running: 1, until: s(2), late: s(1), untried: true, again: s(0.3)}, move{look, s(0.3)}},
	} {
		if got := c.s.decide(now); got.what != c.want.what || !got.at.Equal(c.want.at) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		s     stage
		found bool
		wait  time.Duration
		want  move
	}{
		"nobody is up":                    {stage{until: s(2)}, false, 0, move{look, s(2)}},
		"nobody is up, others may be":     {stage{until: s(2), again: s(0.6)}, false, 0, move{look, s(0.6)}},
		"nobody is up, and it is late":    {stage{until: s(0)}, false, 0, move{giveUp, now}},
		"who has come back must not yet":  {stage{until: s(2)}, true, time.Second, move{look, s(1)}},
		"and time is shorter than that":   {stage{until: s(0.5)}, true, time.Second, move{look, s(0.5)}},
		"and there is no time any more":   {stage{until: s(0)}, true, time.Second, move{giveUp, now}},
		"and the way changes before that": {stage{until: s(2), again: s(0.5)}, true, time.Second, move{look, s(1)}},
	} {
		if got := c.s.without(now, c.found, c.wait); got.what != c.want.what || !got.at.Equal(c.want.at) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Beside a peer one more is asked, never a third, and parents of our own only
// when the peer cannot be waiting for what is late for everybody.
func TestWhoIsAskedBeside(t *testing.T) {
	now := time.Unix(1000, 0)
	a, b, own := &parent{name: "a", peer: &peer{}}, &parent{name: "b", peer: &peer{}}, &parent{name: "own"}
	way := func(own_ time.Duration, again time.Time) route {
		return route{parents: []*parent{a, b, own}, own: now.Add(own_), again: again}
	}
	for name, c := range map[string]struct {
		way   route
		peers int
		want  []*parent
		again time.Time
	}{
		"no peer runs":            {way(time.Second, time.Time{}), 0, []*parent{a, b, own}, time.Time{}},
		"one runs":                {way(time.Second, time.Time{}), 1, []*parent{a, b}, now.Add(time.Second)},
		"one runs, and looks":     {way(time.Second, now.Add(time.Millisecond)), 1, []*parent{a, b}, now.Add(time.Millisecond)},
		"one runs for too long":   {way(0, time.Time{}), 1, []*parent{a, b, own}, time.Time{}},
		"two run":                 {way(time.Second, time.Time{}), 2, nil, now.Add(time.Second)},
		"two run for too long":    {way(-1, time.Time{}), 2, []*parent{own}, time.Time{}},
		"three run, which is odd": {way(-1, time.Time{}), 3, []*parent{own}, time.Time{}},
	} {
		before := len(c.way.parents)
		got := c.way.beside(c.peers, now)
		if len(got.parents) != len(c.want) || !got.again.Equal(c.again) || len(c.way.parents) != before {
			t.Errorf("%s: %d, again %v", name, len(got.parents), got.again)
			continue
		}
		for i, p := range got.parents {
			if p != c.want[i] {
				t.Errorf("%s: %s, want %s", name, p.name, c.want[i].name)
			}
		}
	}
}

// What the answer to a probe means.
func TestHearingOfAPeer(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(1000+int64(s), 0) }
	told := live.SiteNode{Name: "b", ID: "n1", Up: 5 * time.Second, From: at(3), Sees: []live.Sight{{Name: "a", Ago: time.Second}}}
	was := known{member: member{name: "b", id: "n1", start: at(5), from: at(3)}, misses: 1, sees: map[string]time.Time{"a": at(0)}}
	for name, c := range map[string]struct {
		was  func(*known)
		told func(*live.SiteNode)
		h    health
		want hearing
	}{
		"nothing new":              {nil, nil, health{}, hearing{}},
		"it was lost":              {nil, nil, health{down: true, since: at(9)}, hearing{back: true, changed: true}},
		"it was lost since":        {nil, nil, health{down: true, since: at(10)}, hearing{stale: true}},
		"it started anew":          {func(k *known) { k.id = "n0" }, nil, health{}, hearing{renewed: true, changed: true}},
		"it is heard of first":     {func(k *known) { k.id = "" }, nil, health{down: true}, hearing{back: true, renewed: true, changed: true}},
		"it has no parents":        {nil, func(n *live.SiteNode) { n.Orphan = true }, health{}, hearing{renewed: true, changed: true}},
		"it still has none":        {func(k *known) { k.orphan = true }, func(n *live.SiteNode) { n.Orphan = true }, health{}, hearing{}},
		"it has parents again":     {func(k *known) { k.orphan = true }, nil, health{}, hearing{changed: true}},
		"it takes on from later":   {nil, func(n *live.SiteNode) { n.From = at(4) }, health{}, hearing{changed: true}},
		"it sees another":          {nil, func(n *live.SiteNode) { n.Sees[0].Name = "c" }, health{}, hearing{changed: true}},
		"it sees one more":         {nil, func(n *live.SiteNode) { n.Sees = append(n.Sees, live.Sight{Name: "c"}) }, health{}, hearing{changed: true}},
		"it sees nobody any more":  {nil, func(n *live.SiteNode) { n.Sees = nil }, health{}, hearing{changed: true}},
		"it saw nobody until then": {func(k *known) { k.sees = nil }, nil, health{}, hearing{changed: true}},
	} {
		k, n := was, told
		n.Sees = append([]live.Sight(nil), told.Sees...)
		if c.was != nil {
			c.was(&k)
		}
		if c.told != nil {
			c.told(&n)
		}
		next, got := k.hear(n, c.h, at(10), at(11))
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
		"one sees it":          {standpoint{peers: []sight{{answered: now, sees: sees}}}, time.Time{}, theirs.Add(margin).Truncate(time.Millisecond)},
		"one goes on":          {standpoint{peers: []sight{{answered: now, sees: sees}}}, now, now},
		"just in time":         {standpoint{peers: []sight{{answered: now.Add(-peerFresh), sees: sees}}}, now, now},
		"too long ago":         {standpoint{peers: []sight{{answered: now.Add(-peerFresh - 1), sees: sees}}}, now, time.Time{}},
		"one is lost":          {standpoint{peers: []sight{{answered: now, sees: sees, down: true}}}, now, time.Time{}},
		"one sees others only": {standpoint{peers: []sight{{answered: now, sees: map[string]time.Time{"c": now}}}}, now, time.Time{}},
		"without parents":      {standpoint{orphan: true, peers: []sight{{answered: now, sees: sees}}}, now, time.Time{}},
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
	own := &parent{name: "origin"}
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
		"held":                                {"a", false, nil, now, "origin", true, now.Add(hedgeAfter)},
		"held, and late for everybody":        {"a", false, nil, now.Add(-hedgeAfter), "origin b", true, time.Time{}},
	} {
		st := standpoint{self: member{name: c.self, id: c.self}, orphan: c.orphan}
		m := map[string]*sight{}
		for _, n := range names {
			if n != c.self {
				st.peers = append(st.peers, sight{member: member{name: n, id: n}, parent: &parent{name: n, peer: &peer{}}})
			}
		}
		for i := range st.peers {
			m[st.peers[i].name] = &st.peers[i]
		}
		if c.edit != nil {
			c.edit(m)
		}
		r := st.route(now, quest{key: key, due: due, own: c.own, step: time.Second}, []*parent{own})
		var got []string
		for _, p := range r.parents {
			got = append(got, p.name)
		}
		if strings.Join(got, " ") != c.want || r.sure != c.sure || !r.again.Equal(c.again) {
			t.Errorf("%s: %q, sure %v, again %v", name, got, r.sure, r.again)
		}
	}
}

// What a configuration means that a parent answered with.
func TestWeighConfiguration(t *testing.T) {
	at := func(d time.Duration) time.Time { return time.Unix(1000, 0).Add(d) }
	long, lag := 20*time.Second, lagMost+time.Second
	known := holding{etag: "x", version: 5, told: 5, asked: at(0), now: at(long)}
	for name, c := range map[string]struct {
		edit    func(*holding)
		etag    string
		version int64
		want    weight
	}{
		"the first":                  {func(h *holding) { *h = holding{told: 5, asked: at(0), now: at(0)} }, "x", 5, weight{verdict: anew, enter: true}},
		"the first, but not newest":  {func(h *holding) { *h = holding{told: 6, asked: at(0), now: at(0)} }, "x", 5, weight{verdict: later, enter: true, lags: true, lagged: at(0)}},
		"a newer one":                {nil, "y", 6, weight{verdict: anew, enter: true}},
		"the same, held":             {nil, "x", 5, weight{verdict: anew, confirmed: true}},
		"the same, at once":          {func(h *holding) { h.now = at(followSoon - 1) }, "x", 5, weight{verdict: later, confirmed: true}},
		"the same, but not newest":   {func(h *holding) { h.told = 6 }, "x", 5, weight{verdict: later, lags: true, lagged: at(0)}},
		"of a parent that lags":      {nil, "w", 4, weight{verdict: later, lags: true, lagged: at(0)}},
		"which lags for a while":     {func(h *holding) { h.lagged = at(long - time.Second) }, "w", 4, weight{verdict: later, lags: true, lagged: at(long - time.Second)}},
		"and for so long that":       {func(h *holding) { h.lagged = at(long - lag) }, "w", 4, weight{verdict: anew, enter: true, lags: true, reset: true}},
		"newer, though not newest":   {func(h *holding) { h.told = 9 }, "y", 6, weight{verdict: later, enter: true, lags: true, lagged: at(0)}},
		"it lagged, and has come up": {func(h *holding) { h.lagged = at(0) }, "y", 6, weight{verdict: anew, enter: true}},
	} {
		h := known
		if c.edit != nil {
			c.edit(&h)
		}
		if got := h.weigh(c.etag, c.version); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}
