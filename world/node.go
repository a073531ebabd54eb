package world

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/clock"
	"headwater/edge"
	"headwater/edge/front"
	"headwater/origin"
	"headwater/packager"
	"headwater/store/disk"
)

// A node is one machine with one process, which is killed and started again.
type node struct {
	name  string
	start func() (kill func(), err error)

	down int // acts that keep it down
	kill func()
}

// startTimeout is how long each part of a start may take: opening the store, and
// reading it.
const startTimeout = 10 * time.Second

// kill ends a node's process at once, where it runs.
func (w *world) kill(name string) {
	n := w.nodes[name]
	if n.down++; n.kill != nil {
		n.kill()
		n.kill = nil
	}
}

// powerOff ends the whole machine: of its disk what was not synced may be gone, and its
// connections are half open.
func (w *world) powerOff(name string) {
	w.net.power(name, 1)
	w.kill(name)
	if d := w.disks[name]; d != nil {
		d.fail()
	}
}

func (w *world) powerOn(name string) {
	w.net.power(name, -1)
	w.revive(name)
}

// revive starts it again, when nothing keeps it down. A start that fails is tried
// again, as those who look after processes do.
func (w *world) revive(name string) {
	n := w.nodes[name]
	n.down--
	w.try(n)
}

func (w *world) try(n *node) {
	if n.down > 0 || n.kill != nil || w.ended() {
		return
	}
	kill, err := n.start()
	if err != nil {
		w.story.add("%s does not start: %v", n.name, err)
		w.after(time.Second, func() { w.try(n) })
		return
	}
	n.kill = kill
}

// startOrigin starts an origin over the store that all share.
func (w *world) startOrigin(name string) (func(), error) {
	ctx, cancel := context.WithCancel(context.Background())
	// As cmd/headwater makes it.
	clk := clock.New(clock.Config{Wall: w.walls[name].now, Confirm: 2 * time.Second, Log: w.log(name)})
	g, closeStore, err := w.openStore(name, clk)
	if err != nil {
		cancel()
		return nil, err
	}
	cache := w.openCache(name)
	end := w.bus.join(name)
	loading, done := context.WithTimeout(ctx, startTimeout)
	defer done()
	o, err := origin.New(loading, origin.Config{
		Clock: clk, Store: g, Bus: end, Cache: cache, DeliverCache: cache, Region: "east", MemoryBytes: cmp.Or(w.plan.Window, 8<<20), Log: w.log(name), Metrics: prometheus.NewRegistry(),
	})
	closeAll := func() {
		if cache != nil {
			cache.Close()
		}
		closeStore()
	}
	if err != nil {
		cancel()
		end.kill()
		g.kill()
		w.tasks.Go(closeAll)
		return nil, err
	}
	var tasks sync.WaitGroup
	tasks.Go(func() { o.Run(ctx) })
	var servers []*http.Server
	for port, h := range map[string]http.Handler{"7001": w.acknowledged(name, g, o.PublishHandler()), "7002": o.DeliverHandler(), "7003": o.ControlHandler()} {
		srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
		l := w.net.listen(name, port)
		tasks.Go(func() { srv.Serve(l) })
		servers = append(servers, srv)
	}
	return func() {
		g.kill()
		end.kill()
		w.net.down(name)
		w.tasks.Go(func() {
			o.Drain()
			cancel()
			for _, srv := range servers {
				srv.Close()
			}
			tasks.Wait()
			closeAll()
		})
	}, nil
}

// openStore opens the disk of an origin, or the way to what all share.
func (w *world) openStore(name string, clk *clock.Clock) (g *gate, end func(), err error) {
	d := w.disks[name]
	if d == nil {
		return newGate(w.store, w.weak), func() {}, nil
	}
	m := d.mount()
	// Nothing else is done meanwhile: of a disk that is too slow, who looks after
	// processes ends the one that reads it, and starts another.
	slow := time.AfterFunc(startTimeout, m.kill)
	st, err := disk.Open("/data", disk.Options{FS: m, Bucket: max(2*time.Minute, w.plan.DVR/20), FileBytes: 1 << 20, Now: clk.Now, Logger: w.log(name)})
	if !slow.Stop() && err == nil {
		st.Close()
		err = errKilled
	}
	if err != nil {
		m.kill()
		return nil, nil, err
	}
	g = newGate(st, nil)
	g.shut = m.kill
	return g, func() { st.Close() }, nil
}

func (w *world) startEdge(name string) (func(), error) {
	of := clock.OfEdge(w.log(name))
	of.Wall = w.walls[name].now
	cfg := edge.Config{Clock: clock.New(of), Name: name, MemoryBytes: 8 << 20, Dial: w.net.dialer(name), Log: w.log(name), Metrics: prometheus.NewRegistry()}
	for _, o := range w.plan.origins() {
		cfg.Parents = append(cfg.Parents, "http://"+o+":7002")
	}
	ed, err := edge.New(cfg)
	if err != nil {
		return nil, err
	}
	srv := &front.Server{Edge: ed, Linger: 10 * time.Millisecond}
	l := w.net.listen(name, "8080")
	w.tasks.Go(func() { srv.Serve(l) })
	return func() {
		w.net.down(name)
		w.tasks.Go(func() {
			srv.Close()
			ed.Close()
		})
	}, nil
}

func (w *world) startPackager(name, pipeline, mark string) (func(), error) {
	enc := newEncoder(w.medium, w.tl, mark)
	cfg := packager.Config{
		Event: w.id.String(), Pipeline: pipeline, Input: enc, Dial: w.net.dialer(name), Log: w.log(name),
		EventURL: "http://" + w.plan.origins()[0] + ":7002", EventWait: time.Hour,
		Time: packager.NewClock(w.walls["packager-"+pipeline].now, w.log(name)),
	}
	for _, o := range w.plan.origins() {
		cfg.To = append(cfg.To, "http://"+o+":7001")
	}
	if pipeline == "b" { // the other way round
		cfg.To[0], cfg.To[len(cfg.To)-1] = cfg.To[len(cfg.To)-1], cfg.To[0]
	}
	p, err := packager.New(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.tasks.Go(func() {
		if err := p.Run(ctx); err != nil && ctx.Err() == nil {
			w.story.add("%s ends: %v", name, err)
		}
	})
	return func() {
		w.net.down(name)
		cancel()
		enc.Close()
	}, nil
}

// log has what nodes say, for who wants to read it.
func (w *world) log(name string) *slog.Logger {
	if w.logs == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(w.logs, nil)).With("node", name)
}
