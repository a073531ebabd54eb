package world

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headwater/live"
	"headwater/store/memory"
)

const rendition = "v"

// A world is a plan that is being played.
type world struct {
	plan   Plan
	logs   io.Writer
	began  time.Time
	id     live.EventID
	event  live.Event
	tl     live.Timeline
	medium *medium

	net   *network
	bus   *bus
	store *memory.Store
	weak  *weakness
	zone  *zone // nil: no memcached

	nodes    map[string]*node
	operator *http.Client
	over     atomic.Bool // nothing is started again
	renewed  bool        // the encoders are set up anew; guarded by ledger.mu where viewers look
	disks    map[string]*hardDisk
	twins    map[string]func()
	walls    map[string]*wall // the system's clock of each node

	ledger     *ledger
	story      *story
	violations []Violation // guarded by story.mu
	heap       uint64
	looked     time.Duration // when it is looked for what was acknowledged next
	atAck      map[time.Duration]*struck
	tasks      sync.WaitGroup
	todo       chan func() // for the goroutine that plays
}

// A Result is what came of a plan.
type Result struct {
	Plan       Plan           `json:"plan"`
	Violations []Violation    `json:"violations"`
	Story      []Line         `json:"story"`
	Faults     map[string]int `json:"faults"` // how often each was done
	Counts     map[string]int `json:"counts"`
	Simulated  time.Duration  `json:"simulated"`
	Took       time.Duration  `json:"took"` // by the real clock
	Heap       uint64         `json:"heap"` // bytes that the whole world took at its end
	// Trace is the same for two runs that went the same way, to the nanosecond.
	Trace uint64 `json:"trace"`
}

// Play plays a plan in virtual time. Where logs is not nil nodes write to it.
func Play(p Plan, logs io.Writer) Result {
	r := Result{Plan: p, Faults: map[string]int{}}
	real := time.Now()
	var w *world
	inBubble(func() {
		w = newWorld(p, logs)
		w.play()
		r.Simulated = time.Since(w.began)
	})
	w.ordered()
	r.Heap = w.heap
	if w.zone != nil && w.zone.lied > 0 {
		w.ledger.counts["answers of the memcached with other bytes"] = w.zone.lied
	}
	r.Violations, r.Story, r.Counts, r.Trace = w.violations, w.story.lines, w.ledger.counts, w.ledger.trace
	for _, a := range p.Acts {
		r.Faults[a.Kind]++
	}
	r.Took = time.Since(real)
	return r
}

func newWorld(p Plan, logs io.Writer) *world {
	stream := func(of uint64) *rand.Rand { return rand.New(rand.NewPCG(p.Seed, of)) }
	w := &world{plan: p, logs: logs, began: time.Now(), id: live.EventID{Tenant: "t", Name: "e"}, medium: newMedium(),
		store: memory.New(memory.Options{}), weak: &weakness{rng: stream(2), usual: time.Millisecond},
		net: newNetwork(stream(3), p.Latency), nodes: map[string]*node{}, ledger: newLedger(), todo: make(chan func(), 64),
		disks: map[string]*hardDisk{}, twins: map[string]func(){}, atAck: map[time.Duration]*struck{}, walls: map[string]*wall{}}
	for _, name := range slices.Concat(p.origins(), p.edges(), p.packagers()) {
		w.walls[name] = new(wall)
	}
	if p.Fat {
		w.medium.pad = 5 << 10
	}
	w.bus = newBus(w.net, stream(4))
	w.story = &story{began: w.began}
	w.event = live.Default()
	w.event.Start = w.began.Add(5 * time.Second).UTC()
	w.event.Segment = live.Duration{Ticks: p.Segment.Milliseconds(), Timescale: 1000}
	w.event.OnNewInit = live.NewInitGeneration
	w.event.DVRSeconds = int64(p.DVR / time.Second)
	w.event.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
	w.event.Renditions = []live.Rendition{{Name: rendition, Type: live.Video, Bandwidth: 1_000_000}}
	if p.Gap {
		w.event.OnLost = live.LostGap
	}
	w.tl = w.event.Timeline()
	w.operator = &http.Client{Transport: &http.Transport{DialContext: w.net.dialer("operator")}}
	if p.Disk {
		w.disks["origin1"] = newHardDisk(stream(5))
	}
	for _, name := range p.origins() {
		w.nodes[name] = &node{name: name, start: func() (func(), error) { return w.startOrigin(name) }}
	}
	if p.Cache {
		w.zone = &zone{rng: stream(8)}
		w.nodes[cacheName] = &node{name: cacheName, start: w.startCache}
	}
	for _, name := range p.edges() {
		w.nodes[name] = &node{name: name, start: func() (func(), error) { return w.startEdge(name) }}
	}
	for _, name := range p.packagers() {
		w.nodes[name] = &node{name: name, start: func() (func(), error) {
			return w.startPackager(name, name[len("packager-"):], w.markOf(name[len("packager-"):]))
		}}
	}
	return w
}

