package disk

import (
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

// logs returns how many log files a namespace has on its disk.
func (m *memFS) logs(namespace string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for path := range m.names {
		if strings.HasPrefix(path, "d/"+namespace+"/") && strings.HasSuffix(path, fileSuffix) {
			n++
		}
	}
	return n
}

// TestRetention: a day of media with four hours' life, beside control items
// that are kept for ever. The disk holds four hours and a little.
func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		s := openMem(t, m, Options{})
		config := newItem("config", 500)
		mustPut(t, s, control, config)
		const life = 4 * time.Hour
		var puts []store.Item
		for minute := range 24 * 60 {
			item := newItem(fmt.Sprintf("%06d", minute), 5000)
			item.Expires = time.Now().Add(life).Truncate(time.Millisecond)
			mustPut(t, s, media, item)
			puts = append(puts, item)
			time.Sleep(time.Minute)
			if n := m.logs(store.Media); n > 4*6+2 {
				t.Fatalf("%d files after %d minutes: 10 minutes each, 4 hours' worth", n, minute)
			}
		}
		if n := m.logs(store.Media); n < 4*6 {
			t.Errorf("%d files for 4 hours", n)
		}
		st := s.Stats().Media
		if want := int64(4*60*8192 + 26*4*4096); st.Bytes > want || st.DroppedFiles < 100 || st.CompactedBytes != 0 {
			t.Errorf("%d bytes, at most %d expected, and %d files dropped, %d bytes compacted", st.Bytes, want, st.DroppedFiles, st.CompactedBytes)
		}
		if st.Items > 4*60+2 {
			t.Errorf("%d items are remembered", st.Items)
		}
		check := func() {
			t.Helper()
			kept := slices.DeleteFunc(slices.Clone(puts), func(i store.Item) bool { return !time.Now().Before(i.Expires) })
			wantItems(t, s, media, kept...)
			if n := len(strings.Fields(keysOf(t, s, media))); n != len(kept) || n < 200 {
				t.Errorf("%d items, want %d", n, len(kept))
			}
			wantItems(t, s, control, config)
		}
		check()
		mustClose(t, s)
		s = openMem(t, m, Options{})
		check()
		// With nothing more put, all media go.
		time.Sleep(life + 20*time.Minute)
		if n := m.logs(store.Media); n != 0 || s.Stats().Media.Bytes != 0 || s.Stats().Media.Records != 0 {
			t.Errorf("%d files, %+v", n, s.Stats().Media)
		}
		wantItems(t, s, control, config)
	})
}

// TestControlIsCompacted: items that are rewritten again and again, and some
// that never are, in a log that does not grow.
func TestControlIsCompacted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		opt := Options{FileBytes: controlShare * 64 << 10, SweepInterval: time.Second}
		s := openMem(t, m, opt)
		var kept []store.Item
		for i := range 10 {
			kept = append(kept, newItem(fmt.Sprint("kept", i), 1000))
		}
		mustPut(t, s, control, kept...)
		gone := newItem("gone", 1000)
		mustPut(t, s, control, gone)
		mustPut(t, s, control, store.Gone("gone", nextToken()))
		var last store.Item
		for i := range 2000 {
			last = newItem("rewritten", 1000+i)
			mustPut(t, s, control, last)
			if i%50 == 0 {
				time.Sleep(time.Second)
			}
		}
		time.Sleep(10 * time.Minute)
		st := s.Stats().Control
		if st.Bytes > 400<<10 || st.CompactedBytes == 0 || st.DroppedFiles < 50 {
			t.Errorf("%d bytes for %d live ones, %d compacted, %d files dropped", st.Bytes, st.LiveBytes, st.CompactedBytes, st.DroppedFiles)
		}
		for range 2 {
			wantItems(t, s, control, append(kept, last)...)
			if got := keysOf(t, s, control); !strings.HasSuffix(got, "kept9 rewritten") || strings.Contains(got, "gone") {
				t.Errorf("keys %s", got)
			}
			mustClose(t, s)
			s = openMem(t, m, opt)
		}
	})
}

