package storetest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"pgregory.net/rapid"

	"headwater/store"
)

// mutation is one request as a client sends it, perhaps more than once.
type mutation struct {
	op       Op
	key      string // Put, DeleteItem
	from, to string // DeleteRange
	token    store.Token
}

func (m mutation) String() string {
	return fmt.Sprintf("%s %s[%s,%s) at %d", m.op, m.key, m.from, m.to, m.token.Time%1000)
}

func (m mutation) item() store.Item {
	value := []byte("value " + m.token.String())
	return store.Item{Key: m.key, Token: m.token, Meta: []byte(m.token.String()), Value: value, Size: int64(len(value))}
}

func (s *suite) apply(r store.Record, m mutation) error {
	switch m.op {
	case Put:
		return s.s.Put(s.ctx, r, m.item())
	case DeleteItem:
		return s.s.DeleteItem(s.ctx, r, m.key, m.token)
	case DeleteRange:
		return s.s.DeleteRange(s.ctx, r, m.from, m.to, m.token)
	default:
		return s.s.DeleteRecord(s.ctx, r, m.token)
	}
}

func (m mutation) deletes(key string) bool {
	switch m.op {
	case DeleteItem:
		return key == m.key
	case DeleteRange:
		return key >= m.from && (m.to == "" || key < m.to)
	}
	return m.op == DeleteRecord
}

// outcome is what a set of mutations leaves, whatever their order: for each
// key the newest item that no delete covers.
func outcome(set []mutation) map[string]store.Item {
	items := make(map[string]store.Item)
	for _, m := range set {
		if m.op != Put || items[m.key].Token.Compare(m.token) >= 0 {
			continue
		}
		if !slices.ContainsFunc(set, func(d mutation) bool { return d.deletes(m.key) && d.token.Compare(m.token) >= 0 }) {
			items[m.key] = m.item()
		}
	}
	return items
}

// wantOutcome compares a record with what the mutations leave.
func (s *suite) wantOutcome(r store.Record, set []mutation, fatalf func(string, ...any)) {
	want := outcome(set)
	var keys []string
	for got, err := range store.All(s.ctx, s.s, r, store.ScanOptions{Values: true, MaxBytes: 200}) {
		if err != nil {
			fatalf("scan: %v", err)
			return
		}
		keys = append(keys, got.Key)
		if w := want[got.Key]; got.Token != w.Token || string(got.Value) != string(w.Value) || string(got.Meta) != string(w.Meta) {
			fatalf("item %s, want %s, after any order of %v", brief(got), brief(w), set)
		}
	}
	if wantKeys := slices.Sorted(maps.Keys(want)); !slices.Equal(keys, wantKeys) {
		fatalf("keys %q, want %q, after any order of %v", keys, wantKeys, set)
	}
}

// scriptedReplays sends small sets of mutations in every order, and each order
// with every prefix of it sent again.
func (s *suite) scriptedReplays() {
	for name, script := range map[string][]mutation{
		"rewrite":         {{op: Put, key: "k"}, {op: Put, key: "k"}, {op: Put, key: "k"}},
		"delete":          {{op: Put, key: "k"}, {op: DeleteItem, key: "k"}, {op: Put, key: "k"}},
		"delete at last":  {{op: Put, key: "k"}, {op: Put, key: "k"}, {op: DeleteItem, key: "k"}},
		"delete at first": {{op: DeleteItem, key: "k"}, {op: Put, key: "k"}, {op: Put, key: "k"}},
		"range":           {{op: Put, key: "a"}, {op: Put, key: "k"}, {op: DeleteRange, from: "b", to: "z"}, {op: Put, key: "k"}},
		"ranges": {{op: Put, key: "k"}, {op: DeleteRange, from: "b"}, {op: DeleteRange, to: "m"}, {op: Put, key: "c"},
			{op: DeleteRange, from: "c", to: "d"}},
		"record":            {{op: Put, key: "k"}, {op: DeleteRecord}, {op: Put, key: "l"}, {op: DeleteItem, key: "l"}},
		"record twice":      {{op: Put, key: "k"}, {op: DeleteRecord}, {op: Put, key: "k"}, {op: DeleteRecord}},
		"item, then record": {{op: DeleteItem, key: "k"}, {op: DeleteRecord}, {op: Put, key: "k"}},
	} {
		for i := range script {
			script[i].token = s.tokens.Next()
		}
		n := 0
		permute(len(script), func(order []int) {
			n++
			r := s.media(fmt.Sprint(name, n))
			var sent []mutation
			for _, i := range order {
				sent = append(sent, script[i])
				for _, m := range sent { // the newest, and all before it again
					if err := s.apply(r, m); err != nil {
						s.Fatalf("%s: %v: %v", name, m, err)
					}
				}
			}
			s.wantOutcome(r, script, func(format string, args ...any) {
				s.Errorf("%s, sent as %v: "+format, append([]any{name, sent}, args...)...)
			})
		})
	}
}

// permute calls f with every order of 0 to n-1.
func permute(n int, f func([]int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var rec func(int)
	rec = func(i int) {
		if i == n {
			f(order)
			return
		}
		for j := i; j < n; j++ {
			order[i], order[j] = order[j], order[i]
			rec(i + 1)
			order[i], order[j] = order[j], order[i]
		}
	}
	rec(0)
}

func drawMutations(t *rapid.T, tokens *store.Tokens) []mutation {
	key := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	bound := rapid.SampledFrom([]string{"", "a", "b", "bb", "d"})
	set := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) mutation {
		switch rapid.IntRange(0, 9).Draw(t, "op") {
		case 0:
			return mutation{op: DeleteRecord}
		case 1, 2:
			return mutation{op: DeleteRange, from: bound.Draw(t, "from"), to: bound.Draw(t, "to")}
		case 3, 4:
			return mutation{op: DeleteItem, key: key.Draw(t, "key")}
		default:
			return mutation{op: Put, key: key.Draw(t, "key")}
		}
	}), 1, 12).Draw(t, "mutations")
	for i := range set {
		set[i].token = tokens.Next()
	}
	return set
}

// randomReplays sends random sets of mutations reordered and with duplicates,
// and looks after each that the state is that of what was sent so far.
func (s *suite) randomReplays() {
	n := 0
	rapid.Check(s.T, func(t *rapid.T) {
		n++
		r := s.media(fmt.Sprint(n))
		set := drawMutations(t, &s.tokens)
		index := rapid.IntRange(0, len(set)-1)
		sends := append(rapid.SliceOfN(index, 0, len(set)).Draw(t, "duplicates"),
			rapid.Permutation(indices(len(set))).Draw(t, "order")...)
		var sent []mutation
		for _, i := range sends {
			if err := s.apply(r, set[i]); err != nil {
				t.Fatalf("%v: %v", set[i], err)
			}
			sent = append(sent, set[i])
			s.wantOutcome(r, sent, t.Fatalf)
		}
	})
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}

// concurrentReplays sends every mutation three times at once with all others.
func (s *suite) concurrentReplays() {
	n := 0
	rapid.Check(s.T, func(t *rapid.T) {
		n++
		r := s.media(fmt.Sprint(n))
		set := drawMutations(t, &s.tokens)
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i := range errs {
			order := rand.Perm(len(set))
			wg.Go(func() {
				for _, j := range order {
					if err := s.apply(r, set[j]); err != nil {
						errs[i] = fmt.Errorf("%v: %w", set[j], err)
						return
					}
				}
			})
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil {
				t.Fatal(err)
			}
		}
		s.wantOutcome(r, set, t.Fatalf)
	})
}
