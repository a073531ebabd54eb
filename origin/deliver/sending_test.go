package deliver

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"headwater/admit"
	"headwater/live"
	"headwater/origin/window"
)

func newSending(egress, each int64) *sending {
	return &sending{egress: admit.NewShare[string](egress, 0), sent: admit.NewShareOf[netip.Addr](1<<40, each), clients: make(map[window.Key]int), beside: make(map[window.Key]int64)}
}

// empty checks that all is given back.
func (s *sending) empty(t *testing.T) {
	t.Helper()
	if s.egress.Used() != 0 || s.sent.Used() != 0 || len(s.clients) != 0 || s.besides() != 0 || len(s.beside) != 0 {
		t.Errorf("%d and %d bytes of %d segments are left", s.egress.Used(), s.sent.Used(), len(s.clients))
	}
}

// TestSendingCountsBytesOnce: a crowd that is sent one segment takes its bytes once,
// and a little for each; when they go, all of it is given back.
func TestSendingCountsBytesOnce(t *testing.T) {
	const size, crowd = 1_500_000, 100
	s := newSending(size+(crowd-1)*inBuffers, 1<<40)
	k, to := window.Key{Event: live.EventID{Tenant: "t", Name: "e"}, Number: 1}, netip.Addr{}
	for i := range crowd {
		if err := s.begin(k, to, admit.Live, size, true); err != nil {
			t.Fatalf("%d are let in: %v", i, err)
		}
	}
	if err := s.begin(k, to, admit.Live, size, false); !errors.Is(err, live.ErrShed) {
		t.Errorf("one too many: %v", err)
	}
	if n := s.besides(); n != size {
		t.Errorf("%d bytes are there for the crowd alone", n)
	}
	for left := crowd - 1; left >= 0; left-- {
		s.end(k, to, size)
		if used, most := s.egress.Used(), int64(size+(left-1)*inBuffers); left > 0 && used != most {
			t.Fatalf("%d bytes for %d, not %d", used, left, most)
		}
	}
	s.empty(t)
}

// TestSendingBoundsAnAddress: one that takes all it may of however few segments does
// so from nobody else; what was refused counts nowhere.
func TestSendingBoundsAnAddress(t *testing.T) {
	const size = 1000
	s := newSending(4*size, 3*size)
	one, other := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	key := func(n int) window.Key {
		return window.Key{Event: live.EventID{Tenant: "t", Name: "e"}, Number: live.Number(n)}
	}
	type answer struct {
		to netip.Addr
		n  int
	}
	var sent []answer
	for i, c := range []struct {
		answer
		let bool
	}{
		{answer{one, 1}, true}, {answer{one, 1}, true}, {answer{one, 2}, true},
		{answer{one, 1}, false},   // its own share is full
		{answer{other, 3}, true},  // that of all is not
		{answer{other, 4}, false}, // now it is
	} {
		err := s.begin(key(c.n), c.to, admit.Live, size, false)
		if (err == nil) != c.let || err != nil && !errors.Is(err, live.ErrShed) {
			t.Errorf("%d: %v", i, err)
		}
		if err == nil {
			sent = append(sent, c.answer)
		}
	}
	if got := fmt.Sprint(s.egress.Used(), s.sent.Used()); got != "4000 4000" {
		t.Error("counted are", got)
	}
	for _, x := range sent {
		s.end(key(x.n), x.to, size)
	}
	s.empty(t)
}
