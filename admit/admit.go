// Package admit lets requests of a class in, or refuses them. Classes are
// ordered: as the gate fills, the lowest class is shed first, so that what is
// live never waits behind what is not.
package admit

import (
	"fmt"
	"sync/atomic"
)

// A Class orders requests by what may be shed first. It comes from path and
// timeline, never from a datastore.
type Class uint8

// The classes, most protected first.
const (
	Publish Class = iota
	Live
	DVR
	Rest
	classes
)

// Classes lists every class, for counters.
var Classes = []Class{Publish, Live, DVR, Rest}

func (c Class) String() string {
	if c < classes {
		return [...]string{"publish", "live", "dvr", "rest"}[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// share is the part of the gate, in percent, that may be full for a request of
// a class still to enter.
var share = [classes]int64{Publish: 100, Live: 100, DVR: 75, Rest: 50}

// A Gate bounds how much work is under way at once, in whatever unit its owner
// counts. The zero Gate lets nothing in; use NewGate.
type Gate struct {
	capacity int64
	used     atomic.Int64
	shed     [classes]atomic.Int64
}

// NewGate returns a gate for that much work at once.
func NewGate(capacity int64) *Gate { return &Gate{capacity: capacity} }

// Enter takes n units for a request of class c, or refuses at once. Each true
// must be followed by one Leave with the same n.
func (g *Gate) Enter(c Class, n int64) bool {
	limit := (g.capacity*share[c] + 99) / 100 // rounded up: the smallest gate lets one of each class in
	for {
		used := g.used.Load()
		if used+n > limit {
			g.shed[c].Add(1)
			return false
		}
		if g.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

// Leave gives n units back.
func (g *Gate) Leave(n int64) { g.used.Add(-n) }

// Used is how much is under way.
func (g *Gate) Used() int64 { return g.used.Load() }

// Shed is how many requests of class c were refused.
func (g *Gate) Shed(c Class) int64 { return g.shed[c].Load() }
