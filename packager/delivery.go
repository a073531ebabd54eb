package packager

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"headwater/internal/hedge"
)

// A delivery brings one segment to the origin. What it decides and remembers is of
// one goroutine: that of sender.deliver.
type delivery struct {
	sender   *sender
	seg      *segment
	dests    []*destination
	deadline time.Time
	share    time.Duration
	race     *hedge.Race[*request, answer]

	last      *destination // failed just now
	notBefore time.Time    // the next attempt, while none is open
	inits     int          // how often the init segment was sent again
	final     answer
	level     slog.Level // of failures
}

// A request is what one attempt sends.
type request struct {
	to    *destination
	moved atomic.Int64 // when the connection last took some of the body, in nanoseconds of Unix time; 0: not yet
}

type attempt = hedge.Attempt[*request, answer]

// still is for how long nothing of an attempt has moved.
func still(a *attempt, now time.Time) time.Duration {
	if at := a.To.moved.Load(); at > 0 {
		return now.Sub(time.Unix(0, at))
	}
	return now.Sub(a.Began)
}

// next says what comes. If an attempt is still open it has stalled: it keeps its
// chance while another overtakes it on a connection of its own.
func (d *delivery) next(now time.Time) hedge.Move[*request] {
	open := d.race.Running()
	if !now.Before(d.deadline) {
		// What still moves is waited for, unless newer segments need the way.
		moving := slices.ContainsFunc(open, func(a *attempt) bool { return still(a, now) < d.share })
		if !moving || d.sender.hinders(d.seg) {
			return hedge.Move[*request]{Step: hedge.GiveUp}
		}
		return hedge.Move[*request]{At: now.Add(d.share)}
	}
	to, at := pick(d.dests, d.last, now)
	wait := max(at.Sub(now), d.notBefore.Sub(now))
	if n := len(open); n == maxOpen {
		return hedge.Move[*request]{At: d.deadline}
	} else if n > 0 {
		stalled := open[n-1]
		to, at = pick(d.dests, stalled.To.to, now)
		// While it is slow a second would make it slower. And what takes no longer than
		// all do has not stalled: the store is slow, and not this attempt.
		wait = max(at.Sub(now), max(d.share, d.sender.count.usual(now))-still(stalled, now))
	}
	if wait > 0 {
		return hedge.Move[*request]{At: minTime(now.Add(wait), d.deadline)}
	}
	return hedge.Move[*request]{Step: hedge.Begin, To: &request{to: to}, At: minTime(now.Add(d.share), d.deadline)}
}

// begun counts an attempt that begins.
func (d *delivery) begun(a *attempt) {
	d.last = nil
	a.To.to.begins(a.Began, d.share)
	if !a.Hedge {
		return
	}
	open := d.race.Running() // a is the last
	stalled := open[len(open)-2]
	stalled.To.to.stalled()
	d.log("attempt stalled, another begins", stalled, "after", a.Began.Sub(stalled.Began))
}

// answered takes the result of an attempt. It reports whether the delivery is
// over, with final.
func (d *delivery) answered(ctx context.Context, a *attempt) (over bool) {
	r := a.Value
	switch r.verdict {
	case acked:
		now := time.Now()
		d.sender.count.answer(now, still(a, now))
		d.final = r
		return true
	case refused:
		d.final = r
		return true
	}
	if a.CalledOff() {
		return false // whatever it said, another is under way
	}
	d.log("attempt failed", a, "code", r.code, "detail", r.detail)
	d.final.detail, d.final.code = r.detail, r.code
	open := d.race.Running()
	now := time.Now()
	switch {
	case r.verdict == needInit:
		if d.inits++; d.inits > maxInitRetries {
			d.final = r
			d.final.verdict = refused
			return true
		}
		for _, other := range slices.Clone(open) {
			other.Cancel(hedge.ErrLost) // it would be told the same
		}
		d.sender.initAgain(ctx, d.seg, r.from, d.deadline)
		if d.sender.isUnfit(d.seg) {
			d.final = answer{verdict: unfit, code: r.code, detail: r.detail, from: r.from}
			return true
		}
	case len(open) > 0: // the other one goes on
	case r.verdict == tooSoon:
		tl := d.sender.timeline()
		d.notBefore = d.sender.clock.Instant(tl.End(d.seg.number))
		if least := now.Add(backoff(a.Number, firstBackoff, mostBackoff)); d.notBefore.Before(least) {
			d.notBefore = least
		}
	default:
		d.last = r.from
		to, at := pick(d.dests, d.last, now)
		if !at.Before(d.deadline) {
			return true // Retry-After leaves no time
		}
		if _, doubtful := to.ready(now); to == d.last || doubtful {
			d.notBefore = now.Add(backoff(a.Number, firstBackoff, mostBackoff))
		}
	}
	return false
}

func (d *delivery) log(msg string, a *attempt, args ...any) {
	d.sender.log.Log(d.sender.ctx, d.level, msg, append([]any{"rendition", d.seg.rendition, "file", d.seg.name(), "attempt", a.Number, "to", a.To.to.base}, args...)...)
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
