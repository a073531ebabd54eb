package through

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/through/internal/memcache"
)

func someEntry(size int) *entry {
	s := &Store{cfg: Config{}.withDefaults()}
	item := store.Item{Key: "1042/a", Token: store.Token{Time: 1795405280_123456789, Nonce: 1 << 63}, Meta: []byte("meta"),
		Value: bytes.Repeat([]byte{7}, size), Expires: time.UnixMilli(1795409999_001).UTC()}
	e := s.newEntry(id{segments, item.Key}, item)
	e.gen, e.mark, e.checked = 1, 2, 3
	return e
}

func TestEntryRoundTrip(t *testing.T) {
	for _, size := range []int{0, 1, inlineUpTo, inlineUpTo + 1, 256 << 10, 256<<10 + 1, 1_500_000} {
		e := someEntry(size)
		got, err := decodeEntry(e.encode())
		if err != nil {
			t.Errorf("%d bytes: %v", size, err)
			continue
		}
		if size == 0 {
			got.inline, e.inline = nil, nil
		}
		if len(got.inline) == 0 {
			got.inline = nil
		}
		if !reflect.DeepEqual(got, e) {
			t.Errorf("%d bytes: %+v, want %+v", size, got, e)
		}
		if item := got.item(nil); item.Size != int64(size) || !item.Expires.Equal(time.UnixMilli(1795409999_001)) {
			t.Errorf("%d bytes: item %+v", size, item)
		}
	}
	fence := &entry{token: store.Token{Time: 5, Nonce: 6}}
	if got, err := decodeEntry(fence.encode()); err != nil || !reflect.DeepEqual(got, fence) {
		t.Errorf("fence: %+v, %v", got, err)
	}
}

// TestEntryDamaged: no byte may differ, and none be missing.
func TestEntryDamaged(t *testing.T) {
	for _, e := range []*entry{someEntry(10), someEntry(600_000), {token: store.Token{Time: 5}}} {
		whole := e.encode()
		for i := range whole {
			other := bytes.Clone(whole)
			other[i] ^= 1
			if _, err := decodeEntry(other); err == nil {
				t.Fatalf("byte %d of %d differs, and nobody minds", i, len(whole))
			}
			if _, err := decodeEntry(whole[:i]); err == nil {
				t.Fatalf("the first %d bytes of %d are taken", i, len(whole))
			}
		}
	}
}

// FuzzEntry: what another program left under our keys does no harm.
func FuzzEntry(f *testing.F) {
	for _, e := range []*entry{someEntry(10), someEntry(600_000), {token: store.Token{Time: 5}}} {
		b := e.encode()
		f.Add(b[:len(b)-4])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = seal(b) // else only the checksum is tested
		if e, err := decodeEntry(b); err == nil && e.live {
			for i := range e.sums {
				if from, to := e.span(i); from < 0 || to > e.size || from >= to {
					t.Fatalf("chunk %d from %d to %d of %d", i, from, to, e.size)
				}
			}
			if again, err := decodeEntry(e.encode()); err != nil || again.token != e.token || again.size != e.size {
				t.Fatalf("%+v, and again %+v, %v", e, again, err)
			}
		}
		decodeGeneration(b)
		decodeToken(b, kindMark)
	})
}

func TestKeysFitMemcached(t *testing.T) {
	s := &Store{cfg: Config{Prefix: strings.Repeat("p", 32)}.withDefaults()}
	k := s.names(id{store.Record{Namespace: store.Media, ID: strings.Repeat("ü", 512)}, strings.Repeat("\n", 1024)})
	for _, key := range []string{k.gen, k.mark, k.entry, k.chunk(store.Token{Time: 1<<63 - 1, Nonce: 1<<64 - 1}, 65535)} {
		if len(key) > 250 || !printable(key) {
			t.Errorf("key %q", key)
		}
	}
	if k := s.names(id{segments, "a"}); k.entry == s.names(id{segments, "b"}).entry || k.mark != s.names(id{segments, "b"}).mark {
		t.Error("two items with one entry, or two marks of one record")
	}
	if memcache.MaxValueBytes < s.cfg.ChunkBytes {
		t.Error("chunks are too large")
	}
}

func TestParseZones(t *testing.T) {
	got, err := ParseZones("memcached://zone-a=h1:11211,h2;zone-b=[::1]:11300,[::1]")
	want := []Zone{{"zone-a", []string{"h1:11211", "h2:11211"}}, {"zone-b", []string{"[::1]:11300", "[::1]:11211"}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "redis://a=b", "memcached://", "memcached://h1:11211", "memcached://a=", "memcached://a=h1;a=h2",
		"memcached://a=h1,h1", "memcached://a=h1;b=h1", "memcached://A=h1", "memcached://a=h1:0", "memcached://a=h1:x", "memcached://a=h1;",
		"memcached://a=h 1", "memcached://a=:1"} {
		if z, err := ParseZones(bad); !errors.Is(err, ErrAddress) {
			t.Errorf("%q: %v, %v", bad, z, err)
		}
	}
}

func TestValidate(t *testing.T) {
	zones := []Zone{{"a", []string{"h:1"}}}
	for name, cfg := range map[string]Config{
		"Zones": {}, "local": {Zones: zones, Local: "b"}, "Timeout": {Zones: zones, Timeout: 1}, "FreshFor": {Zones: zones, FreshFor: 1},
		"ChunkBytes": {Zones: zones, ChunkBytes: 2 << 20}, "MaxItemBytes": {Zones: zones, MaxItemBytes: -1}, "MaxConns": {Zones: zones, MaxConns: -1},
		"Prefix": {Zones: zones, Prefix: "a b"}, "ReadTimeout": {Zones: zones, ReadTimeout: -1},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (Config{Zones: zones}).Validate(); err != nil {
		t.Error(err)
	}
}
