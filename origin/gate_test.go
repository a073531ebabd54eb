package origin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/origin/book"
	"headwater/origin/layout"

	"headwater/announce"
	"headwater/live"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// refused is what the control API says of pipelines whose init segment was
// refused, as PIPELINE/RENDITION.
func (r *rig) refused() string {
	r.Helper()
	var d struct {
		Refused []book.RefusedInit `json:"refused_inits"`
	}
	w := r.want(r.control("GET", "", ""), 200, "")
	if err := json.Unmarshal(w.Body.Bytes(), &d); err != nil {
		r.Fatal(err)
	}
	var out []string
	for _, x := range d.Refused {
		if x.Since.IsZero() || x.Why == "" {
			r.Errorf("%+v says too little", x)
		}
		out = append(out, x.Pipeline+"/"+x.Rendition)
	}
	return strings.Join(out, " ")
}

func (r *rig) wantRefused(want string) {
	r.Helper()
	if got := r.refused(); got != want {
		r.Errorf("refused: %q, want %q", got, want)
	}
}

// putInit publishes pipeline a's init segment of v: the one of another
// rendition does not fit.
func (r *rig) putInit(of string) *httptest.ResponseRecorder {
	return r.put("a/v/init.mp4", r.m.inits[of])
}

// refuseInit has pipeline a's encoder change its picture.
func (r *rig) refuseInit() {
	r.Helper()
	r.want(r.putInit("w"), 412, "init-differs")
}

// TestRefusedInit: from the refusal of its init segment on a pipeline publishes
// nothing of that rendition, until one fits.
func TestRefusedInit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("a", "v", n-1, take{}, 201)
		since := time.Now()
		time.Sleep(10 * time.Millisecond)
		r.refuseInit()
		time.Sleep(10 * time.Millisecond)

		w := r.putSegment("a", "v", n, take{}, 412)
		p := problemOf(w)
		if p.Code != "init-differs" || !strings.Contains(p.Detail, "since "+since.Add(10*time.Millisecond).UTC().Format(live.TimeLayout)) || !strings.Contains(p.Detail, "codecs") {
			t.Errorf("%s: %q", p.Code, p.Detail)
		}
		r.putSegment("a", "w", n, take{}, 201) // another rendition
		r.putSegment("b", "v", n, take{}, 201) // another pipeline
		if w := r.want(r.getSegment("v", n-1), 200, ""); w.Header().Get("Live-Pipeline") != "a;region=east" {
			t.Errorf("what a published before is gone: %v", w.Header())
		}
		if w := r.want(r.getSegment("v", n), 200, ""); w.Header().Get("Live-Pipeline") != "b;region=west" {
			t.Errorf("%v", w.Header())
		}
		r.wantRefused("a/v")
		// What GET gave can be PUT back.
		r.want(r.control("PUT", "", r.control("GET", "", "").Body.String()), 200, "")

		// Refused again: it is still since the first time.
		time.Sleep(time.Second)
		r.want(r.putInit("a"), 412, "init-differs")
		if again := problemOf(r.putSegment("a", "v", n, take{}, 412)); !strings.Contains(again.Detail, since.Add(10*time.Millisecond).UTC().Format(live.TimeLayout)) || !strings.Contains(again.Detail, "audio") {
			t.Errorf("%q", again.Detail)
		}

		for _, in := range []struct {
			name string
			init []byte
			want int
		}{{"the same as before", r.m.inits["v"], 200}, {"another that fits", r.m.another("v"), 200}} {
			time.Sleep(time.Millisecond)
			r.refuseInit()
			r.putSegment("a", "v", n, take{}, 412)
			r.want(r.put("a/v/init.mp4", in.init), in.want, "")
			r.wantRefused("")
			r.putSegment("a", "v", n, take{mark: in.name}, map[string]int{"the same as before": 201, "another that fits": 409}[in.name])
		}
	})
}

