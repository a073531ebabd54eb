package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"headwater/store"
)

// paths returns the files of the memory whose path has all of the parts, in order.
func (m *memFS) paths(parts ...string) (paths []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for path := range m.names {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(path, p) }) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// TestWhatIsLostIsKnown damages the files of a store, whole and not, and opens it
// twice: what the twins or the manifest know of and nobody has any more is a loss,
// each time, and nothing of the evidence goes.
func TestWhatIsLostIsKnown(t *testing.T) {
	items := []store.Item{newItem("1", 9000), newItem("2", 9000), newItem("3", 9000), newItem("small", 900)}
	for _, sealed := range []bool{true, false} {
		clean := newMemFS()
		s := openMem(t, clean, Options{})
		mustPut(t, s, media, items...)
		if sealed {
			mustClose(t, s)
			clean = clean.clone()
		} else {
			open := s
			clean = clean.clone()
			mustClose(t, open)
		}
		offset := func(m *memFS, key string) int64 {
			f := m.names[m.paths("d/media/")[0]]
			return int64(strings.Index(string(f.data), key+string(itemOf(items, key).Value[:40])) - headSize - len(media.ID))
		}
		for _, c := range []struct {
			name   string
			damage func(m *memFS, log, twin *memFile)
			lost   string
			there  string
			mended bool
		}{
			{"nothing", func(m *memFS, log, twin *memFile) {}, "", "1 2 3 small", false},
			{"shorter", func(m *memFS, log, twin *memFile) { log.data = log.data[:offset(m, "2")+100] }, "2 3", "1 small", true},
			{"empty", func(m *memFS, log, twin *memFile) { log.data = nil }, "1 2 3", "small", true},
			{"gone", func(m *memFS, log, twin *memFile) { delete(m.names, log.path) }, "1 2 3", "small", true},
			{"zeros at the end", func(m *memFS, log, twin *memFile) { clear(log.data[offset(m, "3")+4000:]) }, "3", "1 2 small", true},
			{"zeros", func(m *memFS, log, twin *memFile) { clear(log.data) }, "1 2 3", "small", true},
			{"twin gone", func(m *memFS, log, twin *memFile) { delete(m.names, twin.path) }, "", "1 2 3 small", false},
			{"twin shorter", func(m *memFS, log, twin *memFile) { twin.data = twin.data[:200] }, "", "1 2 3 small", false},
			{"twin damaged", func(m *memFS, log, twin *memFile) { twin.data[100] ^= 1 }, "", "1 2 3 small", false},
			{"both gone", func(m *memFS, log, twin *memFile) { delete(m.names, log.path); delete(m.names, twin.path) }, "?", "", false},
			{"one manifest gone", func(m *memFS, log, twin *memFile) { delete(m.names, "d/MANIFEST") }, "", "1 2 3 small", false},
			{"manifests damaged", func(m *memFS, log, twin *memFile) {
				m.names["d/MANIFEST"].data[60] ^= 1
				m.names["d/twins/MANIFEST"].data[60] ^= 1
				delete(m.names, log.path)
			}, "1 2 3", "small", true},
		} {
			t.Run(fmt.Sprintf("%s, sealed %v", c.name, sealed), func(t *testing.T) {
				m := clean.clone()
				log, twin := m.names[m.paths("d/media/")[0]], m.names[m.paths("d/twins/media")[0]]
				c.damage(m, log, twin)
				before := len(log.data)
				for start := range 3 {
					s := openMem(t, m, Options{})
					if got := keysOf(t, s, media); got != c.there {
						t.Errorf("start %d: keys %q, want %q", start, got, c.there)
					}
					var lost []string
					for _, x := range losses(t, s) {
						key := x.Key
						if key == "" {
							key = "?"
						} else if x.Record != media {
							t.Errorf("start %d: %v", start, x)
						}
						lost = append(lost, key)
					}
					if got := strings.Join(lost, " "); got != c.lost || (s.Condition() != nil) != (c.lost != "") {
						t.Errorf("start %d: lost %q, want %q; %v", start, got, c.lost, s.Condition())
					}
					if st := s.Stats().Media; start == 0 && st.Mended > 0 != c.mended && !strings.Contains(c.name, "twin") {
						t.Errorf("mended %d", st.Mended)
					}
					for _, i := range items {
						if strings.Contains(c.there, i.Key) {
							wantItems(t, s, media, i)
						}
					}
					if len(log.data) < before {
						t.Errorf("the log was cut from %d to %d bytes", before, len(log.data))
					}
					mustClose(t, s)
				}
				// What is put again is no loss any more.
				s := openMem(t, m, Options{})
				for _, key := range strings.Fields(c.lost) {
					if key != "?" {
						again := itemOf(items, key)
						again.Token = nextToken()
						mustPut(t, s, media, again)
					}
				}
				if lost := losses(t, s); c.lost != "?" && len(lost) > 0 {
					t.Errorf("still lost: %v", lost)
				}
				mustClose(t, s)
			})
		}
	}
}

