package blobs

import (
	"bytes"
	"context"
	"testing"

	"headwater/live"
	"headwater/store"
)

func TestDigestsPause(t *testing.T) {
	for _, n := range []int{0, 1, digestBytes, 3*digestBytes + 1} {
		b, pauses := bytes.Repeat([]byte("x"), n), 0
		if got := DigestOf(store.WithPauses(context.Background(), func() { pauses++ }), b); got != live.DigestOf(b) {
			t.Errorf("%d bytes: %v", n, got)
		}
		if want := (n + digestBytes - 1) / digestBytes; pauses != want {
			t.Errorf("%d bytes: %d pauses, want %d", n, pauses, want)
		}
		if got := DigestOf(context.Background(), b); got != live.DigestOf(b) {
			t.Errorf("%d bytes without pauses: %v", n, got)
		}
	}
}
