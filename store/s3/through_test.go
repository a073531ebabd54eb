package s3_test

import (
	"testing"
	"time"

	"headwater/store"
	"headwater/store/storetest"
	"headwater/store/through"
	"headwater/store/through/memcachedtest"
)

func TestContractBehindMemcached(t *testing.T) {
	server(t)
	zones := []through.Zone{{Name: "a", Servers: []string{memcachedtest.New(t).Addr}}}
	storetest.Run(t, func(t *testing.T) store.Store {
		s, err := through.New(open(t, "through"), through.Config{Zones: zones, Timeout: 5 * time.Second, Settle: -1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}

func TestContractInTrouble(t *testing.T) {
	server(t)
	storetest.Run(t, func(t *testing.T) store.Store { return storetest.Troubled(open(t, "trouble")) })
}
