package disk

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
)

// TestScanKeepsItsDeadline: on time with what it has, rather than late and
// complete, and the rest on the next page.
func TestScanKeepsItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		m.all = true
		s := openMem(t, m, Options{})
		for i := range 6 {
			mustPut(t, s, media, newItem(fmt.Sprint(i), 9000)) // too large for twins
		}
		m.setFault(func(op, _ string) error {
			if op == "read" {
				time.Sleep(time.Second)
			}
			return nil
		})
		var keys []string
		opt := store.ScanOptions{Values: true}
		for _, c := range []struct {
			deadline time.Duration
			items    int
		}{{2500 * time.Millisecond, 3}, {500 * time.Millisecond, 1}, {time.Minute, 2}} {
			ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
			page, err := s.Scan(ctx, media, opt)
			cancel()
			if err != nil || len(page.Items) != c.items {
				t.Fatalf("deadline %v: %d items, %v", c.deadline, len(page.Items), err)
			}
			for _, i := range page.Items {
				keys = append(keys, i.Key)
			}
			opt.Page = page.Next
		}
		if opt.Page != "" || strings.Join(keys, "") != "012345" {
			t.Errorf("keys %q, next %q", keys, opt.Page)
		}
		// Who has gone wants no page.
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2500*time.Millisecond, cancel)
		if page, err := s.Scan(ctx, media, store.ScanOptions{Values: true}); !errors.Is(err, context.Canceled) {
			t.Errorf("%d items, %v", len(page.Items), err)
		}
	})
}

// TestUnreadable: a disk that cannot be read is unavailable, not corrupt, and
// may be well again.
func TestUnreadable(t *testing.T) {
	m := newMemFS()
	m.all = true
	s := openMem(t, m, Options{})
	item := newItem("k", 100)
	mustPut(t, s, media, item)
	m.setFault(func(op, _ string) error {
		if op == "read" {
			return syscall.EIO
		}
		return nil
	})
	_, getErr := s.Get(t.Context(), media, "k")
	_, scanErr := s.Scan(t.Context(), media, store.ScanOptions{})
	for what, err := range map[string]error{"get": getErr, "scan": scanErr} {
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", what, err)
		}
	}
	m.setFault(nil)
	wantItems(t, s, media, item)
}

func TestCheckCountsWhatItReads(t *testing.T) {
	s := openMem(t, newMemFS(), Options{})
	mustPut(t, s, media, newItem("a", 100_000), newItem("b", 10))
	mustPut(t, s, control, newItem("c", 10))
	var told []CheckReport
	sum, err := s.Check(t.Context(), func(p Problem) { t.Error(p) }, func(now CheckReport, total int64) {
		if total < 100_000 || now.Bytes > total || len(told) > 0 && now.Bytes <= told[len(told)-1].Bytes {
			t.Errorf("%d of %d bytes after %v", now.Bytes, total, told)
		}
		told = append(told, now)
	})
	if len(told) != 3 || told[2].Records != 3 || told[2].Files != 2 {
		t.Errorf("progress %v, in the end %+v", told, sum)
	}
	if err != nil || sum.Files != 2 || sum.Records != 3 || sum.Bytes < 100_000 || sum.Problems != 0 {
		t.Errorf("%+v, %v", sum, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if sum, err := s.Check(ctx, func(Problem) {}, func(CheckReport, int64) { cancel() }); !errors.Is(err, context.Canceled) || sum.Records != 1 {
		t.Errorf("with a context that ends: %+v, %v", sum, err)
	}
	if _, err := s.Check(ctx, func(Problem) {}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
	mustClose(t, s)
	if _, err := s.Check(t.Context(), func(Problem) {}, nil); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after close: %v", err)
	}
	s.Stats()
}