func itemOf(items []store.Item, key string) store.Item {
	return items[slices.IndexFunc(items, func(i store.Item) bool { return i.Key == key })]
}

// TestControlIsThereTwice damages the one copy, and then both, of control items.
func TestControlIsThereTwice(t *testing.T) {
	old, old2, new, other := newItem("event", 500), newItem("event", 550), newItem("event", 600), newItem("other", 200)
	clean := newMemFS()
	s := openMem(t, clean, Options{})
	mustPut(t, s, control, old, other, old2, new)
	clean = clean.clone()
	mustClose(t, s)
	flip := func(f *memFile, item store.Item) {
		at := strings.Index(string(f.data), string(item.Value[:100]))
		if at < 0 {
			t.Fatal("the value is not there")
		}
		f.data[at+50] ^= 1
	}
	for _, c := range []struct {
		name   string
		damage func(m *memFS, log, twin *memFile)
		want   store.Item
	}{
		{"log flipped", func(m *memFS, log, twin *memFile) { flip(log, new) }, new},
		{"twin flipped", func(m *memFS, log, twin *memFile) { flip(twin, new) }, new},
		{"each of another", func(m *memFS, log, twin *memFile) { flip(log, new); flip(twin, other) }, new},
		{"log gone", func(m *memFS, log, twin *memFile) { delete(m.names, log.path) }, new},
		{"log zeroed", func(m *memFS, log, twin *memFile) { clear(log.data) }, new},
		{"twin gone", func(m *memFS, log, twin *memFile) { delete(m.names, twin.path) }, new},
		{"both flipped", func(m *memFS, log, twin *memFile) { flip(log, new); flip(twin, new) }, old2},
		{"two versions flipped", func(m *memFS, log, twin *memFile) {
			for _, f := range []*memFile{log, twin} {
				flip(f, new)
				flip(f, old2)
			}
		}, old},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := clean.clone()
			c.damage(m, m.names[m.paths("d/control/")[0]], m.names[m.paths("d/twins/control")[0]])
			for range 2 {
				s := openMem(t, m, Options{})
				wantItems(t, s, control, c.want, other)
				// Both copies are good again, whichever is looked at.
				poked := func() { _ = s.control.retain(t.Context()) }
				poked()
				wantItems(t, s, control, c.want, other)
				mustClose(t, s)
			}
			for _, kind := range []string{"d/control/", "d/twins/control"} {
				n := m.clone()
				for _, path := range n.paths(kind) {
					clear(n.names[path].data)
				}
				s := openMem(t, n, Options{})
				wantItems(t, s, control, c.want, other)
				mustClose(t, s)
			}
		})
	}
}

