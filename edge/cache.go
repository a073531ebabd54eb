package edge

import (
	"container/heap"
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

// A cache keeps objects in memory, bounded by their bytes.
//
// What is of the live window stays while it is, whatever else is asked for, as
// long as all of that fits in three quarters: the rest (the DVR window) has the
// room that is left, at least a quarter, and leaves least recently used first.
// An object that leaves the live window becomes one of the rest. What is being
// filled or read cannot leave; a fill for the DVR window that would find no room
// beside that is refused, one for the live window never. So bytes stay within
// limit, except for what the live window is being filled with and read from.
//
// Lock order: cache.mu, then object.mu.
type cache struct {
	limit int64

	mu        sync.Mutex // guards the following
	objects   map[key]*object
	window    liveHeap   // the listed objects of the live window
	idle      objectList // the other listed ones that may leave, most recently used first
	bytes     int64      // of all objects listed, being filled or being read
	liveBytes int64      // of them, those in window
	busyBytes int64      // of them, those that are neither in window nor idle
	typical   int64      // size of a body, as the last ones were
	evicted   int64      // objects that left to make room,
	evictLive int64      // and of them those of the live window
	shed      int64      // fills refused
}

func newCache(limit int64) *cache {
	c := &cache{limit: limit, objects: make(map[key]*object)}
	c.idle.init()
	return c
}

// A wanted is what a look-up is for.
type wanted struct {
	key       key
	view      *view
	now       time.Time
	liveUntil time.Time       // when it leaves the live window
	keep      bool            // a fill of it is worth it with nobody waiting
	ctx       context.Context // that of the fill, should there be one, derives from it
}

// lookUp returns the object of a key: a fresh one, or one under way, or a new
// one that the caller must fill (then begin is true) and say when that is over.
// Whoever comes after the one who must fill gets the same object. Each look-up
// needs a release. With live.ErrShed there is no object and no room for one.
func (c *cache) lookUp(w wanted) (o *object, begin bool, refusal *live.Problem) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tries := 0
	if o := c.objects[w.key]; o != nil {
		if o.fresh(w.now) && !w.view.withdrew(o) {
			c.join(o, w)
			return o, false, nil
		}
		if at, failed := o.broken(); failed && w.now.Sub(at) < retryAfter {
			tries = o.tries + 1
		}
		c.drop(o)
	}
	c.demote(w.now)
	inWindow := w.now.Before(w.liveUntil)
	size := int64(overhead)
	if !inWindow {
		size += c.typical
		if c.busyBytes+size > c.restLimit() {
			c.shed++
			return nil, false, live.ErrShed.With("memory is taken by what is being filled and read")
		}
	}
	o = newObject(w.key)
	o.begun, o.tries, o.keep = w.view.config.Version, tries, w.keep
	o.ctx, o.cancel = context.WithCancel(w.ctx)
	c.objects[w.key] = o
	c.change(o, func() {
		o.listed, o.users, o.filling = true, 1, true
		o.inWindow, o.liveUntil, o.charged = inWindow, w.liveUntil, size
	})
	c.makeRoom()
	return o, true, nil
}

// join adds a user to an object. It needs mu.
func (c *cache) join(o *object, w wanted) {
	if o.inWindow && !w.liveUntil.After(o.liveUntil) {
		o.users++ // as with every hit at the live edge: nothing else changes
		return
	}
	c.change(o, func() {
		o.users++
		if w.liveUntil.After(o.liveUntil) {
			o.liveUntil = w.liveUntil
		}
		o.inWindow = o.inWindow || w.now.Before(o.liveUntil)
	})
}

// release says that a request has done with an object. A fill for which nobody
// waits any more, of something not worth having, ends.
func (c *cache) release(o *object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if o.listed && o.inWindow {
		o.users--
	} else {
		c.change(o, func() { o.users-- })
	}
	if o.users == 0 && !o.keep && !o.ended() {
		c.drop(o)
		o.cancel()
	}
	c.makeRoom()
}

// pin holds an object for a reader that made no look-up. It needs a release.
func (c *cache) pin(o *object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(o, func() { o.users++ })
}

// charge accounts for an object's body, as it grows, and makes room for it. It
// reports false where there is not enough: the fill had better not go on.
func (c *cache) charge(o *object, size int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.change(o, func() { o.charged = overhead + size })
	c.makeRoom()
	return o.inWindow || c.busyBytes <= c.restLimit()
}

// refused takes back what an object was charged whose fill does not go on.
func (c *cache) refused(o *object) {
	c.charge(o, 0)
	c.mu.Lock()
	c.shed++
	c.mu.Unlock()
}

// restLimit is how much of what is not of the live window may be filled and read
// at once: not so much that a live window which begins to fill finds no room. It
// needs mu.
func (c *cache) restLimit() int64 { return max(min(c.limit-c.liveBytes, c.limit/2), c.limit/4) }

