package origin

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/announce"
	"headwater/live"
	"headwater/origin/layout"
	"headwater/store"
	"headwater/store/memory"
)

// another makes segment n of rendition v as an encoder does that came back with the
// picture of rendition w.
func (r *rig) another(n live.Number, pipeline string) []byte {
	return r.m.segment(r.tl, "w", n, take{mark: pipeline + " anew"})
}

func (r *rig) putAnother(pipeline string, n live.Number, status int, code string) {
	r.Helper()
	r.want(r.put(pipeline+"/v/"+live.SegmentName(n), r.another(n, pipeline)), status, code)
}

func (r *rig) generate(body string, status int, code string) (g live.Generation) {
	r.Helper()
	w := r.want(r.control("POST", "/generations", body), status, code)
	if status == 200 {
		if err := json.Unmarshal(w.Body.Bytes(), &g); err != nil {
			r.Fatal(err)
		}
	}
	return g
}

// wantBytes checks what viewers get.
func (r *rig) wantBytes(path string, want []byte) {
	r.Helper()
	if w := r.want(r.get(path), 200, ""); w.Body.String() != string(want) {
		r.Errorf("%s has other bytes: %v", path, w.Header())
	}
}

func (r *rig) playlist(rendition string) string {
	r.Helper()
	return r.want(r.get(rendition+"/media.m3u8"), 200, "").Body.String()
}

// TestGenerationByOperator: pipeline a comes back with another picture and is refused,
// an operator begins a generation with it, b serves up to that and a from then on, until
// b comes too; and so it is after a restart.
func TestGenerationByOperator(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.putInits("a", "b")
		n := r.next()
		for _, p := range []string{"a", "b"} {
			r.putSegment(p, "v", n, take{}, 201)
		}
		r.generate(`{}`, 400, "bad-request") // nothing is refused
		r.want(r.put("a/v/init.mp4", r.m.inits["w"]), 412, "init-differs")
		r.wantRefused("a/v")
		r.generate(`{"rendition": "x"}`, 400, "bad-request")
		r.generate(`{"rendition": "v", "pipeline": "b"}`, 400, "bad-request")
		r.generate(`{"rendition": "v", "from": `+n.String()+`}`, 400, "bad-request") // it is published
		r.generate(`{"rendition": "v", "from": `+live.Number(live.MaxNumber).String()+`}`, 400, "bad-request")
		r.generate(`{"rendition": "v", "from": "+61m"}`, 400, "bad-request") // none could begin before

		from := n + 3
		g := r.generate(`{"rendition": "v", "from": `+from.String()+`}`, 200, "")
		if g.Index != 1 || g.From != from || len(g.Renditions) != 1 || g.Renditions[0].Name != "v" || g.Renditions[0].Width != r.m.tracks["w"].Width {
			t.Fatalf("%+v", g)
		}
		r.wantRefused("")
		r.want(r.put("a/v/init.mp4", r.m.inits["w"]), 200, "")
		if text := r.playlist("v"); strings.Contains(text, "DISCONTINUITY") || !strings.Contains(text, `URI="init.mp4"`) {
			t.Errorf("before it begins:\n%s", text)
		}
		for m := n + 1; m < from+4; m++ {
			until(r.tl.End(m))
			switch {
			case m < from:
				r.putAnother("a", m, 409, "other-generation")
				r.putSegment("b", "v", m, take{}, 201)
				r.wantBytes("v/"+live.SegmentName(m), r.m.segment(r.tl, "v", m, take{mark: "b"}))
			default:
				r.putAnother("a", m, 201, "")
				r.putSegment("b", "v", m, take{}, 409)
				r.wantBytes("v/"+live.SegmentName(m), r.another(m, "a"))
			}
		}
		last := from + 3
		r.wantBytes("v/init.mp4", r.m.inits["v"])
		r.wantBytes("v/init.1.mp4", r.m.inits["w"])
		r.want(r.get("v/init.2.mp4"), 404, "no-init")
		r.want(r.get("w/init.1.mp4"), 404, "no-init")
		check := func(r *rig) {
			t.Helper()
			text := r.playlist("v")
			before, after, ok := strings.Cut(text, "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init.1.mp4\"\n")
			if !ok || !strings.Contains(before, "\n"+live.SegmentName(from-1)) || !strings.Contains(after, "\n"+live.SegmentName(from)) || !strings.Contains(after, "\n"+live.SegmentName(last)) {
				t.Errorf("media playlist:\n%s", text)
			}
			mpd := r.want(r.get("manifest.mpd"), 200, "").Body.String()
			if !strings.Contains(mpd, `<Period id="2" start="PT`) || !strings.Contains(mpd, "$RepresentationID$/init.1.mp4") {
				t.Errorf("MPD:\n%s", mpd)
			}
		}
		check(r)

		// b comes, too. It is no candidate before.
		r.want(r.put("b/v/init.mp4", r.m.inits["w"]), 200, "")
		until(r.tl.End(last + 1))
		r.putAnother("b", last+1, 201, "")
		r.wantBytes("v/"+live.SegmentName(last+1), r.another(last+1, "b"))
		r.putAnother("b", from, 201, "") // what it backfills is a candidate
		r.want(r.put("b/v/init.mp4", r.m.inits["v"]), 412, "init-differs")

		again := openRig(t, Config{Store: st})
		check(again)
		again.wantBytes("v/init.mp4", r.m.inits["v"])
		again.wantBytes("v/init.1.mp4", r.m.inits["w"])
		for _, x := range []*rig{r, again} {
			w := x.get("v/init.1.mp4")
			if src, err := live.ParseSource(w.Header().Get(live.HeaderPipeline)); err != nil || src.Pipeline != "a" {
				t.Errorf("its init segment is of %v, %v", src, err)
			}
		}
		again.wantBytes("v/"+live.SegmentName(from), r.another(from, "a"))
		again.wantBytes("v/"+live.SegmentName(from-1), r.m.segment(r.tl, "v", from-1, take{mark: "b"}))
		until(r.tl.End(last + 2))
		again.putAnother("a", last+2, 201, "")
		again.wantRefused("b/v")
		if w := again.control("GET", "/audit", ""); !strings.Contains(w.Body.String(), `"did": "generation"`) {
			t.Errorf("the audit log says nothing of it: %s", w.Body)
		}
	})
}

