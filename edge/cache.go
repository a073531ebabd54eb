package edge

import (
	"container/list"
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

// A cache keeps objects in memory, bounded by the bytes of their bodies. What
// was used least recently leaves first.
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

// lookUp returns the object of a key: a fresh one, or one under way, or a new
// one that the caller must fill (then begin is true). Whoever comes after the
// one who must fill gets the same object.
func (c *cache) lookUp(k key, now time.Time) (o *object, begin bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.objects[k]; ok {
		o := el.Value.(*object)
		if o.fresh(now) {
			c.order.MoveToFront(el)
			return o, false
		}
		c.drop(el)
	}
	o = newObject(k)
	o.listed = true
	c.objects[k] = c.order.PushFront(o)
	return o, true
}

// charge accounts for an object's body, as it grows, and makes room for it.
func (c *cache) charge(o *object, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !o.listed {
		return
	}
	c.bytes += size - o.charged
	o.charged = size
	for el := c.order.Back(); c.bytes > c.limit && el != nil; {
		before := el.Prev()
		// What is still being filled stays: others wait for it.
		if x := el.Value.(*object); x != o && x.complete() {
			c.drop(el)
		}
		el = before
	}
}

// forget takes an object out: those who have it may read on, nobody else gets it.
func (c *cache) forget(o *object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.objects[o.key]; ok && el.Value.(*object) == o {
		c.drop(el)
	}
}

// drop needs mu.
func (c *cache) drop(el *list.Element) {
	o := el.Value.(*object)
	o.listed = false
	c.order.Remove(el)
	delete(c.objects, o.key)
	c.bytes -= o.charged
}

// sweep drops what is stale.
func (c *cache) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, el := range c.objects {
		if !el.Value.(*object).fresh(now) {
			c.drop(el)
		}
	}
}

func (c *cache) size() (objects int, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.objects), c.bytes
}
