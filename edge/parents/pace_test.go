package parents

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	s := func(seconds float64) time.Time { return time.Unix(1e9, int64(seconds*1e9)) }
	origin, peer := New("http://o"), NewPeer("n2", "http://n2")
	for name, c := range map[string]struct {
		r    Request
		of   *Parent
		size int64
		came int64
		want time.Time // until when it is in time
	}{
		"nothing has come":                      {Request{Body: time.Second}, origin, 1000, 0, s(0.4)},
		"little has come":                       {Request{Body: time.Second}, origin, 1000, 100, s(0.4)},
		"a quarter":                             {Request{Body: time.Second}, origin, 1000, 250, s(0.5)},
		"nearly all":                            {Request{Body: time.Second}, origin, 10_000, 9801, s(0.99)},
		"a long segment":                        {Request{Body: 30 * time.Second}, origin, 1000, 250, s(1)},
		"viewers need it soon":                  {Request{Body: time.Second, Need: s(0.8)}, origin, 1000, 250, s(0.4)},
		"they need it now":                      {Request{Body: time.Second, Need: s(0)}, origin, 1000, 0, s(0.2)},
		"they need it long after it should end": {Request{Body: time.Second, Need: s(10)}, origin, 1000, 250, s(0.5)},
		"of a peer":                             {Request{Body: time.Second}, peer, 1000, 250, s(0.75)},
		"of unknown size":                       {Request{Body: time.Second}, origin, -1, 250, s(1)},
	} {
		if got := c.r.Pace(s(0), c.size, c.of).Until(c.came); !got.Equal(c.want) {
			t.Errorf("%s: until %v, want %v", name, got.Sub(s(0)), c.want.Sub(s(0)))
		}
	}
	if p := (&Request{}).Pace(s(0), 1000, origin); p != (Pace{}) {
		t.Errorf("without a rate: %+v", p)
	}
}
