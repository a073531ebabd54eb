// Package object keeps what parents answered: objects, in memory and on disk. An
// object is there from the first request for it on, and all who want it wait for
// the same. Who fills it, and what is answered with it, is not this package's
// business.
//
// Lock order: the cache's mu, then an object's. The disk's is taken alone.
package object

import (
	"container/heap"
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/live"
)

// A Key names an object. The flush version is in it, so that a flush is one
// number and not a search; and so is what manifests tell viewers.
type Key struct {
	Path  live.Path
	Flush int64
	Told  int64 // of manifests: the sequence number of the notifications
	// Generations, of manifests: how many the event has.
	Generations int
}

// overhead is what an object counts for beside its head and body.
const overhead = 1 << 10

// A Cache keeps objects in memory, bounded by their bytes.
//
// What is of the live window stays while it is, whatever else is asked for, as
// long as all of that fits in three quarters: the rest (the DVR window) has the
// room that is left, at least a quarter, and leaves least recently used first.
// An object that leaves the live window becomes one of the rest. What is being
// filled or read cannot leave; a fill for the DVR window that would find no room
// beside that is refused, one for the live window never. So bytes stay within
// limit, except for what the live window is being filled with and read from.
type Cache struct {
	most int64 // bytes

	mu        sync.Mutex // guards the following
	limit     int64      // most, or less while the process has no more
	objects   map[Key]*Object
	window    liveHeap   // the listed objects of the live window
	idle      objectList // the other listed ones that may leave, most recently used first
	sums      sums       // of all objects listed, being filled or being read
	typical   int64      // size of a body, as the last ones were
	evicted   int64      // objects that left to make room,
	evictLive int64      // and of them those of the live window
	refused   int64      // fills
}

// NewCache makes a cache of so many bytes, and its metrics.
func NewCache(limit int64, reg prometheus.Registerer) *Cache {
	c := &Cache{most: limit, limit: limit, objects: make(map[Key]*Object)}
	c.idle.init()
	c.measure(reg)
	return c
}

// A Wanted is what a look-up is for.
type Wanted struct {
	Key       Key
	Config    *live.Config // of its event
	Now       time.Time
	LiveUntil time.Time       // when it leaves the live window
	Keep      bool            // a fill of it is worth it with nobody waiting
	There     bool            // it is to be there: a fill is neither begun nor waited for
	Ctx       context.Context // that of the fill, should there be one, derives from it
}

// LookUp returns the object of a key: a fresh one, or one under way, or a new
// one that the caller must fill (then begin is true) and say when that is over.
// Whoever comes after the one who must fill gets the same object. Each look-up
// needs a Release. Where there is no object, and no room for one or none is to be
// begun, ok is false.
func (c *Cache) LookUp(w Wanted) (o *Object, begin, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tries := 0
	if o := c.objects[w.Key]; o != nil {
		if o.fresh(w.Now) && !o.withdrawn(w.Config) {
			if w.There && !o.Ready() {
				return nil, false, false
			}
			c.join(o, w)
			return o, false, true
		}
		if at, failed := o.broken(); failed && w.Now.Sub(at) < triesFor {
			tries = o.tries + 1
		}
		c.drop(o)
	}
	if w.There {
		return nil, false, false
	}
	c.demote(w.Now)
	s := standing{listed: true, users: 1, filling: true, inWindow: w.Now.Before(w.LiveUntil), liveUntil: w.LiveUntil, charged: overhead}
	if !s.inWindow {
		s.charged += c.typical
		if !c.sums.admits(c.limit, s.charged) {
			c.refused++
			return nil, false, false
		}
	}
	o = newObject(w.Key)
	o.Begun, o.tries, o.keep = w.Config.Version, tries, w.Keep
	o.Ctx, o.cancel = context.WithCancel(w.Ctx)
	c.objects[w.Key] = o
	c.change(o, s)
	c.makeRoom()
	return o, true, true
}

// join adds a user to an object. It needs mu.
func (c *Cache) join(o *Object, w Wanted) {
	s := o.standing
	s.users++
	if w.LiveUntil.After(s.liveUntil) {
		s.liveUntil = w.LiveUntil
	}
	s.inWindow = s.inWindow || w.Now.Before(s.liveUntil)
	c.change(o, s)
}

// Release says that a request has done with an object. A fill for which nobody
// waits any more, of something not worth having, ends.
func (c *Cache) Release(o *Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := o.standing
	s.users--
	c.change(o, s)
	if o.users == 0 && !o.keep && !o.Ended() {
		c.drop(o)
		o.cancel()
	}
	c.makeRoom()
}

// pin holds an object for a reader that made no look-up. It needs a Release.
func (c *Cache) pin(o *Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := o.standing
	s.users++
	c.change(o, s)
}

// Charge accounts for an object's head and body, as it grows, and makes room for
// it. It reports false where there is not enough: the fill had better not go on.
func (c *Cache) Charge(o *Object, size int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := o.standing
	s.charged = overhead + size
	c.change(o, s)
	c.makeRoom()
	return o.inWindow || c.sums.admits(c.limit, 0)
}

