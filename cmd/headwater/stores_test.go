package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/listen"
	"headwater/store"
	"headwater/store/disk"
)

// TestStoreMax: --store-max bounds a store in memory as it does one on disk.
func TestStoreMax(t *testing.T) {
	for _, address := range []string{"memory:", "disk:" + t.TempDir()} {
		st, err := openStore(t.Context(), "store", address, opening{disk: disk.Options{MaxBytes: 2 << 20}})
		if err != nil {
			t.Fatal(err)
		}
		tokens := store.NewTokens()
		put := func(key string) error {
			return st.Put(t.Context(), store.Record{Namespace: store.Media, ID: "r"},
				store.Item{Key: key, Token: tokens.Next(), Value: make([]byte, 1<<20), Expires: time.Now().Add(time.Hour)})
		}
		if err := put("a"); err != nil {
			t.Errorf("%s: %v", address, err)
		}
		if err := errors.Join(put("b"), put("c")); !errors.Is(err, store.ErrFull) {
			t.Errorf("%s: three of a MiB in two: %v", address, err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestStoreThatIsNotThereYet: what a store is in, or with --store-existing the store
// itself, may come later. It is waited for, and said so.
func TestStoreThatIsNotThereYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "mount")
		var lines strings.Builder
		o := opening{log: slog.New(slog.NewTextHandler(&lines, nil))}
		a := store.Address{Scheme: store.SchemeDisk, Path: filepath.Join(dir, "data")}
		time.AfterFunc(3500*time.Millisecond, func() { os.Mkdir(dir, 0o700) })
		st, err := openDisk(t.Context(), a, o)
		if err != nil {
			t.Fatal(err)
		}
		st.Close()
		if n := strings.Count(lines.String(), "waiting for the store"); n != 4 {
			t.Errorf("%d lines: %s", n, lines.String())
		}

		o.existing, a.Path = true, filepath.Join(dir, "other")
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := openDisk(ctx, a, o); !errors.Is(err, disk.ErrNotStore) {
			t.Errorf("opened: %v", err)
		}
		if _, err := os.Stat(a.Path); err == nil {
			t.Error("it was made")
		}
	})
}

// TestStoreThatCannotBeTakenBack: a process whose successor failed, and which cannot open
// its store again, ends with an error instead of refusing everything.
func TestStoreThatCannotBeTakenBack(t *testing.T) {
	g, log := new(gate), slog.New(slog.DiscardHandler)
	y := &yieldingStore{reopen: func(context.Context) (*disk.Store, error) { return nil, os.ErrPermission }}
	yieldAll(t.Context(), g, []*yieldingStore{y}, log)()()
	socks, err := listen.Open(t.Context(), "", log, os.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = serve(ctx, log, nil, func() {}, socks, g, &listener{flag: "deliver", addr: "127.0.0.1:0", handler: http.NotFoundHandler()})
	if !errors.Is(err, os.ErrPermission) {
		t.Errorf("it went on: %v", err)
	}
}
