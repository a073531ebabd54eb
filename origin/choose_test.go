package origin

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/layout"
	"headwater/origin/window"

	"headwater/announce"
	"headwater/live"
	"headwater/selection"
	"headwater/store"
	"headwater/store/memory"
)

// duo is two nodes of one event, with a bus each that the test can hold up.
type duo struct {
	one, two *rig
	buses    [2]*slowBus
}

// A slowBus brings what its node announces to the other's when it is let.
type slowBus struct {
	*announce.Local
	other *slowBus
	held  bool
	queue []announce.Message
}

func (b *slowBus) Announce(m announce.Message) error {
	_ = b.Local.Announce(m)
	if b.held {
		b.queue = append(b.queue, m)
		return nil
	}
	return b.other.Local.Announce(m)
}

func (b *slowBus) hold() { b.held = true }

func (b *slowBus) release() {
	b.held = false
	for _, m := range b.queue {
		_ = b.other.Local.Announce(m)
	}
	b.queue = nil
}

func newDuo(t *testing.T, edit ...func(*live.Event)) *duo {
	d := &duo{}
	for i := range d.buses {
		d.buses[i] = &slowBus{Local: announce.NewLocal()}
	}
	d.buses[0].other, d.buses[1].other = d.buses[1], d.buses[0]
	st := memory.New(memory.Options{})
	d.one = newRig(t, Config{Store: st, Bus: d.buses[0]}, edit...)
	d.two = openRig(t, Config{Store: st, Bus: d.buses[1]})
	synctest.Wait()
	d.one.putInits("a", "b")
	return d
}

// TestFirstChoiceStands: at the node that made it, at the other, and after what
// would have been preferred came.
func TestFirstChoiceStands(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t)
		n := d.one.next()
		d.one.putSegment("b", "v", n, take{}, 201)
		if w := <-d.one.ask(t.Context(), "v/"+live.SegmentName(n)); served(w) != "b;region=west" {
			t.Fatalf("%s is served", served(w))
		}
		d.two.putSegment("a", "v", n, take{}, 201)
		for _, r := range []*rig{d.one, d.two} {
			if w := r.getSegment("v", n); served(w) != "b;region=west" {
				t.Errorf("then %s is served", served(w))
			}
		}
	})
}

// TestTwoNodesChooseAtOnce forces the interleaving that no rule can rule out:
//
//	node 1                        node 2
//	has a only, serves it         has b only, waits for a in vain
//	                              serves b
//	hears of b and its choice     hears of a and its choice: it was earlier
//	a stays                       a from now on, and counts
func TestTwoNodesChooseAtOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t)
		n := d.one.next()
		d.buses[0].hold()
		d.buses[1].hold()
		d.one.putSegment("a", "v", n, take{}, 201)
		d.two.putSegment("b", "v", n, take{}, 201)
		first, second := d.one.ask(t.Context(), "v/"+live.SegmentName(n)), d.two.ask(t.Context(), "v/"+live.SegmentName(n))
		if w := <-first; served(w) != "a;region=east" {
			t.Fatalf("node 1 serves %s", served(w))
		}
		if w := <-second; served(w) != "b;region=west" {
			t.Fatalf("node 2 serves %s", served(w))
		}
		d.buses[1].release()
		d.buses[0].release()
		for i, r := range []*rig{d.one, d.two} {
			if w := r.getSegment("v", n); served(w) != "a;region=east" {
				t.Errorf("then node %d serves %s", i+1, served(w))
			}
			if got := r.counted("choices_overruled_total"); got != float64(i) {
				t.Errorf("node %d counts %v", i+1, got)
			}
		}
		// Of what both chose alike, or was not served yet, nothing is counted.
		n++
		until(d.one.tl.Expected(n))
		d.one.putSegment("a", "v", n, take{}, 201)
		d.buses[0].hold()
		d.buses[1].hold()
		d.one.getSegment("v", n)
		time.Sleep(time.Millisecond)
		d.two.getSegment("v", n)
		d.buses[1].release()
		d.buses[0].release()
		if got := d.two.counted("choices_overruled_total"); got != 1 {
			t.Errorf("node 2 counts %v", got)
		}
	})
}

