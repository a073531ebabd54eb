package deliver

import (
	"net/netip"
	"sync"

	"headwater/admit"
	"headwater/live"
	"headwater/origin/window"
)

// inBuffers is how much of an answer the system holds for a client that reads
// slowly, about, in bytes.
const inBuffers = 256 << 10

// A sending bounds the bytes that are being sent to those who read slowly: together
// by what they take of memory, the bytes of a segment once, for they are the same for
// all who are sent it, and for each what lies in its connection; and those to one
// address, each as often as it is sent there, so that one does not take it all.
type sending struct {
	egress *admit.Share[string]
	sent   *admit.Share[netip.Addr]

	mu      sync.Mutex           // guards the following
	clients map[window.Key]int   // of each segment
	beside  map[window.Key]int64 // the bytes of those that are not in the window
	sum     int64                // of beside
}

// begin counts an answer until end, or refuses it.
func (s *sending) begin(k window.Key, to netip.Addr, class admit.Class, size int64, beside bool) error {
	if !s.sent.Enter(to, class, size) {
		return live.ErrShed.With("too many bytes of the " + class.String() + " class are being sent to this address")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.egress.Enter(k.Event.Tenant, class, s.takes(k, size)) {
		s.sent.Leave(to, size)
		return live.ErrShed.With("too many bytes of the " + class.String() + " class are being sent")
	}
	s.clients[k]++
	if _, is := s.beside[k]; beside && !is {
		s.beside[k] = size
		s.sum += size
	}
	return nil
}

// end gives back what begin counted.
func (s *sending) end(k window.Key, to netip.Addr, size int64) {
	s.sent.Leave(to, size)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients[k]--; s.clients[k] == 0 {
		delete(s.clients, k)
		s.sum -= s.beside[k]
		delete(s.beside, k)
	}
	s.egress.Leave(k.Event.Tenant, s.takes(k, size))
}

// besides is how many bytes are there only because they are being sent.
func (s *sending) besides() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sum
}

// takes is what one client more than there are of a segment takes of memory. It needs
// mu.
func (s *sending) takes(k window.Key, size int64) int64 {
	if s.clients[k] == 0 {
		return size
	}
	return min(size, inBuffers)
}

// keyOf is the key of the chosen candidate's bytes.
func keyOf(d *delivery, c *live.Candidate) window.Key {
	return window.Key{Event: d.path.Event, Rendition: d.path.Rendition, Number: c.Number, Pipeline: c.Pipeline, Digest: c.Digest}
}
