package s3

import (
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"headwater/store"
)

// TestNamesAreInOrder: a listing is in key order, and of a key the newest comes
// first.
func TestNamesAreInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringN(1, 20, keyBytes)
		a, b := key.Draw(t, "a"), key.Draw(t, "b")
		at := rapid.Int64Range(0, 1<<62)
		x, y := store.Token{Time: at.Draw(t, "x"), Nonce: rapid.Uint64().Draw(t, "nx")}, store.Token{Time: at.Draw(t, "y"), Nonce: rapid.Uint64().Draw(t, "ny")}
		expires := rapid.SampledFrom([]int64{never, 0, 33, 1795405280123}).Draw(t, "expires")
		na, nb := versionName(a, x, expires), versionName(b, y, never)
		switch c := strings.Compare(a, b); {
		case c != 0 && strings.Compare(na, nb) != c:
			t.Fatalf("%q and %q are %q and %q", a, b, na, nb)
		case c == 0 && x.Compare(y) != 0 && strings.Compare(na, nb) != -x.Compare(y):
			t.Fatalf("%v and %v are %q and %q", x, y, na, nb)
		}
		v, err := parseVersion(na)
		if err != nil || v.token != x || v.expires != expires || v.ordered != v.key || keyOf(v) != a {
			t.Fatalf("%q: %+v, %v", na, v, err)
		}
		if v, err := parseVersion(nb); err != nil || v.token != y {
			t.Fatalf("%q: %+v, %v", nb, v, err)
		}
	})
}

func TestRecordNames(t *testing.T) {
	seen := make(map[string]string)
	for _, id := range []string{"a", "a/b", "a_2fb", "A", "a-b", "é", strings.Repeat("a", 1024), strings.Repeat("a", 1023) + "b", strings.Repeat("/", 90)} {
		n := recordName(id)
		if other, twice := seen[n]; twice || len(n) > 255 || strings.ContainsAny(n, "/.") {
			t.Errorf("%q is %q, as %q", id, n, other)
		}
		seen[n] = id
	}
}

func FuzzObject(f *testing.F) {
	good, err := encodeObject(header{Record: "media:r", Key: "k", Time: 1, Nonce: 2, Expires: time.Now().UnixMilli(), Meta: []byte("meta")}, []byte("value"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:preamble])
	f.Add([]byte(magic + "\xff\xff\xff\xff____"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, value, err := decodeObject(b)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if len(value) > len(b) {
			t.Fatal("more value than bytes")
		}
	})
}