// TestGenerationNext: without a number it begins where every player has heard of it, and
// what comes of other renditions before that is of the same.
func TestGenerationNext(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		r.putSegment("a", "v", r.next(), take{}, 201)
		r.want(r.put("a/v/init.mp4", r.m.inits["w"]), 412, "init-differs")
		would := r.want(r.control("POST", "/generations?dry_run=true", `{}`), 200, "").Body.String()
		if !strings.Contains(would, `"dry_run": true`) {
			t.Errorf("%s", would)
		}
		r.wantRefused("a/v")
		first := r.generate(`{}`, 200, "")
		if lead := time.Until(r.tl.Start(first.From)); lead < 20*time.Second || lead > 22*time.Second+time.Millisecond {
			t.Errorf("it begins in %v: an MPD may be 20 s old", lead)
		}
		if says := fmt.Sprintf(`"generation 1 from segment %d on, %s: v `, first.From, r.tl.Start(first.From).Format(live.TimeLayout)); !strings.Contains(would, says) {
			t.Errorf("a rehearsal says %s, not %s", would, says)
		}
		time.Sleep(5 * time.Second)
		r.want(r.put("a/a/init.mp4", r.m.otherTimescale("a")), 412, "init-differs")
		second := r.generate(`{"rendition": "a"}`, 200, "")
		if second.Index != 1 || second.From != first.From || len(second.Renditions) != 2 {
			t.Errorf("%+v is not that of %+v", second, first)
		}
		time.Sleep(5 * time.Second)
		r.want(r.put("b/a/init.mp4", r.m.inits["v"]), 412, "init-differs")
		r.want(r.put("b/v/init.mp4", r.m.otherTimescale("v")), 412, "init-differs")
		if third := r.generate(`{"rendition": "v"}`, 200, ""); third.Index != 2 || third.From <= first.From {
			t.Errorf("%+v after %+v: v has another already", third, first)
		}
	})
}

