package through

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"headwater/store"
	"headwater/store/through/internal/memcache"
)

// node is one server of a zone, with what this process owes it.
type node struct {
	zone *zone
	addr string
	srv  *memcache.Server
	wake chan struct{} // has room for one: there is something to repair

	mu sync.Mutex
	// owed are the mutations that the server has not answered, by the key of
	// the entry or mark they are about; guarded by mu, like all below.
	owed map[string]debt
	// bankrupt counts mutations since owed was full. Unless it is zero the
	// server gets a new generation.
	bankrupt int
}

// debt is a fence, or a mark, that a server is owed.
type debt struct {
	key   string // of the entry or the mark
	mark  bool
	token store.Token
}

// maxOwed is how many keys are owed to a server one by one.
const maxOwed = 256

// The lives of what is not an item.
const (
	stubFor  = 6 * time.Second     // an empty entry, made by who is about to fill it
	fenceFor = 3 * time.Minute     // longer than any request may take, and than tokens may drift
	markFor  = 24 * time.Hour      // a mark that has gone only makes entries not count
	genFor   = 30 * 24 * time.Hour // as does a generation
	trusted  = 2 * time.Second     // how old a write's token may be for its item to be put into the cache
	skew     = 3 * time.Second     // how far the clocks of two nodes may differ
	attempts = 5                   // of a CAS that others overtake
)

var errContended = errors.New("through: others keep changing the entry")

// lease is what a server said of an item: what may be used of it, and what may
// be set in its place.
type lease struct {
	node   *node
	names  names
	at     time.Time // before it was asked
	gen    generation
	mark   uint64      // the CAS number of the record's mark
	covers store.Token // of the newest range delete that the mark knows of
	cas    uint64
	entry  *entry // nil if there is none
	held   bool   // another one has said that it fills it
}

// valid reports whether the entry counts, leaving its age aside.
func (l *lease) valid() bool {
	return l.entry != nil && l.entry.live && l.entry.gen == l.gen.id && l.entry.mark == l.mark
}

// fresh reports whether the entry is to be believed without asking the store.
func (l *lease) fresh(now time.Time, freshFor time.Duration) bool {
	if !l.valid() || l.entry.expires != 0 && now.UnixMilli() >= l.entry.expires {
		return false
	}
	age := time.Duration(now.UnixMilli()-l.entry.checked) * time.Millisecond
	return age < freshFor && age > -skew
}

// lookup asks the server for an item's entry in one round trip.
func (n *node) lookup(ctx context.Context, timeout time.Duration, i id, k names) (*lease, error) {
	var won uint64 // the empty entry that this made
	for range attempts {
		l := &lease{node: n, names: k, at: time.Now()}
		ops := []memcache.Op{
			// In this order: what is read first is as old as what is set later says.
			{Kind: memcache.Get, Key: k.gen},
			{Kind: memcache.Get, Key: k.mark, Vivify: true, TTL: markFor},
			{Kind: memcache.Get, Key: k.entry, Vivify: true, TTL: stubFor},
		}
		if err := n.srv.Do(ctx, timeout, ops); err != nil {
			return nil, err
		}
		gen, mark, ent := &ops[0], &ops[1], &ops[2]
		if ent.Won {
			won = ent.GotCAS
		}
		if mark.Status != memcache.Hit || ent.Status != memcache.Hit {
			return nil, fmt.Errorf("through: %s refuses a key", n.addr) // it is out of memory
		}
		var ok bool
		if l.gen, ok = decodeGeneration(gen.Got); gen.Status != memcache.Hit || !ok {
			if err := n.newGeneration(ctx, timeout, gen.Status == memcache.Hit, false); err != nil {
				return nil, err
			}
			continue
		}
		l.mark, l.cas = mark.GotCAS, ent.GotCAS
		l.covers, _ = decodeToken(mark.Got, kindMark)
		if e, err := decodeEntry(ent.Got); err == nil && (!e.live || e.id == i) {
			l.entry = e
		}
		l.held = len(ent.Got) == 0 && ent.GotCAS != won
		return l, nil
	}
	return nil, fmt.Errorf("%w: generation of %s", errContended, n.addr)
}

// newGeneration gives the server a generation: only where there is none unless
// replace is set.
func (n *node) newGeneration(ctx context.Context, timeout time.Duration, replace, bankrupt bool) error {
	g := generation{id: rand.Uint64(), born: time.Now().UnixMilli()}
	ops := []memcache.Op{{Kind: memcache.Set, Key: n.zone.s.genKey(), Value: g.encode(), TTL: genFor, Add: !replace}}
	if err := n.srv.Do(ctx, timeout, ops); err != nil {
		return err
	}
	switch st := ops[0].Status; {
	case st == memcache.Stored, st == memcache.NotStored && !bankrupt:
		return nil
	default:
		return fmt.Errorf("through: %s does not take a generation", n.addr)
	}
}

// set puts an entry where the lease was taken, and reports whether it did:
// something else may have happened to the key.
func (l *lease) set(ctx context.Context, timeout time.Duration, e entry, checked time.Time) (bool, error) {
	e.gen, e.mark, e.checked = l.gen.id, l.mark, checked.UnixMilli()
	ops := []memcache.Op{{Kind: memcache.Set, Key: l.names.entry, Value: e.encode(), TTL: e.keep(time.Now()), CAS: l.cas}}
	if len(ops[0].Value) > memcache.MaxValueBytes-1<<10 {
		return false, nil
	}
	if err := l.node.srv.Do(ctx, timeout, ops); err != nil {
		return false, err
	}
	l.node.zone.count.written.Add(int64(len(ops[0].Value)))
	return ops[0].Status == memcache.Stored, nil
}

