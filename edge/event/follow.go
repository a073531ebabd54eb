package event

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"headwater/edge/parents"
	"headwater/live"
)

// A verdict is what to do after asking for a configuration.
type verdict uint8

const (
	anew  verdict = iota // ask again, to be held until the next change
	later                // ask again after a while
	over                 // the event is no more, or never was
)

const (
	followLeast = 100 * time.Millisecond // between two requests that told nothing new
	followMost  = 5 * time.Second
	followHold  = 40 * time.Second // for a held request: parents hold for less
	// An answer with the same configuration that comes sooner was not held.
	followSoon = time.Second
	// refusalMost is how long at most it is believed that there is no such event or
	// tenant: one may be created.
	refusalMost = 5 * time.Second
	// writeAgain is how often a configuration is written to the disk although it
	// did not change: what nobody follows any more shall expire there.
	writeAgain = time.Hour
	// retryBudget is how long it is tried to get one, stallTimeout how long that may
	// stop coming.
	retryBudget  = 2 * time.Second
	stallTimeout = 2 * time.Second
	// unknownAtOnce bounds the requests for events of which nothing is known.
	unknownAtOnce = 64
	// untoldEvery is how often at most it is said that no parent told of an event.
	untoldEvery = 5 * time.Second
	// maxConfigBytes bounds an event.json: what an operator said, as much again that
	// was learnt, and live.MaxGenerationBytes.
	maxConfigBytes = 4 << 20
)

// A follower fetches an event's configuration, and then each change of it by
// the held form of event.json, until nobody has asked for the event for a
// while. When the parents do not answer the edge goes on with what it has.
type follower struct {
	r       *Registry
	e       *Event
	lagged  time.Time       // since when a lower version is all that parents say
	lost    bool            // no parent told anything, the last time
	least   time.Duration   // a parent said not to ask again for so long
	written time.Time       // when the configuration last went to the disk
	from    *parents.Parent // who answered last
	avoid   *parents.Parent // who told a lower version than another: ask others before
}

func (r *Registry) follow(e *Event) {
	f := &follower{r: r, e: e}
	wait := followLeast
	for {
		f.least = 0
		switch f.refresh() {
		case over:
			return
		case anew:
			wait = followLeast
		case later:
			t := time.NewTimer(max(wait, f.least))
			wait = min(2*wait, followMost)
			select {
			case <-t.C:
			case <-r.ctx.Done():
				t.Stop()
				return
			}
		}
		// While nobody can tell it anew the configuration is not forgotten.
		if r.ctx.Err() != nil || !f.lost && r.forgetIdle(e) {
			return
		}
	}
}

// decline answers those who wait for the first word of an event, and whoever
// asks within the refusal's lifetime. It is only for an event without a view.
func (f *follower) decline(p *live.Problem) verdict {
	switch {
	case p.Status != http.StatusNotFound:
		if f.recall() {
			return later
		}
	default:
		if config, _ := f.r.Disk.Recall(f.r.ctx, f.e.ID); config != nil {
			f.r.Disk.Forget(f.e.ID) // it was deleted while this node was away
		}
	}
	f.e.refusal, f.e.until = p, time.Now().Add(max(p.Lifetime, 0))
	f.e.learnt()
	return over
}

// recall takes the configuration from the disk, which this node has from before
// it was restarted: parents that do not answer must not make it useless.
func (f *follower) recall() bool {
	v, err := parse(f.r.Disk.Recall(f.r.ctx, f.e.ID))
	if err != nil {
		return false
	}
	f.r.Log.Warn("no parent tells of the event: going on with its configuration on disk", "event", f.e.ID.String(), "version", v.Version)
	f.lost = true
	atomicMax(&f.e.version, v.Version)
	f.know(v)
	f.e.config.Store(v)
	f.e.learnt()
	return true
}

