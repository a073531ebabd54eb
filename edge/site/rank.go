package site

import (
	"cmp"
	"slices"
	"time"
)

// A member is what decides of one node of a site how it ranks.
type member struct {
	name  string
	id    string    // of the running process; empty while it was never heard of
	start time.Time // when it started, by our clock
	from  time.Time // it takes on what becomes due from then on, by the parents' clock; zero: nothing
}

// generation is how long after the first node of a site others may start, and
// still count as having been there from the beginning.
const generation = 10 * time.Second

// standing is how far a member is fit to own what becomes due at some time:
// the least is the fittest. first is the earliest start of all members.
//
// That a node which has just come back owns nothing that was due before is why
// nothing is filled twice: whoever filled such a segment while it was away has
// it. The instant is the node's own word, and compared with due times that all
// nodes compute alike, so all agree on it, whatever their clocks say. Before
// any node was there, as when a whole site starts in the middle of an event,
// those of the first generation own what was due.
func (m *member) standing(due, first time.Time) int {
	switch {
	case m.id == "":
		return 3
	case !m.from.IsZero() && !due.Before(m.from):
		return 0
	case m.start.Before(first.Add(generation)):
		return 1
	}
	return 2
}

// rank orders the members of a site for a key that became due at some time:
// the first is to fill, the next follows when it is gone, and so on. Without a
// member the order of the others stays as it was (rendezvous hashing).
func rank(key string, due time.Time, members []member) []int {
	var first time.Time
	for i := range members {
		if m := &members[i]; m.id != "" && (first.IsZero() || m.start.Before(first)) {
			first = m.start
		}
	}
	order := make([]int, len(members))
	scores := make([]uint64, len(members))
	for i := range members {
		order[i], scores[i] = i, score(members[i].name, key)
	}
	slices.SortFunc(order, func(i, j int) int {
		a, b := &members[i], &members[j]
		return cmp.Or(
			cmp.Compare(a.standing(due, first), b.standing(due, first)),
			cmp.Compare(scores[j], scores[i]),
			cmp.Compare(a.name, b.name),
		)
	})
	return order
}

// score is FNV-1a of both, and then the mixing of MurmurHash3: names and keys
// are alike but for a letter, and each bit of that must count.
func score(name, key string) uint64 {
	h := uint64(14695981039346656037)
	for _, s := range [...]string{name, "\x00", key} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 1099511628211
		}
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
