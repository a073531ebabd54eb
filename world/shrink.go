package world

import (
	"context"
	"slices"
)

// Shrink leaves out of a plan that fails what is not needed for one of the
// invariants not to hold: first what would come after it, then large parts of its acts,
// then small ones, then edges and viewers. told hears of each smaller plan that still
// fails.
func (r Runner) Shrink(ctx context.Context, failed Result, told func(Result)) Result {
	best := failed
	want := map[string]bool{}
	for _, v := range failed.Violations {
		want[v.Invariant] = true
	}
	try := func(p Plan) bool {
		if ctx.Err() != nil {
			return false
		}
		res := r.Play(ctx, p, 0)
		for _, v := range res.Violations {
			if want[v.Invariant] {
				best = res
				told(res)
				return true
			}
		}
		return false
	}
	if v := failed.Violations[0]; v.At > 0 && v.At+settling < best.Plan.Length {
		p := best.Plan
		p.Length = v.At
		p.Acts = before(p.Acts, v)
		try(p)
	}
	for size := max(len(best.Plan.Acts)/2, 1); ; size /= 2 {
		for at := 0; at < len(best.Plan.Acts) && ctx.Err() == nil; {
			p := best.Plan
			p.Acts = append(append([]Act{}, p.Acts[:at]...), p.Acts[min(at+size, len(p.Acts)):]...)
			if !try(p) {
				at += size
			}
		}
		if size <= 1 {
			break
		}
	}
	if p := best.Plan; p.Edges > 1 && !slices.ContainsFunc(p.Acts, func(a Act) bool { return a.Node == "edge2" || a.Other == "edge2" }) {
		p.Edges = 1
		try(p)
	}
	if p := best.Plan; p.Viewers > 1 {
		p.Viewers = 1
		try(p)
	}
	return best
}

// before are the acts that began before something went wrong.
func before(acts []Act, v Violation) []Act {
	var out []Act
	for _, a := range acts {
		if a.At < v.At {
			a.For = min(a.For, v.At-a.At)
			out = append(out, a)
		}
	}
	return out
}
