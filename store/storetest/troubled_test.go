package storetest_test

import (
	"testing"

	"headwater/store"
	"headwater/store/disk"
	"headwater/store/memory"
	"headwater/store/storetest"
)

func TestMemoryInTrouble(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return storetest.Troubled(memory.New(memory.Options{})) })
}

func TestDiskInTrouble(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := disk.Open(t.TempDir(), disk.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return storetest.Troubled(s)
	})
}