// TestManySmallFilesAreJoined: each start makes a file of its own.
func TestManySmallFilesAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		var items []store.Item
		for i := range 60 {
			s := openMem(t, m, Options{})
			items = append(items, newItem(fmt.Sprint(i), 100))
			mustPut(t, s, control, items[i])
			if i == 59 {
				time.Sleep(10 * time.Minute)
			}
			mustClose(t, s)
		}
		if n := m.logs(store.Control); n > controlFiles+1 {
			t.Errorf("%d files", n)
		}
		wantItems(t, openMem(t, m, Options{}), control, items...)
	})
}

// TestMixedLives: a few items of long life do not keep the disk full of dead
// ones for ever.
func TestMixedLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		s := openMem(t, m, Options{FileBytes: 1 << 20})
		var long []store.Item
		for i := range 2000 {
			item := newItem(fmt.Sprintf("%04d", i), 20_000)
			item.Expires = time.Now().Add(10 * time.Minute)
			if i%40 == 0 {
				item.Expires = time.Now().Add(1000 * time.Hour)
				long = append(long, item)
			}
			mustPut(t, s, media, item)
			time.Sleep(10 * time.Second)
		}
		time.Sleep(time.Hour)
		st := s.Stats().Media
		if st.Bytes > 2*st.LiveBytes+2<<20 {
			t.Errorf("%d bytes for %d live ones", st.Bytes, st.LiveBytes)
		}
		for range 2 {
			wantItems(t, s, media, long...)
			if n := len(strings.Fields(keysOf(t, s, media))); n != len(long) {
				t.Errorf("%d items, want %d", n, len(long))
			}
			mustClose(t, s)
			s = openMem(t, m, Options{FileBytes: 1 << 20})
		}
	})
}

// TestNothingReturns: an older record of a key lives longer on the disk than
// the one that replaced or deleted it. It must not come back.
func TestNothingReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		opt := Options{Bucket: time.Minute, SweepInterval: 10 * time.Second}
		s := openMem(t, m, opt)
		replaced, deleted, anchor := newItem("replaced", 5000), newItem("deleted", 5000), newItem("anchor", 50_000)
		mustPut(t, s, media, replaced, deleted, anchor)
		other := store.Record{Namespace: store.Media, ID: "other"}
		mustPut(t, s, other, newItem("k", 5000))
		time.Sleep(2 * time.Minute) // the next file
		brief := newItem("replaced", 10)
		brief.Expires = time.Now().Add(time.Minute)
		mustPut(t, s, media, brief)
		mustPut(t, s, media, store.Gone("deleted", nextToken()))
		if err := s.DeleteRecord(t.Context(), other, nextToken()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		mustPut(t, s, media, newItem("later", 10))
		time.Sleep(time.Hour)
		for range 3 {
			if got := keysOf(t, s, media) + keysOf(t, s, other); got != "anchor later" {
				t.Errorf("keys %s", got)
			}
			mustClose(t, s)
			s = openMem(t, m, opt)
			time.Sleep(10 * time.Minute)
		}
		wantItems(t, s, media, anchor)
	})
}

// TestCompactionOfDamage: what neither copy has is lost and said to be; the rest is
// copied from where it is good, and the file is set aside.
func TestCompactionOfDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		opt := Options{FileBytes: controlShare * 64 << 10, SweepInterval: time.Second}
		s := openMem(t, m, opt)
		good, bad := newItem("good", 3000), newItem("bad", 3000)
		mustPut(t, s, control, good, bad)
		m.mu.Lock()
		m.onlyLog(t, store.Control).data[s.control.index.Get(control, "bad").Value.offset+1000] ^= 1
		m.onlyLog(t, store.Control).data[s.control.index.Get(control, "good").Value.offset+1000] ^= 1
		for path, f := range m.names {
			if strings.Contains(path, "control") && strings.HasSuffix(path, twinSuffix) {
				f.data[s.control.index.Get(control, "bad").Value.twin+1000] ^= 1
			}
		}
		m.mu.Unlock()
		for range 100 {
			mustPut(t, s, control, newItem("rewritten", 3000))
		}
		time.Sleep(10 * time.Minute)
		st := s.Stats().Control
		if st.SetAside != 1 || st.CorruptRecords == 0 || st.Mended != 1 || st.Bytes > 200<<10 {
			t.Errorf("%+v", st)
		}
		wantItems(t, s, control, good)
		if _, err := s.Get(t.Context(), control, "bad"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("get: %v", err)
		}
	})
}

