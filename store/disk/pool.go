package disk

import (
	"math/bits"
	"sync"
)

// images is where the images of mutations come from and go back to: memory
// that has been touched before, in whole blocks.
var images pool

// pool keeps buffers by size, each a power of two of blocks, up to 8 MiB.
type pool [12]sync.Pool

func class(n int) int { return bits.Len(uint((n - 1) / blockSize)) }

// get returns a buffer of n bytes with anything in it.
func (p *pool) get(n int) []byte {
	c := class(n)
	if c >= len(p) {
		return newBlocks(n)
	}
	if b, ok := p[c].Get().(*[]byte); ok {
		return (*b)[:n]
	}
	return newBlocks(blockSize << c)[:n]
}

func (p *pool) put(b []byte) {
	if c := class(cap(b)); c < len(p) {
		p[c].Put(&b)
	}
}
