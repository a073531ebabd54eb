package disk

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
)

func isFull(err error) bool { return errors.Is(err, store.ErrFull) }

// TestWritesStopHalfway: whatever part of a write the disk takes, it is cut
// back, the answer says why, and the log goes on in the same file.
func TestWritesStopHalfway(t *testing.T) {
	for _, c := range []struct {
		cause, want error
	}{
		{syscall.ENOSPC, store.ErrFull}, {syscall.EDQUOT, store.ErrFull}, {syscall.EIO, store.ErrUnavailable},
	} {
		for _, bytes := range []int{0, 4096, 8192} {
			m := newMemFS()
			s := openMem(t, m, Options{})
			before, item := newItem("before", 10), newItem("k", 20_000)
			mustPut(t, s, media, before)
			size := len(m.onlyLog(t, store.Media).data)
			m.setFault(func(op, _ string) error {
				if op == "write" {
					return partial{bytes, c.cause}
				}
				return nil
			})
			err := s.Put(t.Context(), media, item)
			if !errors.Is(err, c.want) || !errors.Is(err, c.cause) {
				t.Errorf("%v after %d bytes: %v", c.cause, bytes, err)
			}
			if got := len(m.onlyLog(t, store.Media).data); got != size {
				t.Errorf("the log has %d bytes, %d before", got, size)
			}
			wantItems(t, s, media, before)
			m.setFault(nil)
			mustPut(t, s, media, item)
			wantItems(t, s, media, before, item)
			if m.logs(store.Media) != 1 {
				t.Errorf("%d files", m.logs(store.Media))
			}
		}
	}
}

// TestFullAtTheSync: a file system that notices only then.
func TestFullAtTheSync(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{})
	m.setFault(func(op, _ string) error {
		if op == "sync" {
			return syscall.ENOSPC
		}
		return nil
	})
	item := newItem("k", 10)
	if err := s.Put(t.Context(), media, item); !isFull(err) {
		t.Errorf("put: %v", err)
	}
	m.setFault(nil)
	mustPut(t, s, media, item)
	wantItems(t, s, media, item)
}

// TestNoRoomForANewFile: nor for its name in the directory.
func TestNoRoomForANewFile(t *testing.T) {
	for _, fails := range []string{"create", "write", "syncdir"} {
		m := newMemFS()
		s := openMem(t, m, Options{})
		m.setFault(func(op, _ string) error {
			if op == fails {
				return syscall.ENOSPC
			}
			return nil
		})
		item := newItem("k", 10)
		if err := s.Put(t.Context(), media, item); !isFull(err) {
			t.Errorf("%s: %v", fails, err)
		}
		m.setFault(nil)
		mustPut(t, s, media, item)
	}
}

// TestReserve: items leave some space to deletes, and media more than control.
func TestReserve(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{ReserveBytes: 1_000_000})
	setSpace := func(n int64) { m.mu.Lock(); m.space = n; m.mu.Unlock() }
	there := newItem("there", 10)
	mustPut(t, s, media, there)
	setSpace(1_050_000)
	if err := s.Put(t.Context(), media, newItem("k", 100_000)); !isFull(err) {
		t.Errorf("put into the reserve: %v", err)
	}
	mustPut(t, s, control, newItem("k", 100_000))
	setSpace(500_000)
	if err := s.Put(t.Context(), control, newItem("l", 100)); !isFull(err) {
		t.Errorf("control put into the rest of the reserve: %v", err)
	}
	setSpace(0)
	wantItems(t, s, media, there)
	mustPut(t, s, media, there) // again what is there needs no space
	if err := s.Put(t.Context(), media, store.Gone("there", nextToken())); err != nil {
		t.Errorf("delete: %v", err)
	}
	if st := s.Stats(); st.Media.Refusals != 1 || st.Control.Refusals != 1 {
		t.Errorf("refusals %d, %d", st.Media.Refusals, st.Control.Refusals)
	}
	setSpace(2_000_000)
	mustPut(t, s, media, newItem("k", 100_000))
}

// TestMaxBytes: a bound that is reached passes when items expire, without help.
func TestMaxBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openMem(t, newMemFS(), Options{MaxBytes: 1 << 20, Bucket: time.Minute})
		n, refused := 0, 0
		for range 3600 {
			item := newItem(fmt.Sprint(n), 50_000)
			item.Expires = time.Now().Add(time.Minute)
			n++
			if err := s.Put(t.Context(), media, item); isFull(err) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
			if b := s.Stats().Media.Bytes; b > 1<<20+3*blockSize {
				t.Fatalf("%d bytes", b)
			}
			time.Sleep(time.Second)
		}
		if refused == 0 || refused == n {
			t.Errorf("%d of %d refused", refused, n)
		}
		mustPut(t, s, control, newItem("control is not bounded by it", 2<<20))
		time.Sleep(10 * time.Minute)
		mustPut(t, s, media, newItem("k", 900_000))
	})
}

// TestLargeDoesNotFitSmallDoes: one value that is refused takes no other with it.
func TestLargeDoesNotFitSmallDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		s := openMem(t, m, Options{ReserveBytes: -1})
		mustPut(t, s, media, newItem("first", 10))
		m.mu.Lock()
		m.space = 100_000
		m.mu.Unlock()
		g := gateOn(m, "write")
		errs := map[string]chan error{"busy": make(chan error, 1), "large": make(chan error, 1), "small": make(chan error, 1)}
		for _, key := range []string{"busy", "large", "small"} {
			size := 100
			if key == "large" {
				size = 200_000
			}
			go func() { errs[key] <- s.Put(t.Context(), media, newItem(key, size)) }()
			synctest.Wait()
		}
		m.setFault(nil)
		<-g.arrived
		g.pass <- nil
		if err := <-errs["busy"]; err != nil {
			t.Error(err)
		}
		if err := <-errs["large"]; !isFull(err) {
			t.Errorf("large: %v", err)
		}
		if err := <-errs["small"]; err != nil {
			t.Errorf("small: %v", err)
		}
	})
}
