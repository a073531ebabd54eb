package origin

import "time"

// WriteGoal is how long a publication should take from the end of its body to
// its answer: a quarter of the two seconds in which a packager can still try
// again. The steps of a PUT share it.
const WriteGoal = 500 * time.Millisecond

// A step is a part of a publication that takes time. Server-Timing and the
// histograms share the names.
type step int

const (
	stepRead     step = iota // the body: the packager's time, and not part of the goal
	stepInspect              // finding what is wrong with it
	stepStore                // until it is durable; the store may add steps of its own
	stepCache                // into the window and the tables of this node
	stepAnnounce             // to the other nodes
)

var steps = [...]string{"read", "inspect", "store", "cache", "announce"}

func (s step) String() string { return steps[s] }

// timed is a step that the store tells of.
type timed struct {
	step string
	d    time.Duration
}

func (p *publication) step(s step, d time.Duration) {
	p.took[s] += d
	p.timing.Add(s.String(), d)
}
