// Package front is how viewers reach an edge: listeners, connections, limits and
// the drivers of requests. Of the edge behind it, it knows two things: that it
// answers what is about the node itself, and that it makes Requests, each of which
// is given what a viewer asks, and walks until it is answered or must wait
// (package exchange). Whatever an answer is made from is none of its business.
package front

import (
	"net/http"

	"headwater/edge/exchange"
)

// An Edge is all that the front knows of what is behind it.
type Edge interface {
	// Request makes an empty request. One that is over may be begun anew.
	Request() exchange.Request
	// ServeNode answers what is about this node and not about an event: its time,
	// its health, its metrics. It reports false for all else. It may wait.
	ServeNode(w http.ResponseWriter, r *http.Request) bool
	// OfNode reports whether a path may be one of those.
	OfNode(path string) bool
	// Watch is given what says how viewers' connections are served. One at a time asks it.
	Watch(load func() exchange.Load)
}
