package parents

import (
	"testing"
	"time"

	"headwater/internal/hedge"
)

// What a race does next, by what is known.
func TestRaceDecides(t *testing.T) {
	now := time.Unix(1000, 0)
	s := func(d float64) time.Time { return now.Add(time.Duration(d * float64(time.Second))) }
	for name, c := range map[string]struct {
		s    stage
		want move
	}{
		"nothing was tried":                         {stage{first: true, until: s(2), untried: true}, move{Step: hedge.Begin}},
		"nothing was tried, and it is late":         {stage{first: true, until: s(-1), untried: true}, move{Step: hedge.Begin}},
		"one failed":                                {stage{until: s(2), untried: true}, move{Step: hedge.Begin}},
		"one failed, and it is late":                {stage{until: s(0)}, move{Step: hedge.GiveUp}},
		"all failed just now":                       {stage{until: s(2), notBefore: s(0.5)}, move{Step: hedge.Wait, At: s(0.5)}},
		"all failed, and time is short":             {stage{until: s(0.2), notBefore: s(0.5)}, move{Step: hedge.Wait, At: s(0.2)}},
		"one refused, another is untried":           {stage{refused: true, sure: true, untried: true, until: s(2)}, move{Step: hedge.Begin}},
		"all refused":                               {stage{refused: true, sure: true, until: s(2)}, move{Step: hedge.GiveUp}},
		"all would say the same again":              {stage{spent: true, sure: true, until: s(2)}, move{Step: hedge.GiveUp}},
		"they would, but others may come":           {stage{spent: true, until: s(2)}, move{Step: hedge.Begin}},
		"all refused, but others may come":          {stage{refused: true, until: s(2)}, move{Step: hedge.Begin}},
		"one runs, and is in time":                  {stage{running: 1, until: s(2), late: s(0.25), untried: true}, move{Step: hedge.Wait, At: s(0.25)}},
		"one runs, and is late":                     {stage{running: 1, until: s(2), late: s(0), untried: true}, move{Step: hedge.Begin}},
		"one runs, is late, and is all there is":    {stage{running: 1, until: s(2), late: s(0)}, move{Step: hedge.Wait, At: s(2.5)}},
		"one runs that may be as late as it likes":  {stage{running: 1, until: s(2), untried: true}, move{Step: hedge.Wait, At: s(2.5)}},
		"one runs, and no more are made":            {stage{running: 1, until: s(0), late: s(-1), untried: true}, move{Step: hedge.Wait, At: s(0.5)}},
		"one runs, and even its grace is over":      {stage{running: 1, until: s(-0.5), late: s(-1), untried: true}, move{Step: hedge.GiveUp}},
		"one runs, and the way may be another soon": {stage{running: 1, until: s(2), late: s(1), untried: true, again: s(0.3)}, move{Step: hedge.Wait, At: s(0.3)}},
	} {
		if got := c.s.decide(now); got.Step != c.want.Step || !got.At.Equal(c.want.At) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		s     stage
		found bool
		wait  time.Duration
		want  move
	}{
		"nobody is up":                    {stage{until: s(2)}, false, 0, move{Step: hedge.Wait, At: s(2)}},
		"nobody is up, others may be":     {stage{until: s(2), again: s(0.6)}, false, 0, move{Step: hedge.Wait, At: s(0.6)}},
		"nobody is up, and it is late":    {stage{until: s(0)}, false, 0, move{Step: hedge.GiveUp}},
		"who has come back must not yet":  {stage{until: s(2)}, true, time.Second, move{Step: hedge.Wait, At: s(1)}},
		"and time is shorter than that":   {stage{until: s(0.5)}, true, time.Second, move{Step: hedge.Wait, At: s(0.5)}},
		"and there is no time any more":   {stage{until: s(0)}, true, time.Second, move{Step: hedge.GiveUp}},
		"and the way changes before that": {stage{until: s(2), again: s(0.5)}, true, time.Second, move{Step: hedge.Wait, At: s(1)}},
	} {
		if got := c.s.without(now, c.found, c.wait); got.Step != c.want.Step || !got.At.Equal(c.want.At) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

// Beside a peer one more is asked, never a third, and parents of our own only
// when the peer cannot be waiting for what is late for everybody.
func TestWhoIsAskedBeside(t *testing.T) {
	now := time.Unix(1000, 0)
	a, b, own := NewPeer("a", ""), NewPeer("b", ""), New("http://own")
	way := func(own_ time.Duration, again time.Time) Route {
		return Route{Parents: []*Parent{a, b, own}, Own: now.Add(own_), Again: again}
	}
	for name, c := range map[string]struct {
		way   Route
		peers int
		want  []*Parent
		again time.Time
	}{
		"no peer runs":            {way(time.Second, time.Time{}), 0, []*Parent{a, b, own}, time.Time{}},
		"one runs":                {way(time.Second, time.Time{}), 1, []*Parent{a, b}, now.Add(time.Second)},
		"one runs, and looks":     {way(time.Second, now.Add(time.Millisecond)), 1, []*Parent{a, b}, now.Add(time.Millisecond)},
		"one runs for too long":   {way(0, time.Time{}), 1, []*Parent{a, b, own}, time.Time{}},
		"two run":                 {way(time.Second, time.Time{}), 2, nil, now.Add(time.Second)},
		"two run for too long":    {way(-1, time.Time{}), 2, []*Parent{own}, time.Time{}},
		"three run, which is odd": {way(-1, time.Time{}), 3, []*Parent{own}, time.Time{}},
	} {
		before := len(c.way.Parents)
		got := c.way.beside(c.peers, now)
		if len(got.Parents) != len(c.want) || !got.Again.Equal(c.again) || len(c.way.Parents) != before {
			t.Errorf("%s: %d, again %v", name, len(got.Parents), got.Again)
			continue
		}
		for i, p := range got.Parents {
			if p != c.want[i] {
				t.Errorf("%s: %s, want %s", name, p.Base, c.want[i].Base)
			}
		}
	}
}

// What a parent's status means: what is about the asker is nobody's answer.
func TestWhatAStatusMeans(t *testing.T) {
	for status, want := range map[int]meaning{
		200: anAnswer, 404: anAnswer, 410: anAnswer, 451: anAnswer, 503: aRefusal, 500: aFailure, 502: aFailure, 504: aFailure,
		508: ofTheAsker, 400: ofTheAsker, 401: ofTheAsker, 403: ofTheAsker, 405: ofTheAsker, 407: ofTheAsker, 408: ofTheAsker,
		411: ofTheAsker, 413: ofTheAsker, 414: ofTheAsker, 417: ofTheAsker, 421: ofTheAsker, 426: ofTheAsker, 428: ofTheAsker,
		429: ofTheAsker, 431: ofTheAsker, 204: ofTheAsker, 301: ofTheAsker, 302: ofTheAsker, 304: ofTheAsker, 206: ofTheAsker, 416: ofTheAsker,
	} {
		if got := means(status, false, false); got != want {
			t.Errorf("%d: %v, want %v", status, got, want)
		}
	}
	if means(206, true, false) != anAnswer || means(416, true, false) != anAnswer {
		t.Error("a range was asked for")
	}
	if means(503, false, true) != anAnswer {
		t.Error("a peer passed on what a parent said")
	}
}