// raise leaves word at the server that a mutation was acknowledged: a fence in
// the item's place, unless what is there is as new, or the record's mark.
func (n *node) raise(ctx context.Context, timeout time.Duration, d debt) error {
	kind, ttl := byte(kindFence), fenceFor
	if d.mark {
		kind, ttl = kindMark, markFor
	}
	deadline := time.Now().Add(timeout)
	for range attempts {
		ops := []memcache.Op{{Kind: memcache.Get, Key: d.key, Vivify: true, TTL: ttl}}
		if time.Until(deadline) <= 0 {
			return memcache.ErrTimeout
		}
		if err := n.srv.Do(ctx, time.Until(deadline), ops); err != nil {
			return err
		}
		token := d.token
		if d.mark {
			// Always a new one: with it goes what was read before.
			if t, ok := decodeToken(ops[0].Got, kindMark); ok && t.Compare(token) > 0 {
				token = t
			}
		} else if e, err := decodeEntry(ops[0].Got); err == nil && e.token.Compare(token) >= 0 {
			return nil
		}
		if ops[0].Status != memcache.Hit {
			return fmt.Errorf("through: %s refuses a key", n.addr)
		}
		put := []memcache.Op{{Kind: memcache.Set, Key: d.key, Value: encodeToken(kind, token), TTL: ttl, CAS: ops[0].GotCAS}}
		if err := n.srv.Do(ctx, time.Until(deadline), put); err != nil {
			return err
		}
		if put[0].Status == memcache.Stored {
			return nil
		}
	}
	return fmt.Errorf("%w: %s", errContended, n.addr)
}

// owe notes that the server did not answer a mutation that was acknowledged.
func (n *node) owe(d debt) {
	key := d.key
	n.zone.count.owed.Add(1)
	n.zone.s.doubts.add(key, d.token)
	n.mu.Lock()
	old, known := n.owed[key]
	switch {
	case n.bankrupt > 0:
		n.bankrupt++
	case !known && len(n.owed) >= maxOwed:
		n.bankrupt = 1
		clear(n.owed)
	case !known || old.token.Compare(d.token) < 0:
		n.owed[key] = d
	}
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// settled reports whether the server has not only just come back: then others
// may still owe it something.
func (n *node) settled(now time.Time) bool {
	up, returned := n.srv.Up()
	return up && (returned.IsZero() || now.Sub(returned) >= n.zone.s.cfg.Rejoin)
}

// repair pays what is owed until ctx ends.
func (n *node) repair(ctx context.Context) {
	const first, atMost = 20 * time.Millisecond, time.Second
	wait := first
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
			wait = first
		}
		for !n.pay(ctx) {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
			wait = min(2*wait, atMost)
		}
	}
}

// pay tries to pay everything, and reports whether nothing is owed any more.
func (n *node) pay(ctx context.Context) bool {
	if up, _ := n.srv.Up(); !up {
		return false
	}
	timeout := n.zone.s.cfg.Timeout
	n.mu.Lock()
	bankrupt := n.bankrupt
	owed := make(map[string]debt, len(n.owed))
	for k, d := range n.owed {
		owed[k] = d
	}
	n.mu.Unlock()
	if bankrupt > 0 {
		if n.newGeneration(ctx, timeout, true, true) != nil {
			return false
		}
		n.zone.count.repairs.Add(1)
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.bankrupt != bankrupt {
			return false // more came after the generation was sent
		}
		n.bankrupt = 0
		return len(n.owed) == 0
	}
	for key, d := range owed {
		if n.raise(ctx, timeout, d) != nil {
			return false
		}
		// Meanwhile another process may have filled a zone that had lost the
		// item from this server.
		everywhere(n.others(d), func(other *node) { other.raise(ctx, timeout, d) })
		n.zone.count.repairs.Add(1)
		n.mu.Lock()
		if n.owed[key] == d {
			delete(n.owed, key)
		}
		n.mu.Unlock()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.owed) == 0 && n.bankrupt == 0
}

// others are the servers of the other zones that a debt is about, too.
func (n *node) others(d debt) []*node {
	var nodes []*node
	for _, z := range n.zone.s.zones {
		switch {
		case z == n.zone:
		case d.mark:
			nodes = append(nodes, z.nodes...)
		default:
			nodes = append(nodes, z.node(d.key))
		}
	}
	return nodes
}

// event counts, and logs, what happens to the server.
func (n *node) event(e memcache.Event) {
	c, log := &n.zone.count, n.zone.s.cfg.Log
	switch e {
	case memcache.TimedOut:
		c.timeouts.Add(1)
	case memcache.Failed:
		c.failures.Add(1)
	case memcache.Ejected:
		c.ejections.Add(1)
		log.Warn("cache server left alone", "zone", n.zone.name, "server", n.addr)
	case memcache.Returned:
		c.returns.Add(1)
		log.Info("cache server is back", "zone", n.zone.name, "server", n.addr)
	}
}
