package hedge

import (
	"testing"
	"time"
)

// What a plan does, by how the race is doing.
func TestPlanDecides(t *testing.T) {
	now := time.Unix(1000, 0)
	ms := func(n int) time.Time { return now.Add(time.Duration(n) * time.Millisecond) }
	const m = time.Millisecond
	full := Plan{Late: 100 * m, MostLate: 300 * m, AtOnce: 3, Pause: 20 * m, MostPause: 100 * m, For: time.Second}
	twice := Plan{Late: 100 * m, AtOnce: 2, Attempts: 2}
	never := Plan{AtOnce: 2}
	patient := Plan{Late: 100 * m, MostLate: time.Second, AtOnce: 4}
	for name, c := range map[string]struct {
		p    Plan
		s    State
		step Step
		at   time.Time
	}{
		"nothing has begun":             {full, State{}, Begin, time.Time{}},
		"one runs, in time":             {full, State{Begun: 1, Running: 1, Newest: ms(-99)}, Wait, ms(1)},
		"one runs, late":                {full, State{Begun: 1, Running: 1, Newest: ms(-100)}, Begin, ms(100)},
		"one runs, as late as it likes": {never, State{Begun: 1, Running: 1, Newest: ms(-5000)}, Wait, time.Time{}},
		"two run, the newer in time":    {full, State{Begun: 2, Running: 2, Hedges: 1, Newest: ms(-299)}, Wait, ms(1)},
		"two run, the newer late":       {full, State{Begun: 2, Running: 2, Hedges: 1, Newest: ms(-300)}, Begin, ms(300)},
		"two run, after one hedge":      {patient, State{Begun: 2, Running: 2, Hedges: 1, Newest: ms(-399)}, Wait, ms(1)},
		"two run, four times as late":   {patient, State{Begun: 2, Running: 2, Hedges: 1, Newest: ms(-400)}, Begin, ms(400)},
		"three run, as late as may be":  {patient, State{Begun: 3, Running: 3, Hedges: 2, Newest: ms(-1000)}, Begin, ms(1000)},
		"three run":                     {full, State{Begun: 3, Running: 3, Hedges: 2, Newest: ms(-5000)}, Wait, time.Time{}},
		"one of all that there are":     {twice, State{Begun: 2, Running: 1, Hedges: 1, Newest: ms(-5000)}, Wait, time.Time{}},
		"one failed, and was the first": {twice, State{Begun: 1, Failures: 1, Since: ms(-9), Failed: now}, Begin, time.Time{}},
		"all that there are failed":     {twice, State{Begun: 2, Failures: 1, Failed: ms(-5000)}, GiveUp, time.Time{}},
		"one failed just now":           {full, State{Begun: 1, Failures: 1, Since: ms(-9), Failed: now}, Wait, ms(10)},
		"one failed, by chance":         {full, State{Begun: 1, Failures: 1, Since: ms(-9), Failed: now, Chance: 0.5}, Wait, ms(20)},
		"one failed a while ago":        {full, State{Begun: 1, Failures: 1, Since: ms(-99), Failed: ms(-10)}, Begin, time.Time{}},
		"three failed":                  {full, State{Begun: 3, Failures: 3, Since: ms(-99), Failed: now}, Wait, ms(40)},
		"many failed":                   {full, State{Begun: 99, Failures: 99, Since: ms(-99), Failed: now}, Wait, ms(50)},
		"one failed in time":            {full, State{Begun: 9, Failures: 9, Since: ms(-1059), Failed: ms(-60)}, Begin, time.Time{}},
		"one failed, for good":          {full, State{Begun: 9, Failures: 9, Since: ms(-1060), Failed: ms(-60)}, GiveUp, time.Time{}},
	} {
		if step, at := c.p.Decide(now, c.s); step != c.step || !at.Equal(c.at) {
			t.Errorf("%s: %d at %v, want %d at %v", name, step, at.Sub(now), c.step, c.at.Sub(now))
		}
	}
}