func (w *world) play() {
	for _, name := range sorted(w.nodes) {
		w.try(w.nodes[name])
	}
	if err := w.control(context.Background(), "origin1", http.MethodPut, "", w.event, nil); err != nil {
		w.violate(time.Now(), "all is well at the start", "creating the event: %v", err)
	}
	watching, leave := context.WithCancel(context.Background())
	var viewers sync.WaitGroup
	for i, edge := range w.plan.edges() {
		for j := range w.plan.Viewers {
			v := w.newWatcher(fmt.Sprintf("viewer%d%d", i+1, j+1), edge, rand.New(rand.NewPCG(w.plan.Seed, uint64(100+10*i+j))))
			viewers.Go(func() { v.run(watching) })
		}
	}
	w.looked = time.Minute
	for _, s := range w.plan.steps() {
		w.on(watching, s.at)
		w.step(s)
	}
	w.until(w.plan.Length + settling)
	w.agreed(watching)
	// A node need not know of a segment whose announcement was lost unnoticed, and that
	// nobody has asked for. It must as soon as the loss is noticed.
	w.bus.findOut()
	w.until(w.plan.Length + settling + 5*time.Second)
	for _, o := range w.plan.origins() {
		w.nothingLost(watching, o)
	}
	w.bounded()
	w.over.Store(true)
	leave()
	viewers.Wait()
	for _, name := range sorted(w.nodes) {
		w.kill(name)
	}
	w.operator.CloseIdleConnections()
	w.tasks.Wait()
	w.store.Close()
}

// step begins or ends an act.
func (w *world) step(s step) {
	a := w.plan.Acts[s.act]
	k := kindOf(a.Kind)
	do, what := k.begin, ""
	if s.over {
		do, what = k.end, "over: "
	}
	if k.name != rest.name {
		w.story.add("%s%v", what, a)
	}
	do(w, a)
}

// A struck origin is one that an act befalls in the moment in which it acknowledges a
// segment: what it says then must be true then.
type struck struct {
	node string
	do   func()
	done bool
}

// strike does something to a node, or has it be done when it acknowledges next.
func (w *world) strike(a Act, do func()) {
	if a.Amount == 0 || !slices.Contains(w.plan.origins(), a.Node) {
		do()
		return
	}
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	w.atAck[a.At] = &struck{node: a.Node, do: do}
}

// relent undoes it, where it was done.
func (w *world) relent(a Act, undo func()) {
	w.ledger.mu.Lock()
	s := w.atAck[a.At]
	delete(w.atAck, a.At)
	w.ledger.mu.Unlock()
	if s == nil || s.done {
		undo()
	}
}

// acks has the goroutine that plays do what waits for this. Needs ledger.mu.
func (w *world) acks(node string) {
	for _, at := range sorted(w.atAck) {
		if s := w.atAck[at]; s.node == node && !s.done {
			select {
			case w.todo <- func() {
				w.ledger.mu.Lock()
				now := w.atAck[at] == s && !s.done
				if now {
					s.done = true
					w.ledger.counts["faults in the moment of an acknowledgement"]++
				}
				w.ledger.mu.Unlock()
				if now {
					s.do()
				}
			}:
			default:
			}
		}
	}
}

func (w *world) ended() bool { return w.over.Load() }

func kindOf(name string) kind {
	if name == rest.name {
		return rest
	}
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		panic("world: no act is called " + name)
	}
	return kinds[i]
}

// until lets time pass, and does meanwhile what was put off.
func (w *world) until(at time.Duration) {
	for next := time.Since(w.began) + tidyEvery; next < at; next += tidyEvery {
		w.pass(next)
		w.tidy()
	}
	w.pass(at)
}

func (w *world) pass(at time.Duration) {
	t := time.NewTimer(time.Until(w.began.Add(at)))
	defer t.Stop()
	for {
		select {
		case <-t.C:
			return
		case f := <-w.todo:
			f()
		}
	}
}

// after has the goroutine that plays do something later.
func (w *world) after(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		select {
		case w.todo <- f:
		default:
		}
	})
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func sortedNumbers[V any](m map[slot]V) []live.Number {
	var all []live.Number
	for s := range m {
		all = append(all, s.number)
	}
	slices.Sort(all)
	return slices.Compact(all)
}
