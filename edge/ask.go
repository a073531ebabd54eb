package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"headwater/live"
)

// An asking is what to get from the parents, and how long that is worth it.
type asking struct {
	path  live.Path
	query string    // with its question mark
	loop  live.Loop // with our own member
	// key and due say who of a site owns it. Without a key it is asked of the
	// parents; without a time it is due now.
	key string
	due time.Time
	// from, where not zero, is the offset of the first byte wanted, of the
	// representation that has this entity tag.
	from int64
	etag string
	// until is when no further request is made. An answer under way has a
	// moment more.
	until time.Time
	// late is when a parent that has not begun to answer is late, so that
	// another is asked beside it. Zero: never.
	late time.Time
	// own is when a parent is asked beside a peer of the site that is late, step
	// how much later that is for each further node.
	own  time.Time
	step time.Duration
	// share bounds the time to the first byte: a parent that hangs must leave
	// time to ask again. Zero: until is the only bound.
	share time.Duration
	avoid *parent       // where not nil, is asked after the others
	sent  func(*parent) // is called for each request made
}

// hedgeAfter is how long a parent may take to begin its answer before another is
// asked beside it.
const hedgeAfter = 250 * time.Millisecond

// grace is how long after until an answer may still begin: the parent holds up
// to the same deadline.
const grace = 500 * time.Millisecond

// A reply is an answer whose body is still to be read.
type reply struct {
	*http.Response
	parent *parent
	cancel context.CancelCauseFunc
}

func (r *reply) close() {
	r.Body.Close()
	r.cancel(nil)
}

// A race is the requests that one asking makes: one after the other while they
// fail, and side by side when they are late.
type race struct {
	u       *upstream
	a       asking
	tried   map[*parent]int // how often
	running map[*attempt]struct{}
	results chan result
	over    chan struct{} // closed when nobody takes results any more
	wake    chan struct{} // a peer has begun or ceased to wait for the same

	notBefore time.Time     // of the next attempt while none is running
	pause     time.Duration // after the next failure, when all have been tried
	late      time.Time     // of the next attempt while one is running
	refusal   *reply        // a 503, in case nobody has anything better
	err       error         // the last failure
}

// An attempt is one request to one parent.
type attempt struct {
	parent  *parent
	cancel  context.CancelCauseFunc
	crossed bool
}

type result struct {
	*attempt
	resp *http.Response
	err  error
}

var (
	errLost  = errors.New("edge: another parent was faster")
	errSlow  = errors.New("edge: the parent did not begin to answer")
	errStall = errors.New("edge: the body stopped coming")
	errCross = errors.New("edge: the peer waits for us")
)

// ask gets the head of an answer. It may be a refusal: a parent that says 404
// has answered. One that says 503 is believed when no other has more to say.
func (u *upstream) ask(ctx context.Context, a asking) (*reply, error) {
	r := &race{
		u: u, a: a, tried: make(map[*parent]int), running: make(map[*attempt]struct{}), wake: make(chan struct{}, 1),
		results: make(chan result), over: make(chan struct{}), pause: 50 * time.Millisecond, late: a.late,
	}
	if a.avoid != nil {
		r.tried[a.avoid]++
	}
	defer close(r.over)
	if u.site != nil && a.key != "" {
		// A node that has just started must not take its peers to be down.
		select {
		case <-u.site.ready:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		u.site.enter(r)
		defer u.site.leave(r)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		back := u.comeback()
		now := time.Now()
		wake, done := r.next(ctx, now)
		if done {
			return r.give()
		}
		timer.Reset(wake.Sub(now))
		select {
		case <-timer.C:
		case <-back:
		case <-r.wake:
		case res := <-r.results:
			if won := r.take(res); won != nil {
				r.refuse(nil)
				r.letGo()
				return won, nil
			}
		case <-ctx.Done():
			r.refuse(nil)
			r.letGo()
			return nil, context.Cause(ctx)
		}
	}
}

// next begins an attempt where one is due, and says when to look again, or
// that there is nothing left to do.
func (r *race) next(ctx context.Context, now time.Time) (wake time.Time, done bool) {
	way := r.u.route(now, &r.a)
	s := stage{until: r.a.until, late: r.late, notBefore: r.notBefore, first: r.err == nil && r.refusal == nil, refused: r.refusal != nil}
	if len(r.running) > 0 {
		r.uncross(way)
		for at := range r.running {
			s.running++
			if at.parent.peer != nil {
				s.peers++
			}
		}
		way = way.beside(s.peers, now)
	}
	s.sure, s.again, s.untried = way.sure, way.again, untried(way.parents, r.tried)
	m := s.decide(now)
	if m.what == tryNext {
		p, wait := choose(now, way.parents, r.tried)
		if p != nil && wait == 0 {
			r.begin(ctx, p, now)
			return now, false
		}
		m = s.without(now, p != nil, wait)
	}
	return m.at, m.what == giveUp
}

// uncross stops asking peers that wait for us: see site.wait.
func (r *race) uncross(way route) {
	for at := range r.running {
		p := at.parent
		if p.peer != nil && !at.crossed && !slices.Contains(way.ahead, p) && r.u.site.waits(r.a.path, p) {
			at.crossed = true
			at.cancel(errCross)
		}
	}
}

// begin makes a request.
func (r *race) begin(ctx context.Context, p *parent, now time.Time) {
	r.tried[p]++
	r.late = now.Add(hedgeAfter)
	if r.late.Before(r.a.late) {
		r.late = r.a.late
	}
	if r.a.late.IsZero() {
		r.late = time.Time{}
	}
	p.mu.Lock()
	alive := p.alive
	p.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	at := &attempt{parent: p, cancel: cancel}
	r.running[at] = struct{}{}
	if r.a.sent != nil {
		r.a.sent(p)
	}
	r.u.tasks.Go(func() {
		// Until its answer begins the request hangs on the parent's life.
		stop := context.AfterFunc(alive, func() { cancel(errDown) })
		var slow *time.Timer
		if left := r.a.until.Sub(now); r.a.share > 0 && left > r.a.share {
			slow = time.AfterFunc(r.a.share, func() { cancel(errSlow) })
		}
		resp, err := r.u.get(ctx, p, r.a)
		stop()
		if slow != nil {
			slow.Stop()
		}
		// The timer or the parent's end may have come together with the answer.
		if err == nil && ctx.Err() != nil {
			resp.Body.Close()
			err = context.Cause(ctx)
		}
		select {
		case r.results <- result{at, resp, err}:
		case <-r.over:
			if err == nil {
				resp.Body.Close()
			}
			cancel(nil)
		}
	})
}

// get is one request to one parent.
func (u *upstream) get(ctx context.Context, p *parent, a asking) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+a.path.String()+a.query, nil)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	if a.loop != "" {
		req.Header.Set(live.HeaderCDNLoop, string(a.loop))
	}
	if a.from > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", a.from))
		if a.etag != "" {
			req.Header.Set("If-Range", a.etag)
		}
	}
	resp, err := u.client.Do(req)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return resp, err
}

