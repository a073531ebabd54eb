package disk

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"headwater/store"
	"headwater/store/internal/index"
)

func drawRecord(t *rapid.T) record {
	r := record{
		kind:     rapid.SampledFrom([]kind{kindPut, kindDelete, kindSeal}).Draw(t, "kind"),
		id:       rapid.StringN(0, 20, 100).Draw(t, "id"),
		key:      rapid.StringN(0, 20, 100).Draw(t, "key"),
		to:       rapid.StringN(0, 20, 100).Draw(t, "to"),
		meta:     rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "meta"),
		size:     rapid.Int64Range(0, store.MaxValueBytes).Draw(t, "size"),
		valueSum: rapid.Uint32().Draw(t, "sum"),
		token:    store.Token{Time: rapid.Int64().Draw(t, "time"), Nonce: rapid.Uint64().Draw(t, "nonce")},
		expires:  rapid.OneOf(rapid.Just(index.Forever), rapid.Int64Max(index.Forever-1)).Draw(t, "expires"),
		fileID:   rapid.Uint64().Draw(t, "file"),
		offset:   rapid.Int64Range(0, 1<<50).Draw(t, "offset"),
	}
	switch r.kind {
	case kindPut:
		r.id, r.key, r.to = "i"+r.id, "k"+r.key, ""
	case kindDelete:
		r.id, r.meta, r.size = "i"+r.id, nil, 0
	case kindSeal:
		r.id, r.key, r.to, r.meta, r.size = "", "", "", r.meta[:len(r.meta)/16*16], 0
	}
	r.metaLen = len(r.meta)
	r.durable = rapid.Int64Range(0, r.offset).Draw(t, "durable")
	return r
}

func (r *record) encode() []byte {
	head := r.appendHead(nil)
	place(head, r.fileID, r.offset, r.durable)
	return head
}

func same(a, b record) bool {
	meta := bytes.Equal(a.meta, b.meta)
	a.meta, b.meta = nil, nil
	return meta && a.kind == b.kind && a.id == b.id && a.key == b.key && a.to == b.to && a.metaLen == b.metaLen && a.size == b.size &&
		a.valueSum == b.valueSum && a.token == b.token && a.expires == b.expires && a.fileID == b.fileID && a.offset == b.offset && a.durable == b.durable
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRecord(t)
		head := r.encode()
		if len(head) != r.headLen() {
			t.Fatalf("head of %d bytes, want %d", len(head), r.headLen())
		}
		got, err := parseHead(append(slices.Clone(head), "what follows"...))
		if err != nil || !same(got, r) {
			t.Fatalf("%+v, error %v, want %+v", got, err, r)
		}
		// Any part of it asks for more, and in the end for all of it.
		n := rapid.IntRange(0, len(head)-1).Draw(t, "part")
		var short shortError
		if _, err := parseHead(head[:n]); !errors.As(err, &short) || int(short) <= n || int(short) > len(head) {
			t.Fatalf("%d of %d bytes: %v", n, len(head), err)
		}
	})
}

func TestRecordDetectsDamage(t *testing.T) {
	r := record{kind: kindPut, id: "acme/final/v720", key: "1042/a", meta: []byte("{}"), metaLen: 2, size: 1500000, valueSum: 7,
		token: store.Token{Time: 1, Nonce: 2}, expires: 3, fileID: 4, offset: 8192, durable: 4096}
	head := r.encode()
	for i := range head {
		for bit := range 8 {
			bad := slices.Clone(head)
			bad[i] ^= 1 << bit
			if got, err := parseHead(bad); err == nil {
				t.Fatalf("bit %d of byte %d flipped was read as %+v", bit, i, got)
			}
		}
	}
}

