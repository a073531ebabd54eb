package origin

import (
	"context"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/announce"
	"headwater/announce/nats"
	"headwater/announce/nats/natstest"
	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// lossy is a bus that loses what it is told while it is down, and knows it.
type lossy struct {
	*announce.Local
	down        atomic.Bool
	subscribers atomic.Int64
}

func (l *lossy) Subscribe(f func(announce.Message)) (cancel func()) {
	defer l.subscribers.Add(1)
	return l.Local.Subscribe(f)
}

func (l *lossy) Announce(m announce.Message) error {
	if l.down.Load() {
		return announce.ErrDropped
	}
	return l.Local.Announce(m)
}

func (l *lossy) Health() error {
	if l.down.Load() {
		return errTest
	}
	return nil
}

// back says, as a bus does that was away, that there is something to look for.
func (l *lossy) back(since time.Time) {
	l.down.Store(false)
	_ = l.Local.Announce(announce.Message{Kind: announce.Missed, Since: since})
}

// TestMissedAnnouncementsAreCaughtUp: once the bus says that something was
// missed, all of it is looked for at once, without anybody asking.
func TestMissedAnnouncementsAreCaughtUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		bus := &lossy{Local: announce.NewLocal()}
		one := newRig(t, Config{Store: st, Bus: bus})
		two := openRig(t, Config{Store: st, Bus: bus})
		synctest.Wait()
		down := time.Now()
		bus.down.Store(true)
		one.putInits("a")
		n := one.next()
		one.putSegment("a", "v", n-1, take{}, 201)
		one.putSegment("a", "v", n, take{}, 201)
		one.want(one.control("POST", "/notifications", `{"type": "x", "id": "1", "from": 1}`), 200, "")
		synctest.Wait()
		if got := two.o.book.Get(testID).Candidates("v", n); len(got) > 0 {
			t.Fatal("the bus brings what it should lose")
		}
		bus.back(down)
		synctest.Wait() // at once: no time passes
		for _, m := range []live.Number{n - 1, n} {
			if got := two.o.book.Get(testID).Candidates("v", m); len(got) != 1 {
				t.Errorf("segment %d is not known: %v", m, got)
			}
		}
		w := two.get("v/init.mp4")
		if two.want(w, 200, ""); w.Header().Get("Live-Notifications") != `1, x;id="1";from=1` || w.Header().Get("Live-Edge") != n.String() {
			t.Errorf("%v", w.Header())
		}
		if got := two.counted("missed_announcements_total"); got != 2 {
			t.Errorf("%v counted as missed", got)
		}
	})
}

// TestUnhealthyBusIsCheckedFor: while announcements do not come, changes are
// found within a second or so.
func TestUnhealthyBusIsCheckedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		bus := &lossy{Local: announce.NewLocal()}
		one := newRig(t, Config{Store: st, Bus: bus})
		two := openRig(t, Config{Store: st, Bus: bus})
		synctest.Wait()
		bus.down.Store(true)
		one.want(one.control("POST", "/notifications", `{"type": "x", "id": "1", "from": 1}`), 200, "")
		time.Sleep(checkVersions + time.Millisecond)
		synctest.Wait()
		if got := two.get("event.json").Header().Get("Live-Notifications"); got != `1, x;id="1";from=1` {
			t.Errorf("%q", got)
		}
	})
}

// TestPublishedEarlyAndUnannounced: whatever the bus does, a hold at another
// node ends within the guard interval of the publication, also where that was
// before its time.
func TestPublishedEarlyAndUnannounced(t *testing.T) {
	bubble(t, func(t *testing.T) {
		counting := storetest.NewFaulty(memory.New(memory.Options{}))
		one := newRig(t, Config{Store: counting, Bus: deaf{announce.NewLocal()}})
		one.putInits("a")
		two := openRig(t, Config{Store: counting, Bus: deaf{announce.NewLocal()}})
		n := one.next() + 1
		until(one.tl.Due(n).Add(37 * time.Millisecond))
		var answers []<-chan *httptest.ResponseRecorder
		for range 100 {
			answers = append(answers, two.ask(t.Context(), "v/"+live.SegmentName(n)))
			answers = append(answers, two.ask(t.Context(), "v/"+live.SegmentName(n-1)))
		}
		until(one.tl.End(n).Add(10 * time.Millisecond))
		one.putSegment("a", "v", n-1, take{}, 201)
		one.putSegment("a", "v", n, take{}, 201)
		published, before := time.Now(), counting.Count(storetest.Scan)
		for _, ch := range answers {
			two.want(<-ch, 200, "")
		}
		if d := time.Since(published); d > two.o.look.Interval {
			t.Errorf("released after %v", d)
		}
		if scans := counting.Count(storetest.Scan) - before; scans > 1 {
			t.Errorf("%d scans for two segments that are waited for", scans)
		}
	})
}

