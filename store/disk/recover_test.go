package disk

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"

	"headwater/store"
)

// onlyLog returns the one log file of a namespace.
func (m *memFS) onlyLog(t testing.TB, namespace string) *memFile {
	t.Helper()
	var found []*memFile
	for path, f := range m.names {
		if strings.HasPrefix(path, "d/"+namespace+"/") && strings.HasSuffix(path, fileSuffix) {
			found = append(found, f)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d log files", len(found))
	}
	return found[0]
}

// clone returns a copy to be damaged.
func (m *memFS) clone() *memFS {
	next := newMemFS()
	for path, f := range m.names {
		next.names[path] = &memFile{fs: next, path: path, data: slices.Clone(f.data), safe: slices.Clone(f.data)}
	}
	return next
}

// forget takes away all that is beside the logs.
func (m *memFS) forget() {
	for path := range m.names {
		if strings.HasSuffix(path, twinSuffix) || strings.HasSuffix(path, manifestName) {
			delete(m.names, path)
		}
	}
}

// crashed returns the file system of a store in which the items were put one
// by one, as a kill would leave it, and where in its file the items begin. It is
// one without twins and manifest, as older versions wrote it.
func crashed(t *testing.T, items ...store.Item) (m *memFS, offsets []int64) {
	m = newMemFS()
	s := openMem(t, m, Options{})
	mustPut(t, s, media, items...)
	for _, i := range items {
		offsets = append(offsets, s.media.index.Get(media, i.Key).Value.offset)
	}
	m = m.clone()
	mustClose(t, s)
	m.forget()
	return m, offsets
}

// TestTornTail cuts a log after every length, and smashes the rest after every
// length: what was acknowledged before is there, and the log goes on.
func TestTornTail(t *testing.T) {
	first, second, torn := newItem("1", 100), newItem("2", 9000), newItem("3", 9000)
	whole, offsets := crashed(t, first, second, torn)
	size := len(whole.onlyLog(t, store.Media).data)
	tail := int(offsets[2])
	cuts := []int{tail, tail + 1, tail + 79, tail + 80, tail + 100, tail + 4095, tail + 4096, tail + 9000, size - 4096, size - 3000, size - 1}
	for _, smash := range []string{"cut", "zeros", "noise"} {
		for _, at := range cuts {
			t.Run(fmt.Sprint(smash, at-tail), func(t *testing.T) {
				m := whole.clone()
				f := m.onlyLog(t, store.Media)
				switch smash {
				case "cut":
					f.data = f.data[:at]
				case "zeros":
					clear(f.data[at:])
				case "noise":
					rest := f.data[at:]
					rand.NewChaCha8([32]byte{byte(at)}).Read(rest)
				}
				damaged := slices.Clone(f.data)
				s := openMem(t, m, Options{})
				wantItems(t, s, media, first, second)
				if _, err := s.Get(t.Context(), media, "3"); !errors.Is(err, store.ErrNotFound) {
					// The end of the last block is padding: cut or noise there is no loss.
					if got, _ := s.Get(t.Context(), media, "3"); string(got.Value) != string(torn.Value) {
						t.Errorf("torn item: %v", err)
					}
				} else if st := s.Stats().Media; at > tail && !(smash == "zeros" && at < tail+1) && st.TruncatedTails != 1 {
					t.Errorf("%d tails cut off", st.TruncatedTails)
				}
				if st := s.Stats().Media; st.CorruptRecords != 0 {
					t.Errorf("a torn tail counts as %d corrupt records", st.CorruptRecords)
				}
				mustPut(t, s, media, torn)
				mustClose(t, s)
				if len(damaged) == 0 {
					t.Fatal("nothing was left")
				}
				// The next start finds nothing to mend.
				s = openMem(t, m, Options{})
				wantItems(t, s, media, first, second, torn)
				if st := s.Stats().Media; st.CorruptRecords != 0 || st.TruncatedTails != 0 {
					t.Errorf("the second start found %+v", st)
				}
			})
		}
	}
}

// TestDamageInTheMiddle: a record whose head is damaged is skipped, one whose
// value is damaged is refused, and all others are served.
func TestDamageInTheMiddle(t *testing.T) {
	items := []store.Item{newItem("1", 9000), newItem("2", 9000), newItem("3", 9000), newItem("4", 9000)}
	whole, offsets := crashed(t, items...)
	for _, c := range []struct {
		name    string
		damage  func(log []byte)
		opened  uint64 // damaged stretches found at the start
		getErr  error
		corrupt bool // Scan without values sees it, too
	}{
		{"head", func(b []byte) { b[offsets[1]+30] ^= 1 }, 1, store.ErrNotFound, false},
		{"magic", func(b []byte) { b[offsets[1]] ^= 1 }, 1, store.ErrNotFound, false},
		{"length", func(b []byte) { b[offsets[1]+18] ^= 1 }, 1, store.ErrNotFound, false},
		{"zeros", func(b []byte) { clear(b[offsets[1] : offsets[1]+4096]) }, 1, store.ErrNotFound, false},
		{"whole record", func(b []byte) { clear(b[offsets[1]:offsets[2]]) }, 1, store.ErrNotFound, false},
		{"value", func(b []byte) { b[offsets[1]+5000] ^= 1 }, 0, store.ErrCorrupt, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := whole.clone()
			c.damage(m.onlyLog(t, store.Media).data)
			s := openMem(t, m, Options{})
			wantItems(t, s, media, items[0], items[2], items[3])
			if _, err := s.Get(t.Context(), media, "2"); !errors.Is(err, c.getErr) {
				t.Errorf("get: %v, want %v", err, c.getErr)
			}
			if got := s.Stats().Media; got.CorruptRecords != max(c.opened, 1) || got.TruncatedTails != 0 {
				t.Errorf("%d corrupt records, %d tails", got.CorruptRecords, got.TruncatedTails)
			}
			page, err := s.Scan(t.Context(), media, store.ScanOptions{Values: true})
			if err != nil || len(page.Items) != 3 || (c.getErr == store.ErrCorrupt) != slices.Equal(page.Corrupt, []string{"2"}) {
				t.Errorf("scan: %d items, corrupt %q, %v", len(page.Items), page.Corrupt, err)
			}
			problems := 0
			if _, err := s.Check(t.Context(), func(p Problem) {
				problems++
				if p.Offset != offsets[1] && c.name != "zeros" && c.name != "whole record" {
					t.Errorf("problem %v", p)
				}
			}, nil); err != nil || problems != 1 {
				t.Errorf("check: %d problems, %v", problems, err)
			}
			mustClose(t, s)
			// The next start reads the twin that this one made, and not the log.
			s = openMem(t, m, Options{})
			wantItems(t, s, media, items[0], items[2], items[3])
			if got := s.Stats().Media; got.CorruptRecords != 0 || got.TruncatedTails != 0 {
				t.Errorf("the second start found %+v", got)
			}
		})
	}
}

