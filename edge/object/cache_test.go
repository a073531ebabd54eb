package object

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"headwater/live"
)

// TestCacheKeepsTheLiveWindow does anything in any order. Bytes stay within the
// limit but for what is being filled or read, the sums are right, and what is of
// the live window stays while it is, as long as it fits in three quarters.
func TestCacheKeepsTheLiveWindow(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		inBubble(t, func(ctx context.Context) {
			t := rt
			const limit, liveKeys, most = 400 << 10, 10, 29 << 10
			c := NewCache(limit, prometheus.NewRegistry())
			var filling, reading []*Object
			until := map[Key]time.Time{} // of what was filled for the live window
			keyOf := func(n int) Key { return Key{Path: live.Path{File: live.FileSegment, Number: live.Number(n)}} }
			finish := func(o *Object, size int64) {
				if o.Ctx.Err() != nil {
					o.Fail(context.Canceled)
					c.Charge(o, 0)
				} else if !c.Charge(o, size) {
					c.Refuse(o)
				} else {
					o.Open(Head{Received: time.Now(), Lifetime: time.Hour})
					o.Finish(make([]byte, size), nil)
					if now := time.Now(); now.Before(o.liveUntil) {
						until[o.Key] = o.liveUntil
					}
				}
				c.Filled(o)
			}
			take := func(list *[]*Object) *Object {
				if len(*list) == 0 {
					return nil
				}
				i := rapid.IntRange(0, len(*list)-1).Draw(t, "which")
				o := (*list)[i]
				*list = append((*list)[:i], (*list)[i+1:]...)
				return o
			}
			for range rapid.IntRange(1, 200).Draw(t, "operations") {
				switch rapid.SampledFrom([]int{0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7, 8, 8, 9}).Draw(t, "operation") {
				case 0, 1, 2: // somebody of the live window
					k := keyOf(rapid.IntRange(0, liveKeys-1).Draw(t, "live"))
					o, begin, ok := c.LookUp(Wanted{Key: k, Config: &live.Config{}, Now: time.Now(), LiveUntil: time.Now().Add(time.Minute), Keep: true, Ctx: ctx})
					if !ok {
						t.Fatal("a live fill was refused")
					}
					if begin {
						if u := until[k]; time.Now().Before(u) {
							t.Fatalf("%d left the cache %v before it left the live window", k.Path.Number, time.Until(u))
						}
						filling = append(filling, o)
					}
					reading = append(reading, o)
				case 3, 4, 5, 6: // somebody of the DVR window
					k := keyOf(rapid.IntRange(100, 140).Draw(t, "dvr"))
					o, begin, ok := c.LookUp(Wanted{Key: k, Config: &live.Config{}, Now: time.Now(), Ctx: ctx})
					if !ok {
						continue
					}
					if begin {
						filling = append(filling, o)
					}
					reading = append(reading, o)
				case 7:
					if o := take(&filling); o != nil {
						finish(o, rapid.SampledFrom([]int64{most, most, most, most / 2, 0}).Draw(t, "size"))
					}
				case 8:
					if o := take(&reading); o != nil {
						c.Release(o)
					}
				case 9:
					time.Sleep(time.Duration(rapid.IntRange(1, 10).Draw(t, "seconds")) * time.Second)
					c.Sweep(time.Now())
				}
				checkCache(t, c, filling, reading)
			}
			for len(filling) > 0 {
				finish(take(&filling), 1)
			}
			for len(reading) > 0 {
				c.Release(take(&reading))
			}
			checkCache(t, c, nil, nil)
			if u := c.usage(); u.bytes > limit || u.busy != 0 {
				t.Fatalf("with nobody there %+v", u)
			}
			time.Sleep(2 * time.Hour)
			if c.Sweep(time.Now()); c.usage().bytes != 0 || len(c.window) != 0 || c.idle.len() != 0 {
				t.Fatalf("with nothing fresh %+v", c.usage())
			}
		})
	})
}

// inBubble runs f where time is a fake, and takes what it panics with out of there.
func inBubble(t *testing.T, f func(ctx context.Context)) {
	var thrown any
	synctest.Test(t, func(t *testing.T) {
		defer func() { thrown = recover() }()
		f(t.Context())
	})
	if thrown != nil {
		panic(thrown)
	}
}

// checkCache recomputes what the cache counts.
func checkCache(t *rapid.T, c *Cache, lists ...[]*Object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[*Object]bool{}
	for _, o := range c.objects {
		all[o] = true
	}
	for _, list := range lists {
		for _, o := range list {
			all[o] = true
		}
	}
	var bytes, inWindow, busy, inFlight int64
	idle := 0
	for o := range all {
		bytes += o.charged
		switch {
		case o.listed && o.inWindow:
			inWindow += o.charged
		case o.busy():
			busy += o.charged
		default:
			idle++
		}
		if o.busy() {
			inFlight += o.charged
		}
	}
	if bytes != c.sums.bytes || inWindow != c.sums.live || busy != c.sums.busy || idle != c.idle.len() {
		t.Fatalf("counted %d, %d live, %d busy, %d idle; there are %d, %d, %d, %d",
			c.sums.bytes, c.sums.live, c.sums.busy, c.idle.len(), bytes, inWindow, busy, idle)
	}
	if bytes > c.limit+inFlight {
		t.Fatalf("%d bytes, %d of them in flight, at most %d", bytes, inFlight, c.limit)
	}
}

func (l *objectList) len() (n int) {
	for o := l.root.next; o != &l.root; o = o.next {
		n++
	}
	return n
}
