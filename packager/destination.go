package packager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headwater/clock"
	"headwater/live"
)

// A verdict is what one attempt means for its segment.
type verdict uint8

const (
	acked    verdict = iota // 200 or 201: durable
	again                   // no answer, or one that says try again
	needInit                // 412: send the init segment, then again
	tooSoon                 // the origin's clock is behind: again when the segment ends
	refused                 // final
	unfit                   // its init segment was refused: not to be sent again
)

// An answer is the outcome of one attempt.
type answer struct {
	verdict verdict
	code    string // of the problem, "status-NNN", or "" without an answer
	detail  string // for the log
	from    *destination
}

// A destination is one publishing address, with connections of its own.
type destination struct {
	clock     *clock.Clock
	base      string
	transport *http.Transport

	mu       sync.Mutex // guards the following
	notUntil time.Time  // Retry-After: not before this
	avoid    time.Time  // failed lately: rather another until this
	fails    int        // in a row
	acks     int64
	failures int64
}

// newDestination opens no connection. dial may be nil.
func newDestination(clk *clock.Clock, base string, dial func(ctx context.Context, network, addr string) (net.Conn, error)) (*destination, error) {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, fmt.Errorf("%q is not a base URL like http://origin:7001", base)
	}
	if dial == nil {
		dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 5 * time.Second, Control: showProgress}).DialContext
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial,
		MaxIdleConns: 64, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		TLSHandshakeTimeout: 5 * time.Second, DisableCompression: true,
		// Segments are large: fewer, larger writes.
		WriteBufferSize: 256 << 10,
		// One connection per request in flight: a stalled one holds up nothing
		// else, which HTTP/2 on one connection could not promise.
		Protocols: new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return &destination{clock: clk, base: strings.TrimSuffix(u.String(), "/"), transport: t}, nil
}

// A watched body notes when it was last read from.
type watched struct {
	io.Reader // and no WriterTo: the transport would take all of it at once
	moved     *atomic.Int64
}

func (w watched) Read(p []byte) (int, error) {
	w.moved.Store(time.Now().UnixNano())
	return w.Reader.Read(p)
}

// put makes one attempt, and notes in moved when the connection took some of the
// body. It ends when ctx does.
func (d *destination) put(ctx context.Context, seg *segment, path, token string, moved *atomic.Int64) answer {
	// A request that finds its connection closed is sent again by the transport.
	body := func() (io.ReadCloser, error) {
		return io.NopCloser(watched{bytes.NewReader(seg.data), moved}), nil
	}
	first, _ := body()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, d.base+path, first)
	if err != nil {
		return answer{verdict: refused, code: "bad-request", detail: err.Error(), from: d}
	}
	req.ContentLength, req.GetBody = int64(len(seg.data)), body
	req.Header.Set("Content-Type", seg.contentType())
	req.Header.Set(live.HeaderContentDigest, seg.digest.String())
	asked := time.Now()
	req.Header.Set(live.HeaderClock, live.ClockSaid{Time: d.clock.Wall()}.String())
	if !seg.defects.Clean() {
		req.Header.Set(live.HeaderDefects, seg.defects.String())
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := d.transport.RoundTrip(req)
	if err != nil {
		if errors.Is(err, context.Canceled) && ctx.Err() != nil {
			// Abandoned by the sender, which has counted the stall.
			return answer{verdict: again, detail: "abandoned", from: d}
		}
		d.failed(time.Time{})
		return answer{verdict: again, detail: err.Error(), from: d}
	}
	if told, ok := live.ParseClock(resp.Header[live.HeaderClock]); ok {
		d.clock.Exchange(clock.Origin, d.base, told.Time, asked, time.Now(), float64(min(told.Agree, 2)))
		d.clock.Look()
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	resp.Body.Close()
	a := answer{from: d}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		// The status alone says that it is durable.
		d.mu.Lock()
		d.acks, d.fails, d.avoid, d.notUntil = d.acks+1, 0, time.Time{}, time.Time{}
		d.mu.Unlock()
		return a
	}
	if err != nil {
		said = nil
	}
	a.code, a.detail = describe(resp, said)
	switch code := resp.StatusCode; {
	case code == http.StatusPreconditionFailed && !seg.init:
		a.verdict = needInit
	case a.code == live.ErrFuture.Code:
		a.verdict = tooSoon
	case a.code == live.ErrDigest.Code || a.code == live.ErrIncomplete.Code:
		// Damaged on the way, as our own digest is right.
		a.verdict = again
		d.failed(time.Time{})
	case code == http.StatusRequestTimeout || code == http.StatusTooManyRequests || code >= 500:
		a.verdict = again
		until := time.Time{}
		if wait := retryAfter(resp.Header); wait > 0 {
			until = time.Now().Add(wait)
		}
		d.failed(until)
	default:
		a.verdict = refused
	}
	return a
}

