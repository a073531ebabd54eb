package store

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// MaxDrift is how far a token's time may be from the store's clock, in either
// direction; ahead of it only one that follows on what is stored may be further. It
// covers a mutation's retries and the difference between the clocks of healthy machines
// many times over, and it bounds how long a store must remember a delete: once the
// delete's token is older than this, every older Put is refused by itself.
const MaxDrift = time.Minute

// Token is the idempotency token of a mutation: when it was generated, and a
// random number that tells apart the tokens of different generators. The higher
// token wins, and the same token again is a no-op, so a mutation keeps its token
// through retries and hedges, and no two mutations share one.
type Token struct {
	Time  int64 // nanoseconds since the Unix epoch
	Nonce uint64
}

// Compare is negative if t is older than u, positive if newer, zero if they are
// the same: by time, then by nonce.
func (t Token) Compare(u Token) int {
	if c := cmp.Compare(t.Time, u.Time); c != 0 {
		return c
	}
	return cmp.Compare(t.Nonce, u.Nonce)
}

// IsZero reports whether t is the zero token, which no generator returns.
func (t Token) IsZero() bool { return t == Token{} }

// String returns 33 characters that order as tokens do (for times after 1970)
// and are safe in file names and URLs.
func (t Token) String() string { return fmt.Sprintf("%016x-%016x", uint64(t.Time), t.Nonce) }

// CheckDrift returns an error wrapping ErrTokenDrift if t is further than
// MaxDrift from now. The zero token always is.
func (t Token) CheckDrift(now time.Time) error {
	drift := time.Duration(t.Time - now.UnixNano())
	if drift > MaxDrift || drift < -MaxDrift {
		return fmt.Errorf("%w: by %v, at most %v", ErrTokenDrift, drift, MaxDrift)
	}
	return nil
}

// Tokens generates tokens with strictly increasing times, also while the clock
// stands still or goes back by up to MaxDrift. Where it was corrected by more, tokens
// come down with it: they would be refused until it had caught up. So what replaces
// something is to have a token after that one's, whatever the clock says; a mutation
// that is older than what is there changes nothing. It is safe for concurrent use.
type Tokens struct {
	now func() time.Time // nil: time.Now

	mu   sync.Mutex
	last int64 // guarded by mu
}

// NewTokens returns a generator. One per process is enough.
func NewTokens() *Tokens { return new(Tokens) }

// TokensBy returns a generator that has its time from now.
func TokensBy(now func() time.Time) *Tokens { return &Tokens{now: now} }

// Next returns a token newer than all that this generator returned before, unless its
// clock was corrected by more than MaxDrift.
func (g *Tokens) Next() Token {
	now := time.Now
	if g.now != nil {
		now = g.now
	}
	g.mu.Lock()
	at := now().UnixNano()
	if g.last-at > int64(MaxDrift) {
		g.last = at
	}
	g.last = max(g.last+1, at)
	t := Token{Time: g.last, Nonce: rand.Uint64()}
	g.mu.Unlock()
	return t
}
