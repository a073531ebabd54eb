// Package parents asks those that an edge fills from: origins, other edges, and the
// nodes of its own site. It knows who is up, what time they have, and how to get one
// answer by as few requests as that takes.
//
// Lock order: none is held while another is taken.
package parents

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"headwater/clock"
	"headwater/internal/hedge"
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

	// Where everything is slow there is nothing to gain by asking twice.
	hedgeShare   = 0.1 // of requests to parents may be beside another, in the long run
	hedgeReserve = 64  // and so many at once, when all was well before
)

// A Parent is one of those that the edge fills from: an origin, another edge, or a
// peer, which is another node of its own site.
type Parent struct {
	Base string // URL without a trailing slash, and without a password
	user *url.Userinfo
	Name string // of a peer

	mu     sync.Mutex // guards the following
	health health
	id     string          // in CDN-Loop, where it says so
	alive  context.Context // ends when the parent goes down
	die    context.CancelCauseFunc
}

// New makes a parent that is up.
func New(base string) *Parent {
	p := &Parent{Base: strings.TrimSuffix(base, "/")}
	// A password is for the parent alone: neither errors, logs nor metrics have it.
	if u, err := url.Parse(p.Base); err == nil && u.User != nil {
		p.user, u.User = u.User, nil
		p.Base = u.String()
	}
	p.alive, p.die = context.WithCancelCause(context.Background())
	return p
}

// NewPeer makes a node of our own site, which is down until it has answered.
func NewPeer(name, base string) *Parent {
	p := New(base)
	p.Name, p.health.down = name, true
	return p
}

// Peer reports whether it is a node of our own site.
func (p *Parent) Peer() bool { return p.Name != "" }

// Down reports whether the parent does not answer, and since when.
func (p *Parent) Down() (down bool, since time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.health.down, p.health.since
}

// Recover says that a peer answers; what waits at it waits for nothing if renewed.
func (p *Parent) Recover(back, renewed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case back:
		p.health.recover(time.Time{}) // it may be rushed upon
	case renewed:
		p.die(errDown)
	default:
		return
	}
	p.alive, p.die = context.WithCancelCause(context.Background())
}

func (p *Parent) life() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.alive
}

func (p *Parent) started(now time.Time, media bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health.start(now, media)
}

// Doubted reports whether the parent's bytes were wrong lately, so that nothing of a
// body is to be shown before all of it is known to be right.
func (p *Parent) Doubted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.health.lied
}

// Behind reports whether the parent is asked after the others.
func (p *Parent) Behind() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.health.isBehind(time.Now())
}

// A Site is the nodes beside this one that fill what they rank first for: package
// site. Peers cross where each asks the other for the same, and would wait for ever.
type Site interface {
	// Ready is closed once each peer was probed.
	Ready() <-chan struct{}
	// Route says where to ask.
	Route(now time.Time, r *Request) Route
	// Waits reports whether a peer waits here for a path, and Enter has wake told
	// when one begins or ceases to, until leave is called.
	Waits(path live.Path, p *Parent) bool
	Enter(path live.Path, wake chan<- struct{}) (leave func())
	// Peers are the nodes.
	Peers() []*Parent
}

// A Config says who the parents are.
type Config struct {
	Clock   *clock.Clock      // of this node, which parents correct
	ID      string            // of this node
	URLs    []string          // in order of preference
	Regions map[string]string // by URL, where known
	Region  string            // our own: parents of it are preferred
	// Secret is sent to parents, PeerSecret to the nodes of the site; "": none.
	Secret, PeerSecret string
	TLS                *tls.Config
	// Dial opens connections. Default: TCP, at most a second.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  *slog.Logger
}

// An Upstream asks the parents. It is HTTP and nothing else, so any origin that
// speaks the protocol will do, and so will another edge.
type Upstream struct {
	clock              *clock.Clock
	id                 string    // of this node, for parents to tell clocks apart
	parents            []*Parent // preferred first
	site               Site      // nil where this node is alone
	secret, peerSecret string
	client             *http.Client
	log                *slog.Logger
	tasks              sync.WaitGroup // attempts
	hedges             *hedge.Budget

	mu   sync.Mutex    // guards the following
	back chan struct{} // closed when a parent comes back, or a peer changes
}

