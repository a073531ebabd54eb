package parents

import "time"

const (
	failuresToDown = 3                      // in a row, of a parent that can be reached
	behindFor      = 10 * time.Second       // a parent that did badly is asked after the others for so long,
	behindMost     = 5 * time.Minute        // each time for twice as long, up to that
	trialFor       = 10 * time.Second       // then it is tried by one request, which may take so long
	proof          = 64 << 10               // bytes of bodies that came right and in time clear it
	lateToBehind   = 3                      // answers in a row for which it was outrun
	rampFirst      = 8                      // requests at once to a parent that has come back,
	rampStep       = 100 * time.Millisecond // twice as many in all after each of these,
	rampSteps      = 12                     // and no limit after so many
)

// A health is what is known of one parent, from its answers and from probes.
// It decides and nothing else: time is an argument.
//
// A parent is down where it does not answer: nobody asks it. It is behind where it
// answers and does so badly (too slowly, with wrong bytes, or that it will not): it is
// asked after the others, and then tried by one request at a time.
type health struct {
	down     bool
	since    time.Time // with down
	failures int       // in a row
	back     time.Time // when it came back; zero if it was never down
	started  int       // requests since then

	behind time.Time // asked after the others until then
	times  int       // how often in a row it fell behind; 0: it did not
	lied   bool      // its bytes were wrong: they are looked at before they are shown
	late   int       // answers in a row for which it was outrun
	proven int64     // bytes that came well since it fell behind
	trial  time.Time // when the request began that tries it; zero: none does
}

func (h *health) succeed() { h.failures, h.late = 0, 0 }

// fail enters a failure, and reports whether the parent is down from now on.
// It is dead when it could not even be reached.
func (h *health) fail(now time.Time, dead bool) (wentDown bool) {
	h.failures++
	if h.down || !dead && h.failures < failuresToDown {
		return false
	}
	h.down, h.since = true, now
	if !dead {
		h.fallBehind(now) // it may answer probes and yet nothing else
	}
	return true
}

// recover lets a parent that was down be asked again. Where now is zero it may
// be rushed upon.
func (h *health) recover(now time.Time) {
	h.down, h.failures, h.back, h.started = false, 0, now, 0
}

// wait is for how long the parent is not to be asked: one that has just come back
// is not rushed upon.
func (h *health) wait(now time.Time) time.Duration {
	if h.back.IsZero() {
		return 0
	}
	// Whoever was put aside between reading the clock and asking comes from before it.
	step := max(now.Sub(h.back), 0) / rampStep
	if step >= rampSteps || h.started < rampFirst<<step {
		return 0
	}
	return h.back.Add((step + 1) * rampStep).Sub(now)
}

// start counts a request. One for media tries a parent that was behind for long enough.
func (h *health) start(now time.Time, media bool) {
	h.started++
	if media && h.times > 0 && !h.isBehind(now) {
		h.trial = now
	}
}

// fallBehind has a parent asked after the others, and reports whether it was not
// before. What falls behind together counts once.
func (h *health) fallBehind(now time.Time) bool {
	if now.Before(h.behind) {
		return false
	}
	h.behind = now.Add(min(behindFor<<min(h.times, 10), behindMost))
	h.times++
	h.proven, h.late, h.trial = 0, 0, time.Time{}
	return true
}

// outrun enters that another had long answered when it had not, and reports whether
// that puts it behind the others from now on.
func (h *health) outrun(now time.Time) bool {
	h.late++
	return h.late >= lateToBehind && h.fallBehind(now)
}

// keep enters a body that came right and in time.
func (h *health) keep(now time.Time, size int64) {
	if h.times == 0 || now.Before(h.behind) {
		return
	}
	h.trial = time.Time{} // the next one may be another trial
	if h.proven += size; h.proven >= proof {
		h.times, h.lied, h.proven = 0, false, 0
	}
}

// isBehind reports whether the parent is asked after the others.
func (h *health) isBehind(now time.Time) bool {
	return now.Before(h.behind) || !h.trial.IsZero() && now.Sub(h.trial) < trialFor
}

// rank orders parents: the lowest is asked first. One that is slow goes before one
// that lied.
func (h *health) rank(now time.Time, tried int) int {
	r := 3 * tried
	if h.isBehind(now) {
		if r++; h.lied {
			r++
		}
	}
	return r
}
