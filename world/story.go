package world

import (
	"fmt"
	"sync"
	"time"
)

// A story is what happened in a world, for who wants to know why.
type story struct {
	began time.Time

	mu    sync.Mutex // guards the following
	lines []Line
}

// A Line of a story.
type Line struct {
	At   time.Duration `json:"at"`
	What string        `json:"what"`
}

func (l Line) String() string { return fmt.Sprintf("%9.3fs  %s", l.At.Seconds(), l.What) }

func (s *story) add(format string, a ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, Line{time.Since(s.began), fmt.Sprintf(format, a...)})
}
