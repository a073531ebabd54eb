package index

import "slices"

// maxChunk is the most entries in one chunk of a list. Keys mostly arrive in
// order at the end, so chunks are mostly full.
const maxChunk = 512

// list is a sorted list of entries in chunks: appending and finding are
// O(log n), inserting and removing move at most one chunk.
type list[V any] struct {
	chunks [][]*Entry[V] // none empty
	n      int
}

// find returns where key is, or where it belongs.
func (l *list[V]) find(key string) (chunk, i int, found bool) {
	// The chunk of key is the last one that begins at or before it.
	chunk, found = slices.BinarySearchFunc(l.chunks, key, func(c []*Entry[V], key string) int {
		return compareKey(c[0], key)
	})
	if found {
		return chunk, 0, true
	}
	chunk = max(chunk-1, 0)
	if chunk < len(l.chunks) {
		i, found = slices.BinarySearchFunc(l.chunks[chunk], key, compareKey[V])
	}
	return chunk, i, found
}

func compareKey[V any](e *Entry[V], key string) int {
	switch {
	case e.Key < key:
		return -1
	case e.Key > key:
		return 1
	}
	return 0
}

func (l *list[V]) get(key string) *Entry[V] {
	if c, i, found := l.find(key); found {
		return l.chunks[c][i]
	}
	return nil
}

// set puts e in its place and returns the entry that was there, or nil.
func (l *list[V]) set(e *Entry[V]) (old *Entry[V]) {
	c, i, found := l.find(e.Key)
	if found {
		old, l.chunks[c][i] = l.chunks[c][i], e
		return old
	}
	l.n++
	if c == len(l.chunks) {
		l.chunks = append(l.chunks, []*Entry[V]{e})
		return nil
	}
	if len(l.chunks[c]) == maxChunk {
		if c == len(l.chunks)-1 && i == maxChunk {
			l.chunks = append(l.chunks, append(make([]*Entry[V], 0, maxChunk), e))
			return nil
		}
		half := slices.Clone(l.chunks[c][maxChunk/2:])
		clear(l.chunks[c][maxChunk/2:])
		l.chunks[c] = l.chunks[c][:maxChunk/2]
		l.chunks = slices.Insert(l.chunks, c+1, half)
		if i > maxChunk/2 {
			c, i = c+1, i-maxChunk/2
		}
	}
	l.chunks[c] = slices.Insert(l.chunks[c], i, e)
	return nil
}

// removeFunc removes the entries of [from, to) for which drop is true.
func (l *list[V]) removeFunc(from, to string, drop func(*Entry[V]) bool) {
	c, i, _ := l.find(from)
	for c < len(l.chunks) {
		kept, end := l.chunks[c][:i], false
		for _, e := range l.chunks[c][i:] {
			end = end || to != "" && e.Key >= to
			if !end && drop(e) {
				l.n--
				continue
			}
			kept = append(kept, e)
		}
		clear(l.chunks[c][len(kept):])
		l.chunks[c] = kept
		if len(kept) == 0 {
			l.chunks = slices.Delete(l.chunks, c, c+1)
		} else {
			c++
		}
		if end {
			return
		}
		i = 0
	}
}

// ascend calls yield for the entries of [from, to) in order until it returns false.
func (l *list[V]) ascend(from, to string, yield func(*Entry[V]) bool) {
	c, i, _ := l.find(from)
	for ; c < len(l.chunks); c, i = c+1, 0 {
		for _, e := range l.chunks[c][i:] {
			if to != "" && e.Key >= to || !yield(e) {
				return
			}
		}
	}
}
