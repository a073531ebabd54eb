package store_test

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"headwater/store"
)

func TestParseAddress(t *testing.T) {
	for s, want := range map[string]store.Address{
		"memory:":                {Scheme: "memory"},
		"disk:/var/lib/x":        {Scheme: "disk", Path: "/var/lib/x"},
		"disk:data":              {Scheme: "disk", Path: "data"},
		`disk:C:\data`:           {Scheme: "disk", Path: `C:\data`},
		"disk:./a b?c#d%41":      {Scheme: "disk", Path: "./a b?c#d%41"},
		"cassandra://h1/live":    {Scheme: "cassandra", Hosts: []string{"h1"}, Path: "live"},
		"cassandra://h1,h2/live": {Scheme: "cassandra", Hosts: []string{"h1", "h2"}, Path: "live"},
		"cassandra://h1,h2,h3/k_1?dc=dc1&replication=dc1:3,dc2:3": {Scheme: "cassandra", Hosts: []string{"h1", "h2", "h3"}, Path: "k_1",
			Query: url.Values{"dc": {"dc1"}, "replication": {"dc1:3,dc2:3"}}},
		"cassandra://10.0.0.1:9043,[::1]:9042,[::1],::1/k": {Scheme: "cassandra", Path: "k",
			Hosts: []string{"10.0.0.1:9043", "[::1]:9042", "[::1]", "::1"}},
		"s3://bucket": {Scheme: "s3", Hosts: []string{"bucket"}},
		"s3://bucket/a/b/?endpoint=http://127.0.0.1:7070": {Scheme: "s3", Hosts: []string{"bucket"}, Path: "a/b",
			Query: url.Values{"endpoint": {"http://127.0.0.1:7070"}}},
	} {
		got, err := store.ParseAddress(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if want.Query == nil {
			want.Query = url.Values{}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", s, got, want)
		}
		if again, err := store.ParseAddress(got.String()); err != nil || !reflect.DeepEqual(again, want) {
			t.Errorf("%s, written as %s, is %+v, %v", s, got, again, err)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for s, says := range map[string]string{
		"":                             "no scheme",
		"/var/lib/x":                   "no scheme",
		"redis://h":                    `unknown scheme "redis"`,
		"memory:x":                     "takes nothing",
		"memory://":                    "takes nothing",
		"disk:":                        "write disk:DIR",
		"disk:///var/x":                "write disk:/var/x",
		"cassandra:h1/k":               "write cassandra://",
		"cassandra://h1":               "keyspace",
		"cassandra://h1/a-b":           "keyspace",
		"cassandra://h1/a/b":           "keyspace",
		"cassandra:///k":               "empty host",
		"cassandra://h1,,h2/k":         "empty host",
		"cassandra://h1:0/k":           "port",
		"cassandra://h1:x/k":           "port",
		"cassandra://h 1/k":            "host",
		"cassandra://[::1/k":           "host",
		"cassandra://u:p@h1/k":         "credentials",
		"cassandra://h1/k?dc=a&dc=b":   "dc is given 2 times",
		"cassandra://h1/k?dc=%zz":      "query",
		"cassandra://h1/k#f":           "fragment",
		"s3://":                        "empty host",
		"s3://Bucket":                  "bucket",
		"s3://a,b":                     "bucket",
		"s3://my_bucket?endpoint=http": "bucket",
	} {
		a, err := store.ParseAddress(s)
		if err == nil {
			t.Errorf("%s was taken for %+v", s, a)
		} else if !errors.Is(err, store.ErrAddress) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %q does not say %q", s, err, says)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"memory:", "disk:a", "cassandra://h1,[::1]:1/k?dc=a&b=%20", "s3://bucket/a%2Fb?endpoint=x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := store.ParseAddress(s)
		if err != nil {
			return
		}
		again, err := store.ParseAddress(a.String())
		if err != nil || !reflect.DeepEqual(a, again) {
			t.Fatalf("%q is %+v, written as %q is %+v, %v", s, a, a, again, err)
		}
	})
}
