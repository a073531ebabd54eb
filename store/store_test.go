package store_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
)

func TestTokensIncrease(t *testing.T) {
	g := store.NewTokens()
	var mu sync.Mutex
	var all []store.Token
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			var own []store.Token
			for range 1000 {
				own = append(own, g.Next())
			}
			if !slices.IsSortedFunc(own, store.Token.Compare) {
				t.Error("tokens go back")
			}
			mu.Lock()
			all = append(all, own...)
			mu.Unlock()
		})
	}
	wg.Wait()
	slices.SortFunc(all, store.Token.Compare)
	for i := range all[1:] {
		if all[i].Time >= all[i+1].Time {
			t.Fatalf("times %d and %d", all[i].Time, all[i+1].Time)
		}
	}
}

// TestTokensWhileTheClockStands: in a synctest bubble time does not move.
func TestTokensWhileTheClockStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := store.NewTokens()
		a, b := g.Next(), g.Next()
		if a.Time != time.Now().UnixNano() || b.Time != a.Time+1 {
			t.Fatalf("tokens %v, %v at %d", a, b, time.Now().UnixNano())
		}
	})
}

func TestTokenOrder(t *testing.T) {
	sorted := []store.Token{{}, {Nonce: 1}, {Time: 1}, {Time: 1, Nonce: 9}, {Time: 2, Nonce: 3}}
	for i, a := range sorted {
		for j, b := range sorted {
			c := a.Compare(b)
			if (c < 0) != (i < j) || (c == 0) != (i == j) {
				t.Errorf("%v compared to %v is %d", a, b, c)
			}
			if (strings.Compare(a.String(), b.String()) < 0) != (i < j) {
				t.Errorf("%v and %v as strings order otherwise", a, b)
			}
		}
	}
	if !(store.Token{}).IsZero() || sorted[1].IsZero() {
		t.Error("IsZero")
	}
}

func TestTokenDrift(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name string
		time int64
		ok   bool
	}{
		{"now", now.UnixNano(), true},
		{"just old enough", now.Add(-store.MaxDrift).UnixNano(), true},
		{"too old", now.Add(-store.MaxDrift).UnixNano() - 1, false},
		{"just early enough", now.Add(store.MaxDrift).UnixNano(), true},
		{"too early", now.Add(store.MaxDrift).UnixNano() + 1, false},
		{"zero", 0, false},
		{"least", -1 << 63, false},
		{"greatest", 1<<63 - 1, false},
	} {
		err := store.Token{Time: c.time}.CheckDrift(now)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, store.ErrTokenDrift) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
