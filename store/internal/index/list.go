package index

import (
	"slices"
	"strings"
)

// list is a sorted list of entries. Keys mostly arrive in order, at the end.
type list[V any] []*Entry[V]

// find returns where key is, or where it belongs.
func (l list[V]) find(key string) (i int, found bool) {
	return slices.BinarySearchFunc(l, key, func(e *Entry[V], key string) int { return strings.Compare(e.Key, key) })
}

// span returns where [from, to) is.
func (l list[V]) span(from, to string) (i, j int) {
	i, _ = l.find(from)
	if j = len(l); to != "" {
		j, _ = l.find(to)
	}
	return i, max(i, j)
}

func (l list[V]) get(key string) *Entry[V] {
	if i, found := l.find(key); found {
		return l[i]
	}
	return nil
}

// set puts e in its place and returns the entry that was there, or nil.
func (l *list[V]) set(e *Entry[V]) (old *Entry[V]) {
	i, found := l.find(e.Key)
	if found {
		old, (*l)[i] = (*l)[i], e
		return old
	}
	*l = slices.Insert(*l, i, e)
	return nil
}

// removeFunc removes the entries of [from, to) for which drop is true.
func (l *list[V]) removeFunc(from, to string, drop func(*Entry[V]) bool) {
	i, j := l.span(from, to)
	kept := i
	for _, e := range (*l)[i:j] {
		if !drop(e) {
			(*l)[kept] = e
			kept++
		}
	}
	*l = slices.Delete(*l, kept, j)
}

// ascend calls yield for the entries of [from, to) in order until it returns false.
func (l list[V]) ascend(from, to string, yield func(*Entry[V]) bool) {
	i, j := l.span(from, to)
	for _, e := range l[i:j] {
		if !yield(e) {
			return
		}
	}
}
