package deliver

import (
	"sync"

	"headwater/admit"
	"headwater/live"
	"headwater/origin/window"
)

// inBuffers is how much of an answer the system holds for a client that reads
// slowly, about, in bytes.
const inBuffers = 256 << 10

// A sending counts what is being sent: the bytes of a segment once, for they are
// the same for all who are sent it, and for each what lies in its connection.
type sending struct {
	mu      sync.Mutex         // guards clients
	clients map[window.Key]int // of each segment
}

// begin counts an answer until it is sent, or refuses it where the share is full.
func (s *sending) begin(share *admit.Share[string], k window.Key, class admit.Class, size int64) (sent func(), ok bool) {
	tenant, own := k.Event.Tenant, min(size, inBuffers)
	s.mu.Lock()
	defer s.mu.Unlock()
	takes := own
	if s.clients[k] == 0 {
		takes = size
	}
	if !share.Enter(tenant, class, takes) {
		return nil, false
	}
	if s.clients == nil {
		s.clients = make(map[window.Key]int)
	}
	s.clients[k]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		gives := own
		if s.clients[k]--; s.clients[k] == 0 {
			gives = size
			delete(s.clients, k)
		}
		share.Leave(tenant, gives)
	}, true
}

// keyOf is the key of the chosen candidate's bytes.
func keyOf(d *delivery, c *live.Candidate) window.Key {
	return window.Key{Event: d.path.Event, Rendition: d.path.Rendition, Number: c.Number, Pipeline: c.Pipeline, Digest: c.Digest}
}
