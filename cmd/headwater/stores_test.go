package main

import (
	"errors"
	"testing"
	"time"

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
