package viewer

import (
	"fmt"
	"testing"
	"time"
)

// within is how many of these times are in the fullest second after since.
func within(times []time.Time, since time.Time) (all, most int) {
	for _, a := range times {
		if a.Before(since) {
			continue
		}
		all++
		n := 0
		for _, b := range times {
			if d := b.Sub(a); d >= 0 && d < time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return all, most
}

// joinEvent has a join window of so long.
func joinEvent(window time.Duration) *script {
	s := &script{event: testEvent()}
	s.event.Renditions = s.event.Renditions[:1]
	s.event.JoinMS = window.Milliseconds()
	return s
}

// Who is there before an event begins joins in its own part of the window, and sees all
// of it.
func TestJoinersSpreadOverTheWindow(t *testing.T) {
	for heedless, most := range map[bool]int{false: 20, true: 61} {
		t.Run(fmt.Sprintf("heedless %v", heedless), func(t *testing.T) {
			s := joinEvent(6 * time.Second)
			s.startIn = 40 * time.Second
			var opened []time.Time
			var began time.Time
			r := play(t, s, Config{Viewers: 60, Duration: 40 * time.Second, Heedless: heedless}, func(s *stage) {
				began = time.Now()
				time.Sleep(35 * time.Second)
				s.pipes.mu.Lock()
				opened = s.pipes.opened
				s.pipes.mu.Unlock()
			})
			clean(t, r)
			first := began.Add(10*time.Second + 2500*time.Millisecond)
			if heedless {
				first = began
			}
			if all, got := within(opened, first); all < 60 || got > most || heedless && got < 60 {
				t.Errorf("%d joined, %d within a second", all, got)
			}
		})
	}
}

// Those who lost their edge come back over the window, and not all at once.
func TestReconnectsSpreadOverTheWindow(t *testing.T) {
	for heedless, most := range map[bool]int{false: 25, true: 60} {
		t.Run(fmt.Sprintf("heedless %v", heedless), func(t *testing.T) {
			var opened []time.Time
			var back time.Time
			r := play(t, joinEvent(8*time.Second), Config{Viewers: 60, Duration: 40 * time.Second, Heedless: heedless}, func(s *stage) {
				time.Sleep(10 * time.Second)
				s.pipes.kill()
				time.Sleep(5 * time.Second)
				back = time.Now()
				s.pipes.revive()
				time.Sleep(20 * time.Second)
				s.pipes.mu.Lock()
				opened = s.pipes.opened
				s.pipes.mu.Unlock()
			})
			if r.Reconnects != 60 {
				t.Errorf("%d reconnects", r.Reconnects)
			}
			if all, got := within(opened, back); all != 60 || got > most || heedless && got < 30 {
				t.Errorf("%d came back, %d within a second", all, got)
			}
		})
	}
}

// Retry-After is heeded, also where it is longer than a refusal may be cached.
func TestRetryAfterIsHeeded(t *testing.T) {
	for after, most := range map[int64]int64{1: 5, 3: 2} {
		s := joinEvent(0)
		s.after = after
		r := play(t, s, Config{Duration: 30 * time.Second}, func(s *stage) {
			time.Sleep(10 * time.Second)
			s.refuse(2900 * time.Millisecond)
		})
		if n := r.Statuses["503"]; n == 0 || n > most {
			t.Errorf("Retry-After %d: refused %d times", after, n)
		}
	}
}
