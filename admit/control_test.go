package admit

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A storm is a small model of readers and of a server that they are too many for. It
// goes on by ticks.
type storm struct {
	capacity float64 // answers each second that there is time for
	crowd    float64 // that works at once where the pressure is 1
	readers  int
	rate     float64       // requests each second; 0: whoever has an answer asks again at once
	heed     bool          // Retry-After
	bursts   bool          // once a second somebody else has all the time there is, for a moment
	slow     time.Duration // where not 0 the pressure is how long answers take over it, instead

	meter   *Slowness
	control Control
	rnd     *rand.Rand
	now     time.Duration
	free    []*modelReader
	active  []*modelReader // who is answered, all of them equally fast
	waiting []*modelReader
	due     float64
	seconds []stormSecond
}

type modelReader struct {
	id, asked uint64
	left      float64 // of its answer
	since     time.Duration
	until     time.Duration
	refused   time.Duration // when it was last
	inARow    int
}

type stormSecond struct {
	share, pressure float64 // in the mean
	served, refused int
}

const tick = 10 * time.Millisecond

func newStorm(s storm) *storm {
	s.rnd = rand.New(rand.NewPCG(1, 2))
	s.meter = NewSlowness(s.slow)
	for i := range s.readers {
		s.free = append(s.free, &modelReader{id: uint64(i), refused: -Period})
	}
	return &s
}

func (s *storm) second() {
	var x stormSecond
	for i := range int(time.Second / tick) {
		s.tick(&x)
		if i%int(lookEvery/tick) == 0 {
			now := time.Unix(1000, 0).Add(s.now)
			p := float64(len(s.active)) / s.crowd * (0.8 + 0.4*s.rnd.Float64())
			if s.slow > 0 {
				p = s.meter.Pressure(now)
			} else if s.bursts && i < 2*int(lookEvery/tick) {
				p = p*2 + 2*s.rnd.Float64()
			}
			s.control = s.control.Next(now, p)
			x.share += s.control.Refused(DVR) * lookEvery.Seconds()
			x.pressure += p * lookEvery.Seconds()
		}
	}
	s.seconds = append(s.seconds, x)
}

func (s *storm) tick(x *stormSecond) {
	s.now += tick
	each := s.capacity * tick.Seconds() / float64(len(s.active))
	s.active = slices.DeleteFunc(s.active, func(r *modelReader) bool {
		if r.left -= each; r.left > 0 {
			return false
		}
		x.served++
		s.meter.Observe(time.Unix(1000, 0).Add(s.now), s.now-r.since, false)
		s.free = append(s.free, r)
		return true
	})
	s.waiting = slices.DeleteFunc(s.waiting, func(r *modelReader) bool {
		if r.until > s.now {
			return false
		}
		s.free = append(s.free, r)
		return true
	})
	ask := len(s.free)
	if s.rate > 0 {
		s.due += s.rate * tick.Seconds()
		ask = min(ask, int(s.due))
		s.due -= math.Floor(s.due)
	}
	for _, r := range s.free[:ask] {
		r.asked++
		if !Refuses(s.control.Refused(DVR), (r.id*37+r.asked)%260, time.Unix(1000, 0).Add(s.now)) {
			r.left, r.since = 1, s.now
			s.active = append(s.active, r)
			continue
		}
		x.refused++
		wait := Period
		if !s.heed {
			if s.now-r.refused > Period {
				r.inARow = 0
			}
			r.inARow++
			r.refused = s.now
			wait = Delay(r.inARow, s.rnd.Float64()) + tick
		}
		r.until = s.now + wait
		s.waiting = append(s.waiting, r)
	}
	s.free = slices.Delete(s.free, 0, ask)
}

