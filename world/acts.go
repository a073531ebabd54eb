package world

import (
	"math/rand/v2"
	"slices"
	"time"
)

// A kind is one kind of act.
type kind struct {
	name   string
	weight int           // how often, beside the others
	most   time.Duration // how long at most
	aim    func(r *rand.Rand, p *Plan, a *Act)
	begin  func(w *world, a Act)
	end    func(w *world, a Act)
}

// kinds are all that is done to worlds. The table decides what a seed makes: where it
// changes, old seeds are other worlds, and are replayed by their plans.
var kinds = []kind{
	{"kill", 10, 40 * time.Second, aimToStrike, func(w *world, a Act) { w.strike(a, func() { w.kill(a.Node) }) }, func(w *world, a Act) { w.relent(a, func() { w.revive(a.Node) }) }},
	{"cut", 10, 30 * time.Second, aimLink, func(w *world, a Act) {
		w.net.cut(link{a.Node, a.Other}, 1)
		w.net.cut(link{a.Other, a.Node}, 1)
	}, func(w *world, a Act) {
		w.net.cut(link{a.Node, a.Other}, -1)
		w.net.cut(link{a.Other, a.Node}, -1)
	}},
	{"cut-one-way", 5, 30 * time.Second, aimLink,
		func(w *world, a Act) { w.net.cut(link{a.Node, a.Other}, 1) },
		func(w *world, a Act) { w.net.cut(link{a.Node, a.Other}, -1) }},
	{"slow-link", 5, 40 * time.Second, func(r *rand.Rand, p *Plan, a *Act) {
		aimLink(r, p, a)
		a.Amount = 50 << r.IntN(7)
	}, func(w *world, a Act) { w.net.slower(link{a.Node, a.Other}, a.ms()) },
		func(w *world, a Act) { w.net.slower(link{a.Node, a.Other}, -a.ms()) }},
	{"drip", 3, 30 * time.Second, func(r *rand.Rand, p *Plan, a *Act) {
		aimLink(r, p, a)
		a.Amount = 100 + r.IntN(900)
	}, func(w *world, a Act) { w.net.drip(link{a.Node, a.Other}, a.ms()) },
		func(w *world, a Act) { w.net.drip(link{a.Node, a.Other}, 0) }},
	{"power", 6, 20 * time.Second, aimToStrike, func(w *world, a Act) { w.strike(a, func() { w.powerOff(a.Node) }) }, func(w *world, a Act) { w.relent(a, func() { w.powerOn(a.Node) }) }},
	{"store-slow", 4, 40 * time.Second, func(r *rand.Rand, p *Plan, a *Act) {
		aimOrigin(r, p, a)
		a.Amount = 20 << r.IntN(8)
	}, func(w *world, a Act) { w.storage(a.Node).slower(a.ms()) }, func(w *world, a Act) { w.storage(a.Node).slower(-a.ms()) }},
	{"store-hangs", 3, 20 * time.Second, aimOrigin,
		func(w *world, a Act) { w.storage(a.Node).hang(1) }, func(w *world, a Act) { w.storage(a.Node).hang(-1) }},
	{"store-refuses", 3, 20 * time.Second, func(r *rand.Rand, p *Plan, a *Act) {
		aimOrigin(r, p, a)
		a.Amount = 1 + r.IntN(1000)
	}, func(w *world, a Act) { w.storage(a.Node).refuse(a.Amount) }, func(w *world, a Act) { w.storage(a.Node).refuse(-a.Amount) }},
	{"announcements-lost", 3, 40 * time.Second, aimShare, func(w *world, a Act) { w.bus.set(func(f *flaws) { f.lose += a.share() }) },
		func(w *world, a Act) { w.bus.set(func(f *flaws) { f.lose -= a.share() }) }},
	{"announcements-twice", 2, 40 * time.Second, aimShare, func(w *world, a Act) { w.bus.set(func(f *flaws) { f.double += a.share() }) },
		func(w *world, a Act) { w.bus.set(func(f *flaws) { f.double -= a.share() }) }},
	{"announcements-late", 2, 40 * time.Second, func(r *rand.Rand, _ *Plan, a *Act) { a.Amount = 10 << r.IntN(10) },
		func(w *world, a Act) { w.bus.set(func(f *flaws) { f.late += a.ms() }) },
		func(w *world, a Act) { w.bus.set(func(f *flaws) { f.late -= a.ms() }) }},
	{"announcements-reordered", 2, 40 * time.Second, aimShare, func(w *world, a Act) { w.bus.set(func(f *flaws) { f.stray += a.share() }) },
		func(w *world, a Act) { w.bus.set(func(f *flaws) { f.stray -= a.share() }) }},
	{"announcements-replayed", 1, 40 * time.Second, aimShare, func(w *world, a Act) { w.bus.set(func(f *flaws) { f.again += a.share() }) },
		func(w *world, a Act) { w.bus.set(func(f *flaws) { f.again -= a.share() }) }},
	{"storm", 4, 10 * time.Second, func(r *rand.Rand, p *Plan, a *Act) {
		a.Node, a.Amount = one(r, p.edges()), 5+r.IntN(60)
	}, func(w *world, a Act) { w.storm(a) }, nothing},
	{"twin", 3, 40 * time.Second, func(r *rand.Rand, p *Plan, a *Act) { a.Node, a.Amount = one(r, p.packagers()), r.IntN(2) },
		func(w *world, a Act) { w.twin(a) }, func(w *world, a Act) { w.endTwin(a) }},
	{"mask", 3, 40 * time.Second, func(r *rand.Rand, p *Plan, a *Act) { a.Node, a.Other = one(r, p.origins()), one(r, []string{"a", "b"}) },
		func(w *world, a Act) { w.mask(a) }, func(w *world, a Act) { w.unmask(a) }},
	{"invalidate", 2, time.Second, aimOrigin, func(w *world, a Act) { w.invalidate(a) }, nothing},
	{"flush", 1, time.Second, aimOrigin, func(w *world, a Act) { w.flush(a) }, nothing},
	{"notify", 12, 5 * time.Second, func(r *rand.Rand, p *Plan, a *Act) { aimOrigin(r, p, a); a.Amount = 1 + r.IntN(4) },
		func(w *world, a Act) { w.notify(a) }, nothing},
	{"rot", 2, time.Second, aimOrigin, func(w *world, a Act) {
		if d := w.disks[a.Node]; d != nil {
			d.rot()
		}
	}, nothing},
	{"configure", 3, time.Second, func(r *rand.Rand, p *Plan, a *Act) { aimOrigin(r, p, a); a.Amount = 1 + r.IntN(1000) },
		func(w *world, a Act) { w.configure(a) }, nothing},
	{"renew", 1, time.Second, func(*rand.Rand, *Plan, *Act) {}, func(w *world, a Act) { w.renew() }, nothing},
	{"cache-strange", 2, 40 * time.Second, aimShare, func(w *world, a Act) { w.zone.strange(a.share()) }, func(w *world, a Act) { w.zone.strange(-a.share()) }},
	{"clock", 8, time.Minute, func(r *rand.Rand, p *Plan, a *Act) {
		aimNode(r, p, a)
		if r.IntN(8) == 0 {
			a.Node = everybody
		}
		a.Amount = []int{-300_000, -5_000, -1_000, 1_000, 5_000, 300_000}[r.IntN(6)]
	}, func(w *world, a Act) { w.setClocks(a.Node, a.ms()) }, func(w *world, a Act) { w.setClocks(a.Node, -a.ms()) }},
}

