package through

import (
	"context"
	"errors"
	"hash/crc32"
	"sync"
	"time"

	"headwater/store"
	"headwater/store/through/internal/ketama"
	"headwater/store/through/internal/memcache"
)

// zone is a set of servers that holds everything once.
type zone struct {
	name  string
	s     *Store
	nodes []*node
	ring  *ketama.Ring
	count zoneCounters
}

func (z *zone) place() {
	addrs := make([]string, len(z.nodes))
	for i, n := range z.nodes {
		addrs[i] = n.addr
	}
	z.ring = ketama.New(addrs)
}

// node is the server of a key. That it is ejected changes nothing: its keys
// miss, rather than move to where they would be forgotten when it returns.
func (z *zone) node(key string) *node { return z.nodes[z.ring.Server(key)] }

// chunkOps are the commands for some chunks, by server.
type chunkOps map[*node]*struct {
	ops   []memcache.Op
	index []int // of each op's chunk
}

func (c chunkOps) add(n *node, i int, op memcache.Op) {
	if c[n] == nil {
		c[n] = new(struct {
			ops   []memcache.Op
			index []int
		})
	}
	c[n].ops, c[n].index = append(c[n].ops, op), append(c[n].index, i)
}

var errNotTaken = errors.New("through: a server did not take a chunk")

// putChunks writes chunks, one round trip per server.
func (z *zone) putChunks(ctx context.Context, timeout time.Duration, k names, e *entry, value []byte, which []int) error {
	keep := e.keep(time.Now())
	if keep <= 0 {
		return errNotTaken
	}
	byNode := make(chunkOps)
	for _, i := range which {
		from, to := e.span(i)
		key := k.chunk(e.token, i)
		byNode.add(z.node(key), i, memcache.Op{Kind: memcache.Set, Key: key, Value: value[from:to:to], TTL: keep})
	}
	errs := make(chan error, len(byNode))
	for n, c := range byNode {
		do := func() error {
			if err := n.srv.Do(ctx, timeout, c.ops); err != nil {
				return err
			}
			for i := range c.ops {
				if c.ops[i].Status != memcache.Stored {
					return errNotTaken
				}
				z.count.written.Add(int64(len(c.ops[i].Value)))
			}
			return nil
		}
		if len(byNode) == 1 {
			return do()
		}
		go func() { errs <- do() }() // all are waited for below
	}
	var err error
	for range byNode {
		if e := <-errs; e != nil {
			err = e
		}
	}
	return err
}

// getChunks reads the chunks in need into value and returns those it did not
// get. Where a server did not answer it may yet write into value; then what
// arrived is moved to the new value that is returned.
func (z *zone) getChunks(ctx context.Context, timeout time.Duration, k names, e *entry, value []byte, need []int) ([]byte, []int) {
	byNode := make(chunkOps)
	for _, i := range need {
		from, to := e.span(i)
		key := k.chunk(e.token, i)
		byNode.add(z.node(key), i, memcache.Op{Kind: memcache.Get, Key: key, Dst: value[from:to:to]})
	}
	got := make([]bool, len(e.sums))
	for i := range got {
		got[i] = true
	}
	for _, i := range need {
		got[i] = false
	}
	var mu sync.Mutex // guards what follows
	unanswered := false
	var wg sync.WaitGroup
	for n, c := range byNode {
		wg.Go(func() {
			err := n.srv.Do(ctx, timeout, c.ops)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unanswered = true
				return
			}
			for j := range c.ops {
				if c.ops[j].Status == memcache.Hit && crc32.Checksum(c.ops[j].Got, castagnoli) == e.sums[c.index[j]] {
					got[c.index[j]] = true
					z.count.read.Add(int64(len(c.ops[j].Got)))
				}
			}
		})
	}
	wg.Wait()
	var missing []int
	for _, i := range need {
		if !got[i] {
			missing = append(missing, i)
		}
	}
	if unanswered {
		other := make([]byte, len(value))
		for i, ok := range got {
			if ok {
				from, to := e.span(i)
				copy(other[from:to], value[from:to])
			}
		}
		value = other
	}
	return value, missing
}

// all is the indices of an entry's chunks.
func (e *entry) all() []int {
	all := make([]int, len(e.sums))
	for i := range all {
		all[i] = i
	}
	return all
}

// everywhere runs f for each node at once and waits.
func everywhere(nodes []*node, f func(*node)) {
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() { f(n) })
	}
	wg.Wait()
}

// tell leaves word of an acknowledged mutation at the nodes, and owes it to
// those that do not answer in time.
func (s *Store) tell(ctx context.Context, nodes []*node, d debt) {
	everywhere(nodes, func(n *node) {
		if n.raise(ctx, s.cfg.Timeout, d) != nil {
			n.owe(d)
		}
	})
}

// entryNodes are the servers of an item's entry, one of each zone.
func (s *Store) entryNodes(k names) []*node {
	nodes := make([]*node, len(s.zones))
	for i, z := range s.zones {
		nodes[i] = z.node(k.entry)
	}
	return nodes
}

// markNodes are the servers of a record's mark: all there are.
func (s *Store) markNodes() []*node {
	var nodes []*node
	for _, z := range s.zones {
		nodes = append(nodes, z.nodes...)
	}
	return nodes
}

// DeleteItem deletes below, then leaves a fence in every zone.
func (s *Store) DeleteItem(ctx context.Context, r store.Record, key string, t store.Token) error {
	i := id{r, key}
	return s.delete(ctx, r, func() error { return s.below.DeleteItem(ctx, r, key, t) },
		func() ([]*node, debt) {
			k := s.names(i)
			return s.entryNodes(k), debt{key: k.entry, token: t}
		}, func(other id) bool { return other == i })
}

// DeleteRange deletes below, then makes what is cached of the record count no more.
func (s *Store) DeleteRange(ctx context.Context, r store.Record, from, to string, t store.Token) error {
	return s.delete(ctx, r, func() error { return s.below.DeleteRange(ctx, r, from, to, t) }, s.marking(r, t), of(r))
}

// DeleteRecord deletes below, then makes what is cached of the record count no more.
func (s *Store) DeleteRecord(ctx context.Context, r store.Record, t store.Token) error {
	return s.delete(ctx, r, func() error { return s.below.DeleteRecord(ctx, r, t) }, s.marking(r, t), of(r))
}

func (s *Store) marking(r store.Record, t store.Token) func() ([]*node, debt) {
	return func() ([]*node, debt) { return s.markNodes(), debt{key: s.markKey(r), mark: true, token: t} }
}

func of(r store.Record) func(id) bool { return func(i id) bool { return i.record == r } }

// delete deletes below, and has those told that where says. No flight of what
// which reports is joined any more.
func (s *Store) delete(ctx context.Context, r store.Record, below func() error,
	where func() ([]*node, debt), which func(id) bool) error {
	if err := s.enter(ctx); err != nil {
		return opError("delete", r, err)
	}
	defer s.ops.Done()
	err := below()
	if !cached(r) || err != nil && definite(err) {
		return err
	}
	nodes, d := where()
	if err != nil {
		// It may have had its effect, or will have.
		s.tasks.Go(func() { s.tell(s.ctx, nodes, d) })
		return err
	}
	s.tell(ctx, nodes, d)
	// At the end: what began before has perhaps seen what was not yet told.
	s.forget(which)
	return nil
}