// take judges the result of an attempt, and returns it where it is the answer.
func (r *race) take(res result) *reply {
	delete(r.running, res.attempt)
	rep := &reply{res.resp, res.parent, res.cancel}
	switch {
	case res.err != nil:
		if !errors.Is(res.err, errDown) && !errors.Is(res.err, errCross) && !errors.Is(res.err, context.Canceled) {
			// A peer whose connection breaks has died: nothing is between us.
			r.u.failed(res.parent, res.err, res.parent.peer != nil && !errors.Is(res.err, errSlow))
		}
		res.cancel(nil)
		r.err = res.err
	case res.resp.StatusCode == http.StatusServiceUnavailable && res.parent.passed(res.resp.Header):
		r.u.succeeded(res.parent)
		return rep
	case res.resp.StatusCode == http.StatusServiceUnavailable:
		r.u.succeeded(res.parent)
		r.refuse(rep)
		return nil
	case res.resp.StatusCode >= 500:
		r.err = fmt.Errorf("edge: %s: %s", res.parent.base, res.resp.Status)
		if res.resp.StatusCode != http.StatusLoopDetected {
			r.u.failed(res.parent, r.err, false)
		}
		// Read what little there is, so that the connection can be used again.
		io.CopyN(io.Discard, rep.Body, 4<<10)
		rep.close()
	default:
		r.u.succeeded(res.parent)
		return rep
	}
	r.notBefore = time.Now()
	if !untried(r.u.route(r.notBefore, &r.a).parents, r.tried) {
		r.notBefore = r.notBefore.Add(r.pause)
		r.pause = min(2*r.pause, 500*time.Millisecond)
	}
	return nil
}

// passed reports whether a refusal of a peer is one that a parent gave it. Then
// it is the site's answer: no other node shall ask the parents again.
func (p *parent) passed(h http.Header) bool {
	if p.peer == nil {
		return false
	}
	s, ok := live.LastCacheStatus(h[live.HeaderCacheStatus])
	return ok && (s.FwdStatus != 0 || s.Hit && s.HasTTL)
}

// refuse keeps the last refusal.
func (r *race) refuse(rep *reply) {
	if r.refusal != nil {
		r.refusal.close()
	}
	r.refusal = rep
}

// give is the answer when nothing better comes.
func (r *race) give() (*reply, error) {
	for at := range r.running {
		r.u.failed(at.parent, errSlow, false)
	}
	r.letGo()
	if r.refusal != nil {
		return r.refusal, nil
	}
	return nil, errors.Join(errNoParent, r.err)
}

// letGo ends the attempts that are still running.
func (r *race) letGo() {
	for at := range r.running {
		at.cancel(errLost)
	}
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
