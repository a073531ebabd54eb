package disk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
)

// files makes a media file of each list of items.
func files(t *testing.T, m *memFS, lists ...[]store.Item) (twins []string) {
	t.Helper()
	for _, items := range lists {
		s := openMem(t, m, Options{})
		mustPut(t, s, media, items...)
		mustClose(t, s)
	}
	for _, path := range m.paths("d/" + twinDir + "/") {
		if strings.Contains(path, "/media-") {
			twins = append(twins, path)
		}
	}
	return twins
}

// TestStartDoesNotWaitForWholeFiles: what is in none of them is answered at once, what
// may be in one when that one was read, which is read before the others.
func TestStartDoesNotWaitForWholeFiles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		items := []store.Item{newItem("1", 9000), newItem("2", 9000), newItem("3", 9000)}
		twins := files(t, m, items[:1], items[1:2], items[2:])
		m.all = true
		reads := make(map[string]int) // of twins; the first is the start's, of its end
		var mu sync.Mutex
		reading, pass := make(chan string), make(chan bool)
		m.setFault(func(op, path string) error {
			if op != "read" || !strings.HasSuffix(path, twinSuffix) || !strings.Contains(path, "media") {
				return nil
			}
			mu.Lock()
			reads[path]++
			first := reads[path] == 1
			mu.Unlock()
			if !first {
				reading <- path
				<-pass
			}
			return nil
		})
		s := openMem(t, m, Options{})
		if at := <-reading; at != twins[2] {
			t.Errorf("the first that is read is %s, not the newest", at)
		}
		if _, err := s.Get(t.Context(), media, "9"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("what is in no file: %v", err)
		}
		four := newItem("4", 9000)
		mustPut(t, s, media, four)
		if page, err := s.Scan(t.Context(), media, store.ScanOptions{From: "4"}); err != nil || len(page.Items) != 1 {
			t.Errorf("what is in no file: %v, %v", page.Items, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := s.Get(ctx, media, "2"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("what is not read yet: %v", err)
		}
		cancel()
		if err := s.media.retain(t.Context()); err != nil {
			t.Error(err)
		}
		got := make(chan error, 2)
		go func() { _, err := s.Get(t.Context(), media, "1"); got <- err }()
		again := items[0]
		go func() { got <- s.Put(t.Context(), media, again) }()
		synctest.Wait()
		s.media.pending[1].wanted = false // nobody waits for it any more
		before := s.media.bytes.Load()
		pass <- true
		if at := <-reading; at != twins[0] {
			t.Errorf("read is %s, not the one that is waited for", at)
		}
		pass <- true
		for range 2 {
			if err := <-got; err != nil {
				t.Errorf("when it is read: %v", err)
			}
		}
		if s.media.bytes.Load() != before {
			t.Error("what is there is written again")
		}
		<-reading
		pass <- true
		m.setFault(nil)
		wantItems(t, s, media, append(items, four)...)
	})
}

// TestNewerFilesReadFirst: what they deleted and what in them has expired stays so when
// what is older is read.
func TestNewerFilesReadFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		old := []store.Item{newItem("a", 9000), newItem("b", 9000)}
		files(t, m, old)
		s := openMem(t, m, Options{})
		if err := s.DeleteRecord(t.Context(), media, nextToken()); err != nil {
			t.Fatal(err)
		}
		c := newItem("c", 9000)
		mustPut(t, s, media, c)
		mustClose(t, s)
		b := newItem("b", 9000)
		files(t, m, []store.Item{b})
		files(t, m, []store.Item{store.Gone("c", nextToken())})
		time.Sleep(3 * store.MaxDrift) // what is gone need not be remembered for what may still come
		for range 3 {
			s := openMem(t, m, Options{})
			wantItems(t, s, media, b)
			if lost := losses(t, s); len(lost) > 0 {
				t.Errorf("lost %v", lost)
			}
			mustClose(t, s)
		}
	})
}

// TestCloseWhileFilesAreUnread ends who waits for them, and drops none of them: what was
// not read is not what nobody needs.
func TestCloseWhileFilesAreUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		files(t, m, []store.Item{newItem("1", 9000)}, []store.Item{newItem("2", 9000)})
		before := m.paths("d/media/")
		closed := make(chan struct{})
		var mu sync.Mutex
		reads := make(map[string]int)
		m.setFault(func(op, path string) error {
			if op == "read" && strings.HasSuffix(path, twinSuffix) && strings.Contains(path, "media") {
				mu.Lock()
				reads[path]++
				after := reads[path] > 1 // the first is the start's own
				mu.Unlock()
				if after {
					<-closed
				}
			}
			return nil
		})
		s := openMem(t, m, Options{})
		s.cancel()
		close(closed)
		synctest.Wait()
		if _, err := s.Get(t.Context(), media, "1"); !errors.Is(err, store.ErrClosed) {
			t.Errorf("what is not read any more: %v", err)
		}
		// As a look of the janitor that was under way when the store was closed.
		if err := s.media.retain(t.Context()); err != nil {
			t.Error(err)
		}
		mustClose(t, s)
		if lost, err := s.Losses(t.Context()); len(lost) > 0 || !errors.Is(err, store.ErrClosed) {
			t.Errorf("lost %v, %v", lost, err)
		}
		if after := m.paths("d/media/"); !slices.Equal(after, before) {
			t.Errorf("there are %v, and were %v", after, before)
		}
	})
}

