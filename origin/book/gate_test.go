package book

import (
	"testing"
	"time"

	"headwater/live"
	"headwater/store"
)

// TestGatesAreOrdered: of two gates the one with the higher token counts,
// whichever is learnt first.
func TestGatesAreOrdered(t *testing.T) {
	e := known(t, someID)
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	shut := Gate{Token: store.Token{Time: 2}, Since: at(2)}
	open := Gate{Token: store.Token{Time: 3}, Since: at(2), Until: at(3)}
	for i, c := range []struct {
		learn  Gate
		turned bool
		shut   bool
	}{
		{Gate{Token: store.Token{Time: 1}}, false, false},
		{shut, true, true},
		{Gate{Token: store.Token{Time: 1}}, false, true},
		{Gate{Token: store.Token{Time: 2}, Since: at(2), Stored: true}, false, true}, // the same, stored
		{shut, false, true},
		{open, true, false},
		{shut, false, false},
	} {
		got := e.learnGate("v", "a", c.learn)
		g := e.GateOf("v", "a")
		if got.turned != c.turned || g.Shut() != c.shut || g.Stored != (i == 3 || i == 4) {
			t.Errorf("%d: turned %v, %+v", i, got.turned, g)
		}
	}
}

// TestTheSameGateAgain: what each PUT finds in the store, and is known, does not
// go through what was published.
func TestTheSameGateAgain(t *testing.T) {
	e := known(t, someID)
	shut := Gate{Token: store.Token{Time: 2}, Since: time.Unix(2, 0)}
	e.learnGate("v", "a", shut)
	// As no candidate can be that was learnt: it would be marked.
	e.slot("v", 5).candidates = []live.Candidate{{Pipeline: "a", Number: 5, Published: time.Unix(3, 0)}}
	if again := e.learnGate("v", "a", shut); again.turned || len(again.marked) > 0 {
		t.Errorf("%+v", again)
	}
	newer := Gate{Token: store.Token{Time: 3}, Since: time.Unix(2, 0)}
	if got := e.learnGate("v", "a", newer); len(got.marked) != 1 {
		t.Errorf("a newer one: %+v", got)
	}
}

// TestLearntWhileShut: what was published while a pipeline was refused is never
// served, whenever it is heard of, and what came before and after is.
func TestLearntWhileShut(t *testing.T) {
	e := known(t, someID)
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	e.learnGate("v", "a", Gate{Token: store.Token{Time: at(20).UnixNano()}, Since: at(10), Until: at(20)})
	for i, c := range []struct {
		pipeline  string
		published time.Time
		marked    bool
	}{{"a", at(9), false}, {"a", at(10), false}, {"a", at(11), true}, {"b", at(11), false}, {"a", at(20), false}, {"a", at(21), false}} {
		n := live.Number(i + 1)
		e.learn("v", live.Candidate{Pipeline: c.pipeline, Number: n, Published: c.published}, false)
		if got, ok := e.Candidate("v", n, c.pipeline); !ok || got.Findings.Has(live.InitMismatch) != c.marked {
			t.Errorf("%s at %v: %v", c.pipeline, c.published.Unix(), got.Findings)
		}
	}
	if !e.HasInit("v", at(20)) || e.HasInit("v", at(21)) {
		t.Error("an announcement of a refusal is not known to have been followed")
	}
}
