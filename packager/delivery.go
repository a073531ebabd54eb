package packager

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// A delivery is the state of sender.deliver. One goroutine owns it.
type delivery struct {
	sender   *sender
	seg      *segment
	dests    []*destination
	deadline time.Time
	share    time.Duration
	results  chan result
	next     *time.Timer // when the next attempt begins, or the newest has stalled

	open  []*attempt // under way, oldest first
	last  *destination
	tries int
	inits int // how often the init segment was sent again
	final answer
	level slog.Level // of failures
}

// An attempt is one request.
type attempt struct {
	to     *destination
	number int // from 1
	begun  time.Time
	cancel context.CancelFunc
	moved  atomic.Int64 // when the connection last took some of the body, in nanoseconds of Unix time; 0: not yet
}

// quiet is for how long nothing of an attempt has moved.
func (a *attempt) quiet(now time.Time) time.Duration {
	if at := a.moved.Load(); at > 0 {
		return now.Sub(time.Unix(0, at))
	}
	return now.Sub(a.begun)
}

// moving reports whether an attempt that is under way moves.
func (d *delivery) moving(now time.Time) bool {
	return slices.ContainsFunc(d.open, func(a *attempt) bool { return a.quiet(now) < d.share })
}

type result struct {
	answer
	of *attempt
}

// attempt begins the next attempt. If one is still open it has stalled: it
// keeps its chance while this one overtakes it on a connection of its own, but
// of maxOpen the oldest is abandoned.
func (d *delivery) attempt(ctx context.Context) {
	now := time.Now()
	if !now.Before(d.deadline) {
		return // what still moves is waited for, and no more is begun
	}
	to, at := pick(d.dests, d.last, now)
	if at.After(now) {
		d.next.Reset(at.Sub(now))
		return
	}
	if n := len(d.open); n > 0 {
		stalled := d.open[n-1]
		if quiet := stalled.quiet(now); quiet < d.share {
			d.next.Reset(d.share - quiet) // it is slow, and a second would make it slower
			return
		}
		stalled.to.stalled()
		d.sender.count.with(func(c *Stats) { c.Hedged++ })
		d.log("attempt stalled, another begins", stalled, "after", now.Sub(stalled.begun))
		if n == maxOpen {
			d.open[0].cancel()
			d.open = slices.Delete(d.open, 0, 1)
		}
		to, _ = pick(d.dests, stalled.to, now)
	}
	d.tries++
	if d.tries > 1 {
		d.sender.count.with(func(c *Stats) { c.Retried++ })
	}
	actx, cancel := context.WithCancel(ctx)
	a := &attempt{to: to, number: d.tries, begun: now, cancel: cancel}
	d.open = append(d.open, a)
	d.last = nil
	s := d.sender
	path := d.seg.path(s.id, s.pipeline).String()
	s.wg.Go(func() {
		defer cancel()
		r := result{to.put(actx, d.seg, path, s.token, &a.moved), a}
		select {
		case d.results <- r:
		case <-ctx.Done(): // deliver has returned
		}
	})
	d.next.Reset(d.share)
}

// answered takes the result of an attempt. It reports whether the delivery is
// over, with final.
func (d *delivery) answered(ctx context.Context, r result) (over bool) {
	i := slices.Index(d.open, r.of)
	if i >= 0 {
		d.open = slices.Delete(d.open, i, i+1)
	}
	switch r.verdict {
	case acked, refused:
		d.final = r.answer
		return true
	}
	if i < 0 {
		return false // abandoned: whatever it said, another is under way
	}
	d.log("attempt failed", r.of, "code", r.code, "detail", r.detail)
	d.final.detail, d.final.code = r.detail, r.code
	switch r.verdict {
	case needInit:
		if d.inits++; d.inits > maxInitRetries {
			d.final = r.answer
			d.final.verdict = refused
			return true
		}
		// Other attempts would be told the same.
		for _, a := range d.open {
			a.cancel()
		}
		d.open = d.open[:0]
		d.sender.initAgain(ctx, d.seg, r.from, d.deadline)
		if d.sender.isUnfit(d.seg) {
			d.final = answer{verdict: unfit, code: r.code, detail: r.detail, from: r.from}
			return true
		}
		d.next.Reset(0)
	case tooSoon:
		if len(d.open) > 0 {
			return false
		}
		tl := d.sender.timeline()
		d.next.Reset(max(time.Until(tl.End(d.seg.number)), backoff(d.tries, firstBackoff, mostBackoff)))
	default:
		return d.retry(r.from)
	}
	return false
}

// retry sets when the next attempt begins. Where Retry-After leaves no time
// before the deadline the delivery is over.
func (d *delivery) retry(failed *destination) (over bool) {
	if len(d.open) > 0 {
		return false // the other one goes on, and is watched by the timer
	}
	d.last = failed
	now := time.Now()
	to, at := pick(d.dests, failed, now)
	if !at.Before(d.deadline) {
		return true
	}
	wait := at.Sub(now)
	if _, doubtful := to.ready(now); to == failed || doubtful {
		wait = max(wait, backoff(d.tries, firstBackoff, mostBackoff))
	}
	d.next.Reset(wait)
	return false
}

func (d *delivery) log(msg string, a *attempt, args ...any) {
	d.sender.log.Log(d.sender.ctx, d.level, msg, append([]any{"rendition", d.seg.rendition, "file", d.seg.name(), "attempt", a.number, "to", a.to.base}, args...)...)
}
