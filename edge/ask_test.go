package edge

import (
	"testing"
	"time"
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
