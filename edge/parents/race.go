package parents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"headwater/internal/hedge"
	"headwater/live"
)

// A Request is what to get from the parents, and how long that is worth it.
type Request struct {
	Path  live.Path
	Query string    // with its question mark
	Loop  live.Loop // with our own member
	Names bool      // the answer is to say which names there are, where this is none
	// Due says with the path who of a site owns it. Zero: it is due now.
	Due time.Time
	// From, where not zero, is the offset of the first byte wanted, of the
	// representation that has this entity tag.
	From int64
	ETag string
	// Until is when no further request is made. An answer under way has a
	// moment more.
	Until time.Time
	// Late is when a parent that has not begun to answer is late, so that
	// another is asked beside it. Zero: never.
	Late time.Time
	// Own is when a parent is asked beside a peer of the site that is late, Step
	// how much later that is for each further node.
	Own  time.Time
	Step time.Duration
	// Share bounds the time to the first byte: a parent that hangs must leave
	// time to ask again. Zero: Until is the only bound.
	Share time.Duration
	// Body is how long a body may take, and Need, where not zero, when viewers need
	// the whole of it: see Pace. Zero: it has no rate to keep.
	Body time.Duration
	Need time.Time
	// Check, where it is set, says of an answer why it is not to be trusted, or
	// ErrOther: it is of something else.
	Check func(*http.Response) error
	Avoid *Parent       // where not nil, is asked after the others,
	Not   *Parent       // or not at all
	Sent  func(*Parent) // is called for each request made
}

// HedgeAfter is how long a parent may take to begin its answer before another is
// asked beside it.
const HedgeAfter = 250 * time.Millisecond

// Grace is how long after Until an answer may still begin: the parent holds up
// to the same deadline.
const Grace = 500 * time.Millisecond

// One parent is asked so often for one Request at most, and so often where its answers
// are not to be trusted: what is wrong is not right the next time.
const (
	asksMost  = 8
	wrongMost = 2
)

// A Reply is an answer whose body is still to be read.
type Reply struct {
	*http.Response
	Parent *Parent
	Cancel func(cause error) // ends the body
}

// Close lets go of a reply.
func (r *Reply) Close() {
	r.Body.Close()
	r.Cancel(nil)
}

// A race is the requests that are made for one Request: one after the other while
// they fail, and side by side when they are late.
type race struct {
	hedge.Race[*Parent, *http.Response]
	u     *Upstream
	r     Request
	tried map[*Parent]int  // how often
	wrong map[*Parent]int  // how often its answer was not to be trusted
	spent map[*Parent]bool // it would say the same again

	notBefore time.Time     // of the next attempt while none is running
	pause     time.Duration // after the next failure, when all have been tried
	refusal   *Reply        // a 503, in case nobody has anything better
	err       error         // the last failure
}

var (
	// ErrStall is why a body that stopped coming ends.
	ErrStall = errors.New("edge: the body stopped coming")
	// ErrOther is what Check says of an answer that is right, and not what is wanted.
	ErrOther = errors.New("edge: the rest of the body is not to be had")

	errSlow  = errors.New("edge: the parent did not begin to answer")
	errCross = errors.New("edge: the peer waits for us")
	errAsker = errors.New("edge: the parent's answer is about the edge, and not about what it asked for")
)

