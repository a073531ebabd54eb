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
	"headwater/store/disk"
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

// TestTokensOfTheFuture: a clock that was ahead by five minutes and was set right leaves
// tokens of the future behind. New ones come down, what follows on the old is taken, also
// after a restart and by another node, and what does not is refused as ever.
func TestTokensOfTheFuture(t *testing.T) {
	ctx, r := t.Context(), store.Record{Namespace: store.Control, ID: "r"}
	ahead := 5 * time.Minute
	now := func() time.Time { return time.Now().Add(ahead) }
	tokens, dir := store.TokensBy(now), t.TempDir()
	open := func() store.Store {
		s, err := disk.Open(dir, disk.Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	s := open()
	future := tokens.Next()
	if err := s.Put(ctx, r, store.Item{Key: "k", Token: future, Value: []byte("future")}); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"the same", "after a restart", "after a restart, without looking"} {
		ahead = 0
		if who != "the same" {
			s.Close()
			s = open()
		}
		if got := tokens.Next(); got.Time >= future.Time {
			t.Fatalf("%s: tokens are still %v ahead", who, time.Until(time.Unix(0, got.Time)))
		}
		if err := s.Put(ctx, r, store.Item{Key: "other", Token: store.Token{Time: future.Time + int64(time.Hour)}}); !errors.Is(err, store.ErrTokenDrift) {
			t.Errorf("%s: a token of the future that follows nothing: %v", who, err)
		}
		if who == "after a restart" {
			for range store.All(ctx, s, r, store.ScanOptions{}) {
			}
			// An edit has a key of its own, and follows on what was read.
			if err := s.Put(ctx, r, store.Item{Key: "edit", Token: store.Token{Time: future.Time + 1}}); err != nil {
				t.Errorf("%s: %v", who, err)
			}
		}
		future.Time++
		if err := s.Put(ctx, r, store.Item{Key: "k", Token: future, Value: []byte(who)}); err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		if got, err := s.Get(ctx, r, "k"); err != nil || string(got.Value) != who {
			t.Errorf("%s: it has %q, %v", who, got.Value, err)
		}
		if err := s.Put(ctx, r, store.Item{Key: "now", Token: tokens.Next()}); err != nil {
			t.Errorf("%s: a token of now: %v", who, err)
		}
	}
}
