package site

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each row is one site: members as name:start:from in seconds ("-" is none,
// "?" was never heard of), what becomes due when, and who ranks how.
func TestRank(t *testing.T) {
	const key = "t/e/v" // by score alone: see the first row
	for _, c := range []struct{ name, members, due, want string }{
		{"by score", "a:0:3 b:0:3 c:0:3 d:0:3", "100", "a c b d"},
		{"it has come back: not yet for what was due", "a:90:103 b:0:3 c:0:3 d:0:3", "100", "c b d a"},
		{"it has come back: now", "a:90:93 b:0:3 c:0:3 d:0:3", "100", "a c b d"},
		{"to the millisecond", "a:90:100 b:0:3 c:0:3 d:0:3", "100", "a c b d"},
		{"the others took it for lost", "a:0:- b:0:3 c:0:3 d:0:3", "100", "c b d a"},
		{"all have just started: due before", "a:51:54 b:53:56 c:52:55 d:50:53", "10", "a c b d"},
		{"one after the other: due before any", "a:80:83 b:55:58 c:110:113 d:50:53", "10", "b d a c"},
		{"never heard of", "a:?:? b:0:3 c:0:3 d:0:3", "100", "c b d a"},
		{"all alone", "a:0:-", "100", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var members []member
			for _, s := range strings.Fields(c.members) {
				m := member{}
				p := strings.Split(s, ":")
				m.name = p[0]
				if p[1] != "?" {
					m.id, m.start = "id", second(p[1])
				}
				if p[2] != "-" && p[2] != "?" {
					m.from = second(p[2])
				}
				members = append(members, m)
			}
			var got []string
			for _, i := range rank(key, second(c.due), members) {
				got = append(got, members[i].name)
			}
			if s := strings.Join(got, " "); s != c.want {
				t.Errorf("%s, want %s", s, c.want)
			}
		})
	}
}

func second(s string) time.Time {
	var n int64
	fmt.Sscan(s, &n)
	return time.Unix(1e9+n, 0)
}

func drawMembers(t *rapid.T) []member {
	var members []member
	for i := range rapid.IntRange(1, 8).Draw(t, "nodes") {
		m := member{name: string(rune('a' + i))}
		if rapid.IntRange(0, 9).Draw(t, "heard of") > 0 {
			m.id, m.start = "id", time.Unix(1e9+rapid.Int64Range(0, 60).Draw(t, "start"), 0)
			if rapid.Bool().Draw(t, "in") {
				m.from = m.start.Add(margin)
			}
		}
		members = append(members, m)
	}
	return members
}

// All who see the same come to the same, in whatever order they list it.
func TestRankIsTheSameForAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		key := rapid.StringMatching(`t/e/[a-z0-9]{1,8}`).Draw(t, "key")
		due := time.Unix(1e9+rapid.Int64Range(-10, 100).Draw(t, "due"), 0)
		names := func(ms []member) (out []string) {
			for _, i := range rank(key, due, ms) {
				out = append(out, ms[i].name)
			}
			return out
		}
		mixed := rapid.Permutation(members).Draw(t, "mixed")
		if a, b := names(members), names(mixed); !slices.Equal(a, b) {
			t.Fatalf("%v and %v", a, b)
		}
	})
}

// Without one node, the others rank as they did: so only what it owned moves.
func TestRankWithoutOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := drawMembers(t)
		due := time.Unix(1e9+100, 0)
		for i := range members {
			// All have been there for long, or are not there yet.
			if members[i].id != "" && members[i].start.After(time.Unix(1e9+50, 0)) {
				members[i].from = time.Time{}
			}
			members[i].start = time.Unix(1e9, 0)
		}
		gone := rapid.IntRange(0, len(members)-1).Draw(t, "gone")
		rest := slices.Delete(slices.Clone(members), gone, gone+1)
		for i := range 20 {
			key := fmt.Sprintf("t/e/v%d", i)
			var before, after []string
			for _, j := range rank(key, due, members) {
				if j != gone {
					before = append(before, members[j].name)
				}
			}
			for _, j := range rank(key, due, rest) {
				after = append(after, rest[j].name)
			}
			if !slices.Equal(before, after) {
				t.Fatalf("%s: %v, then %v", key, before, after)
			}
		}
	})
}

// Renditions are spread over the nodes, and what a node owned over the others.
func TestScoreSpreads(t *testing.T) {
	members := []member{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d"}}
	owned, pairs := map[int]int{}, map[[2]int]int{}
	const keys = 4000
	for i := range keys {
		order := rank(fmt.Sprintf("acme/final/v%d", i), time.Time{}, members)
		owned[order[0]]++
		pairs[[2]int{order[0], order[1]}]++
	}
	for i := range members {
		if n := owned[i]; n < keys/4*9/10 || n > keys/4*11/10 {
			t.Errorf("node %d owns %d of %d", i, n, keys)
		}
	}
	for p, n := range pairs {
		if n < keys/12*7/10 || n > keys/12*13/10 {
			t.Errorf("node %d follows %d for %d of %d", p[1], p[0], n, keys)
		}
	}
}

// By these names tests of whole sites know who owns what.
func TestOwnersByName(t *testing.T) {
	members := []member{{name: "a"}, {name: "b"}, {name: "c"}, {name: "d"}}
	for i, rendition := range []string{"r2", "r0", "r5", "r3"} {
		if o := rank("t/e/"+rendition, time.Time{}, members); o[0] != i {
			t.Errorf("%s is owned by %s", rendition, members[o[0]].name)
		}
	}
	if o := rank("t/e/v", time.Time{}, []member{{name: "a"}, {name: "g"}}); o[0] != 1 {
		t.Error("v is owned by a, and not by g")
	}
}
