package admit

import (
	"sync"
	"testing"
)

func TestLowestClassIsRefusedFirst(t *testing.T) {
	s := NewShare[string](100, 0)
	enter := func(c Class, n int64, want bool) {
		t.Helper()
		if got := s.Enter("a", c, n); got != want {
			t.Fatalf("%v with %d taken: %v, want %v", c, s.Used(), got, want)
		}
	}
	enter(Rest, 50, true)
	enter(Rest, 1, false)
	if p := s.Pressure(); p != 1 {
		t.Errorf("pressure %v where the lowest class is refused", p)
	}
	enter(DVR, 25, true)
	enter(DVR, 1, false)
	enter(Live, 25, true)
	enter(Live, 1, false)
	s.Leave("a", 60)
	enter(Rest, 10, true)
	enter(Rest, 1, false)
	if s.Shed(Rest) != 2 || s.Shed(DVR) != 1 || s.Shed(Live) != 1 || s.Shed(Publish) != 0 {
		t.Errorf("refused: rest %d, dvr %d, live %d", s.Shed(Rest), s.Shed(DVR), s.Shed(Live))
	}
}

func TestSmallestShareLetsEachClassIn(t *testing.T) {
	for _, c := range Classes {
		s := NewShare[string](1, 50)
		if !s.Enter("a", c, 1) {
			t.Errorf("%v never enters a share of one", c)
		}
		if s.Enter("a", c, 1) {
			t.Errorf("%v enters a full share", c)
		}
	}
}

func TestShareIsNeverOverfull(t *testing.T) {
	s := NewShare[string](8, 50)
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			name := string(rune('a' + i%3))
			for range 200 {
				if s.Enter(name, Live, 3) {
					if u := s.Used(); u > 8 {
						t.Errorf("%d taken", u)
					}
					s.Leave(name, 3)
				}
			}
		})
	}
	wg.Wait()
	if s.Used() != 0 || len(s.by) != 0 {
		t.Errorf("%d left, of %d names", s.Used(), len(s.by))
	}
}

func TestOneNameHasAShare(t *testing.T) {
	s := NewShare[string](100, 40)
	if !s.Enter("a", Live, 40) || s.Enter("a", Live, 1) {
		t.Error("a does not get its share, or more")
	}
	if !s.Enter("b", DVR, 30) || s.Enter("b", DVR, 1) || !s.Enter("b", Live, 10) {
		t.Error("b's own classes are not kept apart, or a's storm is b's")
	}
	if !s.Enter("c", Live, 20) || s.Enter("c", Live, 1) {
		t.Error("the whole is not bounded")
	}
	s.Leave("a", 40)
	s.Leave("b", 30)
	if !s.Enter("a", Live, 40) || s.Used() != 70 {
		t.Errorf("%d taken", s.Used())
	}
	for _, percent := range []int{0, 100} {
		if !NewShare[string](10, percent).Enter("a", Publish, 10) {
			t.Errorf("of a share of which one may have all (%d) it does not get it", percent)
		}
	}
}
