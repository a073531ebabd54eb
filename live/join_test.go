package live

import (
	"testing"
	"time"
)

func TestSpreadIsEvenAndRepeats(t *testing.T) {
	const within, parts, n = 6 * time.Second, 12, 12_000
	var count [parts]int
	for key := range uint64(n) {
		d := Spread(within, key)
		if d < 0 || d >= within || d != Spread(within, key) {
			t.Fatalf("key %d: %v, then %v", key, d, Spread(within, key))
		}
		count[d/(within/parts)]++
	}
	for i, c := range count {
		if c < n/parts*8/10 || c > n/parts*12/10 {
			t.Errorf("%d of %d in part %d of %d", c, n, i, parts)
		}
	}
	if Spread(0, 7) != 0 || Spread(-time.Second, 7) != 0 {
		t.Error("a time where there is none")
	}
}

func TestJoiningWhileAnEventBegins(t *testing.T) {
	e := Default()
	e.Start = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	e.JoinMS = 6000
	first := e.Start.Add(2500 * time.Millisecond) // the first segment is expected
	for at, want := range map[time.Duration]time.Duration{
		-time.Hour: 6 * time.Second, 0: 6 * time.Second, 5999 * time.Millisecond: 6 * time.Second, 6 * time.Second: 0, time.Hour: 0,
	} {
		if got := e.Joining(first.Add(at)); got != want {
			t.Errorf("%v after the first segment: %v, want %v", at, got, want)
		}
	}
	e.JoinMS = 0
	if got := e.Joining(first); got != 0 {
		t.Errorf("%v without a window", got)
	}
}
