package cassandra_test

import (
	"testing"
	"time"

	"headwater/store"
	"headwater/store/storetest"
	"headwater/store/through"
	"headwater/store/through/memcachedtest"
)

// TestContractBehindMemcached: two origins, each with a cache of its own in
// front, over the same zones.
func TestContractBehindMemcached(t *testing.T) {
	checks(t, "3")
	o := optionsFor(t, "through")
	initialise(t, o)
	zones := []through.Zone{
		{Name: "a", Servers: []string{memcachedtest.New(t).Addr}},
		{Name: "b", Servers: []string{memcachedtest.New(t).Addr}},
	}
	open := func(t *testing.T) store.Store {
		s, err := through.New(open(t, o), through.Config{Zones: zones, Timeout: 5 * time.Second, Settle: -1})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	storetest.Run(t, func(t *testing.T) store.Store { return pair{open(t), open(t)} })
}