// TestPinTravelsWithItsCandidate: a choice that overtakes the announcement of
// what was chosen is served all the same.
func TestPinTravelsWithItsCandidate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t)
		n := d.one.next()
		d.buses[0].hold()
		d.one.putSegment("a", "v", n, take{}, 201)
		d.one.getSegment("v", n)
		d.buses[0].queue = d.buses[0].queue[1:] // what was published is lost
		d.buses[0].release()
		// At once: it need not be looked for in the store.
		if w := answered(d.two.ask(t.Context(), "v/"+live.SegmentName(n))); w == nil || served(w) != "a;region=east" {
			t.Errorf("%v", w)
		}
	})
}

// TestChoiceEndsWait: who waits for the pipeline that served before is answered
// when another node has chosen.
func TestChoiceEndsWait(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("b", "v", n, take{}, 201)
		ch := r.ask(t.Context(), "v/"+live.SegmentName(n))
		if w := answered(ch); w != nil {
			t.Fatalf("%s is served while a may come", served(w))
		}
		c, _ := r.o.book.Get(testID).Candidate("v", n, "b")
		r.o.book.Bus.Announce(announce.Message{Node: "other", Kind: announce.Pinned, Event: testID, Life: r.o.book.Get(testID).Life, Rendition: "v", Candidate: c, Stamp: time.Now().UnixNano(), Version: 1})
		if w := answered(ch); w == nil || served(w) != "b;region=west" {
			t.Errorf("%v", w)
		}
	})
}

// TestChoiceEndsLaterWaits: while a segment waits for the pipeline that served
// before, so does the next one; when the first is decided the second need not
// wait any more.
func TestChoiceEndsLaterWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t)
		r := d.one
		n := r.next()
		r.putSegment("a", "v", n, take{}, 201)
		r.getSegment("v", n)
		until(r.tl.Deadline(n + 1).Add(-time.Second))
		r.putSegment("b", "v", n+1, take{}, 201)
		time.Sleep(100 * time.Millisecond)
		r.putSegment("b", "v", n+2, take{}, 201)
		one, two := r.ask(t.Context(), "v/"+live.SegmentName(n+1)), d.two.ask(t.Context(), "v/"+live.SegmentName(n+2))
		time.Sleep(49 * time.Millisecond)
		if w := answered(two); w != nil {
			t.Fatalf("%s is served while a may come", served(w))
		}
		time.Sleep(2 * time.Millisecond)
		for i, ch := range []<-chan *httptest.ResponseRecorder{one, two} {
			if w := answered(ch); w == nil || served(w) != "b;region=west" {
				t.Errorf("segment n+%d: %v", i+1, w)
			}
		}
	})
}

// TestInvalidationTakesChoiceBack, and so do a flush and a mask; nothing else.
func TestInvalidationTakesChoiceBack(t *testing.T) {
	for name, c := range map[string]struct {
		path, body string
		want       string
	}{
		"invalidation":                  {"/invalidations", `{"from": %d, "to": %[1]d}`, "a;region=east"},
		"invalidation of its pipeline":  {"/invalidations", `{"pipeline": "b", "from": %d}`, "a;region=east"},
		"invalidation of the other's":   {"/invalidations", `{"pipeline": "a", "from": %d}`, "b;region=west"},
		"invalidation of another track": {"/invalidations", `{"rendition": "w", "from": %d}`, "b;region=west"},
		"flush":                         {"/flush?yes=true", ``, "a;region=east"},
		"mask":                          {"/masks", `{"pipeline": "b", "from": %d}`, "a;region=east"},
		"mask of the other":             {"/masks", `{"pipeline": "a", "from": %d}`, "b;region=west"},
		"another change":                {"/notifications", `{"type": "x", "id": "1", "from": %d}`, "b;region=west"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDuo(t)
				n := d.one.next()
				d.one.putSegment("b", "v", n, take{}, 201)
				<-d.one.ask(t.Context(), "v/"+live.SegmentName(n))
				d.one.putSegment("a", "v", n, take{}, 201)
				body := c.body
				if body != "" {
					body = fmt.Sprintf(body, n)
				}
				d.two.want(d.two.control("POST", c.path, body), 200, "")
				synctest.Wait()
				for _, r := range []*rig{d.two, d.one, d.two} {
					if w := r.getSegment("v", n); served(w) != c.want {
						t.Fatalf("%s is served, want %s", served(w), c.want)
					}
					if got := r.counted("choices_overruled_total"); got != 0 {
						t.Fatalf("%v choices count as overruled", got)
					}
				}
			})
		})
	}
}