// filled says that a fill is over.
func (c *cache) filled(o *object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if body := o.charged - overhead; body > 0 {
		if c.typical == 0 {
			c.typical = body
		}
		c.typical += (body - c.typical) / 8
	}
	c.change(o, func() { o.filling = false })
	c.makeRoom()
}

// change has f change what is guarded by mu of an object, and keeps lists and
// sums as they must be. It needs mu.
func (c *cache) change(o *object, f func()) {
	c.count(o, -1)
	f()
	c.count(o, +1)
	switch wanted := o.listed && o.inWindow; {
	case wanted && o.place == 0:
		heap.Push(&c.window, o)
	case wanted:
		heap.Fix(&c.window, o.place-1)
	case o.place > 0:
		heap.Remove(&c.window, o.place-1)
	}
	switch wanted := o.listed && !o.inWindow && !o.busy(); {
	case wanted && !o.linked():
		c.idle.pushFront(o)
	case !wanted && o.linked():
		c.idle.remove(o)
	}
}

// count needs mu.
func (c *cache) count(o *object, sign int64) {
	switch n := sign * o.charged; {
	case o.listed && o.inWindow:
		c.bytes += n
		c.liveBytes += n
	case o.busy():
		c.bytes += n
		c.busyBytes += n
	case o.listed:
		c.bytes += n
	}
}

// demote makes what has left the live window one of the rest. It needs mu.
func (c *cache) demote(now time.Time) {
	for len(c.window) > 0 && !now.Before(c.window[0].liveUntil) {
		c.change(c.window[0], func() { c.window[0].inWindow = false })
	}
}

// makeRoom lets objects leave until the rest fits. It needs mu.
func (c *cache) makeRoom() {
	if c.bytes <= c.limit {
		return
	}
	c.demote(time.Now())
	for o := c.idle.back(); c.bytes > c.limit && o != nil; o = c.idle.back() {
		c.drop(o)
		c.evicted++
	}
	// The live window is too large: what leaves it first goes.
	var busy []*object
	for c.bytes > c.limit && c.liveBytes > c.limit-c.limit/4 && len(c.window) > len(busy) {
		o := c.window[0]
		if o.busy() {
			// It cannot go. For the moment it is at the end.
			busy = append(busy, o)
			o.stays = true
			heap.Fix(&c.window, 0)
			continue
		}
		c.drop(o)
		c.evicted++
		c.evictLive++
	}
	for _, o := range busy {
		o.stays = false
		heap.Fix(&c.window, o.place-1)
	}
}

// drop needs mu. Those who have the object may read on, nobody else gets it.
func (c *cache) drop(o *object) {
	if !o.listed {
		return
	}
	delete(c.objects, o.key)
	c.change(o, func() { o.listed = false })
}

// sweep drops what is stale.
func (c *cache) sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.demote(now)
	for _, o := range c.objects {
		if !o.filling && !o.fresh(now) {
			c.drop(o)
		}
	}
}

// A usage is how a cache's memory is used.
type usage struct {
	objects                    int
	bytes, liveBytes, busy     int64
	evicted, evictedLive, shed int64
}

func (c *cache) usage() usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return usage{len(c.objects), c.bytes, c.liveBytes, c.busyBytes, c.evicted, c.evictLive, c.shed}
}

// A liveHeap has the object that leaves the live window next at its top.
type liveHeap []*object

func (h liveHeap) Len() int { return len(h) }
func (h liveHeap) Less(i, j int) bool {
	if h[i].stays != h[j].stays {
		return h[j].stays
	}
	return h[i].liveUntil.Before(h[j].liveUntil)
}
func (h liveHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}
func (h *liveHeap) Push(x any) {
	o := x.(*object)
	*h = append(*h, o)
	o.place = len(*h)
}
func (h *liveHeap) Pop() any {
	last := len(*h) - 1
	o := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	o.place = 0
	return o
}

// neighbours are an object's neighbours in an objectList.
type neighbours struct{ prev, next *object }

func (l *neighbours) linked() bool { return l.next != nil }

// An objectList is a ring, so that to put an object in takes no memory.
type objectList struct{ root object }

func (l *objectList) init() { l.root.prev, l.root.next = &l.root, &l.root }

func (l *objectList) pushFront(o *object) {
	o.prev, o.next = &l.root, l.root.next
	o.prev.next, o.next.prev = o, o
}

func (l *objectList) remove(o *object) {
	o.prev.next, o.next.prev = o.next, o.prev
	o.prev, o.next = nil, nil
}

func (l *objectList) back() *object {
	if l.root.prev == &l.root {
		return nil
	}
	return l.root.prev
}
