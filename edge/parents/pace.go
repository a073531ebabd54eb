package parents

import (
	"math"
	"time"
)

const (
	paceLeast = 500 * time.Millisecond // what a body may take at least, however late it begins
	paceMost  = 2 * time.Second        // and at most, however long a segment is
	paceFirst = 0.4                    // of its time: before, nothing is said of a body
	// pacePeer is how much longer a body of a peer may take: it does for itself what
	// we would do, and each object is to be filled once for the site.
	pacePeer = 2 * HedgeAfter
)

// A Pace is the rate that a body has to keep, by what is left until viewers need it.
// It decides and nothing else.
//
// By a share x of its time x² of the body must be there. A connection that was idle
// begins slowly and doubles what it brings with each round trip, so a straight line
// would find every parent that is far away too slow.
type Pace struct {
	Began time.Time
	Need  time.Time // when viewers need the last byte
	Size  int64     // -1 where it is not known
}

// Pace is what the body of a reply has to keep that begins at began, of which so many
// bytes are still to come. The zero Pace is for what has no rate to keep.
func (r *Request) Pace(began time.Time, left int64, of *Parent) Pace {
	if r.Body <= 0 {
		return Pace{}
	}
	p := Pace{Began: began, Need: began.Add(min(r.Body, paceMost)), Size: left}
	if !r.Need.IsZero() {
		p.Need = minTime(p.Need, r.Need)
	}
	if least := began.Add(paceLeast); p.Need.Before(least) {
		p.Need = least
	}
	if of.Peer() {
		p.Need = p.Need.Add(pacePeer)
	}
	return p
}

// Until is until when a body is in time of which so many bytes have come: from then on
// it falls behind.
func (p Pace) Until(came int64) time.Time {
	if p.Size < 0 {
		return p.Need
	}
	x := paceFirst
	if p.Size > 0 {
		x = max(x, math.Sqrt(float64(came)/float64(p.Size)))
	}
	return p.Began.Add(time.Duration(min(x, 1) * float64(p.Need.Sub(p.Began))))
}
