package world

import (
	"sync/atomic"
	"time"
)

// A wall is the system's clock of one node, which can be set. What passes, it counts as
// all do: as a machine whose clock is set by hand, or by a wrong server of the time.
type wall struct{ off atomic.Int64 }

func (c *wall) now() time.Time { return time.Now().Add(time.Duration(c.off.Load())) }

// setClocks sets the clock of a node, or of everybody, by so much more.
func (w *world) setClocks(name string, by time.Duration) {
	for node, c := range w.walls {
		if node == name || name == everybody {
			c.off.Add(int64(by))
		}
	}
}
