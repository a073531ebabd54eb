package storetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"pgregory.net/rapid"

	"headwater/store"
)

// mutation is one request as a client sends it, perhaps more than once.
type mutation struct {
	op      Op     // Put or DeleteRecord
	key     string // of a Put
	expired bool   // a Put that takes the item away
	token   store.Token
}

func (m mutation) String() string {
	return fmt.Sprintf("%s %s expired %v at %d", m.op, m.key, m.expired, m.token.Time%1000)
}

func (m mutation) item() store.Item {
	value := []byte("value " + m.token.String())
	item := store.Item{Key: m.key, Token: m.token, Meta: []byte(m.token.String()), Value: value, Size: int64(len(value))}
	if m.expired {
		item.Expires = time.UnixMilli(1)
	}
	return item
}

func (s *suite) apply(r store.Record, m mutation) error {
	if m.op == Put {
		return s.s.Put(s.ctx, r, m.item())
	}
	return s.s.DeleteRecord(s.ctx, r, m.token)
}

// outcomes is what mutations that were sent in this order may leave of a key:
// the newest Put, unless it takes the item away; where a delete covers that one,
// nothing, or a Put that was sent after the last such delete.
func outcomes(sent []mutation, key string) (may []mutation, orNone bool) {
	var newest mutation
	for _, m := range sent {
		if m.op == Put && m.key == key && m.token.Compare(newest.token) > 0 {
			newest = m
		}
	}
	covered := -1
	for i, m := range sent {
		if m.op == DeleteRecord && m.token.Compare(newest.token) >= 0 {
			covered = i
		}
	}
	if covered < 0 {
		if newest.token.IsZero() || newest.expired {
			return nil, true
		}
		return []mutation{newest}, false
	}
	for _, m := range sent[covered:] {
		if m.op == Put && m.key == key && !m.expired {
			may = append(may, m)
		}
	}
	return may, true
}

// wantOutcome compares a record with what the mutations may leave.
func (s *suite) wantOutcome(r store.Record, sent []mutation, fatalf func(string, ...any)) {
	found := make(map[string]bool)
	for got, err := range store.All(s.ctx, s.s, r, store.ScanOptions{Values: true, MaxBytes: 200}) {
		if err != nil {
			fatalf("scan: %v", err)
			return
		}
		found[got.Key] = true
		may, _ := outcomes(sent, got.Key)
		if !slices.ContainsFunc(may, func(m mutation) bool {
			w := m.item()
			return got.Token == w.Token && string(got.Value) == string(w.Value) && string(got.Meta) == string(w.Meta)
		}) {
			fatalf("item %s, want one of %v, after %v", brief(got), may, sent)
		}
	}
	for _, m := range sent {
		if _, orNone := outcomes(sent, m.key); m.op == Put && !orNone && !found[m.key] {
			fatalf("no item %q, after %v", m.key, sent)
		}
	}
}

// scriptedReplays sends small sets of mutations in every order, and each order
// with every prefix of it sent again.
func (s *suite) scriptedReplays() {
	for name, script := range map[string][]mutation{
		"rewrite":        {{op: Put, key: "k"}, {op: Put, key: "k"}, {op: Put, key: "k"}},
		"taken away":     {{op: Put, key: "k"}, {op: Put, key: "k", expired: true}, {op: Put, key: "k"}},
		"away at last":   {{op: Put, key: "k"}, {op: Put, key: "k"}, {op: Put, key: "k", expired: true}},
		"away at first":  {{op: Put, key: "k", expired: true}, {op: Put, key: "k"}, {op: Put, key: "k"}},
		"record":         {{op: Put, key: "k"}, {op: DeleteRecord}, {op: Put, key: "l"}, {op: Put, key: "l", expired: true}},
		"record twice":   {{op: Put, key: "k"}, {op: DeleteRecord}, {op: Put, key: "k"}, {op: DeleteRecord}},
		"away, and then": {{op: Put, key: "k", expired: true}, {op: DeleteRecord}, {op: Put, key: "k"}},
	} {
		for i := range script {
			script[i].token = s.tokens.Next()
		}
		n := 0
		permute(len(script), func(order []int) {
			n++
			r := s.media(fmt.Sprint(name, n))
			var sent, all []mutation
			for _, i := range order {
				sent = append(sent, script[i])
				for _, m := range sent { // the newest, and all before it again
					if err := s.apply(r, m); err != nil {
						s.Fatalf("%s: %v: %v", name, m, err)
					}
				}
				all = append(all, sent...)
			}
			s.wantOutcome(r, all, func(format string, args ...any) {
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
	set := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) mutation {
		switch rapid.IntRange(0, 9).Draw(t, "op") {
		case 0:
			return mutation{op: DeleteRecord}
		case 1, 2, 3:
			return mutation{op: Put, key: key.Draw(t, "key"), expired: true}
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
		// Each Put may have come after each delete.
		puts := slices.DeleteFunc(slices.Clone(set), func(m mutation) bool { return m.op != Put })
		s.wantOutcome(r, append(set, puts...), t.Fatalf)
	})
}
