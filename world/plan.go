package world

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// A Plan is one world: how it is built, and what happens in it. It is a value: the
// same plan under the same seed is the same world.
type Plan struct {
	Seed uint64 `json:"seed"`
	// Length is how long acts may go on; after it the world settles.
	Length time.Duration `json:"length"`
	// Segment and DVR are those of the event.
	Segment time.Duration `json:"segment"`
	DVR     time.Duration `json:"dvr"`
	Latency time.Duration `json:"latency"`
	Origins int           `json:"origins"`
	Disk    bool          `json:"disk"`             // the one origin has a disk; else all share a store
	Cache   bool          `json:"cache,omitempty"`  // and a memcached before it
	Gap     bool          `json:"gap,omitempty"`    // what is lost is refused, and not filled
	Fat     bool          `json:"fat,omitempty"`    // segments are too large for a disk store's twins
	Window  int64         `json:"window,omitempty"` // bytes of segments that an origin keeps in memory; 0: plenty
	Edges   int           `json:"edges"`
	Viewers int           `json:"viewers"` // of each edge
	Acts    []Act         `json:"acts"`
	// Long is one of hours (see long.go), whose viewers come for these times only.
	Long    bool   `json:"long,omitempty"`
	Watches []Span `json:"watches,omitempty"`
}

// An Act is one thing that is done to a world, and undone after a while.
type Act struct {
	Kind string        `json:"kind"`
	At   time.Duration `json:"at"`
	For  time.Duration `json:"for"`
	// Node is whom it befalls; Other is the far end of a link.
	Node  string `json:"node,omitempty"`
	Other string `json:"other,omitempty"`
	// Amount is how much: a share in thousandths, or milliseconds.
	Amount int `json:"amount,omitempty"`
}

func (a Act) String() string {
	s := a.Kind
	if a.Node != "" {
		s += " " + a.Node
	}
	if a.Other != "" {
		s += " to " + a.Other
	}
	if a.Amount != 0 {
		s += fmt.Sprintf(" (%d)", a.Amount)
	}
	return fmt.Sprintf("%s for %v", s, a.For)
}

// settling is how long a world is left alone at its end.
const settling = 90 * time.Second

// NewPlan makes the world of a seed.
func NewPlan(seed uint64, length time.Duration) Plan {
	r := rand.New(rand.NewPCG(seed, 1))
	p := Plan{
		Seed: seed, Length: length,
		Segment: time.Duration(1+r.IntN(6)) * time.Second,
		DVR:     time.Duration(1+r.IntN(10)) * time.Minute,
		Latency: time.Duration(1+r.IntN(30)) * time.Millisecond,
		Origins: 1 + r.IntN(2), Edges: 1 + r.IntN(2), Viewers: 1 + r.IntN(3),
	}
	p.setUp(r)
	// Some worlds are quiet for long, in others everything comes at once.
	mean := time.Duration(5+r.IntN(115)) * time.Second
	for at := 20 * time.Second; ; {
		at += time.Duration(r.ExpFloat64() * float64(mean))
		if at >= length {
			break
		}
		p.act(r, at)
	}
	return p
}

// setUp decides what is the same in worlds of all lengths.
func (p *Plan) setUp(r *rand.Rand) {
	p.Disk = p.Origins == 1 && r.IntN(5) > 0
	p.Cache = !p.Disk && r.IntN(2) == 0
	p.Gap = r.IntN(4) == 0
	p.Fat = r.IntN(3) == 0
	if r.IntN(2) == 0 {
		p.Window = 4 << 10 << r.IntN(5) // some segments: the others are read from the store
	}
}

// act adds one that begins then.
func (p *Plan) act(r *rand.Rand, at time.Duration) {
	k := kinds[pick(r)]
	a := Act{Kind: k.name, At: at.Round(time.Millisecond)}
	most := min(k.most, p.Length-at)
	a.For = time.Duration(float64(most) * r.Float64() * r.Float64()).Round(time.Millisecond)
	k.aim(r, p, &a)
	p.Acts = append(p.Acts, a)
}

func pick(r *rand.Rand) int {
	sum := 0
	for _, k := range kinds {
		sum += k.weight
	}
	at := r.IntN(sum)
	for i, k := range kinds {
		if at -= k.weight; at < 0 {
			return i
		}
	}
	panic("world: no kind")
}

// nodes are the names of those of a role.
func nodes(role string, n int) []string {
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%s%d", role, i+1))
	}
	return names
}

func (p *Plan) origins() []string { return nodes("origin", p.Origins) }
func (p *Plan) edges() []string   { return nodes("edge", p.Edges) }
func (p *Plan) caches() []string {
	if p.Cache {
		return []string{cacheName}
	}
	return nil
}

