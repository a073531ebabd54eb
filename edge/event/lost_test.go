package event

import (
	"slices"
	"testing"

	"headwater/live"
)

// What is lost is what was said last: by a playlist of all that it lists, by an answer of
// one segment.
func TestLost(t *testing.T) {
	var e Event
	is := func(want ...live.Number) {
		t.Helper()
		if got := e.lost.by["v"]; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		for n := range live.Number(30) {
			if e.Lost("v", n) != slices.Contains(want, n) || e.Lost("a", n) {
				t.Errorf("segment %d", n)
			}
		}
	}
	e.Listed("v", nil, 5)
	is()
	e.Listed("v", []live.Number{3, 7, 9}, 10)
	is(3, 7, 9)
	e.Answered("v", 12, true)
	e.Answered("v", 12, true)
	e.Answered("v", 8, true)
	e.Answered("v", 7, false)
	e.Answered("v", 6, false)
	is(3, 8, 9, 12)
	e.Listed("v", []live.Number{9, 11}, 11)
	is(9, 11, 12)
	for n := range live.Number(2 * maxLost) {
		e.Answered("v", 100+n, true)
	}
	if got := e.lost.by["v"]; len(got) != maxLost || got[maxLost-1] != 99+2*maxLost {
		t.Errorf("%d are remembered, up to %d", len(got), got[len(got)-1])
	}
}