// Get gets the head of an answer. It may be a refusal: a parent that says 404
// has answered. One that says 503 is believed when no other has more to say.
func (u *Upstream) Get(ctx context.Context, req Request) (*Reply, error) {
	a := &race{u: u, r: req, tried: make(map[*Parent]int), wrong: make(map[*Parent]int), spent: make(map[*Parent]bool), pause: 50 * time.Millisecond}
	wake := make(chan struct{}, 1)
	a.Race = hedge.Race[*Parent, *http.Response]{
		Next: a.next, Begun: a.begun, Ask: a.ask, Judge: a.judge, Tasks: &u.tasks, Budget: u.hedges, Wake: wake,
		Drop: func(resp *http.Response) { resp.Body.Close() },
	}
	if req.Avoid != nil {
		a.tried[req.Avoid]++
	}
	if req.Not != nil {
		a.spent[req.Not] = true
	}
	if u.site != nil {
		// A node that has just started must not take its peers to be down.
		select {
		case <-u.site.Ready():
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		defer u.site.Enter(req.Path, wake)()
	}
	won, err := a.Run(ctx)
	switch {
	case err == nil:
		return &Reply{won.Value, won.To, won.Cancel}, nil
	case !errors.Is(err, hedge.ErrGaveUp):
		return nil, err
	}
	for _, at := range a.Running() {
		u.Failed(at.To, errSlow, false)
	}
	if a.refusal != nil {
		return a.refusal, nil
	}
	return nil, errors.Join(errNoParent, a.err)
}

// next says what comes, by what is known now.
func (a *race) next(now time.Time) hedge.Move[*Parent] {
	back := a.u.comeback()
	way := a.u.route(now, &a.r)
	s := stage{until: a.r.Until, notBefore: a.notBefore, first: a.err == nil && a.refusal == nil, refused: a.refusal != nil}
	a.uncross(way)
	for _, at := range a.Running() {
		s.running++
		if at.To.Peer() {
			s.peers++
		}
	}
	if s.running > 0 {
		way = way.beside(s.peers, now)
		s.late = a.r.lateAfter(a.State().Newest)
	}
	some := len(way.Parents) > 0
	way.Parents = slices.DeleteFunc(slices.Clone(way.Parents), func(p *Parent) bool { return a.spent[p] })
	s.spent = some && len(way.Parents) == 0
	s.sure, s.again, s.untried = way.Sure, way.Again, untried(way.Parents, a.tried)
	m := s.decide(now)
	if m.Step == hedge.Begin {
		p, wait := choose(now, way.Parents, a.tried)
		if m.To = p; p == nil || wait > 0 {
			m = s.without(now, p != nil, wait)
		}
	}
	if s.running > 0 && m.Step == hedge.Begin {
		m.At = minTime(now.Add(HedgeAfter), s.until.Add(Grace)) // where the budget has no room
	}
	m.News = back
	return m
}

// lateAfter is when what runs is late, whose newest attempt began then.
func (r *Request) lateAfter(newest time.Time) time.Time {
	if late := newest.Add(HedgeAfter); !r.Late.IsZero() && late.After(r.Late) {
		return late
	}
	return r.Late
}

// uncross stops asking peers that wait for us: see package site.
func (a *race) uncross(way Route) {
	for _, at := range a.Running() {
		if p := at.To; p.Peer() && !way.isAhead(p) && a.u.site.Waits(a.r.Path, p) {
			at.Cancel(errCross)
		}
	}
}

// begun has the effects of an attempt that begins.
func (a *race) begun(at *hedge.Attempt[*Parent, *http.Response]) {
	a.tried[at.To]++
	at.To.started(at.Began, a.r.Path.File == live.FileSegment)
	if a.r.Sent != nil {
		a.r.Sent(at.To)
	}
}

// ask is one request to one parent. Until its answer begins it hangs on the
// parent's life.
func (a *race) ask(ctx context.Context, p *Parent) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer context.AfterFunc(p.life(), func() { cancel(errDown) })()
	if left := time.Until(a.r.Until); a.r.Share > 0 && left > a.r.Share {
		defer time.AfterFunc(a.r.Share, func() { cancel(errSlow) }).Stop()
	}
	resp, err := a.u.get(ctx, p, &a.r)
	if err == nil && resp.StatusCode >= 400 && resp.StatusCode != http.StatusNotFound && resp.StatusCode != http.StatusGone {
		// It may be kept, or be told of: read what little there is.
		var b []byte
		b, err = io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		resp.Body.Close()
		resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	}
	// The timer or the parent's end may have come together with the answer.
	if ctx.Err() != nil {
		if err == nil {
			resp.Body.Close()
		}
		return nil, context.Cause(ctx)
	}
	return resp, err
}

