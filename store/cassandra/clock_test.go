package cassandra_test

import (
	"testing"
	"time"

	"headwater/store"
)

// TestNodesTellTheTime: each node is asked now and then, and tells what its clock says.
func TestNodesTellTheTime(t *testing.T) {
	s := open(t, inCommon(t))
	defer s.Close()
	timer := store.TimerOf(s)
	told := make(map[string]int)
	for range 12 {
		asked := time.Now()
		node, at, err := timer.Time(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// It is of this machine's clock, in milliseconds.
		if at.Before(asked.Add(-time.Millisecond)) || at.After(time.Now()) {
			t.Errorf("node %s says %v, asked at %v", node, at, asked)
		}
		told[node]++
	}
	if len(told) != 3 {
		t.Errorf("of three nodes these were asked: %v", told)
	}
}