// TestControlRotsWhileOpen: the newest version of which both copies are bad is
// answered by the one before it.
func TestControlRotsWhileOpen(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{})
	old, new := newItem("event", 500), newItem("event", 600)
	mustPut(t, s, control, old, new)
	for _, kind := range []string{"d/control/", "d/twins/control"} {
		path := m.paths(kind)[0]
		m.mu.Lock()
		f := m.names[path]
		f.data[strings.Index(string(f.data), string(new.Value[:100]))] ^= 1
		m.mu.Unlock()
	}
	wantItems(t, s, control, old)
	got, err := s.Scan(t.Context(), control, store.ScanOptions{Values: true})
	if err != nil || len(got.Items) != 1 || string(got.Items[0].Value) != string(old.Value) {
		t.Errorf("scan: %v, %v", got, err)
	}
	if err := s.DeleteRecord(t.Context(), control, nextToken()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(t.Context(), control, "event"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
}

// TestOlderVersionBetween: a version without twins and a manifest wrote, and dropped a file
// with what was deleted from it. Its twin, which that version left, brings nothing back.
func TestOlderVersionBetween(t *testing.T) {
	m := newMemFS()
	put := func(m *memFS, key string) {
		s := openMem(t, m, Options{})
		mustPut(t, s, control, newItem(key, 100))
		mustClose(t, s)
	}
	put(m, "deleted")
	first := m.paths("d/control/")[0]
	between := m.clone()
	put(between, "new")
	for _, path := range between.paths("d/control/") {
		m.names[path] = between.names[path]
	}
	delete(m.names, first)
	for range 2 {
		s := openMem(t, m, Options{})
		if got := keysOf(t, s, control); got != "new" {
			t.Errorf("keys %q", got)
		}
		if lost := losses(t, s); len(lost) > 0 {
			t.Errorf("lost: %v", lost)
		}
		mustClose(t, s)
	}
}

// twoLogs makes two log files with an item each.
func twoLogs(t *testing.T, m *memFS) (items []store.Item, logs []string) {
	t.Helper()
	for i := range 2 {
		s := openMem(t, m, Options{})
		items = append(items, newItem(fmt.Sprint(i), 9000))
		mustPut(t, s, media, items[i])
		mustClose(t, s)
	}
	return items, m.paths("d/media/")
}

// TestSwappedFiles: a log says which file it is, whatever its name.
func TestSwappedFiles(t *testing.T) {
	m := newMemFS()
	items, logs := twoLogs(t, m)
	a, b := m.names[logs[0]], m.names[logs[1]]
	m.names[logs[0]], m.names[logs[1]] = b, a
	for range 2 {
		s := openMem(t, m, Options{})
		wantItems(t, s, media, items...)
		if lost := losses(t, s); len(lost) > 0 {
			t.Errorf("lost %v", lost)
		}
		mustClose(t, s)
	}
}

// TestAnotherTakesTheDirectory: who finds that a later epoch has begun writes nothing
// more, whatever became of the lock.
func TestAnotherTakesTheDirectory(t *testing.T) {
	m := newMemFS()
	first := openMem(t, m, Options{})
	item := newItem("k", 100)
	mustPut(t, first, media, item)
	m.mu.Lock()
	m.locked["d"] = false
	m.mu.Unlock()
	second := openMem(t, m, Options{})
	first.manifest.look()
	if err := first.Put(t.Context(), media, newItem("l", 100)); !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, errOusted) {
		t.Errorf("put: %v", err)
	}
	if first.Condition() == nil {
		t.Error("it says nothing")
	}
	wantItems(t, first, media, item)
	mustPut(t, second, media, newItem("l", 100))
}

// TestLossesExpire: with what was lost the evidence goes.
func TestLossesExpire(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{})
	item := newItem("k", 9000)
	item.Expires = time.Now().Add(time.Hour)
	mustPut(t, s, media, item)
	mustClose(t, s)
	log := m.paths("d/media/")[0]
	delete(m.names, log)
	s = openMem(t, m, Options{})
	if len(losses(t, s)) != 1 {
		t.Fatalf("lost %v", losses(t, s))
	}
	s.media.sumUp(time.Now().Add(2 * time.Hour))
	if err := s.media.retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if left := m.paths("media-"); len(left) != 0 {
		t.Errorf("left %v", left)
	}
	s = openMem(t, m, Options{})
	if s.Condition() != nil {
		t.Error(s.Condition())
	}
}

// TestWhatWasNeverThereIsNoLoss: a file that could not be entered into the manifest
// holds nothing, and nobody misses it.
func TestWhatWasNeverThereIsNoLoss(t *testing.T) {
	for _, op := range []string{"create", "rename", "syncdir"} {
		for _, copyOf := range []string{"d/MANIFEST", "d/twins/MANIFEST"} {
			t.Run(op+" "+copyOf, func(t *testing.T) {
				m := newMemFS()
				s := openMem(t, m, Options{})
				m.all = true
				last := ""
				m.setFault(func(did, path string) error {
					if did == "rename" {
						last = path
					}
					if did == op && (path == copyOf+".new" || did == "syncdir" && last == copyOf+".new") {
						return syscall.ENOSPC
					}
					return nil
				})
				item := newItem("k", 9000)
				if err := s.Put(t.Context(), media, item); !errors.Is(err, store.ErrFull) {
					t.Errorf("put: %v", err)
				}
				m.setFault(nil)
				mustPut(t, s, media, item)
				mustClose(t, s)
				s = openMem(t, m, Options{})
				wantItems(t, s, media, item)
				if lost := losses(t, s); len(lost) > 0 || s.Condition() != nil {
					t.Errorf("lost: %v; %v", lost, s.Condition())
				}
			})
		}
	}
}

