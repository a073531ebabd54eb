package world

import (
	crand "crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
)

// Inside is what a process does that a Runner started: it reads a plan, plays it and
// writes the result.
func Inside(in io.Reader, out, logs io.Writer) error {
	var p Plan
	if err := json.NewDecoder(in).Decode(&p); err != nil {
		return fmt.Errorf("world: reading the plan: %w", err)
	}
	settle(p.Seed)
	if err := json.NewEncoder(out).Encode(Play(p, logs)); err != nil {
		return fmt.Errorf("world: %w", err)
	}
	return nil
}

// settle has the randomness of this process be that of the seed. Go's runtime has
// its own from there where seeded could give it; how much of that a program has used
// when it comes here depends on how its threads began, so it goes on from a place
// that it finds again: the first number that is a multiple of 256.
func settle(seed uint64) {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	crand.Reader = rand.NewChaCha8(s)
	for rand.Uint64()%256 != 0 {
	}
}