// TestCondemnedChoiceIsReplacedEverywhere: where one node finds that the bytes
// are not to be had, the others serve what it chose in their place, though they
// have them in memory.
func TestCondemnedChoiceIsReplacedEverywhere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDuo(t)
		n := d.one.next()
		d.one.putSegment("a", "v", n, take{}, 201)
		d.one.putSegment("b", "v", n, take{}, 201)
		if w := d.one.getSegment("v", n); served(w) != "a;region=east" {
			t.Fatal(served(w))
		}
		time.Sleep(time.Millisecond)
		if err := d.two.o.book.Store.DeleteRecord(t.Context(), layout.Media(testID, "v"), d.two.o.book.Tokens.Next()); err != nil {
			t.Fatal(err)
		}
		d.two.putSegment("b", "v", n, take{}, 200) // known as it is, and not stored
		c, _ := d.two.o.book.Get(testID).Candidate("v", n, "b")
		d.two.o.deliver.Window.Put(window.Key{Event: testID, Rendition: "v", Number: n, Pipeline: "b", Digest: c.Digest}, d.two.m.segment(d.two.tl, "v", n, take{mark: "b"}))
		time.Sleep(young)
		for i, r := range []*rig{d.two, d.one} {
			if w := r.getSegment("v", n); served(w) != "b;region=west" {
				t.Errorf("then %d: %d %s is served", i, w.Code, served(w))
			}
		}
	})
}

// TestSeamIsSaid: where one pipeline takes over from another that ended
// elsewhere, what is missing between the two is said of that one segment.
func TestSeamIsSaid(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		// Published as any; what is told of where they lie is the test's.
		off := map[string]int64{"a": 0, "b": 300}
		for m := n; m < n+3; m++ {
			until(r.tl.Expected(m))
			for _, p := range []string{"a", "b"} {
				if m == n+1 && p == "a" {
					continue
				}
				r.putSegment(p, "v", m, take{}, 201)
			}
		}
		synctest.Wait()
		for m := n; m < n+3; m++ {
			start, end := r.tl.Media(m, 1000)
			cs := r.o.book.Get(testID).Candidates("v", m) // as nobody else may: they are shared
			for i := range cs {
				c := &cs[i]
				c.Span = live.Span{Start: start + off[c.Pipeline], End: end + off[c.Pipeline], Timescale: 1000}
			}
		}
		r.want(r.control("POST", "/masks", fmt.Sprintf(`{"pipeline": "b", "from": %d, "to": %[1]d}`, n+2)), 200, "")
		for i, want := range []string{"a;region=east", "b;region=west gap;ms=300", "a;region=east overlap"} {
			for range 2 {
				w := r.want(<-r.ask(t.Context(), "v/"+live.SegmentName(n+live.Number(i))), 200, "")
				if served(w) != want {
					t.Errorf("segment n+%d: %q, want %q", i, served(w), want)
				}
			}
		}
		// It is no reason to look for a better one soon.
		if w := r.getSegment("v", n+1); lifetime(w) < time.Minute {
			t.Errorf("it lasts %v", lifetime(w))
		}
	})
}

