package admit

import (
	"math"
	"testing"
	"time"
)

func TestRefusalsStandForAPeriod(t *testing.T) {
	now := time.Unix(1000, 0)
	refused, again, later := 0, 0, 0
	for key := range uint64(10_000) {
		if !Refuses(0.3, key, now) {
			continue
		}
		refused++
		if Refuses(0.3, key, now.Add(50*time.Millisecond)) {
			again++
		}
		if Refuses(0.3, key, now.Add(Period)) {
			later++
		}
		if !Refuses(0.6, key, now) {
			t.Fatalf("%d is among 30%% and not among 60%%", key)
		}
		if Refuses(0, key, now) || !Refuses(1, key, now) {
			t.Fatalf("%d is among none, or not among all", key)
		}
	}
	if refused < 2800 || refused > 3200 {
		t.Errorf("%d of 10,000 are refused at 0.3", refused)
	}
	if again < refused*97/100 {
		t.Errorf("of %d only %d are refused when they ask again at once", refused, again)
	}
	if later > refused/2 {
		t.Errorf("of %d the same %d are refused in the next period", refused, later)
	}
}

func TestAdmissionShedsByDegreesAndClass(t *testing.T) {
	now, signals := time.Unix(1000, 0), Signals{}
	a := NewAdmission(NewTurns(1, time.Second), nil, func(time.Time) Signals { return signals })
	run := func(d time.Duration) (refused [classes]float64) {
		for end := now.Add(d); now.Before(end); now = now.Add(lookEvery) {
			for _, c := range Classes {
				a.Admit(c, 1, now)
			}
		}
		for _, c := range Classes {
			refused[c] = a.Refused(c, now)
		}
		return refused
	}
	if r := run(time.Second); r != [classes]float64{} {
		t.Errorf("refuses %v without a reason", r)
	}
	signals.Store = 1.2
	if r := run(500 * time.Millisecond); r[Rest] == 0 || r[DVR] != 0 {
		t.Errorf("%v are refused at first: the lowest goes first", r)
	}
	if r := run(5 * time.Second); r[Rest] <= r[DVR] || r[DVR] == 0 || r[DVR] >= 0.5 {
		t.Errorf("%v are refused then: not by degrees", r)
	}
	before := run(5 * time.Minute)
	if before[Live] != 0 || before[Publish] != 0 || before[DVR] < 0.98 || before[Rest] < 0.98 {
		t.Errorf("%v are refused in the end", before)
	}
	if a.Shed(DVR) == 0 || a.Shed(Live) != 0 || a.Shed(Publish) != 0 {
		t.Errorf("counted: dvr %d, live %d, publish %d", a.Shed(DVR), a.Shed(Live), a.Shed(Publish))
	}
	signals.Store = 1
	run(time.Second)
	if r, before := run(time.Minute), a.Refused(DVR, now); math.Abs(r[DVR]-before) > 1e-9 {
		t.Errorf("%v are refused where it is just not too much, and %v before", r, before)
	}
	signals.Store = 0
	if r := run(10 * time.Second); r != [classes]float64{} {
		t.Errorf("%v are refused when it has been over for 10 s", r)
	}
}
