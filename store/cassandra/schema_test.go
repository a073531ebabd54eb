package cassandra_test

import (
	"errors"
	"strings"
	"sync"
	"testing"

	gocql "github.com/apache/cassandra-gocql-driver/v2"

	"headwater/store"
	"headwater/store/cassandra"
)

// raw is a session to look and tamper with.
func raw(t *testing.T) *gocql.Session {
	t.Helper()
	c := gocql.NewCluster(optionsFor(t, "x").Hosts...)
	c.Consistency = gocql.All
	s, err := c.CreateSession()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestOpenWantsItsSchema(t *testing.T) {
	o := optionsFor(t, "schema")
	if _, err := cassandra.Open(t.Context(), o); !errors.Is(err, cassandra.ErrSchema) || !strings.Contains(err.Error(), "store init") {
		t.Errorf("without a schema: %v", err)
	}
	without := o
	without.Replication = nil
	if err := cassandra.Init(t.Context(), without, func(string) {}); err == nil || !strings.Contains(err.Error(), "replication=") {
		t.Errorf("init without replication: %v", err)
	}
	// Three at once, as three origins' units would.
	var wg sync.WaitGroup
	var mu sync.Mutex
	created := 0
	for range 3 {
		wg.Go(func() {
			err := cassandra.Init(t.Context(), o, func(s string) {
				mu.Lock()
				defer mu.Unlock()
				if strings.Contains(s, "was at version 0") {
					created++
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if created != 2 {
		t.Errorf("two keyspaces were migrated %d times", created)
	}
	open(t, o).Close()

	db := raw(t)
	set := func(version, compatible int) {
		t.Helper()
		if err := db.Query("INSERT INTO schema_media.schema_version (name, version, compatible) VALUES ('schema', ?, ?)", version, compatible).Exec(); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		version, compatible int
		says                string // "" for nothing
	}{{0, 0, "store init"}, {7, 1, ""}, {7, 7, "newer"}, {1, 1, ""}} {
		set(c.version, c.compatible)
		st, err := cassandra.Open(t.Context(), o)
		if err == nil {
			st.Close()
		}
		if (c.says == "") != (err == nil) || err != nil && (!errors.Is(err, cassandra.ErrSchema) || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("version %d, usable from %d: %v", c.version, c.compatible, err)
		}
	}

	less := o
	less.Replication = map[string]int{"dc1": 2}
	if err := cassandra.Init(t.Context(), less, func(string) {}); err == nil || !strings.Contains(err.Error(), "by hand") {
		t.Errorf("fewer copies: %v", err)
	}
}

func TestControlAlone(t *testing.T) {
	o := optionsFor(t, "alone")
	o.Namespaces = []string{store.Control}
	initialise(t, o)
	st := open(t, o)
	defer st.Close()
	tokens := store.NewTokens()
	if err := st.Put(t.Context(), store.Record{Namespace: store.Control, ID: "r"}, store.Item{Key: "k", Token: tokens.Next()}); err != nil {
		t.Error(err)
	}
	if err := st.Put(t.Context(), store.Record{Namespace: store.Media, ID: "r"}, store.Item{Key: "k", Token: tokens.Next()}); !errors.Is(err, store.ErrInvalid) {
		t.Errorf("media: %v", err)
	}
}

func TestNobodyThere(t *testing.T) {
	o := cassandra.Options{Hosts: []string{"127.0.0.1:1"}, Keyspace: "k", DC: "dc1"}
	if _, err := cassandra.Open(t.Context(), o); !errors.Is(err, store.ErrUnavailable) {
		t.Error(err)
	}
}

func TestAddresses(t *testing.T) {
	for address, says := range map[string]string{
		"cassandra://h/k":                                        "dc=NAME",
		"cassandra://h/k?dc=a%20b":                               "dc=NAME",
		"cassandra://h/k?dc=dc1&tape=1":                          `"tape"`,
		"cassandra://h/k?replication=dc1":                        "dc1:3",
		"cassandra://h/k?replication=dc1:0":                      "dc1:3",
		"cassandra://h/k?dc=x&replication=dc1:3":                 `"x"`,
		"cassandra://h/k?dc=dc1&retention=1":                     "retention",
		"cassandra://h/k?dc=dc1&retention=1s":                    "retention",
		"cassandra://h/k?dc=dc1&namespaces=tape":                 `"tape"`,
		"cassandra://h/" + strings.Repeat("k", 41) + "?dc=dc1":   "keyspace",
		"cassandra://h/k?replication=dc1:3":                      "",
		"cassandra://h/k?dc=dc2&replication=dc1:3,dc2:3":         "",
		"cassandra://h/k?dc=dc1&retention=4h&namespaces=control": "",
	} {
		a, err := store.ParseAddress(address)
		if err != nil {
			t.Fatal(err)
		}
		o, err := cassandra.FromAddress(a)
		if says == "" && (err != nil || o.DC == "") || says != "" && (err == nil || !errors.Is(err, store.ErrAddress) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %+v, %v", address, o, err)
		}
	}
}
