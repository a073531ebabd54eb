package event

import (
	"slices"
	"sync"

	"headwater/live"
)

// lost is by rendition which segments parents said are lost, in the order of their numbers,
// so that what an edge writes while there are no parents says so too.
type lost struct {
	mu sync.Mutex // guards the following
	by map[string][]live.Number
}

// maxLost are remembered of a rendition, the newest.
const maxLost = 4096

// Listed takes what a playlist says of all segments up to the last that it lists.
func (e *Event) Listed(rendition string, gaps []live.Number, last live.Number) {
	e.lost.mu.Lock()
	defer e.lost.mu.Unlock()
	known := e.lost.by[rendition]
	since, _ := slices.BinarySearch(known, last+1)
	e.lost.set(rendition, slices.Concat(gaps, known[since:]))
}

// Answered takes what an answer says of one segment.
func (e *Event) Answered(rendition string, n live.Number, isLost bool) {
	e.lost.mu.Lock()
	defer e.lost.mu.Unlock()
	known := e.lost.by[rendition]
	switch i, ok := slices.BinarySearch(known, n); {
	case isLost && !ok:
		e.lost.set(rendition, slices.Insert(known, i, n))
	case !isLost && ok:
		e.lost.set(rendition, slices.Delete(known, i, i+1))
	}
}

// set needs mu.
func (l *lost) set(rendition string, all []live.Number) {
	if l.by == nil {
		l.by = make(map[string][]live.Number)
	}
	l.by[rendition] = all[max(len(all)-maxLost, 0):]
}

// Lost reports whether parents said, at last, that a segment is lost.
func (e *Event) Lost(rendition string, n live.Number) bool {
	e.lost.mu.Lock()
	defer e.lost.mu.Unlock()
	_, ok := slices.BinarySearch(e.lost.by[rendition], n)
	return ok
}
