package main

import (
	"slices"
	"testing"
)

func TestServerList(t *testing.T) {
	for in, want := range map[string][]string{
		"nats://h1:4222":                {"nats://h1:4222"},
		"nats://h1:4222,h2:4222":        {"nats://h1:4222", "nats://h2:4222"},
		"tls://h1,h2,nats://h3":         {"tls://h1", "tls://h2", "nats://h3"},
		"h1:4222":                       {"h1:4222"}, // refused later, with what to write
		"nats://h1:4222,nats://h2:4222": {"nats://h1:4222", "nats://h2:4222"},
	} {
		if got := serverList(in); !slices.Equal(got, want) {
			t.Errorf("%s: %v", in, got)
		}
	}
}
