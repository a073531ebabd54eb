// Package storetest holds the contract test that every store passes, and stores
// that decorate another one with faults and delays.
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headwater/store"
)

// Run tests that the stores which open returns keep the contract of
// store.Store. open is called once for each part of the test; the stores may
// share their data, since every part keeps to records of its own. Run closes
// what open returned.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	parts := []struct {
		name string
		run  func(*suite)
	}{
		{"RoundTrip", (*suite).roundTrip},
		{"LargestItem", (*suite).largestItem},
		{"NotFound", (*suite).notFound},
		{"RecordsAreApart", (*suite).recordsAreApart},
		{"NamesOfAnyKind", (*suite).namesOfAnyKind},
		{"NewestWins", (*suite).newestWins},
		{"BytesAreTheCallersAfterPut", (*suite).bytesAreTheCallers},
		{"ScanRanges", (*suite).scanRanges},
		{"ScanPages", (*suite).scanPages},
		{"ScanWhileChanging", (*suite).scanWhileChanging},
		{"Deletes", (*suite).deletes},
		{"Expiry", (*suite).expiry},
		{"ExpiredShadowsOlder", (*suite).expiredShadowsOlder},
		{"TokenDrift", (*suite).tokenDrift},
		{"Refusals", (*suite).refusals},
		{"EndedContext", (*suite).endedContext},
		{"ReadersSeeWholeItems", (*suite).readersSeeWholeItems},
		{"ScriptedReplays", (*suite).scriptedReplays},
		{"RandomReplays", (*suite).randomReplays},
		{"ConcurrentReplays", (*suite).concurrentReplays},
		{"Closed", (*suite).closed},
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) {
			s := &suite{T: t, s: open(t), ctx: t.Context(), id: fmt.Sprintf("%s/%x", part.name, rand.Uint64())}
			defer func() {
				if err := s.s.Close(); err != nil && !errors.Is(err, store.ErrClosed) {
					t.Errorf("close: %v", err)
				}
			}()
			part.run(s)
		})
	}
}

// Checks is how many random schedules Run tries in this test: for a store of which
// each operation is a request to a real server, fewer than the hundred of others.
// Where tests are Long all are tried.
func Checks(t *testing.T, n int) {
	if Long() {
		return
	}
	f := flag.Lookup("rapid.checks")
	old := f.Value.String()
	if err := flag.Set(f.Name, strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { flag.Set(f.Name, old) })
}

// Long reports whether tests shall try more than fits into every run of all:
// HEADWATER_LONG says so.
func Long() bool { return os.Getenv("HEADWATER_LONG") != "" }

// rounds is how often something is done that is done n times with a hundred
// schedules.
func rounds(n int) int {
	checks, _ := strconv.Atoi(flag.Lookup("rapid.checks").Value.String())
	return max(min(n*checks/100, n), n/5)
}

// suite is one part's store, with helpers that fail the test.
type suite struct {
	*testing.T
	s      store.Store
	ctx    context.Context
	id     string // unique to the part
	tokens store.Tokens
}

func (s *suite) media(name string) store.Record {
	return store.Record{Namespace: store.Media, ID: s.id + "/" + name}
}

func (s *suite) put(r store.Record, item store.Item) {
	s.Helper()
	if err := s.s.Put(s.ctx, r, item); err != nil {
		s.Fatalf("put %v %q: %v", r, item.Key, err)
	}
}

