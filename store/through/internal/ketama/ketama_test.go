package ketama

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

var four = []string{"10.0.1.1:11211", "10.0.1.2:11211", "10.0.1.3:11211", "10.0.1.4:11211"}

// TestPlaces: against an implementation of libketama's ketama_get_server in
// another language, with servers of equal weight.
func TestPlaces(t *testing.T) {
	r := New(four)
	for _, c := range []struct {
		key    string
		server int
	}{{"", 3}, {"a", 2}, {"0", 0}, {"key", 3}, {"1042", 2}, {"hw:e:x", 0}, {"acme/final/v720", 3}} {
		if got := r.Server(c.key); got != c.server {
			t.Errorf("%q is at server %d, want %d", c.key, got, c.server)
		}
	}
	if n := len(r.points); n != 4*160 {
		t.Errorf("%d points, want 160 for each server", n)
	}
	if first, last := r.points[0].hash, r.points[len(r.points)-1].hash; first != 4398564 || last != 4290013132 {
		t.Errorf("points from %d to %d", first, last)
	}
}

// TestShares: each server gets its share, and one that goes moves only its own.
func TestShares(t *testing.T) {
	const keys = 20_000
	for _, n := range []int{2, 3, 5, 10} {
		var servers []string
		for i := range n {
			servers = append(servers, fmt.Sprintf("cache-%d.example:11211", i))
		}
		all := New(servers)
		share := make([]int, n)
		for k := range keys {
			share[all.Server(fmt.Sprint("key-", k))]++
		}
		for i, got := range share {
			if off := math.Abs(float64(got)*float64(n)/keys - 1); off > 0.35 {
				t.Errorf("server %d of %d has %d keys of %d", i, n, got, keys)
			}
		}
		for gone := range n {
			left := slices.Delete(slices.Clone(servers), gone, gone+1)
			fewer := New(left)
			moved := 0
			for k := range keys / 4 {
				key := fmt.Sprint("key-", k)
				was, is := servers[all.Server(key)], left[fewer.Server(key)]
				if was == servers[gone] {
					moved++
				} else if was != is {
					t.Fatalf("%q moves from %s to %s, because %s goes", key, was, is, servers[gone])
				}
			}
			if moved == 0 {
				t.Errorf("nothing was at %s", servers[gone])
			}
		}
	}
}

// TestOrderDoesNotMatter: nodes may list the servers as they like.
func TestOrderDoesNotMatter(t *testing.T) {
	other := slices.Clone(four)
	slices.Reverse(other)
	a, b := New(four), New(other)
	for k := range 1000 {
		if key := fmt.Sprint(k); four[a.Server(key)] != other[b.Server(key)] {
			t.Fatalf("%q is in two places", key)
		}
	}
}