// TestGenerationByItself: where the event says so, a generation begins with the init
// segment of the last pipeline that comes back otherwise, and no viewer waits for an operator.
func TestGenerationByItself(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, func(ev *live.Event) { ev.OnNewInit = live.NewInitGeneration })
		r.putInits("a", "b")
		n := r.next()
		for _, p := range []string{"a", "b"} {
			r.putSegment(p, "v", n, take{}, 201)
		}
		// While b publishes what viewers have, a is refused.
		r.want(r.put("a/v/init.mp4", r.m.inits["w"]), 412, "init-differs")
		until(r.tl.End(n + 1))
		r.putSegment("b", "v", n+1, take{}, 201)
		r.putAnother("a", n+1, 412, "init-differs")
		r.wantRefused("a/v")
		// b comes back too.
		r.want(r.put("b/v/init.mp4", r.m.inits["w"]), 200, "")
		r.wantRefused("")
		var cfg live.Config
		if err := json.Unmarshal(r.get("event.json").Body.Bytes(), &cfg); err != nil || len(cfg.Generations) != 1 {
			t.Fatalf("%v: %+v", err, cfg.Generations)
		}
		from := cfg.Generations[0].From
		if lead := time.Until(r.tl.Start(from)); lead < 3*time.Second || lead > 6*time.Second {
			t.Errorf("it begins in %v", lead)
		}
		until(r.tl.End(from))
		for _, p := range []string{"a", "b"} {
			r.putAnother(p, from, 201, "")
		}
		r.wantBytes("v/"+live.SegmentName(from), r.another(from, "a"))

		// Both end, and a comes back as it was in the beginning: by what it PUTs.
		until(r.tl.End(from + 1))
		r.want(r.put("a/v/init.mp4", r.m.inits["v"]), 412, "init-differs")
		until(r.tl.End(from + 5))
		r.want(r.put("a/v/"+live.SegmentName(from+5), r.m.segment(r.tl, "v", from+5, take{})), 409, "other-generation")
		if err := json.Unmarshal(r.get("event.json").Body.Bytes(), &cfg); err != nil || len(cfg.Generations) != 2 {
			t.Fatalf("%v: %+v", err, cfg.Generations)
		}
		again := cfg.Generations[1].From
		until(r.tl.End(again))
		r.putSegment("a", "v", again, take{}, 201)
		r.wantBytes("v/"+live.SegmentName(again), r.m.segment(r.tl, "v", again, take{mark: "a"}))
	})
}

// TestGenerationOnEveryNode: nodes agree, and a segment that one took before it knew of
// the generation serves at none.
func TestGenerationOnEveryNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st, bus := memory.New(memory.Options{}), announce.NewLocal()
		one := newRig(t, Config{Store: st, Bus: bus})
		one.putInits("a", "b")
		two := openRig(t, Config{Store: st, Bus: bus})
		synctest.Wait()
		n := one.next()
		one.putSegment("b", "v", n, take{}, 201)
		one.want(one.put("a/v/init.mp4", one.m.inits["w"]), 412, "init-differs")
		synctest.Wait()
		g := two.generate(`{"from": `+(n+1).String()+`}`, 200, "")
		synctest.Wait()
		until(one.tl.End(g.From))
		one.putAnother("a", g.From, 201, "")
		one.putSegment("b", "v", g.From, take{}, 409)
		two.putSegment("b", "v", g.From, take{}, 409)
		synctest.Wait()
		for _, r := range []*rig{one, two} {
			r.wantBytes("v/"+live.SegmentName(g.From), one.another(g.From, "a"))
			r.wantBytes("v/init.1.mp4", one.m.inits["w"])
		}
		// As if a third node had taken it of b.
		c, _ := one.o.book.Get(testID).Candidate("v", n, "b")
		c.Number = g.From
		for _, r := range []*rig{one, two} {
			r.o.book.Learn(r.o.book.Get(testID), "v", c)
			if cs := r.o.book.Get(testID).Usable(r.o.book.Get(testID).View(), "v", g.From); len(cs) != 1 || cs[0].Pipeline != "a" {
				t.Errorf("usable: %+v", cs)
			}
		}
	})
}