// failed remembers that an attempt failed, and when the next may be made.
func (d *destination) failed(notUntil time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failures++
	d.fails++
	d.avoid = time.Now().Add(backoff(d.fails, time.Second, 10*time.Second))
	if notUntil.After(d.notUntil) {
		d.notUntil = notUntil
	}
}

// stalled gives up on what connections there are: the next attempt opens one.
func (d *destination) stalled() {
	d.failed(time.Time{})
	d.transport.CloseIdleConnections()
}

// begins notes that an attempt begins. Of a destination that failed before it finds
// out how that is now, and others go elsewhere for so long.
func (d *destination) begins(now time.Time, share time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if until := now.Add(share); d.fails > 0 && until.After(d.avoid) {
		d.avoid = until
	}
}

// ready is when this destination may be asked, and whether it failed lately.
func (d *destination) ready(now time.Time) (at time.Time, doubtful bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.notUntil, now.Before(d.avoid)
}

// pick chooses where the next attempt goes and when it may begin. The first
// destination is preferred; one that failed lately, or is last (where the
// attempt before went), comes after those that did not.
func pick(dests []*destination, last *destination, now time.Time) (best *destination, at time.Time) {
	bestRank := 0
	for _, d := range dests {
		notUntil, doubtful := d.ready(now)
		rank := 0
		if doubtful {
			rank = 1
		}
		if d == last && len(dests) > 1 {
			rank = 2
		}
		if notUntil.After(now) {
			rank += 4
		}
		if best == nil || rank < bestRank || rank == bestRank && rank >= 4 && notUntil.Before(at) {
			best, bestRank, at = d, rank, notUntil
		}
	}
	if at.Before(now) {
		at = now
	}
	return best, at
}

// describe reads the problem of an error answer, or what there is.
func describe(resp *http.Response, body []byte) (code, detail string) {
	code = "status-" + strconv.Itoa(resp.StatusCode)
	if t, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err == nil && t == live.ProblemType {
		var p live.Problem
		if json.Unmarshal(body, &p) == nil && p.Code != "" {
			return p.Code, fmt.Sprintf("%d %s: %s", resp.StatusCode, p.Title, p.Detail)
		}
	}
	text := strings.ToValidUTF8(strings.Join(strings.Fields(string(body[:min(len(body), 200)])), " "), "?")
	return code, strings.TrimSpace(resp.Status + " " + text)
}

// retryAfter reads delay-seconds or a date (RFC 9110, 10.2.3).
func retryAfter(h http.Header) time.Duration {
	v := h.Get("Retry-After")
	if s, err := strconv.ParseUint(v, 10, 20); err == nil {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(time.Until(t), 0)
	}
	return 0
}

// backoff doubles from first to most with each failure in a row, less a random
// quarter, so that packagers do not come back in step.
func backoff(fails int, first, most time.Duration) time.Duration {
	d := most
	if fails < 16 {
		d = min(first<<max(fails-1, 0), most)
	}
	return d - time.Duration(rand.Int64N(int64(d/4)+1))
}
