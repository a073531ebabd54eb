package cassandra

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"headwater/store"
)

func TestHeadRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := head{
			token:   store.Token{Time: rapid.Int64Min(0).Draw(t, "time"), Nonce: rapid.Uint64().Draw(t, "nonce")},
			dead:    rapid.Bool().Draw(t, "dead"),
			expires: rapid.Int64().Draw(t, "expires"),
			size:    rapid.Int64Range(0, store.MaxValueBytes).Draw(t, "size"),
			meta:    rapid.SliceOfN(rapid.Byte(), 0, 100).Draw(t, "meta"),
		}
		if h.inline = h.size <= inlineSize; h.dead {
			h.size, h.inline = 0, false
		} else {
			h.sums = rapid.SliceOfN(rapid.Uint32(), parts(h.size, h.inline), parts(h.size, h.inline)).Draw(t, "sums")
		}
		b := h.encode()
		got, err := decodeHead(encodeToken(h.token), b)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.meta) == 0 {
			got.meta = h.meta
		}
		if !reflect.DeepEqual(got, h) && (len(h.sums) > 0 || got.sums != nil) {
			t.Fatalf("%+v, want %+v", got, h)
		}
		// One bit changed, anywhere, in it or in its token.
		bad := bytes.Clone(b)
		bad[rapid.IntRange(0, len(b)-1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := decodeHead(encodeToken(h.token), bad); !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("changed: %v", err)
		}
		other := h.token
		other.Nonce ^= 1
		if _, err := decodeHead(encodeToken(other), b); !errors.Is(err, store.ErrCorrupt) {
			t.Fatalf("another's: %v", err)
		}
	})
}

func FuzzDecodeHead(f *testing.F) {
	h := head{token: store.Token{Time: 1}, size: 5, inline: true, sums: []uint32{1}, meta: []byte("meta")}
	f.Add(encodeToken(h.token), h.encode())
	f.Add("", []byte{})
	f.Fuzz(func(t *testing.T, token string, b []byte) {
		if _, err := decodeHead(token, b); err != nil && !errors.Is(err, store.ErrCorrupt) {
			t.Fatal(err)
		}
	})
}

func TestTheHighestTokenDecides(t *testing.T) {
	a, b, c := head{token: store.Token{Time: 5, Nonce: 9}, dead: true}, head{token: store.Token{Time: 5, Nonce: 1 << 63}, dead: true}, head{token: store.Token{Time: 4, Nonce: 1<<64 - 1}, dead: true}
	versions := make(map[blob][]byte)
	for _, h := range []head{a, b, c} {
		versions[blob(encodeToken(h.token))] = h.encode()
	}
	if got, token, err := newest(versions); err != nil || got.token != b.token || token != encodeToken(b.token) {
		t.Errorf("%v, %v", got.token, err)
	}
	if _, _, err := newest(nil); !errors.Is(err, store.ErrNotFound) {
		t.Error(err)
	}
}
