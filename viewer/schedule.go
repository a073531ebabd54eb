package viewer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headwater/live"
)

// A schedule is one version of the event, as all viewers share it.
type schedule struct {
	live.Config
	timeline  live.Timeline            // the event's, by which it is played
	lines     map[string]live.Timeline // by rendition, with its lateness: by which it is asked for
	segmentMS int64
	// replaced is closed when there is a newer one.
	replaced chan struct{}
}

func newSchedule(cfg live.Config) *schedule {
	s := &schedule{Config: cfg, timeline: cfg.Event.Timeline(), lines: map[string]live.Timeline{}, replaced: make(chan struct{})}
	for _, r := range cfg.Renditions {
		s.lines[r.Name] = cfg.Timeline(r.Name)
	}
	s.segmentMS = s.timeline.Segment().Milliseconds()
	return s
}

// line is the timeline by which a rendition is asked for.
func (s *schedule) line(rendition string) *live.Timeline {
	tl, ok := s.lines[rendition]
	if !ok {
		tl = s.timeline
	}
	return &tl
}

// A follower keeps the schedule at the newest version that any answer has named.
type follower struct {
	client  *client
	path    string
	timeout time.Duration
	now     atomic.Pointer[schedule]

	wake   chan struct{} // has room for one: a newer version was seen
	wanted atomic.Int64  // the highest version seen
}

// first gets the schedule for the first time, within a time.
func (f *follower) first(ctx context.Context, within time.Duration) error {
	outer := ctx
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	end := time.Now().Add(within)
	failed := map[string]error{} // by edge, what it said last
	for b := (backoff{}); ; {
		asked := f.client.edge()
		cfg, wait, err := f.fetch(ctx)
		if err == nil {
			f.now.Store(newSchedule(cfg))
			f.wanted.Store(cfg.Version)
			return nil
		}
		if outer.Err() != nil {
			return outer.Err()
		}
		if ctx.Err() == nil {
			failed[asked.base] = err
		} else if failed[asked.base] == nil {
			failed[asked.base] = errSilent
		}
		wait = max(wait, b.next())
		if time.Now().Add(wait).After(end) || !sleep(ctx, wait) {
			return f.absent(failed)
		}
	}
}

// absent is the error where no edge tells of the event.
func (f *follower) absent(failed map[string]error) error {
	var all []string
	for _, base := range slices.Sorted(maps.Keys(failed)) {
		all = append(all, fmt.Sprintf("%s%s: %v", strings.TrimSuffix(base, "/"), f.path, failed[base]))
	}
	return fmt.Errorf("viewer: the event cannot be had: %s", strings.Join(all, "; "))
}

// saw is told of every version that an answer names.
func (f *follower) saw(version int64) {
	for {
		have := f.wanted.Load()
		if version <= have {
			return
		}
		if f.wanted.CompareAndSwap(have, version) {
			break
		}
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run fetches the configuration whenever a newer one was seen, until ctx is done.
func (f *follower) run(ctx context.Context) {
	defer f.client.close()
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return
		}
		for b := (backoff{}); f.now.Load().Version < f.wanted.Load(); {
			cfg, wait, err := f.fetch(ctx)
			if err == nil && cfg.Version > f.now.Load().Version {
				old := f.now.Swap(newSchedule(cfg))
				close(old.replaced)
				continue
			}
			// It failed, or a cache on the way still has the old one.
			if !sleep(ctx, max(wait, b.next())) {
				return
			}
		}
	}
}

// fetch gets the configuration once; wait is for how long the edge said to stay away.
func (f *follower) fetch(ctx context.Context) (cfg live.Config, wait time.Duration, err error) {
	answerBy := time.Now().Add(f.timeout)
	if end, ok := ctx.Deadline(); ok {
		answerBy = earlier(answerBy, end)
	}
	r, err := f.client.get(ctx, &request{path: f.path, answerBy: answerBy, keep: ok200})
	if err != nil {
		return cfg, 0, errors.New(cause(err))
	}
	if r.status != http.StatusOK {
		return cfg, r.lifetime, errors.New(strings.TrimSpace(fmt.Sprintf("status %d %s", r.status, r.problem)))
	}
	return cfg, 0, json.Unmarshal(r.body, &cfg)
}

func uncounted(int64) {}

func ok200(r *reply) bool { return r.status == http.StatusOK }

// A backoff spaces attempts: 50 ms, doubled up to 2 s.
type backoff struct{ last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(2*b.last, 50*time.Millisecond), 2*time.Second)
	return b.last
}

// sleep waits; it returns false when ctx is done first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// clockSamples is how many answers a clock is set by: the quickest is taken.
const clockSamples = 5

// clockEvery is how often clocks are set.
const clockEvery = time.Minute

// setClocks measures the clocks of edges that are not on this machine, now and
// every minute. An edge's clock is read from the middle of the quickest of a few
// answers, so it is off by half of that round trip at most.
func setClocks(ctx context.Context, n *network, edges []*edge) (wait func()) {
	var away []*client
	for _, e := range edges {
		if !e.loopback {
			away = append(away, newClient(n, []*edge{e}, 0, uncounted))
		}
	}
	var wg sync.WaitGroup
	for _, cl := range away {
		cl.setClock(ctx)
		wg.Go(func() {
			defer cl.close()
			for sleep(ctx, clockEvery) {
				cl.setClock(ctx)
			}
		})
	}
	return wg.Wait
}

// setClock leaves the clock as it is when the edge does not tell the time.
func (cl *client) setClock(ctx context.Context) {
	best := time.Duration(-1)
	var offset time.Duration
	for range clockSamples {
		r, err := cl.get(ctx, &request{path: live.TimePath, answerBy: time.Now().Add(cl.net.timeout), keep: ok200})
		if err != nil || r.status != http.StatusOK {
			return
		}
		t, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(string(r.body)))
		if err != nil {
			return
		}
		if trip := r.first.Sub(r.sent); best < 0 || trip < best {
			best = trip
			offset = t.Sub(r.sent.Add(trip / 2))
		}
	}
	cl.edge().offset.Store(int64(offset))
}
