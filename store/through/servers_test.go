package through

import (
	"strconv"
	"testing"

	"headwater/store/through/memcachedtest"
)

// twoZones starts two zones of two servers.
func twoZones(t testing.TB) ([]Zone, []*memcachedtest.Server) {
	t.Helper()
	var zones []Zone
	var all []*memcachedtest.Server
	for i := range 2 {
		z := Zone{Name: "zone-" + strconv.Itoa(i)}
		for range 2 {
			m := memcachedtest.New(t)
			all = append(all, m)
			z.Servers = append(z.Servers, m.Addr)
		}
		zones = append(zones, z)
	}
	return zones, all
}