// TestFoundInTheStoreAndAcknowledged: a node answers a PUT with an error although the
// store took it, finds the segment there by itself, and acknowledges the PUT when it is
// made again: then the others hear of it.
//
//	packager   node 1                  store    node 2
//	PUT        stores                  has it
//	           is told that it failed
//	           looks, and finds it
//	PUT again  has it: 200                      hears of it
func TestFoundInTheStoreAndAcknowledged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st, bus := storetest.NewFaulty(memory.New(memory.Options{})), announce.NewLocal()
		one := newRig(t, Config{Store: st, Bus: bus})
		two := openRig(t, Config{Store: st, Bus: bus})
		one.putInits("a")
		n := one.next()
		st.Add(storetest.Fault{Op: storetest.Put, Namespace: store.Media, Nth: 1, Err: store.ErrUnavailable, After: true})
		one.putSegment("a", "v", n, take{}, 503)
		one.want(one.get("v/"+live.SegmentName(n)), 200, "")
		one.putSegment("a", "v", n, take{}, 200)
		synctest.Wait()
		if got := two.o.book.Get(testID).Candidates("v", n); len(got) != 1 {
			t.Errorf("the other node knows %v", got)
		}
	})
}

// late is a store of which one node sees control records only from some time
// on, as it does where another region's writes are on their way.
type late struct {
	store.Store
	from time.Time
}

func (l late) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	if r.Namespace == store.Control && time.Now().Before(l.from) {
		return store.Item{}, store.ErrNotFound
	}
	return l.Store.Get(ctx, r, key)
}

func (l late) Scan(ctx context.Context, r store.Record, opt store.ScanOptions) (store.Page, error) {
	if r.Namespace == store.Control && time.Now().Before(l.from) {
		return store.Page{}, nil
	}
	return l.Store.Scan(ctx, r, opt)
}

// TestAnnouncedBeforeItIsThere: announcements overtake what they tell of. The
// node reads again until the store has it, and then has what was published in
// the meantime, too.
func TestAnnouncedBeforeItIsThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		bus := announce.NewLocal()
		from := time.Now().Add(time.Second)
		one := openRig(t, Config{Store: st, Bus: bus})
		two := openRig(t, Config{Store: late{st, from}, Bus: bus})
		synctest.Wait()
		one.create(testEvent())
		one.putInits("a")
		n := one.next()
		one.putSegment("a", "v", n, take{}, 201)
		one.want(one.control("POST", "/notifications", `{"type": "x", "id": "1", "from": 1}`), 200, "")
		synctest.Wait()
		two.want(two.get("v/init.mp4"), 404, "no-such-tenant")
		time.Sleep(time.Until(from) + time.Second)
		synctest.Wait()
		two.want(two.get("v/init.mp4"), 200, "")
		w := two.want(two.getSegment("v", n), 200, "")
		if got := w.Header().Get("Live-Notifications"); got != `1, x;id="1";from=1` {
			t.Errorf("%q", got)
		}
	})
}

// A pair is two origins over one store, with a bus each over one NATS server.
type pair struct {
	one, two *rig
	server   *natstest.Server
	buses    [2]*nats.Bus
}

// longWait makes an event of which many segments are waited for at once.
func longWait(ev *live.Event) {
	ev.Start = ev.Start.Add(-20 * time.Minute)
	ev.BudgetMS, ev.DVRSeconds = 600_000, 3600
}

// newPair has a guard that looks so often.
func newPair(t *testing.T, guard time.Duration) *pair {
	p := &pair{server: natstest.Start(t)}
	st := memory.New(memory.Options{})
	for i := range p.buses {
		var err error
		if p.buses[i], err = nats.New(nats.Config{Servers: []string{p.server.URL()}}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.buses[i].Close() })
	}
	p.one = newRig(t, Config{Store: st, Bus: p.buses[0]}, longWait)
	p.one.putInits("a")
	// The newest first: what comes later is old, and tells nothing of how late
	// the encoder is.
	p.one.putSegment("a", "v", p.one.next(), take{}, 201)
	p.two = openRig(t, Config{Store: st, Bus: p.buses[1], GuardInterval: guard})
	for _, b := range p.buses {
		for b.Health() != nil {
			time.Sleep(time.Millisecond)
		}
	}
	return p
}

// oldest is the first of the segments that are still waited for, with some to
// spare.
func (p *pair) oldest() live.Number { return p.one.tl.At(time.Now().Add(-550 * time.Second)) }