// get makes the request.
func (u *Upstream) get(ctx context.Context, p *Parent, r *Request) (*http.Response, error) {
	req, err := u.NewRequest(ctx, p, r.Path.String()+r.Query)
	if err != nil {
		return nil, err
	}
	if r.Loop != "" {
		req.Header.Set(live.HeaderCDNLoop, string(r.Loop))
	}
	if r.Names {
		req.Header.Set(live.HeaderNames, "?1")
	}
	if r.From > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", r.From))
		if r.ETag != "" {
			req.Header.Set("If-Range", r.ETag)
		}
	}
	return u.client.Do(req)
}

// judge takes the result of an attempt, and says whether it is the answer.
func (a *race) judge(at *hedge.Attempt[*Parent, *http.Response]) bool {
	p, resp := at.To, at.Value
	if at.Err != nil {
		if !errors.Is(at.Err, errDown) && !errors.Is(at.Err, errCross) && !errors.Is(at.Err, context.Canceled) {
			// A peer whose connection breaks has died: nothing is between us.
			a.u.Failed(p, at.Err, p.Peer() && !errors.Is(at.Err, errSlow))
		}
		a.err = at.Err
	} else {
		m, err := means(resp.StatusCode, a.r.From > 0, p.passed(resp.Header)), errAsker
		if m == anAnswer && a.r.Check != nil {
			switch err = a.r.Check(resp); {
			case errors.Is(err, ErrOther):
				m = ofAnother
			case err != nil:
				m = ofTheAsker
			}
		}
		switch m {
		case anAnswer:
			a.u.succeeded(p)
			a.outran(at)
			return true
		case aRefusal:
			a.u.succeeded(p)
			a.refusal = &Reply{resp, p, at.Cancel}
			return false // another may have more to say, at once
		case aFailure:
			a.err = fmt.Errorf("edge: %s: %s", p.Base, resp.Status)
			a.u.Failed(p, a.err, false)
		case ofAnother:
			a.err = fmt.Errorf("%w: %s: %s", ErrOther, p.Base, resp.Status)
			a.spent[p] = true
		case ofTheAsker:
			a.err = fmt.Errorf("%w: %s: %s", err, p.Base, resp.Status)
			a.u.Distrust(p, false)
			if a.wrong[p]++; a.wrong[p] == wrongMost || resp.StatusCode == http.StatusLoopDetected {
				a.spent[p] = true
			}
		}
		resp.Body.Close()
	}
	a.notBefore = time.Now()
	if a.tried[p] == asksMost {
		a.spent[p] = true
	}
	if !untried(a.u.route(a.notBefore, &a.r).Parents, a.tried) {
		a.notBefore = a.notBefore.Add(a.pause)
		a.pause = min(2*a.pause, 500*time.Millisecond)
	}
	return false
}

// outran enters with those that were asked before that the answer came from beside
// them, where it had been there for them to give.
func (a *race) outran(at *hedge.Attempt[*Parent, *http.Response]) {
	if !at.Hedge {
		return
	}
	if a.r.Share == 0 { // it was held: who answered may have been the first to have it
		published, err := live.ParsePublished(at.Value.Header.Get(live.HeaderPublished))
		if err != nil || time.Since(a.u.Ours(published)) < HedgeAfter {
			return
		}
	}
	for _, x := range a.Running() {
		if x != at && !x.To.Peer() && x.Began.Before(at.Began) {
			a.u.outrun(x.To)
		}
	}
}

// passed reports whether a refusal of a peer is one that a parent gave it. Then
// it is the site's answer: no other node shall ask the parents again.
func (p *Parent) passed(h http.Header) bool {
	if !p.Peer() {
		return false
	}
	s, ok := live.LastCacheStatus(h[live.HeaderCacheStatus])
	return ok && (s.FwdStatus != 0 || s.Hit && s.HasTTL)
}
