package access

import (
	"math/bits"
	"net/netip"
	"time"
)

// A table of failures knows by address how often wrong credentials came lately.
// It is bounded: where it is full, who failed longest ago is forgotten.
type failures struct {
	of map[netip.Addr]*record
}

type record struct {
	count int
	last  time.Time
}

const (
	maxAddresses = 4096
	// forgetAfter is how long an address must be quiet to be taken for a new one.
	forgetAfter = 10 * time.Minute
	// free is how many failures cost nothing: a secret is mistyped, an old one is
	// still in use somewhere.
	free = 3
	// mostDelay is the longest that an answer to wrong credentials takes.
	mostDelay = 2 * time.Second
)

// fail enters a failure. It says how often this address has failed now, how long
// its answer is to be put off, and whether it is worth a line in a log: the
// first, and at each doubling.
func (f *failures) fail(addr netip.Addr, now time.Time) (count int, delay time.Duration, say bool) {
	r := f.of[addr]
	if r != nil && now.Sub(r.last) > forgetAfter {
		r.count = 0
	}
	if r == nil {
		if len(f.of) >= maxAddresses {
			f.evict()
		}
		if f.of == nil {
			f.of = make(map[netip.Addr]*record)
		}
		r = new(record)
		f.of[addr] = r
	}
	r.count++
	r.last = now
	if over := r.count - free; over > 0 {
		delay = min(50*time.Millisecond<<min(over-1, 10), mostDelay)
	}
	return r.count, delay, bits.OnesCount(uint(r.count)) == 1
}

// evict makes room: it forgets who has failed longest ago, of a few as maps give
// them, so that a flood of
// addresses costs the same for each.
func (f *failures) evict() {
	var oldest netip.Addr
	looked := 0
	for addr, r := range f.of {
		if !oldest.IsValid() || r.last.Before(f.of[oldest].last) {
			oldest = addr
		}
		if looked++; looked == 8 {
			break
		}
	}
	delete(f.of, oldest)
}

// AddressOf is what limits go by: an IPv4 address, or an IPv6 /64, which one
// client has all of.
func AddressOf(remote string) netip.Addr {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}
