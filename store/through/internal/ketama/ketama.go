// Package ketama is consistent hashing as libketama does it: 160 points for
// each server on a ring of 32 bits, taken from MD5. A server that is added or
// removed moves its own share of the keys and no other.
package ketama

import (
	"cmp"
	"crypto/md5"
	"encoding/binary"
	"slices"
	"sort"
	"strconv"
)

// digests is how many MD5 sums a server has on the ring; each makes four points.
const digests = 40

// Ring maps keys to servers. It does not change, and is safe for concurrent use.
type Ring struct {
	points []point
}

type point struct {
	hash   uint32
	server int
}

// New returns the ring of the servers, which are named as all other users of
// the ring name them: the points follow from the names.
func New(servers []string) *Ring {
	r := &Ring{points: make([]point, 0, len(servers)*digests*4)}
	for i, name := range servers {
		for d := range digests {
			sum := md5.Sum([]byte(name + "-" + strconv.Itoa(d)))
			for h := range 4 {
				r.points = append(r.points, point{binary.LittleEndian.Uint32(sum[h*4:]), i})
			}
		}
	}
	// Two servers with a point in common: the order of their names decides, so
	// that the order in which they are listed does not.
	slices.SortFunc(r.points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(servers[a.server], servers[b.server]))
	})
	return r
}

// Server returns the index of the server that key belongs to: that of the first
// point at or after the key's, around the ring. There must be a server.
func (r *Ring) Server(key string) int {
	sum := md5.Sum([]byte(key))
	hash := binary.LittleEndian.Uint32(sum[:])
	i := sort.Search(len(r.points), func(i int) bool { return r.points[i].hash >= hash })
	if i == len(r.points) {
		i = 0
	}
	return r.points[i].server
}
