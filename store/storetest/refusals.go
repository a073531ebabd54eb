package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"headwater/store"
)

func (s *suite) tokenDrift() {
	r := s.media("r")
	const margin = 10 * time.Second
	at := func(d time.Duration) store.Token {
		return store.Token{Time: time.Now().Add(d).UnixNano(), Nonce: rand.Uint64()}
	}
	item := s.item("k", 10)
	s.put(r, item)
	for _, tok := range []store.Token{{}, at(-store.MaxDrift - margin), at(store.MaxDrift + margin), {Time: -1 << 63}, {Time: 1<<63 - 1}} {
		bad := s.item("k2", 10)
		bad.Token = tok
		s.wantErr("put", s.s.Put(s.ctx, r, bad), store.ErrTokenDrift)
		s.wantErr("delete record", s.s.DeleteRecord(s.ctx, r, tok), store.ErrTokenDrift)
	}
	s.wantKeys(r, store.ScanOptions{}, "k")
	s.wantItem(r, item)
	for i, tok := range []store.Token{at(-store.MaxDrift + margin), at(store.MaxDrift - margin)} {
		good := s.item(fmt.Sprint("good", i), 10)
		good.Token = tok
		s.put(r, good)
		s.wantItem(r, good)
	}
}

func (s *suite) refusals() {
	good := s.media("r")
	tok := s.tokens.Next()
	for _, r := range []store.Record{{}, {Namespace: "other", ID: "x"}, {Namespace: store.Media}, {Namespace: store.Media, ID: "a\x00b"},
		{Namespace: store.Media, ID: "\xff"}, {Namespace: store.Media, ID: strings.Repeat("x", store.MaxIDBytes+1)}} {
		what := fmt.Sprintf("record %.20q ", r)
		_, getErr := s.s.Get(s.ctx, r, "k")
		s.wantErr(what+"get", getErr, store.ErrInvalid)
		_, scanErr := s.s.Scan(s.ctx, r, store.ScanOptions{})
		s.wantErr(what+"scan", scanErr, store.ErrInvalid)
		s.wantErr(what+"put", s.s.Put(s.ctx, r, s.item("k", 1)), store.ErrInvalid)
		s.wantErr(what+"delete record", s.s.DeleteRecord(s.ctx, r, tok), store.ErrInvalid)
	}
	for _, key := range []string{"", "a\x00", "\xff", strings.Repeat("x", store.MaxKeyBytes+1)} {
		what := fmt.Sprintf("key %.20q ", key)
		_, getErr := s.s.Get(s.ctx, good, key)
		s.wantErr(what+"get", getErr, store.ErrInvalid)
		s.wantErr(what+"put", s.s.Put(s.ctx, good, s.item(key, 1)), store.ErrInvalid)
		if key != "" {
			_, scanErr := s.s.Scan(s.ctx, good, store.ScanOptions{From: key})
			s.wantErr(what+"scan from", scanErr, store.ErrInvalid)
		}
	}
	_, err := s.s.Scan(s.ctx, good, store.ScanOptions{MaxBytes: -1})
	s.wantErr("scan in pages of -1 bytes", err, store.ErrInvalid)
	large := s.item("k", 1)
	large.Meta = make([]byte, store.MaxMetaBytes+1)
	s.wantErr("metadata", s.s.Put(s.ctx, good, large), store.ErrTooLarge)
	large = s.item("k", 1)
	large.Value = make([]byte, store.MaxValueBytes+1)
	s.wantErr("value", s.s.Put(s.ctx, good, large), store.ErrTooLarge)
	s.wantKeys(good, store.ScanOptions{})
}

func (s *suite) endedContext() {
	r := s.media("r")
	kept := s.item("kept", 10)
	s.put(r, kept)
	canceled, cancel := context.WithCancel(s.ctx)
	cancel()
	late, cancel := context.WithDeadline(s.ctx, time.Now().Add(-time.Second))
	defer cancel()
	for _, c := range []struct {
		ctx  context.Context
		want error
	}{{canceled, context.Canceled}, {late, context.DeadlineExceeded}} {
		s.wantErr("put", s.s.Put(c.ctx, r, s.item("not", 10)), c.want)
		s.wantErr("delete record", s.s.DeleteRecord(c.ctx, r, s.tokens.Next()), c.want)
		_, err := s.s.Get(c.ctx, r, "kept")
		s.wantErr("get", err, c.want)
		_, err = s.s.Scan(c.ctx, r, store.ScanOptions{})
		s.wantErr("scan", err, c.want)
	}
	s.wantItem(r, kept)
	s.wantKeys(r, store.ScanOptions{}, "kept")
}

func (s *suite) closed() {
	r := s.media("r")
	s.put(r, s.item("k", 10))
	if err := s.s.Close(); err != nil {
		s.Fatalf("close: %v", err)
	}
	s.wantErr("close", s.s.Close(), store.ErrClosed)
	s.wantErr("put", s.s.Put(s.ctx, r, s.item("k", 10)), store.ErrClosed)
	_, err := s.s.Get(s.ctx, r, "k")
	s.wantErr("get", err, store.ErrClosed)
	_, err = s.s.Scan(s.ctx, r, store.ScanOptions{})
	s.wantErr("scan", err, store.ErrClosed)
	s.wantErr("delete record", s.s.DeleteRecord(s.ctx, r, s.tokens.Next()), store.ErrClosed)
}
