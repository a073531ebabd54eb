package world

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// What operators tell viewers is a set of notifications, by their ids. Edits at one
// origin are one after the other: each answer has the set as it was then, and the
// history is linearizable. Of several origins none waits for another: of two edits at
// once neither answer need have the other. But what was answered before an edit was
// made is in its answer, and in the end all have the same.

// A change is one edit: a notification with a content, in place of one of its id.
type change struct{ id, data string }

// An outcome is what it was answered: the set as it was then; unknown where there was
// no answer, so that it may have been done, at any time, or not.
type outcome struct {
	sequence int64
	set      map[string]string
	unknown  bool
}

// told is what the model knows: the set, and how often it was changed at least.
type told struct {
	sequence int64
	set      string
}

var notifications = porcupine.NondeterministicModel{
	Init: func() []any { return []any{told{}} },
	Step: func(state, in, out any) []any {
		s, c, o := state.(told), in.(change), out.(outcome)
		set := parsed(s.set)
		set[c.id] = c.data
		if o.unknown {
			return []any{s, told{s.sequence + 1, printed(set)}}
		}
		// What nobody was answered may have been counted more than once.
		if printed(o.set) != printed(set) || o.sequence <= s.sequence {
			return nil
		}
		return []any{told{o.sequence, printed(set)}}
	},
}

func printed(set map[string]string) string {
	var all []string
	for _, id := range sorted(set) {
		all = append(all, id+"="+set[id])
	}
	return strings.Join(all, " ")
}

func parsed(set string) map[string]string {
	m := map[string]string{}
	for _, one := range strings.Fields(set) {
		id, data, _ := strings.Cut(one, "=")
		m[id] = data
	}
	return m
}

type notificationSet struct {
	Sequence      int64
	Notifications []struct{ ID, Data string }
}

func (n *notificationSet) set() map[string]string {
	m := map[string]string{}
	for _, x := range n.Notifications {
		b, _ := base64.StdEncoding.DecodeString(x.Data)
		m[x.ID] = string(b)
	}
	return m
}

// notify has several operators tell viewers something, at several nodes: at once, or each
// as soon as the one before was answered.
func (w *world) notify(a Act) {
	if a.Amount%2 == 0 {
		w.tasks.Go(func() {
			for i := range a.Amount {
				w.notifyAt(a, i)
			}
		})
		return
	}
	for i := range a.Amount {
		w.tasks.Go(func() { w.notifyAt(a, i) })
	}
}

// notifyAt is the edit of one of them.
func (w *world) notifyAt(a Act, i int) {
	origin := w.plan.origins()[i%w.plan.Origins]
	c := change{fmt.Sprintf("n%d", (a.At.Milliseconds()+int64(i))%20), fmt.Sprintf("%d-%d", a.At.Milliseconds(), i)}
	var out notificationSet
	from := time.Since(w.began)
	body := map[string]any{"type": "note", "id": c.id, "from": w.tl.First(), "to": w.tl.First() + 1_000_000, "data": []byte(c.data)}
	err := w.control(context.Background(), origin, http.MethodPost, "/notifications", body, &out)
	o, to := outcome{sequence: out.Sequence, set: out.set(), unknown: err != nil}, time.Since(w.began)
	if err != nil {
		w.story.add("%v: %v", c, err)
		to = 1 << 62 // it may still be done
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	w.ledger.edits = append(w.ledger.edits, porcupine.Operation{ClientId: len(w.ledger.edits), Input: c, Call: int64(from), Output: o, Return: int64(to)})
	w.ledger.counts[map[bool]string{false: "edits answered", true: "edits without an answer"}[err != nil]]++
}

// agreed holds what origins say at the end against each other and what was answered.
func (w *world) agreed(ctx context.Context) {
	var first string
	for i, origin := range w.plan.origins() {
		var out notificationSet
		if err := w.control(ctx, origin, http.MethodGet, "/notifications", nil, &out); err != nil {
			w.violate(time.Now(), "all is well", "%s: %v", origin, err)
			continue
		}
		now := fmt.Sprint(out.Sequence, " ", printed(out.set()))
		if i == 0 {
			first = now
		} else if now != first {
			w.violate(time.Now(), "origins come to agree on edits", "%s says %s, origin1 %s", origin, now, first)
		}
	}
}

// ordered holds the history of edits against what is promised. It is done when the
// world is over, by the real clock.
func (w *world) ordered() {
	history := w.ledger.edits
	if w.plan.Origins == 1 {
		switch porcupine.CheckOperationsTimeout(notifications.ToModel(), history, 5*time.Second) {
		case porcupine.Illegal:
			w.violate(w.began, "edits at one node are one after the other", "%s", w.edits())
		case porcupine.Unknown:
			w.ledger.counts["histories of edits that were too long to decide"]++
		default:
			w.ledger.counts["histories of edits that are linearizable"]++
		}
		return
	}
	for _, b := range history {
		o := b.Output.(outcome)
		if o.unknown {
			continue
		}
		for _, a := range history {
			c := a.Input.(change)
			if a.Return >= b.Call || w.replaced(c, b.Return) {
				continue
			}
			if o.set[c.id] != c.data {
				w.violate(w.began.Add(time.Duration(b.Return)), "what was answered before an edit is in its answer", "%v was answered at %v, and is not in that of %v, which was asked at %v",
					c, time.Duration(a.Return), b.Input, time.Duration(b.Call))
			}
		}
	}
}

// replaced reports whether another edit of the same notification may have come, up to
// some time.
func (w *world) replaced(c change, until int64) bool {
	return slices.ContainsFunc(w.ledger.edits, func(op porcupine.Operation) bool {
		other := op.Input.(change)
		return other.id == c.id && other.data != c.data && op.Call < until
	})
}

// edits are the last ones, to be told.
func (w *world) edits() string {
	var said []string
	for _, op := range w.ledger.edits[max(0, len(w.ledger.edits)-12):] {
		o := op.Output.(outcome)
		said = append(said, fmt.Sprintf("%v asked %v answered %v: %d %s", op.Input, time.Duration(op.Call), time.Duration(op.Return), o.sequence, printed(o.set)))
	}
	return strings.Join(said, "; ")
}