// packagers are one for each pipeline, which its name ends with.
func (p *Plan) packagers() []string { return []string{"packager-a", "packager-b"} }

// Quiet reports whether nothing is wrong between two times, nor was within the time
// that the system may take to recover, that could matter to the viewers of an edge; of
// "" to any.
func (p *Plan) Quiet(edge string, from, to time.Duration) bool {
	return !slices.ContainsFunc(p.Acts, func(a Act) bool { return p.wrong(a, edge, from, to) })
}

// Covered is Quiet but for one act, of those that cost viewers nothing for as long as
// nothing else is wrong: of what it befalls there is another.
func (p *Plan) Covered(edge string, from, to time.Duration) bool {
	n := 0
	for _, a := range p.Acts {
		if p.wrong(a, edge, from, to) {
			if n++; n > 1 || !p.spare(a) {
				return false
			}
		}
	}
	return true
}

func (p *Plan) wrong(a Act, edge string, from, to time.Duration) bool {
	return !a.edits() && a.At <= to && a.At+a.For+p.recovery(a) >= from && !p.oneClock(a) && !a.elsewhere(edge)
}

// elsewhere reports whether an act befalls another edge alone.
func (a Act) elsewhere(edge string) bool {
	of := func(node string) bool { return strings.HasPrefix(node, "edge") && node != edge }
	return edge != "" && (of(a.Node) || of(a.Other))
}

// spare reports whether there is another of what an act befalls.
func (p *Plan) spare(a Act) bool {
	of := func(role string) bool { return strings.HasPrefix(a.Node, role) || strings.HasPrefix(a.Other, role) }
	switch a.Kind {
	case "kill", "power", "cut", "cut-one-way", "slow-link", "drip":
		return of("packager") || of(cacheName) || p.Origins > 1 && !((a.Kind == "kill" || a.Kind == "power") && of("edge"))
	case "announcements-lost", "announcements-twice", "announcements-late", "announcements-reordered", "announcements-replayed", "twin", "mask", "invalidate", "flush", "rot", "cache-strange":
		return true
	}
	return false
}

// recovery is how long after an act everything must be well again. Who believed clocks
// that were wrong together, and hears of nobody since, goes by its own after a minute: when
// what it heard last is a quarter of one old.
func (p *Plan) recovery(a Act) time.Duration {
	switch a.Kind {
	case "clock":
		return 75*time.Second + recovery
	case "renew": // none may publish for some segments before the other begins a generation
		return 30*time.Second + 6*p.Segment + recovery
	}
	return recovery
}

// oneClock reports whether an act sets one node's clock, or those of packagers, while all
// others are right, and have been for a while: that is to be no fault to anybody.
func (p *Plan) oneClock(a Act) bool {
	return a.Kind == "clock" && a.Node != everybody && !slices.ContainsFunc(p.Acts, func(b Act) bool {
		return b.Kind == "clock" && b != a && (!ofPackager(a) || !ofPackager(b)) && b.At <= a.At+a.For+p.recovery(a) && b.At+b.For+p.recovery(b) >= a.At
	})
}

func ofPackager(a Act) bool { return strings.HasPrefix(a.Node, "packager-") }

// recovery is how long after a fault everything must be well again.
const recovery = 15 * time.Second

// expired reports whether what is kept until then was too old at some time, by clocks that
// were wrong together: nobody could know better.
func (p *Plan) expired(until time.Duration) bool {
	return slices.ContainsFunc(p.Acts, func(a Act) bool {
		return a.Kind == "clock" && !p.oneClock(a) && a.At+a.For+a.ms() >= until
	})
}

// told reports whether up to then origins heard of all that others chose.
func (p *Plan) told(until time.Duration) bool {
	return p.Origins > 1 && !slices.ContainsFunc(p.Acts, func(a Act) bool {
		switch a.Kind {
		case "kill", "power", "cut", "cut-one-way", "slow-link", "drip":
			return a.At < until && strings.HasPrefix(a.Node, "origin") && (a.Other == "" || strings.HasPrefix(a.Other, "origin"))
		}
		return a.At < until && strings.HasPrefix(a.Kind, "announcements-")
	})
}

// A step is the beginning or the end of an act.
type step struct {
	at   time.Duration
	act  int
	over bool
}

func (p *Plan) steps() []step {
	var all []step
	for i, a := range p.Acts {
		all = append(all, step{a.At, i, false}, step{a.At + a.For, i, true})
	}
	slices.SortStableFunc(all, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	return all
}

func one(r *rand.Rand, of []string) string { return of[r.IntN(len(of))] }