// TestLateStandbyServes: b, which always publishes 1.35 s after it is expected,
// is waited for where a is defective, though the decision time is before that.
func TestLateStandbyServes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next() + 1
		for i := range 4 {
			m := n + live.Number(i)
			k := take{}
			if i == 3 {
				k.lose = 15
			}
			if i > 0 {
				until(r.tl.Expected(m - 1).Add(1350 * time.Millisecond))
				r.putSegment("b", "v", m-1, take{}, 201)
			}
			until(r.tl.Expected(m))
			r.putSegment("a", "v", m, k, 201)
		}
		n += 3
		ch := r.ask(t.Context(), "v/"+live.SegmentName(n))
		until(r.tl.Expected(n).Add(1350 * time.Millisecond))
		if w := answered(ch); w != nil {
			t.Fatalf("%s is served at %v", served(w), time.Since(r.tl.Expected(n)))
		}
		r.putSegment("b", "v", n, take{}, 201)
		if w := answered(ch); w == nil || served(w) != "b;region=west" {
			t.Errorf("%v", w)
		}
		// Where it does not come, it is a's after all, a little later.
		n++
		until(r.tl.Expected(n))
		r.putSegment("a", "v", n, take{lose: 15}, 201)
		if w := <-r.ask(t.Context(), "v/"+live.SegmentName(n)); served(w) != "a;region=east short;ms=500" || time.Since(r.tl.Expected(n)).Round(time.Millisecond) != 1450*time.Millisecond {
			t.Errorf("%s after %v", served(w), time.Since(r.tl.Expected(n)))
		}
	})
}

// TestReasonsHaveCounters: each exists at zero.
func TestReasonsHaveCounters(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		for _, reason := range selection.Reasons {
			r.wantMetrics(`decisions_total{event="acme/final",reason="` + string(reason) + `"} 0`)
		}
	})
}

// TestMaskedSegmentsSettleNothing: a pipeline does not come back for segments
// that were masked.
func TestMaskedSegmentsSettleNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		r.want(r.control("POST", "/masks", fmt.Sprintf(`{"pipeline": "a", "from": %d, "to": %d}`, n, n+4)), 200, "")
		for m := n; m <= n+10; m++ {
			until(r.tl.Expected(m))
			r.putSegment("a", "v", m, take{}, 201)
			r.putSegment("b", "v", m, take{}, 201)
			want := "b;region=west"
			if m == n+10 {
				want = "a;region=east"
			}
			if w := r.getSegment("v", m); served(w) != want {
				t.Errorf("segment n+%d: %s is served", m-n, served(w))
			}
		}
	})
}

// lacking is a store that does not have what a pipeline published yet.
type lacking struct {
	store.Store
	pipeline string
}

func (l lacking) Get(ctx context.Context, r store.Record, key string) (store.Item, error) {
	if r.Namespace == store.Media && strings.HasSuffix(key, "/"+l.pipeline) {
		return store.Item{}, store.ErrNotFound
	}
	return l.Store.Get(ctx, r, key)
}

// TestAbsentChoiceStands: a node that does not have the bytes yet serves others,
// and leaves the choice as it is.
func TestAbsentChoiceStands(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		one, two := &slowBus{Local: announce.NewLocal()}, &slowBus{Local: announce.NewLocal()}
		one.other, two.other = two, one
		here := newRig(t, Config{Store: st, Bus: one})
		there := openRig(t, Config{Store: lacking{st, "a"}, Bus: two})
		synctest.Wait()
		here.putInits("a", "b")
		n := here.next()
		here.putSegment("a", "v", n, take{}, 201)
		here.putSegment("b", "v", n, take{}, 201)
		for range 2 {
			if w := here.getSegment("v", n); served(w) != "a;region=east" {
				t.Errorf("%s is served where it is", served(w))
			}
			if w := there.getSegment("v", n); served(w) != "b;region=west" {
				t.Errorf("%s is served where it is not", served(w))
			}
		}
		// What it served in its place is told, too.
		time.Sleep(time.Second)
		if got := here.history("v", n); got != "a preferred; b preferred-missing | serve a pinned" {
			t.Error(got)
		}
	})
}
