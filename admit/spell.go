package admit

import (
	"context"
	"sync"
)

// A Spell is work that takes longer than a turn should, done in several: who does it
// pauses before each piece.
type Spell struct {
	take func() *Turn

	mu   sync.Mutex // guards the following: what was given up by its owner may still be at work
	turn *Turn
	over bool
}

// Begin begins a spell, which has its first turn after the first pause. End must follow.
func (t *Turns) Begin(ctx context.Context, c Class, who Taker) *Spell {
	return &Spell{take: func() *Turn { return t.Take(ctx, c, who) }}
}

// Pause lets others have their turns, and goes on with the next one.
func (s *Spell) Pause() {
	if !s.set(nil) {
		return
	}
	if x := s.take(); !s.set(x) {
		x.Give()
	}
}

// set gives the turn back and has another, unless the spell is over.
func (s *Spell) set(x *Turn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn.Give()
	if s.turn = nil; !s.over {
		s.turn = x
	}
	return !s.over
}

// End gives the last turn back.
func (s *Spell) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.turn.Give()
}
