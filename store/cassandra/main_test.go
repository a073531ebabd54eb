package cassandra_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/store"
	"headwater/store/cassandra"
	"headwater/store/cassandra/cassandratest"
)

// running names hosts of a cluster that runs already, with commas: for trying
// a test again and again. What needs nodes of its own is left out then.
const running = "HEADWATER_TEST_CASSANDRA"

// The package's tests share one cluster, which the first that needs it starts.
var shared struct {
	once    sync.Once
	cluster *cassandratest.Cluster
	err     error

	schema sync.Once // of inCommon
}

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if shared.cluster != nil {
		if err := shared.cluster.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}

func cluster(t testing.TB) *cassandratest.Cluster {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a Cassandra cluster: make test runs it")
	}
	shared.once.Do(func() {
		if os.Getenv(running) != "" {
			shared.cluster = new(cassandratest.Cluster)
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
		defer cancel()
		shared.cluster, shared.err = cassandratest.Start(ctx, cassandratest.Options{Quick: true})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

func optionsFor(t testing.TB, keyspace string) cassandra.Options {
	t.Helper()
	a, err := store.ParseAddress("cassandra://h/" + keyspace + "?dc=dc1&replication=dc1:3")
	if err != nil {
		t.Fatal(err)
	}
	a.Hosts = cluster(t).Hosts()
	if h := os.Getenv(running); h != "" {
		a.Hosts = strings.Split(h, ",")
	}
	o, err := cassandra.FromAddress(a)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// inCommon is the keyspace of tests that look at their own records alone: to make
// one takes a busy cluster many seconds.
func inCommon(t testing.TB) cassandra.Options {
	t.Helper()
	o := optionsFor(t, "common")
	shared.schema.Do(func() { initialise(t, o) })
	return o
}

func initialise(t testing.TB, o cassandra.Options) {
	t.Helper()
	if err := cassandra.Init(t.Context(), o, func(s string) { t.Log(s) }); err != nil {
		t.Fatal(err)
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