// rest is no fault, and no seed's: long worlds have edges rest while nobody watches.
var rest = kind{name: "rest", begin: func(w *world, a Act) { w.kill(a.Node) }, end: func(w *world, a Act) { w.revive(a.Node) }}

func nothing(*world, Act) {}

// everybody's clocks are set together.
const everybody = "all"

func (a Act) ms() time.Duration { return time.Duration(a.Amount) * time.Millisecond }
func (a Act) share() float64    { return float64(a.Amount) / 1000 }

// edits are the acts that are no faults: after them everything is to go on well.
func (a Act) edits() bool { return a.Kind == "notify" || a.Kind == "configure" || a.Kind == rest.name }

func aimNode(r *rand.Rand, p *Plan, a *Act) {
	a.Node = one(r, slices.Concat(p.origins(), p.edges(), p.packagers(), p.caches()))
}

// aimToStrike says, too, whether it is done at once, or when the node acknowledges next.
func aimToStrike(r *rand.Rand, p *Plan, a *Act) {
	aimNode(r, p, a)
	a.Amount = r.IntN(2)
}

func aimOrigin(r *rand.Rand, p *Plan, a *Act) { a.Node = one(r, p.origins()) }
func aimShare(r *rand.Rand, _ *Plan, a *Act)  { a.Amount = 1 + r.IntN(1000) }

// aimLink takes one of the links there are, in either direction.
func aimLink(r *rand.Rand, p *Plan, a *Act) {
	var links [][2]string
	for _, o := range p.origins() {
		for _, other := range slices.Concat(p.packagers(), p.edges(), p.caches()) {
			links = append(links, [2]string{other, o})
		}
	}
	if p.Origins > 1 {
		links = append(links, [2]string{"origin1", "origin2"})
	}
	l := links[r.IntN(len(links))]
	if r.IntN(2) == 0 {
		l[0], l[1] = l[1], l[0]
	}
	a.Node, a.Other = l[0], l[1]
}