// TestDamageWhileOpen: bytes that rot after the start are never served.
func TestDamageWhileOpen(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{})
	good, bad, gone := newItem("good", 9000), newItem("bad", 9000), newItem("gone", 9000)
	mustPut(t, s, media, good, bad, gone)
	at := func(key string) int64 { return s.media.index.Get(media, key).Value.offset }
	m.mu.Lock()
	data := m.onlyLog(t, store.Media).data
	data[at("bad")+80+40] ^= 1
	copy(data[at("gone"):], data[at("good"):at("bad")]) // a record, but of another place
	m.mu.Unlock()
	wantItems(t, s, media, good)
	for _, key := range []string{"bad", "gone"} {
		if _, err := s.Get(t.Context(), media, key); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("get %s: %v", key, err)
		}
	}
	// What the twin has is enough for this.
	page, err := s.Scan(t.Context(), media, store.ScanOptions{})
	if err != nil || len(page.Items) != 3 || len(page.Corrupt) != 0 {
		t.Errorf("scan: corrupt %q, %v", page.Corrupt, err)
	}
	var errs []error
	for item, err := range store.All(t.Context(), s, media, store.ScanOptions{Values: true}) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", item.Key, err))
		}
	}
	if len(errs) != 2 || !errors.Is(errs[0], store.ErrCorrupt) {
		t.Errorf("all: %v", errs)
	}
	if c := s.Stats().Media.CorruptRecords; c != 4 {
		t.Errorf("%d corrupt reads counted", c)
	}
}

// TestForgedRecord: a value that holds a record is not taken for one, even
// where the log is damaged around it.
func TestForgedRecord(t *testing.T) {
	first := newItem("1", 100)
	forged := record{kind: kindPut, id: media.ID, key: "forged", size: 10, expires: 1 << 60, fileID: 0, offset: 4096 * 3}
	carrier := newItem("2", 9000)
	for at := 500; at < 8000; at += 500 {
		copy(carrier.Value[at:], forged.encode())
	}
	last := newItem("3", 100)
	m, offsets := crashed(t, first, carrier, last)
	m.onlyLog(t, store.Media).data[offsets[1]] ^= 1
	s := openMem(t, m, Options{})
	wantItems(t, s, media, first, last)
	if keys := keysOf(t, s, media); keys != "1 3" {
		t.Errorf("keys %q", keys)
	}
}