// TestWhatShutsTheGate: every init segment that came whole and does not fit,
// but nothing that was broken on its way, and only where it was meant for.
func TestWhatShutsTheGate(t *testing.T) {
	for _, c := range []struct {
		name     string
		pipeline string
		put      func(r *rig, path string) *httptest.ResponseRecorder
		status   int
		after    string // of a segment of the pipeline that follows; "" for taken
	}{
		{"another timescale", "b", func(r *rig, p string) *httptest.ResponseRecorder { return r.put(p, r.m.otherTimescale("v")) }, 412, "init-differs"},
		{"another type", "a", func(r *rig, p string) *httptest.ResponseRecorder { return r.put(p, r.m.inits["a"]) }, 412, "init-differs"},
		{"the first of its pipeline", "c", func(r *rig, p string) *httptest.ResponseRecorder { return r.put(p, r.m.inits["w"]) }, 412, "init-differs"},
		{"no init segment at all", "a", func(r *rig, p string) *httptest.ResponseRecorder { return r.put(p, progressive()) }, 415, "init-differs"},
		{"broken boxes", "a", func(r *rig, p string) *httptest.ResponseRecorder {
			return r.put(p, r.m.inits["v"][:len(r.m.inits["v"])-9])
		}, 400, "init-differs"},
		{"one that fits", "a", func(r *rig, p string) *httptest.ResponseRecorder { return r.put(p, r.m.another("v")) }, 200, ""},
		{"changed on the way", "a", func(r *rig, p string) *httptest.ResponseRecorder {
			return r.put(p, r.m.inits["w"], "Content-Digest", live.DigestOf(nil).String())
		}, 400, ""},
		{"ended early", "a", func(r *rig, p string) *httptest.ResponseRecorder {
			return serve(r.pub, request("PUT", "/"+r.id.String()+"/"+p, io.MultiReader(bytes.NewReader(r.m.inits["w"][:100]), failing{})))
		}, 400, ""},
		{"empty", "a", func(r *rig, p string) *httptest.ResponseRecorder { return r.put(p, nil) }, 400, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				r := newRig(t, Config{}, func(ev *live.Event) { ev.Pipelines = append(ev.Pipelines, live.Pipeline{Name: "c"}) })
				r.putInits("a", "b")
				r.want(c.put(r, c.pipeline+"/v/init.mp4"), c.status, "")
				w := r.put(c.pipeline+"/v/"+live.SegmentName(r.next()), r.m.segment(r.tl, "v", r.next(), take{}))
				if p := problemOf(w); p.Code != c.after {
					t.Errorf("the segment after it: %d %s %q", w.Code, p.Code, p.Detail)
				}
			})
		})
	}
}

// TestRefusedInitIsDurable: a 412 is answered when the refusal survives a
// restart. Until the store takes it there is none, but the refusal holds.
func TestRefusedInitIsDurable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		faulty := storetest.NewFaulty(st)
		r := newRig(t, Config{Store: faulty})
		r.putInits("a")
		faulty.Add(storetest.Fault{Op: storetest.Put, Namespace: store.Control, Err: store.ErrUnavailable})
		r.want(r.putInit("w"), 503, "not-stored")
		r.putSegment("a", "v", r.next(), take{}, 412)
		r.wantRefused("a/v")
		openRig(t, Config{Store: st}).wantRefused("") // nobody promised

		// The next segment that is refused brings it to the store.
		faulty.Clear()
		r.putSegment("a", "v", r.next(), take{}, 412)
		again := openRig(t, Config{Store: st})
		again.wantRefused("a/v")
		again.putSegment("a", "v", r.next(), take{}, 412)

		// What lifts it is durable too, or does not lift it.
		faulty.Add(storetest.Fault{Op: storetest.Put, Namespace: store.Control, Err: store.ErrUnavailable})
		r.want(r.putInit("v"), 503, "not-stored")
		r.putSegment("a", "v", r.next(), take{}, 412)
		faulty.Clear()
		r.want(r.putInit("v"), 200, "")
		r.putSegment("a", "v", r.next(), take{}, 201)
		openRig(t, Config{Store: st}).wantRefused("")
	})
}

// TestRefusedInitOnEveryNode: whether it was announced or not, no node takes
// what another's refusal forbids, nor refuses what another takes again.
func TestRefusedInitOnEveryNode(t *testing.T) {
	for _, c := range []struct {
		name string
		bus  announce.Bus
	}{{"announced", announce.NewLocal()}, {"not announced", deaf{announce.NewLocal()}}} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				st := memory.New(memory.Options{})
				one := newRig(t, Config{Store: st, Bus: c.bus})
				one.putInits("a")
				two := openRig(t, Config{Store: st, Bus: c.bus})
				synctest.Wait()
				n := one.next()
				one.refuseInit()
				synctest.Wait()
				if c.name == "announced" {
					two.wantRefused("a/v") // without having been asked for anything
				}
				two.putSegment("a", "v", n, take{}, 412)
				two.wantRefused("a/v")
				two.want(two.putInit("v"), 200, "")
				synctest.Wait()
				if c.name == "announced" {
					one.wantRefused("")
				}
				one.putSegment("a", "v", n, take{}, 201)
				one.wantRefused("")
			})
		})
	}
}

// TestGateOfAnUnreachableStore: a node that cannot look goes on with what it
// knows, at once enough, and counts it.
func TestGateOfAnUnreachableStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: faulty, Bus: deaf{announce.NewLocal()}})
		r.putInits("a")
		faulty.Add(storetest.Fault{Op: storetest.Scan, Namespace: store.Control, Err: store.ErrUnavailable})
		r.putSegment("a", "v", r.next(), take{}, 201)
		if got := r.counted("init_looks_failed_total"); got != 1 {
			t.Errorf("%v looks failed", got)
		}
	})
}