// TestRetentionFails: a disk that refuses to remove files is asked again.
func TestRetentionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		s := openMem(t, m, Options{})
		item := newItem("k", 10)
		item.Expires = time.Now().Add(time.Minute)
		mustPut(t, s, media, item)
		m.setFault(func(op, _ string) error {
			if op == "remove" {
				return errors.New("no")
			}
			return nil
		})
		time.Sleep(time.Hour)
		if n := m.logs(store.Media); n != 1 || s.Stats().Media.Files != 1 {
			t.Fatalf("%d files", n)
		}
		m.setFault(nil)
		time.Sleep(time.Hour)
		if n := m.logs(store.Media); n != 0 || s.Stats().Media.Files != 0 {
			t.Errorf("%d files", n)
		}
	})
}

// TestStress runs everything at once in tiny files, for the race detector and
// to find what only happens together.
func TestStress(t *testing.T) {
	dir := t.TempDir()
	opt := Options{FileBytes: controlShare * 32 << 10, SweepInterval: 2 * time.Millisecond}
	s := mustOpen(t, osFS{}, dir, opt)
	var wg sync.WaitGroup
	newest := make([]store.Item, 6)
	for w := range newest {
		rec := []store.Record{media, control}[w%2]
		scraps := store.Record{Namespace: rec.Namespace, ID: fmt.Sprint("scraps", w)}
		wg.Go(func() {
			for n := range 150 {
				key := fmt.Sprintf("w%d", w)
				item := newItem(key, 100+n*37%9000)
				if err := s.Put(t.Context(), rec, item); err != nil {
					t.Error(err)
					return
				}
				newest[w] = item
				scrap := newItem(fmt.Sprintf("w%d-%d", w, n), 500)
				if n%3 == 0 {
					scrap.Expires = time.Now().Add(-time.Second)
				}
				for _, r := range []store.Record{rec, scraps} {
					if err := s.Put(t.Context(), r, scrap); err != nil {
						t.Error(err)
					}
				}
				if err := s.Put(t.Context(), rec, store.Gone(scrap.Key, nextToken())); err != nil {
					t.Error(err)
				}
				if n%10 == 9 {
					if err := s.DeleteRecord(t.Context(), scraps, nextToken()); err != nil {
						t.Error(err)
					}
				}
				if got, err := s.Get(t.Context(), rec, key); err != nil || got.Token != item.Token || string(got.Value) != string(item.Value) {
					t.Errorf("get %s: %v", key, err)
				}
			}
		})
		wg.Go(func() {
			for range 60 {
				for item, err := range store.All(t.Context(), s, rec, store.ScanOptions{Values: true, MaxBytes: 20_000}) {
					if err != nil {
						t.Errorf("scan at %q: %v", item.Key, err)
					}
				}
				if _, err := s.Check(t.Context(), func(p Problem) { t.Errorf("check: %v", p) }, nil); err != nil {
					t.Error(err)
				}
				s.Stats()
			}
		})
	}
	wg.Wait()
	for range 2 {
		for w, item := range newest {
			wantItems(t, s, []store.Record{media, control}[w%2], item)
		}
		for w := range newest {
			if got := keysOf(t, s, store.Record{Namespace: []string{store.Media, store.Control}[w%2], ID: fmt.Sprint("scraps", w)}); got != "" {
				t.Errorf("deleted, and left: %s", got)
			}
		}
		if got := keysOf(t, s, media) + " " + keysOf(t, s, control); got != "w0 w2 w4 w1 w3 w5" {
			t.Errorf("keys %s", got)
		}
		mustClose(t, s)
		s = mustOpen(t, osFS{}, dir, opt)
	}
}