// know has counters made for the event as it is now.
func (f *follower) know(v *Configuration) {
	t := f.r.Tallies.know(f.e.ID, v)
	if f.e.tally.Swap(t) != t && t.label != otherLabel {
		t.edge.Set(float64(f.e.edge.Load()))
	}
}

// write has the configuration written to the disk, again where that was long ago.
func (f *follower) write(v *Configuration, now time.Time) {
	if now.Sub(f.written) > writeAgain {
		// Who is followed is written again long before that.
		f.r.Disk.Remember(f.e.ID, v.JSON, v.ETag, time.Duration(v.DVRSeconds)*time.Second+2*writeAgain)
		f.written = now
	}
}

// refresh asks for the configuration once; held, where one is known that is
// as new as any answer told of.
func (f *follower) refresh() verdict {
	v := f.e.config.Load()
	if v == nil {
		return f.first()
	}
	ctx, cancel := context.WithCancel(f.r.ctx)
	defer cancel()
	f.e.listen(cancel)
	defer f.e.listen(nil)
	if f.e.version.Load() > v.Version {
		return f.ask(ctx, "", retryBudget)
	}
	// The set of notifications comes with the answer: one that serves hits alone
	// would not hear of a new one otherwise.
	sequence, _ := f.e.Heard()
	return f.ask(ctx, "?after="+url.QueryEscape(v.ETag)+"&notifications="+strconv.FormatInt(sequence, 10), followHold)
}

// first asks for an event of which nothing is known.
func (f *follower) first() verdict {
	t := time.NewTimer(retryBudget)
	defer t.Stop()
	g, leave := f.r.gate(f.e.ID.Tenant)
	defer leave()
	for _, slots := range []chan struct{}{g.slots, f.r.unknown} {
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		case <-t.C:
			return f.decline(live.ErrShed.With("too many events are being asked for"))
		case <-f.r.ctx.Done():
			return f.decline(live.ErrDraining.For(0).With("ask another edge"))
		}
	}
	f.r.mu.Lock()
	no := f.r.absent(f.e.ID, time.Now())
	f.r.mu.Unlock()
	if no.Problem != nil {
		return f.decline(no.Problem.For(no.Life).With(string(no.AppendDetail(nil, f.e.ID))))
	}
	return f.ask(f.r.ctx, "", retryBudget)
}

// listen sets what a version told by another answer ends.
func (e *Event) listen(cancel context.CancelFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.interrupt = cancel
}

// ask makes one request for the configuration and takes the answer.
func (f *follower) ask(ctx context.Context, query string, budget time.Duration) verdict {
	asked := time.Now()
	path := live.Path{Event: f.e.ID, File: live.FileConfig}
	rep, err := f.r.Parents.Get(ctx, parents.Request{
		Path: path, Query: query, Loop: f.r.Loop, Until: asked.Add(budget), Avoid: f.avoid, Names: f.e.config.Load() == nil,
		Sent: func(p *parents.Parent) { f.r.Sent(path, p) },
	})
	f.avoid = nil
	if err == nil {
		f.from = rep.Parent
		defer rep.Close()
		stall := time.AfterFunc(stallTimeout, func() { rep.Cancel(parents.ErrStall) })
		defer stall.Stop()
		var verdict verdict
		if verdict, err = f.take(rep.Response, asked); err == nil {
			f.lost = false
			return verdict
		}
	}
	if ctx.Err() != nil && f.r.ctx.Err() == nil {
		return anew // a newer version was told
	}
	if f.e.config.Load() == nil {
		f.r.warnUntold(f.e.ID, err)
		return f.decline(live.ErrUpstream.With("no parent told of the event in time"))
	}
	f.lost = true
	if f.r.ctx.Err() == nil {
		f.r.Log.Warn("event configuration", "event", f.e.ID.String(), "err", err)
	}
	return later
}