// slow is a body that arrives in two parts, the second when it is told.
type slow struct {
	*rig
	pipe *io.PipeWriter
	rest []byte
	done <-chan *httptest.ResponseRecorder
}

// begin PUTs pipeline a's init segment of v, of which only a part comes yet.
func (r *rig) begin(of string) *slow {
	b := r.m.inits[of]
	body, pipe := io.Pipe()
	ch := make(chan *httptest.ResponseRecorder, 1)
	go func() { ch <- serve(r.pub, request("PUT", "/"+r.id.String()+"/a/v/init.mp4", body)) }()
	if _, err := pipe.Write(b[:10]); err != nil { // it has arrived
		r.Fatal(err)
	}
	time.Sleep(time.Millisecond)
	return &slow{r, pipe, b[10:], ch}
}

// end sends the rest.
func (s *slow) end() *httptest.ResponseRecorder {
	s.pipe.Write(s.rest)
	s.pipe.Close()
	return <-s.done
}

// TestInitsOvertakeEachOther: what arrived last counts, at one node and at two,
// whatever ended last.
func TestInitsOvertakeEachOther(t *testing.T) {
	for _, nodes := range []string{"one node", "two nodes"} {
		t.Run(nodes, func(t *testing.T) {
			rigs := func(t *testing.T) (one, two *rig) {
				st, bus := memory.New(memory.Options{}), deaf{announce.NewLocal()}
				one = newRig(t, Config{Store: st, Bus: bus})
				one.putInits("a")
				if two = one; nodes == "two nodes" {
					two = openRig(t, Config{Store: st, Bus: bus})
				}
				return one, two
			}
			t.Run("a refused one by one that fits", func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					one, two := rigs(t)
					unfit := one.begin("w")
					two.want(two.putInit("v"), 200, "")
					one.want(unfit.end(), 412, "init-differs")
					one.wantRefused("")
					one.putSegment("a", "v", one.next(), take{}, 201)
					two.putSegment("a", "v", one.next()-1, take{}, 201)
				})
			})
			t.Run("one that fits by a refused one", func(t *testing.T) {
				bubble(t, func(t *testing.T) {
					one, two := rigs(t)
					fit := one.begin("v")
					two.refuseInit()
					if p := problemOf(one.want(fit.end(), 412, "init-differs")); !strings.Contains(p.Detail, "PUT it again") {
						t.Errorf("%q", p.Detail)
					}
					for _, r := range []*rig{one, two} {
						r.putSegment("a", "v", r.next(), take{}, 412)
					}
					one.want(one.putInit("v"), 200, "")
					two.putSegment("a", "v", one.next(), take{}, 201)
				})
			})
		})
	}
}

// barred is a store that waits before or after it stores a segment.
type barred struct {
	store.Store
	before, after chan struct{}
}

func (b *barred) Put(ctx context.Context, r store.Record, item store.Item) error {
	if r.Namespace == store.Media && b.before != nil {
		<-b.before
	}
	err := b.Store.Put(ctx, r, item)
	if r.Namespace == store.Media && b.after != nil {
		<-b.after
	}
	return err
}

// publishing PUTs pipeline a's segment of v beside the test.
func (r *rig) publishing(n live.Number) <-chan *httptest.ResponseRecorder {
	ch := make(chan *httptest.ResponseRecorder, 1)
	body := r.m.segment(r.tl, "v", n, take{mark: "a"})
	go func() { ch <- r.put("a/v/"+live.SegmentName(n), body) }()
	synctest.Wait()
	return ch
}

// TestRefusedWhileASegmentIsStored: a segment that was inspected before its
// pipeline's init segment was refused, and is durable only afterwards, is not
// published, not there after a restart either, and leaves no trace.
func TestRefusedWhileASegmentIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := &barred{Store: memory.New(memory.Options{}), before: make(chan struct{})}
		r := newRig(t, Config{Store: b})
		r.putInits("a", "b")
		n := r.next()
		ch := r.publishing(n)
		r.refuseInit()
		close(b.before)
		r.want(<-ch, 412, "init-differs")
		b.before = nil
		for _, x := range []*rig{r, openRig(t, Config{Store: b.Store})} {
			if got := x.o.book.Get(testID).Candidates("v", n); len(got) > 0 {
				t.Errorf("it is a candidate: %v", got)
			}
		}
		if _, err := b.Store.Get(t.Context(), layout.Media(testID, "v"), layout.SegmentKey(n, "a")); err == nil {
			t.Error("it is still in the store")
		}
		r.want(r.putInit("v"), 200, "")
		r.putSegment("a", "v", n, take{}, 201) // its number is free
	})
}

