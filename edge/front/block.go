package front

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"headwater/edge/exchange"
	"headwater/live"
)

// Handler has net/http or HTTP/3 drive the requests of an edge, with a goroutine
// for each.
func Handler(ed Edge) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case ed.ServeNode(w, r):
		default:
			block(ed.Request(), w, r)
		}
	})
}

// block drives one request.
func block(q exchange.Request, w http.ResponseWriter, r *http.Request) {
	more := &exchange.More{Conditions: exchange.ConditionsOf(r.Header), Loop: live.LoopOf(r.Header[loopKey]), Authorization: r.Header.Get("Authorization"), Names: len(r.Header[live.HeaderNames]) > 0}
	if r.URL.RawQuery != "" {
		query := r.URL.Query()
		more.After, more.Sequence = query.Get("after"), query.Get("notifications")
	}
	q.Begin(exchange.Asked{Method: r.Method, Target: r.URL.EscapedPath(), More: more, Said: httpSaid{r}, Old: !r.ProtoAtLeast(1, 1), Arrived: time.Now(),
		Coding: exchange.BestCoding(strings.Join(r.Header["Accept-Encoding"], ",")), Skip: exchange.TakesSkip(r.URL.RawQuery)})
	a := &blockingAnswer{w: w}
	for {
		p := q.Walk(a)
		switch p.Why {
		case exchange.Finished:
			return
		case exchange.Waits:
			if a.await(r.Context(), p) {
				continue
			}
			q.Leave()
		}
		// To return would be an answer, 200 and empty, or the end of a chunked
		// body; who only stopped sending would get it.
		panic(http.ErrAbortHandler)
	}
}

// loopKey is CDN-Loop as net/http spells it.
var loopKey = http.CanonicalHeaderKey(live.HeaderCDNLoop)

// A blockingAnswer is an answer by a ResponseWriter.
type blockingAnswer struct {
	w      http.ResponseWriter
	f      exchange.Fields
	status int
	begun  bool
}

func (a *blockingAnswer) Fields(status int, _ time.Time) *exchange.Fields {
	a.status, a.f.Header = status, a.w.Header()
	return &a.f
}

func (a *blockingAnswer) Begin(text []byte, _ int64) {
	a.begun = true
	a.w.WriteHeader(a.status)
	if len(text) > 0 {
		a.w.Write(text) // who is gone has no other answer either
	}
}

// Write writes all of a piece: it waits.
func (a *blockingAnswer) Write(piece []byte) (n int, err error) {
	for n < len(piece) && err == nil {
		var m int
		m, err = a.w.Write(piece[n:min(n+writePiece, len(piece))])
		n += m
	}
	return n, err
}

func (a *blockingAnswer) End() (all bool, err error) { return true, nil }

// await waits for what a walk waits for, as long as the viewer does.
func (a *blockingAnswer) await(ctx context.Context, p exchange.Pause) bool {
	if a.begun {
		if err := http.NewResponseController(a.w).Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return false
		}
	}
	changed := p.On.Changed(p.Seen)
	if changed == nil {
		return true
	}
	var over <-chan time.Time
	if !p.Until.IsZero() {
		t := time.NewTimer(time.Until(p.Until))
		defer t.Stop()
		over = t.C
	}
	select {
	case <-changed:
	case <-over:
	case <-ctx.Done():
		return false
	}
	return true
}
