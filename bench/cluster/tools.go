//go:build tools

package main

// The server that this builds and runs as a process of its own.
import _ "github.com/nats-io/nats-server/v2"
