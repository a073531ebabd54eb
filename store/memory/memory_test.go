package memory_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return memory.New(memory.Options{}) })
}

// TestContractUnderDecorators: a store that is only slow, or told of no fault,
// keeps the contract.
func TestContractUnderDecorators(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store {
		s := storetest.NewFaulty(memory.New(memory.Options{}))
		return storetest.NewSlow(s, func(op storetest.Op, _ store.Record) (before, after time.Duration) {
			return 0, time.Microsecond
		})
	})
}

func TestFullAndRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{MaxBytes: 1000})
		defer s.Close()
		r := store.Record{Namespace: store.Media, ID: "r"}
		tokens := store.NewTokens()
		put := func(key string, size int, ttl time.Duration) error {
			return s.Put(t.Context(), r, store.Item{Key: key, Token: tokens.Next(), Value: make([]byte, size), Expires: time.Now().Add(ttl)})
		}
		if err := put("a", 900, time.Minute); err != nil {
			t.Fatal(err)
		}
		if err := put("b", 200, time.Hour); !errors.Is(err, store.ErrFull) {
			t.Fatalf("a put over the bound: %v", err)
		}
		if err := put("a", 950, time.Minute); err != nil {
			t.Fatalf("a put in place of another: %v", err)
		}
		if _, err := s.Get(t.Context(), r, "a"); err != nil {
			t.Fatalf("a read while full: %v", err)
		}
		time.Sleep(2*store.MaxDrift + time.Minute)
		if err := put("b", 900, time.Hour); err != nil {
			t.Fatalf("after the first has expired: %v", err)
		}
		if err := s.DeleteRecord(t.Context(), r, tokens.Next()); err != nil {
			t.Fatal(err)
		}
		if got := s.Bytes(); got != 0 {
			t.Errorf("%d bytes after everything was deleted", got)
		}
	})
}

func TestFaulty(t *testing.T) {
	lost, refused := errors.New("answer lost"), errors.New("refused")
	s := storetest.NewFaulty(memory.New(memory.Options{}),
		storetest.Fault{Op: storetest.Put, Nth: 2, Err: refused},
		storetest.Fault{Op: storetest.Put, Nth: 3, Err: lost, After: true},
		storetest.Fault{Op: storetest.Get, Namespace: store.Control, Err: refused})
	defer s.Close()
	ctx, tokens := t.Context(), store.NewTokens()
	r := store.Record{Namespace: store.Media, ID: "r"}
	for i, want := range []error{nil, refused, lost, nil} {
		err := s.Put(ctx, r, store.Item{Key: fmt.Sprint(i), Token: tokens.Next()})
		if !errors.Is(err, want) {
			t.Errorf("put %d: %v, want %v", i, err, want)
		}
		_, err = s.Get(ctx, r, fmt.Sprint(i))
		if (err == nil) != (want != refused) {
			t.Errorf("put %d took effect: %v", i, err)
		}
	}
	control := store.Record{Namespace: store.Control, ID: "r"}
	for range 2 {
		if _, err := s.Get(ctx, control, "k"); !errors.Is(err, refused) {
			t.Errorf("get: %v", err)
		}
	}
	s.Clear()
	if _, err := s.Get(ctx, control, "k"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("get from the healed store: %v", err)
	}
	if s.Count(storetest.Put) != 4 || s.Count(storetest.Any) != 11 || s.Injected() != 4 {
		t.Errorf("%d puts, %d operations, %d injected", s.Count(storetest.Put), s.Count(storetest.Any), s.Injected())
	}
}

func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storetest.NewSlow(memory.New(memory.Options{}), func(op storetest.Op, _ store.Record) (before, after time.Duration) {
			if op == storetest.Put {
				return time.Second, time.Second
			}
			return 0, 0
		})
		defer s.Close()
		tokens := store.NewTokens()
		r := store.Record{Namespace: store.Media, ID: "r"}
		for i, c := range []struct {
			deadline time.Duration
			want     error
			there    bool
			took     time.Duration
		}{
			{500 * time.Millisecond, context.DeadlineExceeded, false, 500 * time.Millisecond},
			{1500 * time.Millisecond, context.DeadlineExceeded, true, 1500 * time.Millisecond},
			{2500 * time.Millisecond, nil, true, 2 * time.Second},
		} {
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
			err := s.Put(ctx, r, store.Item{Key: fmt.Sprint(i), Token: tokens.Next()})
			cancel()
			if !errors.Is(err, c.want) || time.Since(start) != c.took {
				t.Errorf("deadline %v: %v after %v", c.deadline, err, time.Since(start))
			}
			if _, err := s.Get(t.Context(), r, fmt.Sprint(i)); (err == nil) != c.there {
				t.Errorf("deadline %v: get %v", c.deadline, err)
			}
		}
	})
}

func TestAllEndsAtAnError(t *testing.T) {
	broken := errors.New("broken")
	s := storetest.NewFaulty(memory.New(memory.Options{}), storetest.Fault{Op: storetest.Scan, Nth: 3, Err: broken})
	defer s.Close()
	r := store.Record{Namespace: store.Media, ID: "r"}
	tokens := store.NewTokens()
	for i := range 5 {
		if err := s.Put(t.Context(), r, store.Item{Key: fmt.Sprint(i), Token: tokens.Next()}); err != nil {
			t.Fatal(err)
		}
	}
	items, errs := 0, 0
	for _, err := range store.All(t.Context(), s, r, store.ScanOptions{MaxBytes: 1}) {
		if err == nil {
			items++
		} else if errs++; !errors.Is(err, broken) {
			t.Error(err)
		}
	}
	if items != 2 || errs != 1 {
		t.Errorf("%d items and %d errors", items, errs)
	}
}