// TestControlSettles: however many readers there are, and whether they stay away for as
// long as they are told or not, what is refused is about what has to be, does not swing,
// and ends when they do.
func TestControlSettles(t *testing.T) {
	for _, c := range []struct {
		storm
		swing float64 // what the share may deviate from its mean
	}{
		{storm{capacity: 200, crowd: 400, readers: 2048, rate: 150}, 0},
		{storm{capacity: 200, crowd: 400, readers: 2048, rate: 300, heed: true}, 0.1},
		{storm{capacity: 200, crowd: 400, readers: 2048, rate: 1000}, 0.1},
		{storm{capacity: 200, crowd: 400, readers: 2048, rate: 1000, heed: true}, 0.1},
		{storm{capacity: 800, crowd: 400, readers: 2048, rate: 4000}, 0.1},
		{storm{capacity: 800, crowd: 400, readers: 2048, rate: 4000, heed: true}, 0.15},
		{storm{capacity: 800, crowd: 400, readers: 2048, rate: 18000, heed: true}, 0.15},
		{storm{capacity: 200, crowd: 400, readers: 512}, 0.1},
		{storm{capacity: 200, crowd: 400, readers: 512, heed: true}, 0.1},
		{storm{capacity: 200, crowd: 400, readers: 2048, heed: true}, 0.12},
		{storm{capacity: 200, crowd: 100, readers: 2048, rate: 1000, heed: true}, 0.15},
		{storm{capacity: 800, crowd: 400, readers: 2048, rate: 4000, bursts: true}, 0.1},
		{storm{capacity: 800, crowd: 400, readers: 2048, rate: 4000, heed: true, bursts: true}, 0.15},
		{storm{capacity: 200, crowd: 400, readers: 2048, rate: 1000, slow: 500 * time.Millisecond}, 0.1},
		{storm{capacity: 200, crowd: 400, readers: 2048, rate: 1000, heed: true, slow: 500 * time.Millisecond}, 0.15},
		{storm{capacity: 800, crowd: 400, readers: 2048, rate: 4000, slow: 500 * time.Millisecond}, 0.1},
		{storm{capacity: 800, crowd: 400, readers: 2048, rate: 4000, heed: true, slow: 500 * time.Millisecond}, 0.15},
		{storm{capacity: 200, crowd: 400, readers: 512, slow: 500 * time.Millisecond}, 0.1},
	} {
		t.Run(fmt.Sprintf("%d readers, %.0f of %.0f, crowd %.0f, heed %v, bursts %v, slow %v", c.readers, c.rate, c.capacity, c.crowd, c.heed, c.bursts, c.slow), func(t *testing.T) {
			s := newStorm(c.storm)
			for range 60 {
				s.second()
			}
			var shares, served []float64
			for _, x := range s.seconds[15:] {
				shares, served = append(shares, x.share), append(served, float64(x.served)/min(c.capacity, max(c.rate, c.capacity*boolean(c.rate == 0))))
			}
			mean, dev := spread(shares)
			used, _ := spread(served)
			text := ""
			for i, x := range s.seconds {
				if i%3 == 0 {
					text += fmt.Sprintf(" %.2f", x.share)
				}
			}
			t.Logf("refused %.2f +- %.3f; %.2f of what can be is served; every third second:%s", mean, dev, used, text)
			if dev > c.swing {
				t.Errorf("it swings: %.2f +- %.2f are refused", mean, dev)
			}
			if used < 0.85 {
				t.Errorf("%.2f of what can be is served", used)
			}
			if c.rate > 0 && !c.heed {
				if need := max(0, 1-c.capacity/c.rate); mean > need+0.1 {
					t.Errorf("%.2f are refused, %.2f had to be", mean, need)
				}
			}
			// The storm is over.
			s.rate = c.capacity / 10
			over := -1
			for i := range 25 {
				if s.second(); s.seconds[len(s.seconds)-1].share > 0 {
					over = i
				}
			}
			if over > 10 {
				t.Errorf("refuses for %d seconds after the storm", over)
			}
		})
	}
}

func boolean(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func spread(v []float64) (mean, dev float64) {
	for _, x := range v {
		mean += x / float64(len(v))
	}
	for _, x := range v {
		dev += (x - mean) * (x - mean) / float64(len(v))
	}
	return mean, math.Sqrt(dev)
}
