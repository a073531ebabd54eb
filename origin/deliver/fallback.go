package deliver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"headwater/internal/hedge"
	"headwater/origin/book"
	"headwater/origin/window"

	"headwater/admit"
	"headwater/live"
	"headwater/store"
)

// loopMember is what origins put into CDN-Loop (RFC 8586). One that is asked by
// another origin answers from its own store or not at all.
const loopMember = "headwater-origin"

// MaxFallbacks bounds the segments being asked of other regions at once.
const MaxFallbacks = 64

// A fallbackOutcome is how asking another region ended. Counters share the names.
type fallbackOutcome string

const (
	fallbackServed fallbackOutcome = "served"
	fallbackFailed fallbackOutcome = "failed" // no answer, or a refusal
	fallbackWrong  fallbackOutcome = "wrong"  // other bytes than were asked for
	fallbackShed   fallbackOutcome = "shed"   // too many at once
)

var fallbackOutcomes = []fallbackOutcome{fallbackServed, fallbackFailed, fallbackWrong, fallbackShed}

var errFallback = errors.New("origin: no other region has it")

// fallbackClient is for origins of other regions: few, far, and always the same.
func fallbackClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: MaxFallbacks, IdleConnTimeout: time.Minute, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}
}

// mayFallBack reports whether a request may go on to another region: one that
// came from there does not.
func (s *Server) mayFallBack(h http.Header) bool {
	return len(s.Fallback) > 0 && !live.LoopOf(h.Values(live.HeaderCDNLoop)).Names(loopMember)
}

// arrivalWait is how long a segment that was announced is waited for where the
// store does not have it yet. It is as long as writing one should take.
const arrivalWait = 500 * time.Millisecond

// arrivalPause is how long to wait before the store is asked again.
const arrivalPause = 25 * time.Millisecond

// young is how long after its publication a segment may still be on its way to
// this region's store.
const young = 30 * time.Second

// errAbsent is what obtain returns for a segment that was announced and is not
// to be had yet.
var errAbsent = errors.New("origin: announced, and not to be had yet")

// obtain gets a candidate's bytes: from the store, or, where that is too slow or
// does not have what was announced, from another region.
func (s *Server) obtain(ctx context.Context, e *book.Event, k window.Key, c live.Candidate, fallBack bool) ([]byte, error) {
	if !fallBack {
		return s.retrieveYoung(ctx, e, k, c)
	}
	var own error // why the store does not bring it
	plan := hedge.Plan{Late: s.FallbackAfter, AtOnce: 2, Attempts: 2}
	race := &hedge.Race[bool, []byte]{Tasks: &s.tasks}
	race.Next = func(now time.Time) hedge.Move[bool] {
		step, at := plan.Decide(now, race.State())
		return hedge.Move[bool]{Step: step, At: at, To: race.State().Begun > 0}
	}
	race.Ask = func(ctx context.Context, others bool) ([]byte, error) {
		if others {
			return s.askOthers(ctx, e, k, c)
		}
		return s.retrieve(ctx, e, k, c.Size)
	}
	race.Judge = func(a *hedge.Attempt[bool, []byte]) bool {
		if !a.To {
			own = a.Err
		}
		return a.Err == nil || errors.Is(a.Err, errReselect)
	}
	best, err := race.Run(ctx)
	switch {
	case err == nil:
		return best.Value, best.Err
	case !errors.Is(err, hedge.ErrGaveUp):
		return nil, err
	case errors.Is(own, store.ErrNotFound) && s.Clock.Since(c.Published) < young:
		return nil, errAbsent
	}
	return nil, own
}

// retrieveYoung waits a little for what was announced by another node and is
// not in the store yet.
func (s *Server) retrieveYoung(ctx context.Context, e *book.Event, k window.Key, c live.Candidate) ([]byte, error) {
	end := time.Now().Add(arrivalWait)
	for {
		data, err := s.retrieve(ctx, e, k, c.Size)
		if s.Book.Alone || !errors.Is(err, store.ErrNotFound) || s.Clock.Since(c.Published) >= young {
			return data, err
		}
		if time.Now().After(end) {
			return nil, errAbsent
		}
		pause := time.NewTimer(arrivalPause)
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// askOthers asks the other regions in order, for exactly these bytes.
func (s *Server) askOthers(ctx context.Context, e *book.Event, k window.Key, c live.Candidate) ([]byte, error) {
	if !s.Asking.Enter(k.Event.Tenant, admit.Live, 1) {
		s.fallbacks[fallbackShed].Inc()
		return nil, errFallback
	}
	defer s.Asking.Leave(k.Event.Tenant, 1)
	path := live.Path{Event: k.Event, File: live.FileSegment, Rendition: k.Rendition, Number: k.Number}
	err := errFallback
	for _, base := range s.Fallback {
		data, outcome, e := s.askOther(ctx, strings.TrimSuffix(base, "/")+path.String(), k.Digest, c.Size)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx) // not wanted any more: no outcome
		}
		s.fallbacks[outcome].Inc()
		if outcome == fallbackServed {
			return data, nil
		}
		err = fmt.Errorf("%w: %w", err, e)
		s.Log.Warn("another region", "url", base, "path", path.String(), "outcome", string(outcome), "err", e)
	}
	return nil, err
}

func (s *Server) askOther(ctx context.Context, url string, want live.Digest, size int64) ([]byte, fallbackOutcome, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, fallbackFailed, err
	}
	req.Header.Set(live.HeaderCDNLoop, loopMember)
	req.Header.Set("If-Match", want.ETag()) // 412 where another candidate would be served
	res, err := s.far.Do(req)
	if err != nil {
		return nil, fallbackFailed, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		outcome := fallbackFailed
		if res.StatusCode == http.StatusPreconditionFailed {
			outcome = fallbackWrong
		}
		return nil, outcome, fmt.Errorf("status %d", res.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, size+1))
	if err != nil {
		return nil, fallbackFailed, err
	}
	if int64(len(data)) != size || live.DigestOf(data) != want {
		return nil, fallbackWrong, errors.New("other bytes than were asked for")
	}
	return data, fallbackServed, nil
}
