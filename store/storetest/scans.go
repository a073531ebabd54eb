package storetest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"headwater/store"
)

func (s *suite) scanRanges() {
	r := s.media("r")
	for _, k := range []string{"d", "b", "c", "a", "bb"} {
		s.put(r, s.item(k, 100))
	}
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{"", "", []string{"a", "b", "bb", "c", "d"}},
		{"b", "", []string{"b", "bb", "c", "d"}},
		{"", "c", []string{"a", "b", "bb"}},
		{"b", "c", []string{"b", "bb"}},
		{"ba", "bz", []string{"bb"}},
		{"e", "", nil},
		{"", "a", nil},
		{"c", "b", nil},
		{"c", "c", nil},
	} {
		for _, size := range []int{0, 1} {
			s.wantKeys(r, store.ScanOptions{From: c.from, To: c.to, MaxBytes: size}, c.want...)
			s.wantKeys(r, store.ScanOptions{From: c.from, To: c.to, MaxBytes: size, Values: true}, c.want...)
		}
	}
}

func (s *suite) scanPages() {
	r := s.media("r")
	var keys []string
	for i := range 25 {
		key := fmt.Sprintf("%02d", i)
		item := s.item(key, 1000)
		item.Meta = []byte("12345678") // with the key, 10 bytes without the value
		s.put(r, item)
		keys = append(keys, key)
	}
	for _, c := range []struct {
		opt  store.ScanOptions
		most int // items in a page
	}{
		{store.ScanOptions{MaxBytes: 1}, 1},
		{store.ScanOptions{MaxBytes: 10}, 1},
		{store.ScanOptions{MaxBytes: 19}, 1},
		{store.ScanOptions{MaxBytes: 20}, 2},
		{store.ScanOptions{MaxBytes: 100}, 10},
		{store.ScanOptions{MaxBytes: 1_000_000}, 25},
		{store.ScanOptions{}, 25},
		{store.ScanOptions{MaxBytes: 1010, Values: true}, 1},
		{store.ScanOptions{MaxBytes: 4100, Values: true}, 4},
		{store.ScanOptions{Values: true}, 25},
		{store.ScanOptions{MaxBytes: 50, From: "03", To: "20"}, 5},
	} {
		opt := c.opt
		var got []string
		for pages := 0; ; pages++ {
			if pages > 100 {
				s.Fatalf("%+v: no end", c.opt)
			}
			page, err := s.s.Scan(s.ctx, r, opt)
			if err != nil {
				s.Fatalf("%+v: %v", opt, err)
			}
			if len(page.Items) > c.most {
				s.Errorf("%+v: a page of %d items, at most %d", opt, len(page.Items), c.most)
			}
			for _, item := range page.Items {
				if item.Size != 1000 || c.opt.Values != (len(item.Value) == 1000) {
					s.Errorf("%+v: item %s", opt, brief(item))
				}
				got = append(got, item.Key)
			}
			if page.Next == "" {
				break
			}
			opt.Page = page.Next
		}
		want := slices.DeleteFunc(slices.Clone(keys), func(k string) bool {
			return k < c.opt.From || c.opt.To != "" && k >= c.opt.To
		})
		if !slices.Equal(got, want) {
			s.Errorf("%+v: keys %q, want %q", c.opt, got, want)
		}
	}
}

// scanWhileChanging: what does not change appears exactly once.
func (s *suite) scanWhileChanging() {
	r := s.media("r")
	var fixed []string
	for i := range 20 {
		key := fmt.Sprintf("%03d", i*10)
		s.put(r, s.item(key, 50))
		fixed = append(fixed, key)
	}
	var done atomic.Bool
	var changer sync.WaitGroup
	defer changer.Wait()
	defer done.Store(true)
	changer.Go(func() {
		for i := 0; !done.Load(); i++ {
			key := fmt.Sprintf("%03d", i*7%200)
			if key[2] == '0' {
				continue
			}
			if err := s.s.Put(s.ctx, r, s.item(key, 50)); err != nil {
				s.Errorf("put: %v", err)
				return
			}
			if err := s.s.Put(s.ctx, r, store.Gone(key, s.tokens.Next())); err != nil {
				s.Errorf("delete: %v", err)
				return
			}
		}
	})
	for range rounds(20) {
		var got []string
		last := ""
		for item, err := range store.All(s.ctx, s.s, r, store.ScanOptions{MaxBytes: 200}) {
			if err != nil {
				s.Fatalf("scan: %v", err)
			}
			if item.Key <= last {
				s.Errorf("key %q after %q", item.Key, last)
			}
			if last = item.Key; last[2] == '0' {
				got = append(got, last)
			}
		}
		if !slices.Equal(got, fixed) {
			s.Fatalf("keys %q, want %q", got, fixed)
		}
	}
}

func (s *suite) deletes() {
	del := func(r store.Record, t store.Token) {
		s.Helper()
		if err := s.s.DeleteRecord(s.ctx, r, t); err != nil {
			s.Error(err)
		}
	}
	r := s.media("r")
	for _, k := range []string{"a", "b", numbered(5), numbered(2500)} {
		s.put(r, s.item(k, 100))
	}
	del(s.media("no such record"), s.tokens.Next())
	t := s.tokens.Next()
	newer := s.item("newer", 20)
	s.put(r, newer)
	del(r, t)
	s.wantKeys(r, store.ScanOptions{}, "newer")
	s.wantItem(r, newer)
	_, err := s.s.Get(s.ctx, r, "b")
	s.wantErr("get what was deleted", err, store.ErrNotFound)
	again := s.item("b", 10)
	s.put(r, again)
	del(r, t) // the same again
	s.wantItem(r, again)
	del(r, s.tokens.Next())
	s.wantKeys(r, store.ScanOptions{})
}

// numbered is a key as segments have them.
func numbered(n int) string { return fmt.Sprintf("%016d/a", n) }