// warnUntold says why no parent told of an event: a wrong URL or secret of a parent
// is seen here alone. It says so now and then, whatever viewers ask for.
func (r *Registry) warnUntold(id live.EventID, err error) {
	now, last := time.Now().UnixNano(), r.untold.Load()
	if r.ctx.Err() == nil && now-last >= int64(untoldEvery) && r.untold.CompareAndSwap(last, now) {
		r.Log.Warn("no parent told of the event", "event", id.String(), "err", err)
	}
}

// take enters an answer about the event's configuration.
func (f *follower) take(resp *http.Response, asked time.Time) (verdict, error) {
	e := f.e
	v := e.config.Load()
	lifetime, said := live.ParseLifetime(resp.Header.Values(live.HeaderCacheControl))
	lifetime = min(lifetime, refusalMost)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		if v == nil {
			return f.decline(f.r.unknownEvent(resp, e.ID)), nil
		}
		// A known event that is not there was deleted. Those who wait for a
		// change ask anew and are refused.
		f.r.forget(e)
		f.r.Disk.Forget(e.ID)
		return over, nil
	default:
		if v == nil && said {
			return f.decline(live.ErrUpstream.For(lifetime).With("the origin answered " + resp.Status)), nil
		}
		f.least = min(lifetime, followMost)
		return 0, fmt.Errorf("the origin answered %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxConfigBytes+1))
	if err != nil {
		return 0, err
	}
	if len(body) > maxConfigBytes {
		return 0, errors.New("edge: the event configuration is too large")
	}
	next, err := parse(body, resp.Header.Get("ETag"))
	if err != nil {
		return 0, err
	}
	h := holding{told: e.version.Load(), lagged: f.lagged, asked: asked, now: time.Now()}
	if v != nil {
		h.etag, h.version = v.ETag, v.Version
	}
	w := h.weigh(next.ETag, next.Version)
	f.lagged = w.lagged
	if w.lags {
		f.avoid = f.from
	}
	if w.reset {
		e.version.Store(next.Version)
	}
	if w.enter {
		f.know(next)
		e.config.Store(next)
	}
	now := time.Now()
	e.Hear(resp.Header, now, f.r.Parents.Theirs(now))
	switch {
	case w.enter:
		if v == nil {
			e.learnt()
		} else {
			e.tell()
		}
		f.written = time.Time{}
		f.write(next, asked)
	case w.confirmed:
		f.write(v, asked)
	}
	return w.verdict, nil
}

// A holding is what an answer with a configuration is held against.
type holding struct {
	etag       string // of the configuration that is known; empty: none is
	version    int64
	told       int64     // the highest version that any answer told of
	lagged     time.Time // since when a lower one is all that parents say
	asked, now time.Time
}

// A weight is what the answer means.
type weight struct {
	verdict   verdict
	enter     bool      // it is the configuration from now on
	confirmed bool      // it is the one that is known
	lags      bool      // who answered is behind another
	reset     bool      // no parent is ahead any more: the origin lost what it had
	lagged    time.Time // since when
}

// weigh says what a configuration means that a parent answered with. It decides
// and nothing else.
func (h *holding) weigh(etag string, version int64) (w weight) {
	lower := version < h.told
	w.lags = lower
	switch {
	case !lower:
	case h.lagged.IsZero():
		w.lagged = h.asked
	case h.now.Sub(h.lagged) > lagMost:
		lower, w.reset = false, true
	default:
		w.lagged = h.lagged
	}
	known := h.etag != ""
	switch {
	case known && lower && version < h.version:
		w.verdict = later // a parent that lags
	case known && h.etag == etag:
		w.confirmed, w.verdict = !lower, later
		if !lower {
			w.verdict = same(h.now.Sub(h.asked))
		}
	default:
		w.enter, w.verdict = true, anew
		if lower {
			w.verdict = later // there is a newer one, somewhere
		}
	}
	return w
}

// same is the verdict on an answer that told nothing new. Where it came at
// once the parent does not hold, and asking again at once would never end.
func same(took time.Duration) verdict {
	if took < followSoon {
		return later
	}
	return anew
}