// TestFillersOfGenerations: what stands in for a lost segment is made of one of its own
// generation, with that init segment: from before it, or, of its first, from behind.
func TestFillersOfGenerations(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{}, func(ev *live.Event) { ev.OnLost = live.LostFill })
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("b", "v", n, take{}, 201)
		r.want(r.put("a/v/init.mp4", r.m.inits["w"]), 412, "init-differs")
		from := n + 2
		r.generate(`{"from": `+from.String()+`}`, 200, "")
		until(r.tl.End(from + 1))
		r.putAnother("a", from+1, 201, "") // n+1 and the first of the generation are lost
		until(r.tl.Deadline(from + 2).Add(time.Second))
		for m, want := range map[live.Number]int{n + 1: 200, from: 200, from + 1: 200, from + 2: 200} {
			w := r.getSegment("v", m)
			filled := strings.HasPrefix(w.Header().Get(live.HeaderDefects), "filled")
			if w.Code != want || filled != (want == 200 && m != from+1) {
				t.Errorf("segment %d: %d %v", m, w.Code, w.Header())
			}
			if pipeline := map[live.Number]string{n + 1: "b", from: "a", from + 2: "a"}[m]; pipeline != "" && !strings.HasPrefix(w.Header().Get(live.HeaderPipeline), pipeline) {
				t.Errorf("segment %d is made of %s", m, w.Header().Get(live.HeaderPipeline))
			}
		}
		text := r.playlist("v")
		if _, after, _ := strings.Cut(text, "\n"+live.SegmentName(n)); strings.Contains(after, "#EXT-X-GAP") {
			t.Errorf("media playlist:\n%s", text)
		}
	})
}

// TestGenerationTakenBack: one that has not begun may be taken back, and viewers go on as
// if there had been none; the next has another number, and is one discontinuity all the same.
func TestGenerationTakenBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r := newRig(t, Config{Store: st})
		r.putInits("a", "b")
		n := r.next()
		r.putSegment("b", "v", n, take{}, 201)
		r.want(r.put("a/v/init.mp4", r.m.inits["w"]), 412, "init-differs")
		wrong := r.generate(`{}`, 200, "")
		r.want(r.control("DELETE", "/generations/2", ""), 404, "not-found")
		r.want(r.control("DELETE", "/generations/x", ""), 404, "not-found")
		if would := r.want(r.control("DELETE", "/generations/1?dry_run=true", ""), 200, "").Body.String(); !strings.Contains(would, `"taken back: generation 1 from segment `) {
			t.Errorf("a rehearsal says %s", would)
		}
		if mpd := r.want(r.get("manifest.mpd"), 200, "").Body.String(); strings.Count(mpd, "<Period") != 2 {
			t.Errorf("MPD before:\n%s", mpd)
		}
		r.want(r.control("DELETE", "/generations/1", ""), 200, "")
		if mpd := r.want(r.get("manifest.mpd"), 200, "").Body.String(); strings.Count(mpd, "<Period") != 1 {
			t.Errorf("MPD after:\n%s", mpd)
		}
		r.want(r.get("v/init.1.mp4"), 404, "no-init")
		until(r.tl.End(wrong.From))
		r.putSegment("b", "v", wrong.From, take{}, 201)
		r.putAnother("a", wrong.From, 409, "other-generation")
		// Sent once more it is refused as before: another may be begun with it.
		r.want(r.put("a/v/init.mp4", r.m.inits["w"]), 412, "init-differs")
		r.want(r.control("POST", "/generations?dry_run=true", `{}`), 200, "")
		r.want(r.put("a/v/init.mp4", r.m.inits["v"]), 200, "")
		r.putSegment("a", "v", wrong.From, take{}, 201)

		r.want(r.put("a/v/init.mp4", r.m.inits["w"]), 412, "init-differs")
		from := wrong.From + 2
		if g := r.generate(`{"from": `+from.String()+`}`, 200, ""); g.Index != 2 || g.Skipped != 1 {
			t.Errorf("%+v", g)
		}
		r.putSegment("b", "v", from-1, take{}, 201)
		until(r.tl.End(from))
		r.want(r.control("DELETE", "/generations/2", ""), 400, "bad-request") // viewers have come to it
		r.putAnother("a", from, 201, "")
		r.wantBytes("v/"+live.SegmentName(from), r.another(from, "a"))
		check := func(r *rig) {
			t.Helper()
			r.wantBytes("v/init.2.mp4", r.m.inits["w"])
			if text := r.playlist("v"); strings.Count(text, "#EXT-X-DISCONTINUITY\n") != 1 || !strings.Contains(text, "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init.2.mp4\"") {
				t.Errorf("media playlist:\n%s", text)
			}
		}
		check(r)
		again := openRig(t, Config{Store: st})
		check(again)
		until(r.tl.GoneAt(from).Add(-time.Second)) // the window begins with it
		if text := again.playlist("v"); !strings.Contains(text, "#EXT-X-DISCONTINUITY-SEQUENCE:1\n") {
			t.Errorf("media playlist of later:\n%.600s", text)
		}
	})
}

