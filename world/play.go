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

	nodes    map[string]*node
	operator *http.Client
	over     atomic.Bool // nothing is started again
	disks    map[string]*hardDisk
	twins    map[string]func()
	walls    map[string]*wall // the system's clock of each node

	ledger     *ledger
	story      *story
	violations []Violation // guarded by story.mu
	heap       uint64
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
		disks: map[string]*hardDisk{}, twins: map[string]func(){}, walls: map[string]*wall{}}
	for _, name := range slices.Concat(p.origins(), p.edges(), p.packagers()) {
		w.walls[name] = new(wall)
	}
	w.bus = newBus(w.net, stream(4))
	w.story = &story{began: w.began}
	w.event = live.Default()
	w.event.Start = w.began.Add(5 * time.Second).UTC()
	w.event.Segment = live.Duration{Ticks: p.Segment.Milliseconds(), Timescale: 1000}
	w.event.DVRSeconds = int64(p.DVR / time.Second)
	w.event.Pipelines = []live.Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
	w.event.Renditions = []live.Rendition{{Name: rendition, Type: live.Video, Bandwidth: 1_000_000}}
	w.tl = w.event.Timeline()
	w.operator = &http.Client{Transport: &http.Transport{DialContext: w.net.dialer("operator")}}
	if p.Disk {
		w.disks["origin1"] = newHardDisk(stream(5))
	}
	for _, name := range p.origins() {
		w.nodes[name] = &node{name: name, start: func() (func(), error) { return w.startOrigin(name) }}
	}
	for _, name := range p.edges() {
		w.nodes[name] = &node{name: name, start: func() (func(), error) { return w.startEdge(name) }}
	}
	for _, name := range p.packagers() {
		w.nodes[name] = &node{name: name, start: func() (func(), error) { return w.startPackager(name, name[len("packager-"):], name[len("packager-"):]) }}
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
	for _, s := range w.plan.steps() {
		w.until(s.at)
		a := w.plan.Acts[s.act]
		k := kindOf(a.Kind)
		if s.over {
			w.story.add("over: %v", a)
			k.end(w, a)
		} else {
			w.story.add("%v", a)
			k.begin(w, a)
		}
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

func (w *world) ended() bool { return w.over.Load() }

func kindOf(name string) kind {
	i := slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })
	if i < 0 {
		panic("world: no act is called " + name)
	}
	return kinds[i]
}

// until lets time pass, and does meanwhile what was put off.
func (w *world) until(at time.Duration) {
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