// NewUpstream makes one. Run is for each of its parents, Join for its site.
func NewUpstream(cfg *Config) *Upstream {
	u := &Upstream{clock: cfg.Clock, id: cfg.ID, secret: cfg.Secret, peerSecret: cfg.PeerSecret, log: cfg.Log, back: make(chan struct{}), hedges: hedge.NewBudget(hedgeShare, hedgeReserve)}
	for _, base := range cfg.URLs {
		u.parents = append(u.parents, New(base))
	}
	if cfg.Region != "" {
		// Those of our region first, as they are; then the others, as they are.
		far := make(map[*Parent]int)
		for i, p := range u.parents {
			if cfg.Regions[cfg.URLs[i]] != cfg.Region {
				far[p] = 1
			}
		}
		slices.SortStableFunc(u.parents, func(a, b *Parent) int { return far[a] - far[b] })
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	u.client = &http.Client{
		Transport: &http.Transport{
			DialContext: dial, TLSClientConfig: cfg.TLS,
			// Held requests each occupy a connection; they come back for the next segment.
			MaxIdleConnsPerHost: 1024,
			IdleConnTimeout:     90 * time.Second,
			TLSHandshakeTimeout: 2 * time.Second,
			DisableCompression:  true,
			WriteBufferSize:     4 << 10,
			ReadBufferSize:      64 << 10,
			// Whoever sends more than that means no good.
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return u
}

// NewRequest is a GET of a parent, or of a node of the site, with our credentials.
func (u *Upstream) NewRequest(ctx context.Context, p *Parent, target string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.Base+target, nil)
	if err != nil {
		return nil, fmt.Errorf("edge: %w", err)
	}
	secret := u.secret
	if p.Peer() {
		secret = u.peerSecret
	}
	switch password, has := p.user.Password(); {
	case has:
		req.SetBasicAuth(p.user.Username(), password)
	case secret != "":
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	return req, nil
}

// Join sets the site. Before anything is asked.
func (u *Upstream) Join(s Site) { u.site = s }

// Own are the parents, preferred first.
func (u *Upstream) Own() []*Parent { return u.parents }

// All are the parents and the peers.
func (u *Upstream) All() []*Parent {
	if u.site == nil {
		return u.parents
	}
	return slices.Concat(u.parents, u.site.Peers())
}

// Client makes requests to parents and peers.
func (u *Upstream) Client() *http.Client { return u.client }

// route says where to ask, in order.
func (u *Upstream) route(now time.Time, r *Request) Route {
	if u.site == nil {
		return Route{Parents: u.parents, Sure: true}
	}
	return u.site.Route(now, r)
}

// Orphaned reports whether no parent is up.
func (u *Upstream) Orphaned() bool {
	for _, p := range u.parents {
		if down, _ := p.Down(); !down {
			return false
		}
	}
	return true
}

// Close waits for what is under way; the contexts it runs in have ended.
func (u *Upstream) Close() {
	u.tasks.Wait()
	for _, p := range u.All() {
		p.mu.Lock()
		p.die(nil)
		p.mu.Unlock()
	}
	u.client.CloseIdleConnections()
}

// comeback returns a channel that closes when a parent comes back.
func (u *Upstream) comeback() <-chan struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.back
}

// Change lets those who ask look again.
func (u *Upstream) Change() {
	u.mu.Lock()
	defer u.mu.Unlock()
	close(u.back)
	u.back = make(chan struct{})
}

func (u *Upstream) succeeded(p *Parent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health.succeed()
}

// Failed enters a failure; dead says that the parent is not there at all. What
// waits at a parent that goes down is let go.
func (u *Upstream) Failed(p *Parent, err error, dead bool) {
	var op *net.OpError
	p.mu.Lock()
	down := p.health.fail(time.Now(), dead || errors.As(err, &op) && op.Op == "dial")
	if down {
		p.die(errDown)
	}
	p.mu.Unlock()
	if !down {
		return
	}
	u.log.Warn("parent is down", "parent", p.Base, "err", err)
	if u.site != nil {
		u.Change()
	}
}

// Distrust puts a parent that sent what is wrong behind the others for a while. Where it
// lied, its bytes were not what it said that they are.
func (u *Upstream) Distrust(p *Parent, lied bool) {
	u.behind(p, "its answers are wrong", func(h *health, now time.Time) bool {
		h.lied = h.lied || lied
		return h.fallBehind(now)
	})
}

// Slow does so with one whose body falls behind.
func (u *Upstream) Slow(p *Parent) {
	u.behind(p, "its bodies are too slow", (*health).fallBehind)
}

// untimely does so with one whose clock is off: by that it decides what is lost.
func (u *Upstream) untimely(p *Parent) {
	u.behind(p, "its clock is off", func(h *health, now time.Time) bool { return !h.isBehind(now) && h.fallBehind(now) })
}

func (u *Upstream) outrun(p *Parent) {
	u.behind(p, "its answers come late", (*health).outrun)
}

func (u *Upstream) behind(p *Parent, why string, enter func(*health, time.Time) bool) {
	p.mu.Lock()
	now := time.Now()
	news := enter(&p.health, now)
	left := p.health.behind.Sub(now)
	p.mu.Unlock()
	if news {
		u.log.Warn("parent is asked after the others", "parent", p.Base, "why", why, "for", left)
	}
}

// Kept enters a body that came right and in time.
func (u *Upstream) Kept(p *Parent, size int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.health.keep(time.Now(), size)
}

// Relieve reports whether the rest of a body is to be asked of another parent beside
// the one that it comes from: there is one that is well and did not lie, and the budget
// has room.
func (u *Upstream) Relieve(r *Request, from *Parent) bool {
	way := u.route(time.Now(), r)
	return slices.ContainsFunc(way.Parents, func(p *Parent) bool {
		down, _ := p.Down()
		return p != from && !down && !p.Behind() && !p.Doubted()
	}) && u.hedges.Take()
}

// Hedges are the counts of requests beside others, and after others.
type Hedges = hedge.Counts

// Hedges returns them.
func (u *Upstream) Hedges() Hedges { return u.hedges.Counts() }

// Watch probes a parent: so one that hangs is noticed while requests are held
// at it, and one that was down is found again without trying it on viewers.
func (u *Upstream) Watch(ctx context.Context, p *Parent) {
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
		if u.clock.Off(clock.Parent, p.Base) {
			u.untimely(p)
		}
		switch {
		case down && err == nil:
			u.log.Info("parent is back", "parent", p.Base)
			u.Change()
			misses = 0
			t.Reset(probeEvery)
		case down:
			t.Reset(probeDown)
		case err != nil:
			misses++
			u.Failed(p, err, misses >= u.patience(p))
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
func (u *Upstream) patience(p *Parent) int {
	for _, x := range u.parents {
		if down, _ := x.Down(); x != p && !down {
			return probeMisses
		}
	}
	return 2 * probeMisses
}

// probe asks for the time. A parent that does not know it has answered too.
func (u *Upstream) probe(ctx context.Context, p *Parent) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := u.NewRequest(ctx, p, live.TimePath)
	if err != nil {
		return err
	}
	req.Header.Set(live.HeaderClock, live.ClockSaid{Time: u.clock.Wall(), ID: u.id}.String())
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
	told, err := time.Parse(live.TimeLayout, string(text))
	_, id, _ := live.LoopOf(resp.Header.Values(live.HeaderCDNLoop)).Last()
	p.mu.Lock()
	p.id = id
	p.mu.Unlock()
	// A cache in between would tell an old time.
	if err == nil && resp.StatusCode == http.StatusOK && resp.Header.Get("Age") == "" && !p.Peer() {
		u.clock.Exchange(clock.Parent, p.Base, told, asked, answered, 1)
		u.clock.Look()
	}
	return nil
}

// HaveAsked reports whether a request has been at every parent: whatever it is for,
// they wait for it here.
func (u *Upstream) HaveAsked(way live.Loop) bool {
	return way != "" && !slices.ContainsFunc(u.parents, func(p *Parent) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.id == "" || !way.Has(p.id)
	})
}

// choose returns the parent to ask next, by how often each was tried before,
// or none when all are down. wait is for how long it must not be asked yet.
func choose(now time.Time, parents []*Parent, tried map[*Parent]int) (best *Parent, wait time.Duration) {
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
	return best, best.health.wait(now)
}

// untried reports whether there is a parent that is up and was not asked.
func untried(parents []*Parent, tried map[*Parent]int) bool {
	return slices.ContainsFunc(parents, func(p *Parent) bool {
		down, _ := p.Down()
		return !down && tried[p] == 0
	})
}