// TestInitsOfPastGenerationsGo: an hour after the last segment of a generation has left the
// DVR window its init segment is removed, and nothing else: also by an origin that was
// started since.
func TestInitsOfPastGenerationsGo(t *testing.T) {
	for name, restart := range map[string]bool{"the same origin": false, "one that was started since": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				st := memory.New(memory.Options{})
				stored := func() (n int) {
					for item, err := range store.All(t.Context(), st, layout.Inits(testID, "v"), store.ScanOptions{}) {
						if err != nil {
							t.Fatal(err)
						}
						if strings.HasPrefix(item.Key, "-generation/") {
							n++
						}
					}
					return n
				}
				r, stop := stoppableRig(t, Config{Store: st})
				r.create(testEvent())
				r.putInits("a", "b")
				n := r.next()
				r.putSegment("a", "v", n, take{}, 201)
				for i, init := range []string{"w", "v"} {
					r.want(r.put("a/v/init.mp4", r.m.inits[init]), 412, "init-differs")
					from := n + 3 + 20*live.Number(i)
					r.generate(`{"rendition": "v", "from": `+from.String()+`}`, 200, "")
					until(r.tl.End(from + 1))
					if i == 0 {
						r.putAnother("a", from+1, 201, "")
					}
				}
				if n := stored(); n != 2 {
					t.Fatalf("%d init segments of generations are stored", n)
				}
				if restart {
					stop()
					r, stop = stoppableRig(t, Config{Store: st})
				}
				until(r.tl.GoneAt(n + 23).Add(50 * time.Minute))
				if n := stored(); n != 2 {
					t.Errorf("%d init segments are stored, before an hour is over", n)
				}
				until(r.tl.GoneAt(n + 23).Add(70 * time.Minute))
				if n := stored(); n != 1 {
					t.Errorf("%d init segments are stored of the generation that goes on", n)
				}
				if n := r.counted("inits_dropped_total"); n != 1 {
					t.Errorf("%v are counted", n)
				}
				for _, x := range []*rig{r, openRig(t, Config{Store: st})} {
					x.wantBytes("v/init.2.mp4", x.m.inits["v"])
					x.want(x.get("v/init.1.mp4"), 404, "no-init")
					x.wantBytes("v/init.mp4", x.m.inits["v"])
				}
				stop()
			})
		})
	}
}
