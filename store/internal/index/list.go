package index

import (
	"slices"
	"strings"
)

// list is a sorted list of entries, in chunks of which none is empty. Keys mostly
// arrive in order, at the end; those of a log that is read back file by file arrive in
// order somewhere before it.
type list[V any] struct{ chunks [][]*Entry[V] }

// chunkMost is how many entries a chunk has at most: what one that is put between
// others moves.
const chunkMost = 512

// find returns where key is, or where it belongs. There is a chunk.
func (l *list[V]) find(key string) (chunk, i int, found bool) {
	// Before the first chunk whose first key is greater.
	chunk, exact := slices.BinarySearchFunc(l.chunks, key, func(c []*Entry[V], key string) int { return strings.Compare(c[0].Key, key) })
	if exact {
		return chunk, 0, true
	}
	chunk = max(chunk-1, 0)
	i, found = slices.BinarySearchFunc(l.chunks[chunk], key, func(e *Entry[V], key string) int { return strings.Compare(e.Key, key) })
	return chunk, i, found
}

func (l *list[V]) empty() bool { return len(l.chunks) == 0 }

func (l *list[V]) get(key string) *Entry[V] {
	if l.empty() {
		return nil
	}
	if chunk, i, found := l.find(key); found {
		return l.chunks[chunk][i]
	}
	return nil
}

// set puts e in its place and returns the entry that was there, or nil.
func (l *list[V]) set(e *Entry[V]) (old *Entry[V]) {
	if l.empty() {
		l.chunks = [][]*Entry[V]{{e}}
		return nil
	}
	chunk, i, found := l.find(e.Key)
	c := l.chunks[chunk]
	switch {
	case found:
		old, c[i] = c[i], e
		return old
	case len(c) < chunkMost:
		l.chunks[chunk] = slices.Insert(c, i, e)
	case i == 0: // before the first of all
		l.chunks = slices.Insert(l.chunks, 0, []*Entry[V]{e})
	case i == len(c):
		l.chunks = slices.Insert(l.chunks, chunk+1, []*Entry[V]{e})
	default:
		right := slices.Clone(c[i:])
		clear(c[i:])
		l.chunks[chunk] = append(c[:i], e)
		l.chunks = slices.Insert(l.chunks, chunk+1, right)
	}
	return nil
}

// removeFunc removes the entries of [from, to) for which drop is true.
func (l *list[V]) removeFunc(from, to string, drop func(*Entry[V]) bool) {
	if l.empty() {
		return
	}
	first, _, _ := l.find(from)
	kept := first
	for at := first; at < len(l.chunks); at++ {
		c := l.chunks[at]
		if to == "" || c[0].Key < to {
			c = slices.DeleteFunc(c, func(e *Entry[V]) bool { return e.Key >= from && (to == "" || e.Key < to) && drop(e) })
		} else if kept == at {
			return // nothing has gone
		}
		if len(c) > 0 {
			l.chunks[kept] = c
			kept++
		}
	}
	clear(l.chunks[kept:])
	l.chunks = l.chunks[:kept]
}

// ascend calls yield for the entries of [from, to) in order until it returns false.
func (l *list[V]) ascend(from, to string, yield func(*Entry[V]) bool) {
	if l.empty() {
		return
	}
	first, i, _ := l.find(from)
	for _, c := range l.chunks[first:] {
		for _, e := range c[i:] {
			if to != "" && e.Key >= to || !yield(e) {
				return
			}
		}
		i = 0
	}
}
