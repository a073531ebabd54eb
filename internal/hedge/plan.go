package hedge

import "time"

// A Plan is when attempts begin that hang on nothing but how those before are
// doing. It decides and nothing else.
type Plan struct {
	// Late is how long the newest attempt may take before another begins beside
	// it; after each hedge four times as long, up to MostLate. Zero: for ever.
	Late, MostLate time.Duration
	AtOnce         int // how many run at once, at most
	Attempts       int // how many are made, at most; 0: as many as it takes
	// Pause is about how long after all have failed the next begins; after each
	// failure twice as long, up to MostPause.
	Pause, MostPause time.Duration
	// For is how long after its beginning the failure of all is final; 0: never.
	For time.Duration
}

// Decide says what comes at now, and at is the Move's.
func (p *Plan) Decide(now time.Time, s State) (step Step, at time.Time) {
	spent := p.Attempts > 0 && s.Begun >= p.Attempts
	switch {
	case s.Begun == 0:
		return Begin, time.Time{}
	case s.Running > 0:
		if p.Late == 0 || s.Running >= p.AtOnce || spent {
			return Wait, time.Time{}
		}
		late := p.Patience(s)
		if at := s.Newest.Add(late); now.Before(at) {
			return Wait, at
		}
		return Begin, now.Add(late)
	case spent, p.For > 0 && s.Failed.Sub(s.Since) >= p.For:
		return GiveUp, time.Time{}
	}
	if at := s.Failed.Add(p.pause(s)); now.Before(at) {
		return Wait, at
	}
	return Begin, time.Time{}
}

// Patience is how long the newest attempt may take before another begins beside it.
func (p *Plan) Patience(s State) time.Duration {
	late := p.Late
	for range s.Hedges {
		late = min(4*late, max(p.MostLate, p.Late))
	}
	return late
}

// pause lies between half and one and a half times its length: those that failed
// at the same time do not come back at the same time.
func (p *Plan) pause(s State) time.Duration {
	pause := p.Pause
	for range min(s.Failures-1, 30) {
		pause = min(2*pause, max(p.MostPause, p.Pause))
	}
	return pause/2 + time.Duration(float64(pause)*s.Chance)
}
