package admit

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// A server is a small model of one under load: so much it can answer each second,
// and what is asked for beyond that waits.
type server struct {
	rate    float64 // answers each second that there is time for
	queue   float64
	control Control
	now     time.Time
}

// step is a tenth of a second in which demand is asked for.
func (s *server) step(demand float64) (refused, wait float64) {
	const dt = 0.1
	s.now = s.now.Add(100 * time.Millisecond)
	refused = s.control.Refused(DVR)
	s.queue = max(0, min(s.queue+demand*dt*(1-refused)-s.rate*dt, 512)) // no more than there are connections
	wait = s.queue / s.rate
	s.control = s.control.Next(s.now, Signals{Turn: wait / turnTarget.Seconds()}.Pressure())
	return refused, wait
}

func TestControlSettles(t *testing.T) {
	for _, c := range []struct {
		rate, demand float64
	}{{400, 300}, {400, 600}, {400, 2000}, {400, 20_000}, {10_000, 50_000}, {50, 1000}} {
		t.Run(fmt.Sprintf("%.0f of %.0f", c.demand, c.rate), func(t *testing.T) {
			s := &server{rate: c.rate, now: time.Unix(1000, 0)}
			var refused, served, waits []float64
			for i := range 600 {
				r, w := s.step(c.demand)
				if i >= 100 { // after ten seconds
					refused, served, waits = append(refused, r), append(served, min(c.demand*(1-r)/c.rate, 1)), append(waits, w)
				}
			}
			mean, dev := spread(refused)
			need := max(0, 1-c.rate/c.demand)
			used, _ := spread(served)
			wait, _ := spread(waits)
			t.Logf("refused %.2f +- %.3f, %.2f needed; %.2f of the time is used; mean wait %.3f s", mean, dev, need, used, wait)
			if dev > 0.08 {
				t.Errorf("it swings: %.2f +- %.2f are refused", mean, dev)
			}
			if math.Abs(mean-need) > 0.15 {
				t.Errorf("%.2f are refused, %.2f had to be", mean, need)
			}
			// The storm is over.
			over := -1
			for i := range 200 {
				if r, _ := s.step(c.rate / 10); r == 0 && over < 0 {
					over = i
				} else if r > 0 && over >= 0 {
					t.Fatalf("refuses again %d steps after it had stopped", i-over)
				}
			}
			if over < 0 || over > 100 {
				t.Errorf("refuses for %d tenths of a second after the storm", over)
			}
		})
	}
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
