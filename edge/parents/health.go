package parents

import "time"

const (
	failuresToDown = 3                      // in a row, of a parent that can be reached
	distrustFor    = 10 * time.Second       // a parent that failed is asked after the others for so long
	rampFirst      = 8                      // requests at once to a parent that has come back,
	rampStep       = 100 * time.Millisecond // twice as many in all after each of these,
	rampSteps      = 12                     // and no limit after so many
)

// A health is what is known of one parent, from its answers and from probes.
// It decides and nothing else: time is an argument.
type health struct {
	down       bool
	since      time.Time // with down
	failures   int       // in a row
	back       time.Time // when it came back; zero if it was never down
	started    int       // requests since then
	distrusted time.Time // asked after the others until then
}

func (h *health) succeed() { h.failures = 0 }

// fail enters a failure, and reports whether the parent is down from now on.
// It is dead when it could not even be reached.
func (h *health) fail(now time.Time, dead bool) (wentDown bool) {
	h.failures++
	if h.down || !dead && h.failures < failuresToDown {
		return false
	}
	h.down, h.since = true, now
	if !dead {
		// It may answer probes and yet nothing else.
		h.distrusted = now.Add(distrustFor)
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
	step := now.Sub(h.back) / rampStep
	if step >= rampSteps || h.started < rampFirst<<step {
		return 0
	}
	return h.back.Add((step + 1) * rampStep).Sub(now)
}

// start counts a request.
func (h *health) start() { h.started++ }

// rank orders parents: the lowest is asked first.
func (h *health) rank(now time.Time, tried int) int {
	r := 2 * tried
	if now.Before(h.distrusted) {
		r++
	}
	return r
}
