//go:build linux

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// A result is one round of one contender.
type result struct {
	p50, p99, max time.Duration
	gets          float64       // requests to the origin for each segment
	refused       float64       // 404s for each viewer and segment
	cpu           time.Duration // of the edge for each segment
	memory        float64       // bytes of the edge for each viewer
	missed        int
	broken        int
	wrong         int
	other         int // answers that are neither 200 nor 404
}

func resultOf(t *tally) result {
	slices.Sort(t.delays)
	r := result{missed: t.missed, broken: t.broken, wrong: t.wrong}
	if n := len(t.delays); n > 0 {
		r.p50, r.p99, r.max = t.delays[n/2], t.delays[min(n*99/100, n-1)], t.delays[n-1]
	}
	for status, n := range t.statuses {
		if status != 200 && status != 404 {
			r.other += n
		}
	}
	return r
}

// notes are what should not be.
func (r result) notes() string {
	var out []string
	for _, x := range []struct {
		n    int
		what string
	}{{r.missed, "missed"}, {r.broken, "broken off"}, {r.wrong, "wrong"}, {r.other, "other answers"}} {
		if x.n > 0 {
			out = append(out, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	if len(out) == 0 {
		return "all complete"
	}
	return strings.Join(out, ", ")
}

// median of the rounds, and the lowest and highest.
func median[T cmp.Ordered](rounds []result, of func(result) T) (mid, low, high T) {
	var all []T
	for _, r := range rounds {
		all = append(all, of(r))
	}
	slices.Sort(all)
	return all[len(all)/2], all[0], all[len(all)-1]
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(time.Millisecond)) }

// times is a median of times with its range.
func times(rounds []result, of func(result) time.Duration) string {
	mid, low, high := median(rounds, of)
	if len(rounds) < 2 {
		return ms(mid)
	}
	return fmt.Sprintf("%s (%s-%s)", ms(mid), ms(low), ms(high))
}

func sum(rounds []result) result {
	var s result
	for _, r := range rounds {
		s.missed += r.missed
		s.broken += r.broken
		s.wrong += r.wrong
		s.other += r.other
	}
	return s
}

func printDelays(w io.Writer, cs []contender, results [][]result) {
	fmt.Fprintln(w, "| edge | p50 ms | p99 ms | max ms | origin GETs per segment | 404s per viewer and segment | edge CPU ms per segment | viewers got |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|--:|---|")
	for i, c := range cs {
		rs := results[i]
		gets, _, _ := median(rs, func(r result) float64 { return r.gets })
		refused, _, _ := median(rs, func(r result) float64 { return r.refused })
		busy, _, _ := median(rs, func(r result) time.Duration { return r.cpu })
		fmt.Fprintf(w, "| %s | %s | %s | %s | %.1f | %.1f | %.0f | %s |\n", c.what,
			times(rs, func(r result) time.Duration { return r.p50 }), times(rs, func(r result) time.Duration { return r.p99 }),
			times(rs, func(r result) time.Duration { return r.max }), gets, refused, float64(busy)/float64(time.Millisecond), sum(rs).notes())
	}
}

func printHeld(w io.Writer, cs []contender, results [][]result) {
	fmt.Fprintln(w, "| edge | kB per request held | release p50 ms | p99 ms | max ms | origin GETs | viewers got |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|--:|---|")
	for i, c := range cs {
		rs := results[i]
		mem, low, high := median(rs, func(r result) float64 { return r.memory })
		gets, _, _ := median(rs, func(r result) float64 { return r.gets })
		fmt.Fprintf(w, "| %s | %.1f (%.1f-%.1f) | %s | %s | %s | %.0f | %s |\n", c.what, mem/1e3, low/1e3, high/1e3,
			times(rs, func(r result) time.Duration { return r.p50 }), times(rs, func(r result) time.Duration { return r.p99 }),
			times(rs, func(r result) time.Duration { return r.max }), gets, sum(rs).notes())
	}
}