// grow accounts for what was made of an object that somebody reads, and makes room
// for it.
func (c *Cache) grow(o *Object, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := o.standing
	s.charged += size
	c.change(o, s)
	c.makeRoom()
}

// Refuse ends a fill for which there is no room.
func (c *Cache) Refuse(o *Object) {
	c.Charge(o, 0)
	c.mu.Lock()
	c.refused++
	c.mu.Unlock()
	o.Fail(live.ErrShed.With("memory is taken by what is being filled and read"))
}

// Filled says that a fill is over.
func (c *Cache) Filled(o *Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if body := o.charged - overhead; body > 0 {
		if c.typical == 0 {
			c.typical = body
		}
		c.typical += (body - c.typical) / 8
	}
	s := o.standing
	s.filling = false
	c.change(o, s)
	c.makeRoom()
}

// change gives an object another standing, and keeps lists and sums as they must
// be for it. It needs mu.
func (c *Cache) change(o *Object, s standing) {
	before, after := o.shelf(), s.shelf()
	c.sums.sub(&o.standing)
	moved := !s.liveUntil.Equal(o.liveUntil)
	o.standing = s
	c.sums.add(&o.standing)
	if before == after {
		if after == window && moved {
			heap.Fix(&c.window, o.place-1)
		}
		return
	}
	switch before {
	case window:
		heap.Remove(&c.window, o.place-1)
	case idle:
		c.idle.remove(o)
	}
	switch after {
	case window:
		heap.Push(&c.window, o)
	case idle:
		c.idle.pushFront(o)
	}
}

// demote makes what has left the live window one of the rest. It needs mu.
func (c *Cache) demote(now time.Time) {
	for len(c.window) > 0 && !now.Before(c.window[0].liveUntil) {
		s := c.window[0].standing
		s.inWindow = false
		c.change(c.window[0], s)
	}
}

// makeRoom lets objects leave until the rest fits. It needs mu.
func (c *Cache) makeRoom() {
	if c.sums.bytes <= c.limit {
		return
	}
	c.demote(time.Now())
	var busy []*Object
	for {
		switch c.sums.leaves(c.limit, c.idle.back() != nil, len(c.window) > len(busy)) {
		case idle:
			c.drop(c.idle.back())
			c.evicted++
		case window:
			// What leaves the live window first goes.
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
		default:
			for _, o := range busy {
				o.stays = false
				heap.Fix(&c.window, o.place-1)
			}
			return
		}
	}
}

// drop needs mu. Those who have the object may read on, nobody else gets it.
func (c *Cache) drop(o *Object) {
	if !o.listed {
		return
	}
	delete(c.objects, o.Key)
	s := o.standing
	s.listed = false
	c.change(o, s)
}

// Sweep drops what is stale.
func (c *Cache) Sweep(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.demote(now)
	for _, o := range c.objects {
		if !o.filling && !o.fresh(now) {
			c.drop(o)
		}
	}
}

// Bytes are those of all objects, those that are only being read included.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sums.bytes
}

// leastPart of what a cache may have at most it has whatever else is in memory: who
// watches live needs it.
const leastPart = 8

// Have says how much there is for the cache. What is too much leaves.
func (c *Cache) Have(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limit = min(max(bytes, c.most/leastPart), c.most)
	c.makeRoom()
}

// Pressure is how near what is being filled and read of other than the live window is
// to where more of it is refused, 1 being a little before.
func (c *Cache) Pressure() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return float64(c.sums.busy) / (0.8 * float64(max(c.sums.bound(c.limit), 1)))
}

// A usage is how a cache's memory is used.
type usage struct {
	sums
	objects                       int
	evicted, evictedLive, refused int64
}

func (c *Cache) usage() usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	return usage{c.sums, len(c.objects), c.evicted, c.evictLive, c.refused}
}

// measure makes the metrics of the cache.
func (c *Cache) measure(reg prometheus.Registerer) {
	for _, m := range []struct {
		name, help string
		f          func(usage) int64
	}{
		{"objects", "Objects in memory.", func(u usage) int64 { return int64(u.objects) }},
		{"memory_bytes", "Bytes of objects in memory, those that are only being read included.", func(u usage) int64 { return u.bytes }},
		{"memory_live_bytes", "Of them, bytes of the live window.", func(u usage) int64 { return u.live }},
		{"memory_busy_bytes", "Of them, bytes of other objects that are being filled or read.", func(u usage) int64 { return u.busy }},
		{"memory_evictions_total", "Objects that left memory to make room.", func(u usage) int64 { return u.evicted }},
		{"memory_live_evictions_total", "Of them, objects of the live window: memory is too small for it.", func(u usage) int64 { return u.evictedLive }},
		{"memory_refused_fills_total", "Fills for the DVR window refused for want of memory.", func(u usage) int64 { return u.refused }},
	} {
		opts := prometheus.Opts{Namespace: "headwater", Subsystem: "edge", Name: m.name, Help: m.help}
		value := func() float64 { return float64(m.f(c.usage())) }
		if strings.HasSuffix(m.name, "_total") {
			reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts(opts), value))
		} else {
			reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts(opts), value))
		}
	}
}
