package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"headwater/store"
	"headwater/store/disk"
)

// contender is one way to keep values.
type contender struct {
	name string
	open func(dir string) (db, error)
}

// db is safe for concurrent use; put returns when the value is durable.
type db interface {
	put(ctx context.Context, key string, value []byte) error
	io.Closer
}

func contenders() []contender {
	return append([]contender{
		{"disk", openDisk},
		{"files", openFiles},
		{"pebble", openPebble},
	}, ceilings()...)
}

type diskDB struct {
	*disk.Store
	tokens *store.Tokens
}

func openDisk(dir string) (db, error) {
	s, err := disk.Open(dir, disk.Options{})
	return diskDB{s, store.NewTokens()}, err
}

func (d diskDB) put(ctx context.Context, key string, value []byte) error {
	return d.Put(ctx, store.Record{Namespace: store.Media, ID: "bench"}, store.Item{Key: key, Token: d.tokens.Next(), Value: value})
}

// files keeps each value in a file: written under another name, synced, renamed,
// and the directory synced.
type files string

func openFiles(dir string) (db, error) { return files(dir), os.MkdirAll(dir, 0o755) }

func (f files) put(_ context.Context, key string, value []byte) error {
	final := filepath.Join(string(f), strings.ReplaceAll(key, "/", "-"))
	w, err := os.OpenFile(final+".tmp", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err := w.Write(value); err != nil {
		return err
	}
	if err := w.Sync(); err != nil {
		return err
	}
	if err := os.Rename(final+".tmp", final); err != nil {
		return err
	}
	d, err := os.Open(string(f))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (files) Close() error { return nil }

// pebbleDB gets memory for its memtables as a store of large values needs, and
// no compression, which these bytes would not take.
type pebbleDB struct{ *pebble.DB }

func openPebble(dir string) (db, error) {
	opt := &pebble.Options{
		MemTableSize:                64 << 20,
		MemTableStopWritesThreshold: 4,
		L0StopWritesThreshold:       1000,
		Logger:                      silent{},
	}
	opt.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	d, err := pebble.Open(dir, opt)
	return pebbleDB{d}, err
}

func (d pebbleDB) put(_ context.Context, key string, value []byte) error {
	return d.Set([]byte(key), value, pebble.Sync)
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, _ ...any) {
	panic("pebble: " + format)
}