// TestReadYourWrite: what one node has acknowledged ends a hold at another by the
// announcement, over NATS. Here nobody looks for what is waited for in the store.
func TestReadYourWrite(t *testing.T) {
	p := newPair(t, time.Hour)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // well before the segments are late
	defer cancel()
	first := p.oldest()
	for n := first; n < first+20; n++ {
		held := p.two.ask(ctx, "v/"+live.SegmentName(n))
		for waiting := 0; waiting == 0 && len(held) == 0; waiting, _ = p.two.waiting() {
			runtime.Gosched()
		}
		p.one.putSegment("a", "v", n, take{}, 201)
		if w := <-held; w.Code != 200 || ctx.Err() != nil {
			t.Fatalf("GET of %d: %d %s, %v", n, w.Code, w.Body, ctx.Err())
		}
	}
	// A look of those after a start may come between a segment and its announcement.
	if got := p.two.counted("missed_announcements_total"); got > 2 {
		t.Errorf("%v were found by looking", got)
	}
}

// TestNATSGoesUnderLoad: while segments are published at both nodes and waited
// for at both, the server goes and comes back. Nothing is lost.
func TestNATSGoesUnderLoad(t *testing.T) {
	p := newPair(t, 0)
	first := p.oldest()
	// On a busy machine what is in the DVR window makes room for what is published.
	let := func(r *rig, n live.Number, w *httptest.ResponseRecorder) *httptest.ResponseRecorder {
		for end := time.Now().Add(time.Minute); w.Code == 503 && strings.Contains(w.Body.String(), live.ErrShed.Code) && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
			w = r.getSegment("v", n)
		}
		return w
	}
	const count = 120
	var load sync.WaitGroup
	var down, up sync.WaitGroup
	down.Add(1)
	up.Add(1)
	for lane := range 4 {
		load.Go(func() {
			for i := range count / 4 {
				switch i {
				case 10:
					down.Wait()
				case 20:
					up.Wait()
				}
				n := first + live.Number(lane*count/4+i)
				answers := []<-chan *httptest.ResponseRecorder{p.two.ask(t.Context(), "v/"+live.SegmentName(n)), p.one.ask(t.Context(), "v/"+live.SegmentName(n))}
				publisher := []*rig{p.one, p.two}[lane%2]
				if w := publisher.put("a/v/"+live.SegmentName(n), p.one.m.segment(p.one.tl, "v", n, take{mark: "a"})); w.Code != 201 {
					t.Errorf("PUT of %d: %d %s", n, w.Code, w.Body)
				}
				for k, ch := range answers {
					if w := let([]*rig{p.two, p.one}[k], n, <-ch); w.Code != 200 {
						t.Errorf("GET of %d: %d %s", n, w.Code, w.Body)
					}
				}
			}
		})
	}
	p.server.Stop()
	for p.buses[0].Health() == nil || p.buses[1].Health() == nil {
		time.Sleep(time.Millisecond)
	}
	down.Done()
	p.server.Start()
	for p.buses[0].Health() != nil || p.buses[1].Health() != nil {
		time.Sleep(time.Millisecond)
	}
	up.Done()
	load.Wait()
	for _, r := range []*rig{p.one, p.two} {
		for n := first; n < first+count; n++ {
			r.want(let(r, n, r.getSegment("v", n)), 200, "")
		}
	}
}

// What comes late into the store, as hints do of a region that was cut off, is learnt
// without anybody asking: after a start, and after something was missed.
func TestWhatComesLateIsLearnt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		one := newRig(t, Config{Store: st, Bus: &lossy{Local: announce.NewLocal()}}) // nobody hears it
		one.putInits("a", "b")
		n := one.next()
		bus := &lossy{Local: announce.NewLocal()}
		two := openRig(t, Config{Store: st, Bus: bus})
		two.id = one.id
		learnt := func(n live.Number) int {
			return len(two.o.book.Get(testID).Candidates("v", n))
		}
		synctest.Wait()
		bus.back(time.Now())
		began := time.Now()
		// Each comes some time after, and after the one before.
		for i, wait := range []time.Duration{0, 2 * time.Second, 20 * time.Second, 60 * time.Second} {
			time.Sleep(wait + 100*time.Millisecond)
			one.putSegment("a", "v", n+live.Number(i), take{}, 201)
			if learnt(n+live.Number(i)) != 0 {
				t.Fatal("it was announced")
			}
			time.Sleep(max(2*wait, 2*time.Second)) // as long again as it was quiet
			synctest.Wait()
			if learnt(n+live.Number(i)) != 1 {
				t.Errorf("segment %d, which came %v after the last, is not known after %v", i, wait, time.Since(began))
			}
		}
		// Then it is quiet, and the looks end.
		time.Sleep(5 * time.Minute)
		one.putSegment("a", "v", one.next(), take{}, 201)
		before := two.counted("missed_announcements_total")
		time.Sleep(30 * time.Second)
		if got := two.counted("missed_announcements_total"); got != before || got != 4 {
			t.Errorf("%v were missed, then %v", before, got)
		}
	})
}
