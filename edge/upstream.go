package edge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headwater/live"
)

var (
	errNoParent = errors.New("edge: no parent answered in time")
	errDown     = errors.New("edge: the parent went down")
)

const (
	probeEvery   = time.Second            // of a parent that is up
	probeDown    = 250 * time.Millisecond // of one that is down
	probeTimeout = 750 * time.Millisecond
	probeMisses  = 2 // in a row, and the parent is down
)

// A parent is one of those the edge fills from.
type parent struct {
	base string // URL without a trailing slash
	name string // of a node of our own site
	peer *peer  // of such a node

	mu     sync.Mutex // guards the following
	health health
	clock  clock
	alive  context.Context // ends when the parent goes down
	die    context.CancelCauseFunc
}

// An upstream asks the parents. It is HTTP and nothing else, so any origin that
// speaks the protocol will do, and so will another edge.
type upstream struct {
	parents []*parent // preferred first
	site    *site     // nil where this node is alone
	client  *http.Client
	log     *slog.Logger
	tasks   sync.WaitGroup // attempts
	offset  atomic.Int64   // ns: the parents' clock minus ours

	mu   sync.Mutex    // guards the following
	back chan struct{} // closed when a parent comes back, or a peer changes
}

func newUpstream(cfg *Config) *upstream {
	u := &upstream{log: cfg.Log, back: make(chan struct{})}
	for _, base := range cfg.Parents {
		u.parents = append(u.parents, newParent(base))
	}
	if cfg.Region != "" {
		// Those of our region first, as they are; then the others, as they are.
		far := make(map[*parent]int)
		for i, p := range u.parents {
			if cfg.ParentRegions[cfg.Parents[i]] != cfg.Region {
				far[p] = 1
			}
		}
		slices.SortStableFunc(u.parents, func(a, b *parent) int { return far[a] - far[b] })
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	u.client = &http.Client{
		Transport: &http.Transport{
			DialContext: dial,
			// Held requests each occupy a connection; they come back for the next segment.
			MaxIdleConnsPerHost: 1024,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 2 * time.Second,
			DisableCompression:  true,
			WriteBufferSize:     4 << 10,
			ReadBufferSize:      64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return u
}

func newParent(base string) *parent {
	p := &parent{base: strings.TrimSuffix(base, "/")}
	p.alive, p.die = context.WithCancelCause(context.Background())
	return p
}

// all are the parents and the peers.
func (u *upstream) all() []*parent {
	if u.site == nil {
		return u.parents
	}
	return slices.Concat(u.parents, u.site.peers)
}

// route says where to ask, in order.
func (u *upstream) route(now time.Time, a *asking) route {
	if u.site == nil || a.key == "" {
		return route{parents: u.parents, sure: true}
	}
	return u.site.route(now, a)
}

// orphaned reports whether no parent is up.
func (u *upstream) orphaned() bool {
	for _, p := range u.parents {
		p.mu.Lock()
		down := p.health.down
		p.mu.Unlock()
		if !down {
			return false
		}
	}
	return true
}

// close waits for what is under way; the contexts it runs in have ended.
func (u *upstream) close() {
	u.tasks.Wait()
	for _, p := range u.all() {
		p.mu.Lock()
		p.die(nil)
		p.mu.Unlock()
	}
	u.client.CloseIdleConnections()
}

// comeback returns a channel that closes when a parent comes back.
func (u *upstream) comeback() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.back
}

// change lets those who ask look again.
func (u *upstream) change() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.back)
	u.back = make(chan struct{})
}

func (u *upstream) succeeded(p *parent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health.succeed()
}

// failed enters a failure; dead says that the parent is not there at all. What
// waits at a parent that goes down is let go.
func (u *upstream) failed(p *parent, err error, dead bool) {
	var op *net.OpError
	p.mu.Lock()
	down := p.health.fail(time.Now(), dead || errors.As(err, &op) && op.Op == "dial")
	if down {
		u.log.Warn("parent is down", "parent", p.base, "err", err)
		p.die(errDown)
	}
	p.mu.Unlock()
	if down && u.site != nil {
		u.change()
	}
}

// distrust puts a parent that sent wrong bytes behind the others for a while.
func (u *upstream) distrust(p *parent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health.distrusted = time.Now().Add(distrustFor)
}

// watch probes a parent: so one that hangs is noticed while requests are held
// at it, and one that was down is found again without trying it on viewers.
func (u *upstream) watch(ctx context.Context, p *parent) {
	t := time.NewTimer(0)
	defer t.Stop()
	misses := 0
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		err := u.probe(ctx, p)
		if ctx.Err() != nil {
			return
		}
		p.mu.Lock()
		down := p.health.down
		if down && err == nil {
			p.health.recover(time.Now())
			p.alive, p.die = context.WithCancelCause(context.Background())
		}
		p.mu.Unlock()
		u.retime()
		switch {
		case down && err == nil:
			u.log.Info("parent is back", "parent", p.base)
			u.change()
			misses = 0
			t.Reset(probeEvery)
		case down:
			t.Reset(probeDown)
		case err != nil:
			misses++
			u.failed(p, err, misses >= u.patience(p))
			t.Reset(0)
		default:
			misses = 0
			t.Reset(probeEvery)
		}
	}
}

// patience is how many probes a parent may miss. The last one that is up may
// miss more: it may only be slow, as when a crowd is served on few cores, and
// nobody would be better off without it.
func (u *upstream) patience(p *parent) int {
	for _, x := range u.parents {
		x.mu.Lock()
		down := x.health.down
		x.mu.Unlock()
		if x != p && !down {
			return probeMisses
		}
	}
	return 2 * probeMisses
}

// probe asks for the time. A parent that does not know it has answered too.
func (u *upstream) probe(ctx context.Context, p *parent) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base+live.TimePath, nil)
	if err != nil {
		return err
	}
	asked := time.Now()
	resp, err := u.client.Do(req)
	if err != nil {
		return err
	}
	answered := time.Now()
	defer resp.Body.Close()
	if resp.StatusCode >= 500 && resp.StatusCode != http.StatusServiceUnavailable {
		return fmt.Errorf("edge: %s", resp.Status)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64))
	if err != nil {
		return err
	}
	// A cache in between would tell an old time.
	if told, err := time.Parse(live.TimeLayout, string(text)); err == nil && resp.StatusCode == http.StatusOK && resp.Header.Get("Age") == "" {
		p.mu.Lock()
		p.clock.sample(asked, answered, told)
		p.mu.Unlock()
	}
	return nil
}

// choose returns the parent to ask next, by how often each was tried before,
// or none when all are down. wait is for how long it must not be asked yet.
func choose(now time.Time, parents []*parent, tried map[*parent]int) (best *parent, wait time.Duration) {
	rank := 0
	for _, p := range parents {
		p.mu.Lock()
		if r := p.health.rank(now, tried[p]); !p.health.down && (best == nil || r < rank) {
			best, rank = p, r
		}
		p.mu.Unlock()
	}
	if best == nil {
		return nil, 0
	}
	best.mu.Lock()
	defer best.mu.Unlock()
	return best, best.health.start(now)
}

// untried reports whether there is a parent that is up and was not asked.
func untried(parents []*parent, tried map[*parent]int) bool {
	for _, p := range parents {
		p.mu.Lock()
		down := p.health.down
		p.mu.Unlock()
		if !down && tried[p] == 0 {
			return true
		}
	}
	return false
}
