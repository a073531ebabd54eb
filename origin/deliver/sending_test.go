package deliver

import (
	"testing"

	"headwater/admit"
	"headwater/live"
	"headwater/origin/window"
)

// TestSendingCountsBytesOnce: a crowd that is sent one segment takes its bytes once,
// and a little for each; in whichever order they go, all of it is given back.
func TestSendingCountsBytesOnce(t *testing.T) {
	const size, crowd = 1_500_000, 100
	share := admit.NewShare[string](size+(crowd-1)*inBuffers, 0)
	var s sending
	k := window.Key{Event: live.EventID{Tenant: "t", Name: "e"}, Number: 1}
	for round := range 2 {
		var sent []func()
		for range crowd {
			f, ok := s.begin(share, k, admit.Live, size)
			if !ok {
				t.Fatalf("%d are let in", len(sent))
			}
			sent = append(sent, f)
		}
		if _, ok := s.begin(share, k, admit.Live, size); ok {
			t.Error("one too many is let in")
		}
		for i := range sent { // the first first, then the last first
			sent[max(i*(1-round), (crowd-1-i)*round)]()
			if used, most := share.Used(), int64(size+(crowd-i-2)*inBuffers); i < crowd-1 && used != most {
				t.Fatalf("%d bytes for %d, not %d", used, crowd-1-i, most)
			}
		}
		if share.Used() != 0 || len(s.clients) != 0 {
			t.Errorf("%d bytes and %d segments are left", share.Used(), len(s.clients))
		}
	}
}
