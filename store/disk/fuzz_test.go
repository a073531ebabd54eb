package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"headwater/store"
)

// FuzzOpen opens a store whose one log file is any bytes at all. It opens,
// serves nothing whose checksum fails, and goes on to store. What it covers
// depends on the scheduler: run it with -fuzzminimizetime=1x.
func FuzzOpen(f *testing.F) {
	const seq, id = 1, 2
	path := "d/media/" + fileName(seq, id)
	build := func(sealed bool, values ...string) []byte {
		m := newMemFS()
		l := newLog("d/media", store.Media, Options{FS: m}.withDefaults(), nil, func() {})
		file := &memFile{fs: m}
		lf := &logFile{id: id, f: file}
		w := stager{f: file, buf: newBlocks(1 << 16)}
		w.write(fileHeader(id, 0, store.Media))
		w.flush()
		for i, v := range values {
			r := record{kind: kindPut, id: media.ID, key: string(rune('a' + i)), size: int64(len(v)), valueSum: checksum([]byte(v)),
				token: nextToken(), expires: 1 << 50}
			if v == "" {
				r = record{kind: kindDelete, id: media.ID, key: "a", to: "b", token: nextToken(), expires: 1 << 50}
			}
			head := r.appendHead(nil)
			place(head, id, w.end(), w.start)
			w.write(head)
			w.write([]byte(v))
			if i%2 == 1 {
				w.flush()
			}
		}
		w.flush()
		if sealed {
			lf.size.Store(w.start)
			l.writeSeal(lf, w.start, []stretch{{4096, 4200}})
		}
		return file.data
	}
	f.Add([]byte{}, true)
	f.Add([]byte("noise"), true)
	f.Add(fileHeader(id, 0, store.Media), true)
	whole := build(true, "one", "two", "", "four")
	f.Add(whole, true)
	f.Add(build(false, "one", "two", "three"), true)
	f.Add(build(false), true)
	f.Add(whole[:5000], true)
	torn := slices.Clone(whole)
	clear(torn[8192:10000])
	f.Add(torn, true)
	f.Fuzz(func(t *testing.T, b []byte, repair bool) {
		if len(b) > 1<<20 {
			return
		}
		if repair {
			b = withChecksums(b, id)
		}
		m := newMemFS()
		m.names[path] = &memFile{fs: m, path: path, data: b, safe: b}
		item := newItem("later", 100)
		item.Token.Time += int64(store.MaxDrift) / 2
		for i := range 2 {
			s, err := Open("d", Options{FS: m, FileBytes: 1 << 20})
			if err != nil {
				return // a newer version
			}
			for item, err := range store.All(t.Context(), s, media, store.ScanOptions{Values: true}) {
				if err == nil && item.Size != int64(len(item.Value)) {
					t.Errorf("%q: %d bytes, size %d", item.Key, len(item.Value), item.Size)
				}
			}
			if _, err := s.Check(t.Context(), func(Problem) {}, nil); err != nil {
				t.Error(err)
			}
			// What is in the log may be newer than any token of today.
			if err := s.Put(t.Context(), control, item); err != nil {
				t.Error(err)
			}
			wantItems(t, s, control, item)
			if err := s.Put(t.Context(), media, item); err != nil {
				t.Error(err)
			}
			if st := s.Stats().Media; i == 1 && st.TruncatedTails+st.SetAside > 0 {
				t.Errorf("the first start left something to mend: %+v", st)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// withChecksums makes a record's head of all that begins like one: the fuzzer
// does not guess checksums.
func withChecksums(b []byte, id uint64) []byte {
	b = slices.Clone(b)
	for at := 0; ; at++ {
		next := bytes.Index(b[at:], []byte(recordMagic))
		if next < 0 {
			return b
		}
		at += next
		n := headSize
		for at+n <= len(b) && n <= maxHeadSize {
			place(b[at:at+n], id, int64(at), int64(binary.LittleEndian.Uint16(b[at+64:]))%int64(at+1))
			_, err := parseHead(b[at : at+n])
			var short shortError
			if !errors.As(err, &short) {
				break
			}
			n = int(short)
		}
	}
}