// TestRefusedAtAnotherNodeWhileASegmentIsStored: a node that cannot know yet
// takes the segment; once any node knows, nobody is given it, there and after
// a restart.
func TestRefusedAtAnotherNodeWhileASegmentIsStored(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st, bus := memory.New(memory.Options{}), deaf{announce.NewLocal()}
		one := newRig(t, Config{Store: st, Bus: bus})
		one.putInits("a", "b")
		b := &barred{Store: st, before: make(chan struct{})}
		two := openRig(t, Config{Store: b, Bus: bus})
		n := one.next()
		ch := two.publishing(n)
		one.refuseInit()
		time.Sleep(time.Millisecond)
		close(b.before)
		two.want(<-ch, 201, "")
		time.Sleep(time.Millisecond)
		two.putSegment("a", "v", n+1, take{}, 412) // by which it knows
		one.putSegment("b", "v", n, take{}, 201)
		three := openRig(t, Config{Store: st, Bus: bus})
		for i, r := range []*rig{one, two, three} {
			r.o.look.Around(t.Context(), r.o.book.Get(testID), "v", n, n, 0)
			w := r.want(r.getSegment("v", n), 200, "")
			if w.Header().Get("Live-Pipeline") != "b;region=west" {
				t.Errorf("node %d: %v", i, w.Header())
			}
			if c, ok := r.o.book.Get(testID).Candidate("v", n, "a"); r == two && !c.Findings.Has(live.InitMismatch) || r != two && ok {
				t.Errorf("node %d: %v %v", i, ok, c.Findings)
			}
		}
	})
}

// TestGateEndsWithItsEvent: an event of the same name begins without what was
// refused of the one before.
func TestGateEndsWithItsEvent(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.putInits("a")
		r.refuseInit()
		r.want(r.control("DELETE", "?yes=true", ""), 204, "")
		r.create(testEvent())
		r.wantRefused("")
		openRig(t, Config{Store: st}).wantRefused("")
		r.putInits("a")
		r.putSegment("a", "v", r.next(), take{}, 201)
	})
}

// TestAnotherClockIsAhead: an init segment that fits lifts a refusal that
// another node's clock puts into the future: it came later.
func TestAnotherClockIsAhead(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st, bus := memory.New(memory.Options{}), deaf{announce.NewLocal()}
		r := newRig(t, Config{Store: st, Bus: bus})
		r.putInits("a")
		two := openRig(t, Config{Store: st, Bus: bus})
		ahead := time.Now().Add(500 * time.Millisecond).UnixNano()
		if err := st.Put(t.Context(), layout.Inits(testID, "v"), store.Item{Key: "a/gate", Token: store.Token{Time: ahead}, Meta: fmt.Appendf(nil, `{"life": 1, "since": %d, "why": "x"}`, ahead)}); err != nil {
			t.Fatal(err)
		}
		two.want(two.putInit("v"), 200, "")
		two.wantRefused("")
		two.putSegment("a", "v", two.next(), take{}, 201)
		openRig(t, Config{Store: st}).wantRefused("")
	})
}

// TestFittingAgain: an init segment that fits, while the pipeline is not
// refused, takes nothing from what came since it was.
func TestFittingAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: faulty})
		r.putInits("a")
		time.Sleep(time.Millisecond)
		r.refuseInit()
		puts := faulty.Count(storetest.Put)
		r.putSegment("a", "v", r.next(), take{}, 412)
		if got := faulty.Count(storetest.Put); got != puts {
			t.Errorf("a refused segment made %d writes", got-puts)
		}
		time.Sleep(time.Millisecond)
		r.want(r.putInit("v"), 200, "")
		n := r.next()
		time.Sleep(time.Millisecond)
		r.putSegment("a", "v", n, take{}, 201)
		time.Sleep(time.Millisecond)
		r.want(r.putInit("v"), 200, "")
		for _, x := range []*rig{r, openRig(t, Config{Store: faulty.Store})} {
			if c, ok := x.o.book.Get(testID).Candidate("v", n, "a"); !ok || !c.Clean() {
				t.Errorf("%v %v", ok, c.Findings)
			}
		}
	})
}

// TestGateOfADeletedEventIsLeft: where the store fails while an event is
// deleted, what it has of the event's refusals says nothing of the next.
func TestGateOfADeletedEventIsLeft(t *testing.T) {
	bubble(t, func(t *testing.T) {
		faulty := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: faulty})
		r.putInits("a")
		r.refuseInit()
		faulty.Add(storetest.Fault{Op: storetest.DeleteRecord, Err: store.ErrUnavailable})
		r.want(r.control("DELETE", "?yes=true", ""), 503, "")
		faulty.Clear()
		r.create(testEvent())
		openRig(t, Config{Store: faulty}).wantRefused("")
	})
}