// TestLossOfMediaThatNothingTellsOf: it holds no file up that is older than what it
// deleted, and is told of until somebody knows.
func TestLossOfMediaThatNothingTellsOf(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{})
	mustPut(t, s, media, newItem("k", 9000))
	mustClose(t, s)
	delete(m.names, m.paths("d/media/")[0])
	delete(m.names, m.paths("d/twins/media")[0])
	s = openMem(t, m, Options{})
	mustPut(t, s, media, newItem("l", 9000))
	if err := s.DeleteRecord(t.Context(), media, nextToken()); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	s = openMem(t, m, Options{})
	s.media.index.Sweep(media, time.Now().Add(2*store.MaxDrift))
	if err := s.media.retain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := m.paths("d/media/"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if len(losses(t, s)) != 1 {
		t.Errorf("lost: %v", losses(t, s))
	}
	if err := s.AcceptLosses(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Condition() != nil {
		t.Error(s.Condition())
	}
	mustClose(t, s)
	if s = openMem(t, m, Options{}); s.Condition() != nil {
		t.Error(s.Condition())
	}
}

// TestWhatIsDeletedIsNoLoss: whether it was deleted before it was lost, or after.
func TestWhatIsDeletedIsNoLoss(t *testing.T) {
	other := store.Record{Namespace: store.Media, ID: "acme/final/other"}
	m := newMemFS()
	s := openMem(t, m, Options{})
	mustPut(t, s, media, newItem("k", 9000), newItem("l", 9000))
	mustPut(t, s, other, newItem("k", 9000))
	if err := s.DeleteRecord(t.Context(), media, nextToken()); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, media, newItem("l", 9000))
	mustClose(t, s)
	delete(m.names, m.paths("d/media/")[0])
	s = openMem(t, m, Options{})
	if lost := losses(t, s); len(lost) != 2 || lost[0].Record != other || lost[1].Record != media || lost[1].Key != "l" {
		t.Errorf("lost: %v", lost)
	}
	if err := s.DeleteRecord(t.Context(), other, nextToken()); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if lost := losses(t, s); len(lost) != 1 || lost[0].Record != media {
			t.Errorf("lost: %v", lost)
		}
		mustClose(t, s)
		s = openMem(t, m, Options{})
	}
}

// TestCopyOfALog: under the name of another it stands in for none, whichever is looked
// at first.
func TestCopyOfALog(t *testing.T) {
	m := newMemFS()
	items, logs := twoLogs(t, m)
	for range 10 { // the order is that of a map
		n := m.clone()
		n.names[logs[1]].data = slices.Clone(n.names[logs[0]].data)
		s := openMem(t, n, Options{})
		wantItems(t, s, media, items[0])
		if path := s.media.files[0].path; path != logs[0] {
			t.Fatalf("%s is used for %s", path, logs[0])
		}
		mustClose(t, s)
	}
}

// TestDroppedOnAFullDisk: a file that went while the manifest could not be written is no
// loss for a start after a kill, once there is space again.
func TestDroppedOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemFS()
		m.all = true
		opt := Options{Bucket: time.Minute, SweepInterval: 10 * time.Second}
		s := openMem(t, m, opt)
		x := newItem("x", 9000)
		x.Expires = time.Now().Add(time.Minute)
		mustPut(t, s, media, x)
		m.setFault(func(op, path string) error {
			if strings.Contains(path, manifestName) && op == "create" {
				return syscall.ENOSPC
			}
			return nil
		})
		time.Sleep(5 * time.Minute)
		if n := s.Stats().Media.DroppedFiles; n != 1 {
			t.Fatalf("%d files dropped", n)
		}
		m.setFault(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		killed := m.clone()
		mustClose(t, s)
		s = openMem(t, killed, opt)
		if lost := losses(t, s); len(lost) > 0 {
			t.Errorf("lost: %v", lost)
		}
		mustClose(t, s)
	})
}

// TestStartWritesTheManifestOnce: once all is known, however many files there are.
func TestStartWritesTheManifestOnce(t *testing.T) {
	m := newMemFS()
	for i := range 5 {
		s := openMem(t, m, Options{})
		mustPut(t, s, control, newItem(fmt.Sprint(i), 100))
		mustClose(t, s)
	}
	m.all = true
	before := m.count("rename")
	mustClose(t, openMem(t, m, Options{}))
	if n := m.count("rename") - before; n != 2 {
		t.Errorf("%d files are put in the place of others, want the two copies of the manifest", n)
	}
}

// losses is what a store has lost, once all of it has been read.
func losses(t *testing.T, s *Store) []Loss {
	t.Helper()
	all, err := s.Losses(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return all
}