func TestFileHeaderDamaged(t *testing.T) {
	items := []store.Item{newItem("1", 100), newItem("2", 100)}
	m, _ := crashed(t, items...)
	m.onlyLog(t, store.Media).data[10] ^= 1
	for _, want := range []uint64{1, 0} { // it is mended at the first start
		s := openMem(t, m, Options{})
		wantItems(t, s, media, items...)
		if c := s.Stats().Media.CorruptRecords; c != want {
			t.Errorf("%d corrupt, want %d", c, want)
		}
		mustClose(t, s)
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	m, _ := crashed(t, newItem("1", 100))
	f := m.onlyLog(t, store.Media)
	h := fileHeader(0, 0, store.Media)
	copy(f.data, h)
	f.data[8] = fileVersion + 1
	sum := checksum(f.data[:60])
	f.data[60], f.data[61], f.data[62], f.data[63] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	for range 2 { // the failed open leaves no lock
		if _, err := Open("d", Options{FS: m}); !errors.Is(err, errVersion) || !strings.Contains(err.Error(), f.path) {
			t.Errorf("open: %v", err)
		}
	}
}

// TestLostEnd: a file that lost its acknowledged end says so.
func TestLostEnd(t *testing.T) {
	items := []store.Item{newItem("1", 9000), newItem("2", 9000), newItem("3", 9000)}
	m, offsets := crashed(t, items...)
	f := m.onlyLog(t, store.Media)
	// The third record proves that the second was durable.
	clear(f.data[offsets[1]:offsets[2]])
	s := openMem(t, m, Options{})
	if st := s.Stats().Media; st.CorruptRecords != 1 || st.TruncatedTails != 0 {
		t.Errorf("%+v", st)
	}
}

// TestFileWithoutRecords: what a crash right after creating a file leaves.
func TestFileWithoutRecords(t *testing.T) {
	empty := fileName(5, 6)
	for name, c := range map[string]struct {
		content []byte
		left    bool // under another name
	}{
		"nothing":     {nil, false},
		"a header":    {append(fileHeader(6, 0, store.Media), make([]byte, 4032)...), false},
		"half a head": {append(append(fileHeader(6, 0, store.Media), make([]byte, 4032)...), "HWR1\x01"+strings.Repeat("x", 200)...), false},
		"noise":       {[]byte(strings.Repeat("noise", 5000)), true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMemFS()
			m.names["d/media/"+empty] = &memFile{fs: m, data: c.content, safe: c.content}
			s := openMem(t, m, Options{})
			item := newItem("k", 10)
			mustPut(t, s, media, item)
			mustClose(t, s)
			s = openMem(t, m, Options{})
			wantItems(t, s, media, item)
			_, there := m.names["d/media/"+empty]
			_, aside := m.names["d/media/"+empty+damagedSuffix]
			if there || aside != c.left {
				t.Errorf("still there %v, set aside %v", there, aside)
			}
		})
	}
}

// A file that is there and cannot be opened does not stop the rest. It is known what
// is in it, and nothing of it is touched: it is back when it can be opened.
func TestFileThatDoesNotOpen(t *testing.T) {
	m := newMemFS()
	s := openMem(t, m, Options{})
	large, small := newItem("large", 9000), newItem("small", 100)
	mustPut(t, s, media, large, small)
	mustClose(t, s)
	m.setFault(func(op, _ string) error {
		if op == "open" {
			return syscall.EIO
		}
		return nil
	})
	for range 2 {
		s = openMem(t, m, Options{})
		wantItems(t, s, media, small)
		if lost := losses(t, s); len(lost) != 1 || lost[0].Key != "large" || lost[0].Record != media || s.Condition() == nil {
			t.Errorf("lost %v, %v", lost, s.Condition())
		}
		mustClose(t, s)
	}
	m.setFault(nil)
	s = openMem(t, m, Options{})
	defer mustClose(t, s)
	wantItems(t, s, media, large, small)
	if lost := losses(t, s); len(lost) > 0 || s.Condition() != nil {
		t.Errorf("lost %v, %v", lost, s.Condition())
	}
}
