package edge

import (
	"container/list"
	"context"
	"sync"
	"time"

	"headwater/live"
)

// An Outcome is how a request was met. Counters and Cache-Status share the names.
type Outcome string

// The outcomes.
const (
	Never Outcome = "never" // refused: the event never has it
	Early Outcome = "early" // refused: it cannot exist yet
	Gone  Outcome = "gone"  // refused: it has left the DVR window
	Hit   Outcome = "hit"   // answered from the cache
	Join  Outcome = "join"  // answered by a fill that another began
	Fill  Outcome = "fill"  // began a fill
	Hold  Outcome = "hold"  // began or joined one of a segment that is not published yet
)

// Outcomes lists every outcome, for counters.
var Outcomes = []Outcome{Never, Early, Gone, Hit, Join, Fill, Hold}

// A key names an object. The flush version is in it, so that a flush is one
// number and not a search.
type key struct {
	path  live.Path
	flush int64
}

// overhead is what an object counts for beside its body.
const overhead = 1 << 10

// A cache keeps objects in memory, bounded by their bytes. What was used least
// recently leaves first.
//
// Lock order: cache.mu, then object.mu.
type cache struct {
	limit int64

	mu      sync.Mutex // guards the following
	objects map[key]*list.Element
	order   list.List // of *object, most recently used first
	bytes   int64
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, objects: make(map[key]*list.Element)}
}

// A wanted is what a look-up is for.
type wanted struct {
	key  key
	view *view
	now  time.Time
	keep bool            // a fill of it is worth it with nobody waiting
	ctx  context.Context // that of the fill, should there be one, derives from it
}

// lookUp returns the object of a key: a fresh one, or one under way, or a new
// one that the caller must fill (then begin is true). Whoever comes after the
// one who must fill gets the same object. Each look-up needs a release.
func (c *cache) lookUp(w wanted) (o *object, begin bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tries := 0
	if el, ok := c.objects[w.key]; ok {
		o := el.Value.(*object)
		if o.fresh(w.now) && !w.view.withdrew(o) {
			o.users++
			c.order.MoveToFront(el)
			return o, false
		}
		if at, failed := o.broken(); failed && w.now.Sub(at) < retryAfter {
			tries = o.tries + 1
		}
		c.drop(el)
	}
	o = newObject(w.key)
	o.begun, o.tries, o.keep = w.view.config.Version, tries, w.keep
	o.ctx, o.cancel = context.WithCancel(w.ctx)
	o.listed, o.users = true, 1
	c.objects[w.key] = c.order.PushFront(o)
	c.account(o, overhead)
	return o, true
}

// release says that a request has done with an object. A fill for which nobody
// waits any more, of something not worth having, ends.
func (c *cache) release(o *object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.users--; o.users > 0 || o.keep || o.ended() {
		return
	}
	if el, ok := c.objects[o.key]; ok && el.Value.(*object) == o {
		c.drop(el)
	}
	o.cancel()
}

// charge accounts for an object's body, as it grows, and makes room for it.
func (c *cache) charge(o *object, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.account(o, overhead+size)
}

// account needs mu.
func (c *cache) account(o *object, size int64) {
	if !o.listed {
		return
	}
	c.bytes += size - o.charged
	o.charged = size
	for el := c.order.Back(); c.bytes > c.limit && el != nil; {
		before := el.Prev()
		// What is still being filled stays: others wait for it.
		if x := el.Value.(*object); x != o && x.ended() {
			c.drop(el)
		}
		el = before
	}
}

// drop needs mu. Those who have the object may read on, nobody else gets it.
func (c *cache) drop(el *list.Element) {
	o := el.Value.(*object)
	o.listed = false
	c.order.Remove(el)
	delete(c.objects, o.key)
	c.bytes -= o.charged
	o.charged = 0
}

// sweep drops what is stale.
func (c *cache) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, el := range c.objects {
		if o := el.Value.(*object); o.ended() && !o.fresh(now) {
			c.drop(el)
		}
	}
}

func (c *cache) size() (objects int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.objects), c.bytes
}
