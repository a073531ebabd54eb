package book

import (
	"testing"
	"time"

	"headwater/live"
)

// Whichever comes first, word that a segment is stored or its delivery ahead of the
// store: it is not ahead then, and news once.
func TestAheadUntilItIsStored(t *testing.T) {
	g, e := &Book{}, known(t, someID)
	c := live.Candidate{Pipeline: "a", Number: 1, Published: time.Unix(9, 0)}
	if !g.LearnAhead(e, "v", c) || !e.Ahead("v", 1, "a") || g.LearnAhead(e, "v", c) || e.Ahead("v", 1, "b") {
		t.Error("it is not ahead, once and of its pipeline")
	}
	if g.Learn(e, "v", c) || e.Ahead("v", 1, "a") {
		t.Error("it is ahead when it is stored")
	}
	c.Published = time.Unix(10, 0)
	if g.LearnAhead(e, "v", c) || e.Ahead("v", 1, "a") {
		t.Error("it is ahead after it was stored")
	}
}
