package main

import (
	"strings"
	"testing"
	"time"

	"headwater/world"
)

// TestPlayedAgain: what is told to be played again is the plan that failed, also when
// some of its seed's has been left out.
func TestPlayedAgain(t *testing.T) {
	p := world.NewPlan(4, 15*time.Minute)
	if got := again(&p); got != "headwater simulate --world --seed 4 --length 15m0s" {
		t.Error(got)
	}
	p.Acts = p.Acts[:1]
	if got := again(&p); !strings.Contains(got, `"seed":4,`) || !strings.Contains(got, p.Acts[0].Kind) || !strings.HasSuffix(got, " --plan /dev/stdin") {
		t.Error(got)
	}
}
