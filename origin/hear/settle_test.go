package hear

import (
	"testing"
	"time"
)

func TestSettling(t *testing.T) {
	var s settling
	var pauses []time.Duration
	for i := 0; ; i++ {
		next, over := s.next(i == 3) // the fourth look finds something
		if over {
			break
		}
		pauses, s = append(pauses, time.Duration(next)), next
	}
	want := []time.Duration{1, 2, 4, 1, 2, 4, 8, 16, 32, 64}
	if len(pauses) != len(want) {
		t.Fatalf("%v", pauses)
	}
	for i := range want {
		if pauses[i] != want[i]*time.Second {
			t.Errorf("pause %d: %v, want %v s", i, pauses[i], int(want[i]))
		}
	}
}
