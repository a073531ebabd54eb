package cassandra_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/cassandra"
	"headwater/store/cassandra/cassandratest"
	"headwater/store/storetest"
)

// running names hosts of a cluster that runs already, with commas: for trying
// a test again and again. What needs nodes of its own is left out then.
const running = "HEADWATER_TEST_CASSANDRA"

// The package's tests share one cluster.
var shared = storetest.Shared[*cassandratest.Cluster]{Start: func(ctx context.Context) (*cassandratest.Cluster, error) {
	if os.Getenv(running) != "" {
		return new(cassandratest.Cluster), nil
	}
	return cassandratest.Start(ctx, cassandratest.Options{Quick: true})
}}

var (
	schema sync.Once // of inCommon
	unfit  error     // why no keyspace could be made: whoever needs one fails at once
)

func TestMain(m *testing.M) { shared.Main(m) }

func optionsFor(t testing.TB, keyspace string) cassandra.Options {
	t.Helper()
	a, err := store.ParseAddress("cassandra://h/" + keyspace + "?dc=dc1&replication=dc1:3")
	if err != nil {
		t.Fatal(err)
	}
	a.Hosts = shared.Get(t).Hosts()
	if h := os.Getenv(running); h != "" {
		a.Hosts = strings.Split(h, ",")
	}
	o, err := cassandra.FromAddress(a)
	if err != nil {
		t.Fatal(err)
	}
	o.Timeout = time.Minute // three nodes share a machine with other tests
	return o
}

// inCommon is the keyspace of tests that look at their own records alone: to make
// one takes a busy cluster many seconds.
func inCommon(t testing.TB) cassandra.Options {
	t.Helper()
	o := optionsFor(t, "common")
	schema.Do(func() { initialise(t, o) })
	if unfit != nil {
		t.Fatal(unfit)
	}
	return o
}

func initialise(t testing.TB, o cassandra.Options) {
	t.Helper()
	if unfit == nil {
		if unfit = cassandra.Init(t.Context(), o, func(s string) { t.Log(s) }); unfit != nil {
			t.Log(shared.Get(t).Trouble())
		}
	}
	if unfit != nil {
		t.Fatal(unfit)
	}
}

func open(t testing.TB, o cassandra.Options) *cassandra.Store {
	t.Helper()
	s, err := cassandra.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
