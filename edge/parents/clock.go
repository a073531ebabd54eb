package parents

import "time"

// Theirs is what the parents' clock says at an instant of time.Now, Ours such an
// instant: what most of them agree on, and of two that do not the one that agrees with
// this node's own. Neither cares what the system's clock is set to meanwhile.
func (u *Upstream) Theirs(t time.Time) time.Time { return u.clock.At(t) }
func (u *Upstream) Ours(t time.Time) time.Time   { return u.clock.Instant(t) }

// Offset is the parents' time minus that of the system's clock here.
func (u *Upstream) Offset() time.Duration { return u.clock.Now().Sub(u.clock.Wall()) }
