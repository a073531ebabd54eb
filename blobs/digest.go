package blobs

import (
	"context"
	"crypto/sha256"
	"slices"

	"headwater/live"
)

// pieceBytes are digested at once: some tens of microseconds.
const pieceBytes = 64 << 10

type pausesKey struct{}

// WithPauses has who digests bytes on ctx call pause after each piece, so that others
// work in between: a whole segment takes milliseconds. It is called by one at a time.
func WithPauses(ctx context.Context, pause func()) context.Context {
	return context.WithValue(ctx, pausesKey{}, pause)
}

// DigestOf is live.DigestOf, with the pauses of ctx.
func DigestOf(ctx context.Context, b []byte) (d live.Digest) {
	pause, ok := ctx.Value(pausesKey{}).(func())
	if !ok {
		return live.DigestOf(b)
	}
	sum := sha256.New()
	for piece := range slices.Chunk(b, pieceBytes) {
		sum.Write(piece)
		pause()
	}
	sum.Sum(d[:0])
	return d
}