func TestFileHeader(t *testing.T) {
	h := fileHeader(7, 1000, store.Control)
	if len(h) != fileHeaderLen {
		t.Fatalf("%d bytes", len(h))
	}
	if err := checkFileHeader(h, 7, store.Control); err != nil {
		t.Fatal(err)
	}
	newer := slices.Clone(h)
	newer[8]++
	if err := checkFileHeader(newer, 7, store.Control); !errors.Is(err, errBadRecord) {
		t.Errorf("damaged version: %v", err)
	}
	for name, err := range map[string]error{
		"other id":        checkFileHeader(h, 8, store.Control),
		"other namespace": checkFileHeader(h, 7, store.Media),
		"short":           checkFileHeader(h[:63], 7, store.Control),
		"none":            checkFileHeader(nil, 7, store.Control),
	} {
		if !errors.Is(err, errBadRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestFileNames(t *testing.T) {
	if seq, id, ok := parseFileName(fileName(1, 1<<63)); !ok || seq != 1 || id != 1<<63 {
		t.Error(seq, id, ok)
	}
	good := fileName(0xabc, 0xdef)
	for _, bad := range []string{"", "LOCK", good + ".damaged", good + "x", "x" + good, strings.ToUpper(good), good[1:],
		"+00000000000abc-0000000000000def.log"} {
		if _, _, ok := parseFileName(bad); ok {
			t.Errorf("%q was taken for a log file", bad)
		}
	}
}

func FuzzParseHead(f *testing.F) {
	for _, r := range []record{
		{kind: kindPut, id: "a/b", key: "1", meta: []byte("m"), metaLen: 1, size: 5, expires: index.Forever, offset: 4096},
		{kind: kindDelete, id: "a/b", key: "1", to: "1\x00", expires: 5, offset: 4096, durable: 4096},
		{kind: kindSeal, expires: index.Forever},
	} {
		f.Add(r.encode())
	}
	f.Add([]byte(recordMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		parseAnything(t, b)
		// Once more with a checksum that holds: the fuzzer does not guess it.
		var short shortError
		if len(b) < headSize {
			return
		}
		fixed := slices.Clone(b)
		for n := headSize; n <= len(fixed) && n <= maxHeadSize; {
			binary.LittleEndian.PutUint32(fixed[76:], headSum(fixed[:n]))
			_, err := parseHead(fixed[:n])
			if !errors.As(err, &short) {
				break
			}
			n = int(short)
		}
		parseAnything(t, fixed)
	})
}

func parseAnything(t *testing.T, b []byte) {
	r, err := parseHead(b)
	var short shortError
	switch {
	case errors.As(err, &short):
		if int(short) <= len(b) || int(short) > maxHeadSize {
			t.Fatalf("%d bytes ask for %d", len(b), int(short))
		}
	case err == nil:
		if again := r.encode(); !bytes.Equal(again, b[:len(again)]) && r.expires != index.Forever-1 {
			t.Fatalf("%+v is written as %x", r, again)
		}
	}
}

// A record has what its kind has, and nothing else.
func TestSoundRecords(t *testing.T) {
	for name, c := range map[string]struct {
		r    record
		want bool
	}{
		"put":                       {record{kind: kindPut, id: "r", key: "k", metaLen: 1, size: 1}, true},
		"put of no record":          {record{kind: kindPut, key: "k"}, false},
		"put of no key":             {record{kind: kindPut, id: "r"}, false},
		"put of a range":            {record{kind: kindPut, id: "r", key: "k", to: "l"}, false},
		"delete":                    {record{kind: kindDelete, id: "r"}, true},
		"delete of nothing":         {record{kind: kindDelete}, false},
		"delete with metadata":      {record{kind: kindDelete, id: "r", metaLen: 1}, false},
		"delete with a value":       {record{kind: kindDelete, id: "r", size: 1}, false},
		"seal":                      {record{kind: kindSeal}, true},
		"seal with stretches":       {record{kind: kindSeal, metaLen: 32}, true},
		"seal with half a stretch":  {record{kind: kindSeal, metaLen: 24}, false},
		"seal of a record":          {record{kind: kindSeal, id: "r"}, false},
		"seal of a key":             {record{kind: kindSeal, key: "k"}, false},
		"seal of a range":           {record{kind: kindSeal, to: "k"}, false},
		"seal with a value":         {record{kind: kindSeal, size: 1}, false},
		"a kind that there is not":  {record{kind: 99, id: "r", key: "k"}, false},
		"another that there is not": {record{kind: 0, id: "r", key: "k"}, false},
	} {
		if got := c.r.sound(); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
