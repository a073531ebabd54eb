package hedge

import "sync/atomic"

// A Budget bounds the hedges of all races that share it, and counts: each race
// earns a share of a hedge, each hedge costs one. It is safe for concurrent use.
type Budget struct {
	share, reserve int64        // in thousandths of a hedge
	left           atomic.Int64 // in thousandths of a hedge

	retries, hedges, won, held atomic.Uint64
}

// NewBudget returns a budget of so many hedges per race in the long run, and of
// reserve at once when all was well before.
func NewBudget(share, reserve float64) *Budget {
	b := &Budget{share: int64(share * 1000), reserve: int64(reserve * 1000)}
	b.left.Store(b.reserve)
	return b
}

// Counts is what became of the attempts of all races.
type Counts struct {
	Retries uint64 // attempts after all before had failed
	Hedges  uint64 // attempts beside another
	Won     uint64 // hedges that were the outcome
	Held    uint64 // hedges that the budget had no room for
}

// Counts returns the counts so far.
func (b *Budget) Counts() Counts {
	return Counts{Retries: b.retries.Load(), Hedges: b.hedges.Load(), Won: b.won.Load(), Held: b.held.Load()}
}

func (b *Budget) earn() {
	if b == nil {
		return
	}
	for {
		left := b.left.Load()
		if left >= b.reserve || b.left.CompareAndSwap(left, min(left+b.share, b.reserve)) {
			return
		}
	}
}

// Take takes a hedge, where there is room for one: one that is beside what is no
// attempt of a race, as a body that is being read.
func (b *Budget) Take() bool {
	if b == nil {
		return true
	}
	for {
		left := b.left.Load()
		if left < 1000 {
			b.held.Add(1)
			return false
		}
		if b.left.CompareAndSwap(left, left-1000) {
			b.hedges.Add(1)
			return true
		}
	}
}

func (b *Budget) retried() {
	if b != nil {
		b.retries.Add(1)
	}
}

func (b *Budget) hedgeWon() {
	if b != nil {
		b.won.Add(1)
	}
}
