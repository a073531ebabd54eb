package world

import (
	"math/rand/v2"
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

// kinds are all that is done to worlds. New ones go to the end: the table decides
// what a seed makes.
var kinds = []kind{
	{"kill", 10, 40 * time.Second, func(r *rand.Rand, p *Plan, a *Act) {
		a.Node = one(r, append(append(p.origins(), p.edges()...), p.packagers()...))
	}, func(w *world, a Act) { w.kill(a.Node) }, func(w *world, a Act) { w.revive(a.Node) }},
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
}

// aimLink takes one of the links there are, in either direction.
func aimLink(r *rand.Rand, p *Plan, a *Act) {
	var links [][2]string
	for _, o := range p.origins() {
		for _, other := range append(p.packagers(), p.edges()...) {
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
