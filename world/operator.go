package world

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"headwater/live"
)

// Operators edit the event while anything else goes on. Each edit is made by a task
// of its own; what it was answered is written down (see history.go).

// scope is what masks and invalidations are of: a pipeline's from a number on.
type scope struct {
	ID       string      `json:"id,omitempty"`
	Pipeline string      `json:"pipeline,omitempty"`
	From     live.Number `json:"from"`
	To       live.Number `json:"to,omitempty"`
}

func (w *world) edge() live.Number { return max(w.tl.At(time.Now()), w.tl.First()) }

// named says that until some time from now on numbers may be other bytes than before,
// by what an operator did.
func (w *world) named(more time.Duration) {
	l := w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := time.Now().Add(more); t.After(l.named) {
		l.named = t
	}
	clear(l.served)
}

// edit makes an edit until it is done, as an operator does whose first try failed: at
// one origin after the other.
func (w *world) edit(origin, method, path string, body any, done func()) {
	names := w.plan.origins()
	first := slices.Index(names, origin)
	w.tasks.Go(func() {
		for try := 0; try < 30 && !w.ended(); try++ {
			err := w.control(context.Background(), names[(first+try)%len(names)], method, path, body, nil)
			if err == nil {
				break
			}
			if try == 0 {
				w.story.add("%v", err)
			}
			time.Sleep(2 * time.Second)
		}
		done()
	})
}

// anew: numbers may still be other bytes for a moment.
func (w *world) anew() { w.named(recovery) }

// configure changes what viewers need not notice.
func (w *world) configure(a Act) {
	e := w.event
	e.LiveWindowSeconds, e.PatienceMS, e.SettleSegments = 20+int64(a.Amount%40), int64(a.Amount%300), 1+int64(a.Amount%9)
	w.edit(a.Node, http.MethodPut, "", e, func() {})
}

// mask takes the newest and the coming segments of a pipeline out.
func (w *world) mask(a Act) {
	w.named(a.For + 90*time.Second)
	w.edit(a.Node, http.MethodPost, "/masks?yes=true", scope{ID: maskID(a), Pipeline: a.Other, From: max(w.edge()-3, w.tl.First()), To: w.edge() + 20}, w.anew)
}

func (w *world) unmask(a Act) {
	w.named(90 * time.Second)
	w.edit(a.Node, http.MethodDelete, "/masks/"+maskID(a), nil, w.anew)
}

func maskID(a Act) string { return fmt.Sprintf("m%d", a.At.Milliseconds()) }

func (w *world) invalidate(a Act) {
	w.named(90 * time.Second)
	w.edit(a.Node, http.MethodPost, "/invalidations", scope{From: max(w.edge()-5, w.tl.First()), To: w.edge()}, w.anew)
}

func (w *world) flush(a Act) {
	w.named(90 * time.Second)
	w.edit(a.Node, http.MethodPost, "/flush?yes=true", nil, w.anew)
}

// storm has many viewers come at once who ask for the newest numbers and leave.
func (w *world) storm(a Act) {
	for i := range a.Amount {
		rng := rand.New(rand.NewPCG(w.plan.Seed, uint64(a.At)+uint64(i)))
		v := w.newWatcher(fmt.Sprintf("guest%d", i+1), a.Node, rng)
		w.tasks.Go(func() {
			defer v.client.CloseIdleConnections()
			ctx, cancel := context.WithTimeout(context.Background(), a.For+time.Second)
			defer cancel()
			for range 3 {
				if n := w.edge() - live.Number(rng.IntN(3)); n >= w.tl.First() && !w.ended() {
					v.ask(ctx, n)
				}
			}
		})
	}
}

// renew has both encoders be set up anew, one moment after the other: with them a generation
// begins. It happens once in a world.
func (w *world) renew() {
	if w.renewed {
		return
	}
	w.ledger.mu.Lock()
	w.renewed = true
	w.ledger.mu.Unlock()
	for _, name := range w.plan.packagers() {
		w.kill(name)
		w.revive(name)
	}
}

// marks are those of all encoders that there may be.
func (w *world) marks() []string {
	all := []string{"a", "b", "a2", "b2"}
	if w.renewed {
		for _, mark := range all {
			all = append(all, mark+renewed)
		}
	}
	return all
}

// markOf is that of a pipeline's encoder, as it is set up now.
func (w *world) markOf(mark string) string {
	if w.renewed {
		mark += renewed
	}
	return mark
}

// twin starts another packager of the same pipeline, by mistake: of the same encoder,
// or of another.
func (w *world) twin(a Act) {
	name := fmt.Sprintf("twin%d", a.At.Milliseconds())
	mark := a.Node[len("packager-"):]
	if a.Amount == 1 {
		mark += "2"
	}
	kill, err := w.startPackager(name, a.Node[len("packager-"):], w.markOf(mark))
	if err != nil {
		w.story.add("the twin does not start: %v", err)
		return
	}
	w.twins[name] = kill
}

func (w *world) endTwin(a Act) {
	name := fmt.Sprintf("twin%d", a.At.Milliseconds())
	if kill := w.twins[name]; kill != nil {
		kill()
		delete(w.twins, name)
	}
}
