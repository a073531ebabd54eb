package blobs

import (
	"context"
	"crypto/sha256"
	"slices"

	"headwater/live"
	"headwater/store"
)

// digestBytes are digested at once: some tens of microseconds.
const digestBytes = 64 << 10

// DigestOf is live.DigestOf, with the pauses of ctx (store.WithPauses).
func DigestOf(ctx context.Context, b []byte) (d live.Digest) {
	sum := sha256.New()
	for piece := range slices.Chunk(b, digestBytes) {
		store.Pause(ctx)
		sum.Write(piece)
	}
	sum.Sum(d[:0])
	return d
}
