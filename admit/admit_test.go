package admit

import (
	"sync"
	"testing"
)

func TestLowestClassIsShedFirst(t *testing.T) {
	g := NewGate(100)
	enter := func(c Class, n int64, want bool) {
		t.Helper()
		if got := g.Enter(c, n); got != want {
			t.Fatalf("%v with %d under way: %v, want %v", c, g.Used(), got, want)
		}
	}
	enter(Rest, 50, true)
	enter(Rest, 1, false)
	enter(DVR, 25, true)
	enter(DVR, 1, false)
	enter(Live, 25, true)
	enter(Live, 1, false)
	g.Leave(60)
	enter(Rest, 10, true)
	enter(Rest, 1, false)
	if g.Shed(Rest) != 2 || g.Shed(DVR) != 1 || g.Shed(Live) != 1 || g.Shed(Publish) != 0 {
		t.Errorf("shed: rest %d, dvr %d, live %d", g.Shed(Rest), g.Shed(DVR), g.Shed(Live))
	}
}

func TestSmallestGateLetsEachClassIn(t *testing.T) {
	for _, c := range Classes {
		g := NewGate(1)
		if !g.Enter(c, 1) {
			t.Errorf("%v never enters a gate of one", c)
		}
		if g.Enter(c, 1) {
			t.Errorf("%v enters a full gate", c)
		}
	}
}

func TestGateIsNeverOverfull(t *testing.T) {
	g := NewGate(8)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 200 {
				if g.Enter(Live, 3) {
					if u := g.Used(); u > 8 {
						t.Errorf("%d under way", u)
					}
					g.Leave(3)
				}
			}
		})
	}
	wg.Wait()
	if g.Used() != 0 {
		t.Errorf("%d left", g.Used())
	}
}