// TestRangesAreWrittenWhileFilesAreRead is for the race detector: a file is sealed while
// others are read.
func TestRangesAreWrittenWhileFilesAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		twins := files(t, m, []store.Item{newItem("1", 9000)}, []store.Item{newItem("2", 9000)})
		m.all = true
		for _, path := range twins { // damaged where a start does not look: it is made anew
			m.names[path].data[fileHeaderLen+headSize] ^= 1
		}
		var mu sync.Mutex
		reads := make(map[string]int)
		reading, pass := make(chan string), make(chan bool)
		m.setFault(func(op, path string) error {
			if op != "read" || !strings.HasSuffix(path, twinSuffix) || !strings.Contains(path, "media") {
				return nil
			}
			mu.Lock()
			reads[path]++
			second := reads[path] == 2
			mu.Unlock()
			if second {
				reading <- path
				<-pass
			}
			return nil
		})
		s := openMem(t, m, Options{})
		for range twins {
			<-reading
			pass <- true
			s.media.writeRanges()
		}
		if err := s.media.awaitAll(t.Context()); err != nil {
			t.Error(err)
		}
		m.setFault(nil)
		if lost := losses(t, s); len(lost) > 0 {
			t.Errorf("lost %v", lost)
		}
	})
}

// TestRangesAreOnlyBelievedWhole: without RANGES, or with one that is damaged or not of
// this store as it is now, a start reads all, and writes it anew.
func TestRangesAreOnlyBelievedWhole(t *testing.T) {
	items := []store.Item{newItem("1", 9000), newItem("2", 9000), newItem("3", 9000)}
	path := "d/" + twinDir + "/" + rangesName
	type test struct {
		name string
		do   func(m *memFS, b, older []byte) []byte // what is there instead; nil: nothing
	}
	tests := []test{
		{"as it is", func(_ *memFS, b, _ []byte) []byte { return b }},
		{"deleted", func(*memFS, []byte, []byte) []byte { return nil }},
		{"empty", func(*memFS, []byte, []byte) []byte { return []byte{} }},
		{"torn", func(_ *memFS, b, _ []byte) []byte { return b[:len(b)/2] }},
		{"stale", func(_ *memFS, _, older []byte) []byte { return older }},
		{"of a newer version", func(_ *memFS, b, _ []byte) []byte { b[8]++; return b }},
		{"of other sizes", func(_ *memFS, b, _ []byte) []byte {
			known, err := parseRanges(b)
			if err != nil {
				t.Fatal(err)
			}
			var list []sealedFile
			for _, f := range known {
				f.size += blockSize
				list = append(list, f)
			}
			return encodeRanges(list)
		}},
		{"with a temporary file of a crash", func(m *memFS, b, _ []byte) []byte {
			m.names[path+".new"] = &memFile{fs: m, path: path + ".new", data: []byte("x")}
			return b
		}},
	}
	for _, at := range []int{0, 8, 12, rangesHeader, rangesHeader + 8, rangesHeader + 40, rangesHeader + 60} {
		tests = append(tests, test{fmt.Sprint("flipped at ", at), func(_ *memFS, b, _ []byte) []byte { b[at] ^= 0x10; return b }})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMemFS()
			files(t, m, items[:1], items[1:2])
			older := append([]byte(nil), m.names[path].data...)
			files(t, m, items[2:])
			if b := tt.do(m, append([]byte(nil), m.names[path].data...), older); b != nil {
				m.names[path].data = b
			} else {
				delete(m.names, path)
			}
			s := openMem(t, m, Options{})
			wantItems(t, s, media, items...)
			if lost := losses(t, s); len(lost) > 0 {
				t.Errorf("lost %v", lost)
			}
			mustClose(t, s)
			known, err := parseRanges(m.names[path].data)
			if err != nil || len(known) != 3 {
				t.Errorf("afterwards it tells of %d files, %v", len(known), err)
			}
		})
	}
}

// TestNothingIsPostponedBesideDamage: what is lost is told when the start is over.
func TestNothingIsPostponedBesideDamage(t *testing.T) {
	m := newMemFS()
	items := []store.Item{newItem("1", 9000), newItem("2", 9000), newItem("3", 9000)}
	files(t, m, items[:1], items[1:2], items[2:])
	logs := m.paths("d/media/")
	m.names[logs[1]].data = m.names[logs[1]].data[:blockSize]
	s := openMem(t, m, Options{})
	if s.media.postponed.Load() != 0 || s.Condition() == nil {
		t.Errorf("%d files were postponed, %v", s.media.postponed.Load(), s.Condition())
	}
	wantItems(t, s, media, items[0], items[2])
}

// FuzzParseRanges: what is read from a disk is taken or refused, and what is taken is
// written the same again.
func FuzzParseRanges(f *testing.F) {
	f.Add(encodeRanges(nil))
	f.Add(encodeRanges([]sealedFile{{1, 2, 3, 4, map[string]keyRange{"r": {"a", "z", false}, "s": {open: true}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		known, err := parseRanges(b)
		if err != nil {
			return
		}
		var list []sealedFile
		for _, x := range known {
			list = append(list, x)
		}
		again, err := parseRanges(encodeRanges(list))
		if err != nil || len(again) != len(known) {
			t.Fatalf("%d of %d files, %v", len(again), len(known), err)
		}
		for id, x := range known {
			if y := again[id]; fmt.Sprint(x) != fmt.Sprint(y) {
				t.Errorf("%v, then %v", x, y)
			}
		}
	})
}