func (s *suite) wantErr(what string, err, want error) {
	s.Helper()
	if !errors.Is(err, want) {
		s.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func (s *suite) wantItem(r store.Record, want store.Item) {
	s.Helper()
	got, err := s.s.Get(s.ctx, r, want.Key)
	if err != nil {
		s.Errorf("get %v %q: %v", r, want.Key, err)
		return
	}
	s.same(got, want)
}

func (s *suite) same(got, want store.Item) {
	s.Helper()
	if got.Key != want.Key || got.Token != want.Token || !got.Expires.Equal(want.Expires) ||
		!bytes.Equal(got.Meta, want.Meta) || !bytes.Equal(got.Value, want.Value) || got.Size != want.Size {
		s.Errorf("item is %s, want %s", brief(got), brief(want))
	}
}

func brief(i store.Item) string {
	return fmt.Sprintf("{%q %v meta %.20q (%d) value %.20q (%d) size %d expires %v}",
		i.Key, i.Token, i.Meta, len(i.Meta), i.Value, len(i.Value), i.Size, i.Expires)
}

func (s *suite) wantKeys(r store.Record, opt store.ScanOptions, want ...string) {
	s.Helper()
	var got []string
	for item, err := range store.All(s.ctx, s.s, r, opt) {
		if err != nil {
			s.Errorf("scan %v: %v", r, err)
			return
		}
		got = append(got, item.Key)
	}
	if !slices.Equal(got, want) {
		s.Errorf("scan %v %+v: keys %q, want %q", r, opt, got, want)
	}
}

// item returns an item with bytes that only it has.
func (s *suite) item(key string, size int) store.Item {
	i := store.Item{Key: key, Token: s.tokens.Next(), Value: make([]byte, size), Size: int64(size)}
	rand.NewChaCha8(sha256.Sum256(fmt.Append(nil, key, i.Token))).Read(i.Value)
	i.Meta = fmt.Appendf(nil, "%x", sha256.Sum256(i.Value))
	return i
}

func (s *suite) roundTrip() {
	for _, namespace := range []string{store.Media, store.Control} {
		r := store.Record{Namespace: namespace, ID: s.id}
		var items []store.Item
		for i, size := range []int{0, 1, 15, 4096, 100_000, 1_500_000} {
			item := s.item(fmt.Sprintf("%03d", i), size)
			if i%2 == 1 {
				item.Expires = time.Now().Add(time.Hour).Truncate(time.Millisecond)
			}
			if i == 2 {
				item.Meta = nil
			}
			s.put(r, item)
			items = append(items, item)
		}
		for _, item := range items {
			s.wantItem(r, item)
		}
		for _, values := range []bool{true, false} {
			i := 0
			for got, err := range store.All(s.ctx, s.s, r, store.ScanOptions{Values: values}) {
				if err != nil || i == len(items) {
					s.Fatalf("scan: item %d of %d, error %v", i, len(items), err)
				}
				want := items[i]
				if !values {
					want.Value = nil
				}
				s.same(got, want)
				i++
			}
			if i != len(items) {
				s.Errorf("scan found %d items of %d", i, len(items))
			}
		}
	}
}

func (s *suite) largestItem() {
	r := s.media("r")
	item := s.item(strings.Repeat("k", store.MaxKeyBytes), store.MaxValueBytes)
	item.Meta = bytes.Repeat([]byte("m"), store.MaxMetaBytes)
	s.put(r, item)
	s.wantItem(r, item)
	s.wantKeys(r, store.ScanOptions{}, item.Key)
}

func (s *suite) notFound() {
	r := s.media("r")
	_, err := s.s.Get(s.ctx, r, "k")
	s.wantErr("get from no record", err, store.ErrNotFound)
	s.put(r, s.item("k1", 10))
	_, err = s.s.Get(s.ctx, r, "k")
	s.wantErr("get a prefix of a key", err, store.ErrNotFound)
	s.wantKeys(s.media("other"), store.ScanOptions{})
}

func (s *suite) recordsAreApart() {
	records := []store.Record{
		s.media("a"), s.media("a/b"), s.media("a/"), s.media("ab"), {Namespace: store.Control, ID: s.media("a").ID},
	}
	items := make([]store.Item, len(records))
	for i, r := range records {
		items[i] = s.item("b/c", 10+i)
		s.put(r, items[i])
	}
	for i, r := range records {
		s.wantItem(r, items[i])
		s.wantKeys(r, store.ScanOptions{}, "b/c")
	}
	if err := s.s.DeleteRecord(s.ctx, records[0], s.tokens.Next()); err != nil {
		s.Fatal(err)
	}
	s.wantKeys(records[0], store.ScanOptions{})
	for i, r := range records[1:] {
		s.wantItem(r, items[i+1])
	}
}

func (s *suite) namesOfAnyKind() {
	names := []string{"\x01", " ", "%", "%2F", ".", "..", "../x", "/", "/a", "//", "1", "10", "2", "A", "a'b\"c", "a?b#c&d=e",
		"new\nline", "~", "é", "\u65e5\u672c", "\U0010FFFF", strings.Repeat("x", store.MaxKeyBytes)}
	if !slices.IsSorted(names) {
		slices.Sort(names)
	}
	r := s.media("r")
	for _, i := range rand.Perm(len(names)) {
		s.put(r, s.item(names[i], 5))
	}
	s.wantKeys(r, store.ScanOptions{}, names...)
	s.wantKeys(r, store.ScanOptions{From: "1", To: "2"}, "1", "10")
	for _, name := range names {
		if _, err := s.s.Get(s.ctx, r, name); err != nil {
			s.Errorf("get %q: %v", name, err)
		}
		other := s.media(name)
		if len(other.ID) > store.MaxIDBytes {
			continue
		}
		item := s.item(name, 5)
		s.put(other, item)
		s.wantItem(other, item)
	}
}

func (s *suite) newestWins() {
	r := s.media("r")
	oldest, old, newer := s.item("k", 100), s.item("k", 2000), s.item("k", 30)
	s.put(r, old)
	s.put(r, old)
	s.wantItem(r, old)
	s.put(r, oldest)
	s.wantItem(r, old)
	s.put(r, newer)
	s.put(r, old)
	s.wantItem(r, newer)
	twin := newer
	twin.Token.Nonce, twin.Value, twin.Size = newer.Token.Nonce+1, []byte("same time, higher nonce"), 23
	if twin.Token.Nonce > newer.Token.Nonce {
		s.put(r, twin)
		s.put(r, newer)
		s.wantItem(r, twin)
	}
	s.wantKeys(r, store.ScanOptions{}, "k")
}

func (s *suite) bytesAreTheCallers() {
	r := s.media("r")
	want := s.item("k", 10_000)
	given := want
	given.Meta, given.Value = bytes.Clone(want.Meta), bytes.Clone(want.Value)
	s.put(r, given)
	clear(given.Meta)
	clear(given.Value)
	s.wantItem(r, want)
	got, err := s.s.Get(s.ctx, r, "k")
	if err != nil {
		s.Fatal(err)
	}
	s.put(r, s.item("k", 10_000))
	if err := s.s.DeleteRecord(s.ctx, r, s.tokens.Next()); err != nil {
		s.Fatal(err)
	}
	s.same(got, want)
}

func (s *suite) expiry() {
	r := s.media("r")
	past, never := s.item("past", 10), s.item("never", 10)
	past.Expires = time.Now().Add(-time.Minute)
	s.put(r, past)
	s.put(r, never)
	_, err := s.s.Get(s.ctx, r, "past")
	s.wantErr("get what has expired", err, store.ErrNotFound)
	s.wantKeys(r, store.ScanOptions{}, "never")

	soon := s.item("soon", 10)
	soon.Expires = time.Now().Add(100 * time.Millisecond)
	s.put(r, soon)
	ctx, cancel := context.WithTimeout(s.ctx, 30*time.Second)
	defer cancel()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if _, err = s.s.Get(ctx, r, "soon"); err != nil {
			tick.Stop()
			break
		}
		<-tick.C
	}
	s.wantErr("get what expires", err, store.ErrNotFound)
	if time.Now().Before(soon.Expires.Truncate(time.Millisecond)) {
		s.Error("expired too soon")
	}
	s.wantKeys(r, store.ScanOptions{}, "never")
	s.wantItem(r, never)

	// To delete an item is to put one that has expired.
	s.put(r, store.Gone("never", s.tokens.Next()))
	s.wantKeys(r, store.ScanOptions{})
	s.put(r, never)
	s.wantKeys(r, store.ScanOptions{})
	again := s.item("never", 10)
	s.put(r, again)
	s.wantItem(r, again)
}

// expiredShadowsOlder: an expired item is not gone so far that an older one returns.
func (s *suite) expiredShadowsOlder() {
	r := s.media("r")
	older, newer := s.item("k", 10), s.item("k", 10)
	newer.Expires = time.Now().Add(-time.Second)
	s.put(r, newer)
	s.put(r, older)
	_, err := s.s.Get(s.ctx, r, "k")
	s.wantErr("get", err, store.ErrNotFound)
}

// readersSeeWholeItems: metadata and value always belong together, also where what was
// replaced is removed while somebody reads it.
func (s *suite) readersSeeWholeItems() {
	for _, namespace := range []string{store.Media, store.Control} {
		s.readersOf(store.Record{Namespace: namespace, ID: s.id})
	}
}

func (s *suite) readersOf(r store.Record) {
	s.put(r, s.item("k", 1))
	whole := func(i store.Item) {
		if want := fmt.Sprintf("%x", sha256.Sum256(i.Value)); string(i.Meta) != want || i.Size != int64(len(i.Value)) {
			s.Errorf("an item of %d bytes (size %d) with another one's metadata", len(i.Value), i.Size)
		}
	}
	var done atomic.Bool
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				i, err := s.s.Get(s.ctx, r, "k")
				if err != nil {
					s.Errorf("get: %v", err)
					return
				}
				whole(i)
			}
		})
		readers.Go(func() {
			for !done.Load() {
				for i, err := range store.All(s.ctx, s.s, r, store.ScanOptions{Values: true}) {
					if err != nil {
						s.Errorf("scan: %v", err)
						return
					}
					whole(i)
				}
			}
		})
	}
	for w := range 3 {
		writers.Go(func() {
			for n := range 20 {
				if err := s.s.Put(s.ctx, r, s.item("k", 1+(w*20+n)*10_000)); err != nil {
					s.Errorf("put: %v", err)
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
}
