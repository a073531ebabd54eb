package packager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"headwater/live"
)

const (
	maxEventBytes = 1 << 20
	// A request for a change is held by the server; one that is answered at
	// once is not repeated sooner than this.
	leastFollow = 2 * time.Second
	mostFollow  = 60 * time.Second
)

// Event is the event's configuration as it is now: an error wraps ErrEvent, and
// live.ErrNoEvent where there is none.
func (p *Packager) Event(ctx context.Context) (*live.Event, error) {
	ev, _, err := p.event(ctx)
	return ev, err
}

// event returns the event's configuration and its ETag. Where it must be
// fetched it is asked for until EventWait has passed.
func (p *Packager) event(ctx context.Context) (*live.Event, string, error) {
	if p.cfg.Spec != nil {
		e := *p.cfg.Spec
		return &e, "", nil
	}
	began := time.Now()
	for fails := 1; ; fails++ {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		cfg, etag, err := p.fetch(attempt, "")
		cancel()
		if err == nil {
			return &cfg.Event, etag, nil
		}
		wait := backoff(fails, 250*time.Millisecond, 4*time.Second)
		if time.Since(began)+wait > p.cfg.EventWait {
			return nil, "", fmt.Errorf("%w %s: %w", ErrEvent, p.cfg.Event, err)
		}
		p.cfg.Log.Warn("the event's configuration is not there yet", "from", p.cfg.EventURL, "error", err, "again_in", wait)
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, "", context.Cause(ctx)
		}
	}
}

// errUnchanged: the configuration is still that of the ETag.
var errUnchanged = errors.New("packager: the event is unchanged")

// fetch gets event.json; with an ETag given, once it has changed.
func (p *Packager) fetch(ctx context.Context, etag string) (*live.Config, string, error) {
	u := p.cfg.EventURL + live.Path{Event: p.id, File: live.FileConfig}.String()
	if etag != "" {
		u += "?after=" + url.QueryEscape(etag)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return nil, "", err
	}
	if p.cfg.Token != "" {
		req.Header.Set("Authorization", "Bearer "+p.cfg.Token)
	}
	resp, err := p.dests[0].transport.RoundTrip(req)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxEventBytes+1))
	if err != nil {
		return nil, "", err
	}
	tag := resp.Header.Get("ETag")
	switch {
	case resp.StatusCode == http.StatusNotModified, resp.StatusCode == http.StatusOK && tag != "" && tag == etag:
		return nil, etag, errUnchanged
	case resp.StatusCode != http.StatusOK:
		code, detail := describe(resp, body)
		if code == live.ErrNoEvent.Code || code == live.ErrNoTenant.Code {
			return nil, "", fmt.Errorf("GET %s: %w", u, live.ErrNoEvent.With(detail))
		}
		return nil, "", fmt.Errorf("GET %s: %s", u, detail)
	case len(body) > maxEventBytes:
		return nil, "", fmt.Errorf("GET %s: more than %d bytes", u, maxEventBytes)
	}
	var cfg live.Config
	if err := json.Unmarshal(body, &cfg); err != nil {
		return nil, "", fmt.Errorf("GET %s: %w", u, err)
	}
	return &cfg, tag, nil
}

// follow learns of changes to the event until ctx ends. Its end and its
// windows may change; what would move segments may not while they are cut.
func (p *Packager) follow(ctx context.Context, event *live.Event, etag string) {
	generations, takenBack := [2]int{-1}, 0 // how many are known, and the newest's index
	for fails := 0; ; {
		begun := time.Now()
		attempt, cancel := context.WithTimeout(ctx, mostFollow)
		cfg, tag, err := p.fetch(attempt, etag)
		cancel()
		wait := leastFollow - time.Since(begun)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			fails, etag = 0, tag
			p.change(event, &cfg.Event)
			now := [2]int{len(cfg.Generations)}
			if n := now[0]; n > 0 {
				now[1] = cfg.Generations[n-1].Index
			}
			if now != generations {
				generations = now
				p.sender.Load().renew()
			}
			if cfg.TakenBack > takenBack {
				p.sender.Load().askAgain()
			}
			takenBack = cfg.TakenBack
		case errors.Is(err, errUnchanged), errors.Is(err, context.DeadlineExceeded):
			fails = 0
		default:
			fails++
			wait = backoff(fails, leastFollow, mostFollow)
			p.cfg.Log.Warn("the event's configuration cannot be followed", "from", p.cfg.EventURL, "error", err, "again_in", wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func (p *Packager) change(was, now *live.Event) {
	if !now.Start.Equal(was.Start) || now.FirstNumber != was.FirstNumber || now.Segment != was.Segment || now.MediaTime != was.MediaTime {
		p.cfg.Log.Error("the event's start, first_number, segment or media_time was changed: restart the packager to follow")
		return
	}
	if _, _, ok := now.Pipeline(p.cfg.Pipeline); !ok {
		p.cfg.Log.Error("the event no longer has this pipeline")
	}
	tl := now.Timeline()
	old := p.timeline.Swap(&tl)
	select {
	case p.moved <- struct{}{}:
	default: // awaitEnd has not yet looked at the one before
	}
	if *old == tl {
		return
	}
	_, had := old.Last()
	switch last, has := tl.Last(); {
	case has:
		p.cfg.Log.Info("the event has an end", "end", now.End, "last_number", last, "stays_until", leaveAt(&tl, p.cfg.AfterEnd))
	case had:
		p.cfg.Log.Info("the event's end was taken back")
	}
}

// leaveAt is when a packager leaves an event that has an end.
func leaveAt(tl *live.Timeline, after time.Duration) time.Time {
	last, _ := tl.Last()
	return tl.Deadline(last).Add(max(after, 0))
}

// errEnded is why a packager leaves after the event's end.
var errEnded = errors.New("packager: the event has ended")

// awaitEnd calls leave when it is time to. An end that is taken back, or
// moved, before that counts as if it had never been.
func (p *Packager) awaitEnd(ctx context.Context, leave context.CancelCauseFunc) {
	for {
		var over <-chan time.Time
		tl := p.timeline.Load()
		if _, ends := tl.Last(); ends {
			over = time.After(p.clock.Until(leaveAt(tl, p.cfg.AfterEnd)))
		}
		select {
		case <-over:
			leave(errEnded)
			return
		case <-p.moved:
		case <-ctx.Done():
			return
		}
	}
}
