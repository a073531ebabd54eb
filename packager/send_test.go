package packager

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

const (
	initPath = "/acme/final/a/v720/init.mp4"
	onePath  = "/acme/final/a/v720/1.m4s"
)

func TestPublish(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		r.init("v720")
		seg := r.media("v720", 1)
		seg.defects = live.Findings{{Kind: live.Short, MissingMS: 400}}
		r.send(seg)
		r.settle(time.Second)
		o := r.origins[0]
		if got := o.saw(""); len(got) != 2 || got[0].path != initPath || got[1].path != onePath {
			t.Fatalf("requests %v", got)
		}
		p := o.saw(onePath)[0]
		for name, want := range map[string]string{
			"Content-Type": "video/mp4", "Content-Digest": seg.digest.String(), "Live-Defects": "short;ms=400", "Authorization": "Bearer secret",
		} {
			if got := p.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if !bytes.Equal(p.body, seg.data) {
			t.Errorf("body %q", p.body)
		}
		if _, ok := o.saw(initPath)[0].header["Live-Defects"]; ok {
			t.Error("a clean segment has Live-Defects")
		}
		if s := r.stats(); s.Published != 1 || s.Inits != 1 || s.Retried != 0 || s.Bytes != int64(len(seg.data)) || s.Newest["v720"] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestConnectionsAreKept(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		r.init("v720")
		for n := live.Number(1); n <= 5; n++ {
			r.send(r.media("v720", n))
			r.settle(time.Second)
			time.Sleep(2 * time.Second)
		}
		for _, p := range r.origins[0].saw("") {
			if p.conn != 1 {
				t.Errorf("%s came on connection %d", p.path, p.conn)
			}
		}
		if s := r.stats(); s.Published != 5 {
			t.Errorf("%d published", s.Published)
		}
	})
}

// Each case is what the origin answers to segment 1, and what comes of it
// inside the budget.
func TestAttempts(t *testing.T) {
	ms := time.Millisecond
	for _, c := range []struct {
		name     string
		answers  []http.HandlerFunc
		attempts int
		between  [2]time.Duration // when the last attempt began
		conns    bool             // the last one on another connection than the first
		check    func(s Stats) bool
	}{
		{"stalled connection", []http.HandlerFunc{stall}, 2, [2]time.Duration{625 * ms, 626 * ms}, true,
			func(s Stats) bool { return s.Published == 1 && s.Hedged == 1 && s.Retried == 1 }},
		{"two stalled connections", []http.HandlerFunc{stall, stall}, 3, [2]time.Duration{1250 * ms, 1251 * ms}, true,
			func(s Stats) bool { return s.Published == 1 && s.Hedged == 2 }},
		{"slow origin", repeat(9, slow(900*ms)), 2, [2]time.Duration{625 * ms, 626 * ms}, true,
			func(s Stats) bool { return s.Published == 1 && s.AckMax == 900*ms }},
		{"reset", []http.HandlerFunc{reset}, 2, [2]time.Duration{37 * ms, 51 * ms}, true,
			func(s Stats) bool { return s.Published == 1 && s.Hedged == 0 }},
		{"500 twice", []http.HandlerFunc{status(500), status(502)}, 3, [2]time.Duration{110 * ms, 152 * ms}, false,
			func(s Stats) bool { return s.Published == 1 && s.Retried == 2 }},
		{"429", []http.HandlerFunc{status(429)}, 2, [2]time.Duration{37 * ms, 51 * ms}, false,
			func(s Stats) bool { return s.Published == 1 }},
		{"408", []http.HandlerFunc{status(408)}, 2, [2]time.Duration{37 * ms, 51 * ms}, false,
			func(s Stats) bool { return s.Published == 1 }},
		{"503 with Retry-After", []http.HandlerFunc{problem(live.ErrNotStored)}, 2, [2]time.Duration{1000 * ms, 1001 * ms}, false,
			func(s Stats) bool { return s.Published == 1 }},
		{"200: the same bytes again", []http.HandlerFunc{status(200)}, 1, [2]time.Duration{0, 0}, false,
			func(s Stats) bool { return s.Published == 1 }},
		{"409", []http.HandlerFunc{problem(live.ErrConflict)}, 1, [2]time.Duration{0, 0}, false,
			func(s Stats) bool { return s.Published == 0 && s.Refused["conflict"] == 1 }},
		{"400", []http.HandlerFunc{problem(live.ErrMalformedMedia)}, 1, [2]time.Duration{0, 0}, false,
			func(s Stats) bool { return s.Refused["malformed-media"] == 1 }},
		{"404 without a problem", []http.HandlerFunc{http.NotFound}, 1, [2]time.Duration{0, 0}, false,
			func(s Stats) bool { return s.Refused["status-404"] == 1 }},
		{"a redirect is not followed", []http.HandlerFunc{http.RedirectHandler("/elsewhere", http.StatusTemporaryRedirect).ServeHTTP}, 1, [2]time.Duration{0, 0}, false,
			func(s Stats) bool { return s.Refused["status-307"] == 1 }},
		{"damaged on the way", []http.HandlerFunc{problem(live.ErrDigest)}, 2, [2]time.Duration{37 * ms, 51 * ms}, false,
			func(s Stats) bool { return s.Published == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, 1, func(r *rig) {
				o := r.origins[0]
				r.init("v720")
				r.settle(time.Second)
				o.on(onePath, c.answers...)
				r.send(r.media("v720", 1))
				r.settle(5 * time.Second)
				got := o.saw(onePath)
				if len(got) != c.attempts {
					t.Fatalf("%d attempts, want %d", len(got), c.attempts)
				}
				last := got[len(got)-1]
				if last.at < c.between[0] || last.at > c.between[1] {
					t.Errorf("the last attempt began at %v, want %v to %v", last.at, c.between[0], c.between[1])
				}
				if (last.conn != got[0].conn) != c.conns {
					t.Errorf("first on connection %d, last on %d", got[0].conn, last.conn)
				}
				if s := r.stats(); !c.check(s) || s.Missed != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

func TestInitSegmentComesFirst(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		o.on("init", slow(400*time.Millisecond))
		r.init("v720")
		r.send(r.media("v720", 1))
		r.settle(5 * time.Second)
		if got := o.saw(onePath); len(got) != 1 || got[0].at < 400*time.Millisecond {
			t.Errorf("media came before the init segment was acknowledged: %v", got)
		}
	})
}

func TestInitSegmentIsSentAgain(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		r.init("v720")
		r.settle(time.Second)
		o.on(onePath, problem(live.ErrInitMissing))
		r.send(r.media("v720", 1))
		r.settle(5 * time.Second)
		if n := len(o.saw(initPath)); n != 2 {
			t.Errorf("init segment sent %d times", n)
		}
		if s := r.stats(); s.Published != 1 || s.Inits != 2 {
			t.Errorf("%+v", s)
		}
		// Not for ever, though.
		o.on("/acme/final/a/v720/2.m4s", repeat(99, problem(live.ErrInitDiffers))...)
		r.send(r.media("v720", 2))
		r.settle(5 * time.Second)
		if s := r.stats(); s.Refused["init-differs"] != 1 || s.Inits != 2+maxInitRetries {
			t.Errorf("%+v", s)
		}
	})
}

func (r *rig) initOf(rendition, data string) {
	track := &cmaf.Track{Type: live.Video, Timescale: 1000}
	r.sendInit(initSegment(rendition, []byte(data), track))
}

// media made for an encoder whose init segment is refused is not sent; it goes
// on when another encoder fits, and when the operator has made the event anew.
func TestRefusedInitSegmentStopsItsRendition(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		o.fitting("A", "C")
		r.initOf("v720", "A")
		r.initOf("a-en", "A")
		r.settle(time.Second)
		r.send(r.media("v720", 1))
		r.settle(time.Second)

		r.initOf("v720", "B")
		r.settle(time.Second)
		if s := r.stats(); s.Refused["init-differs"] != 1 || s.Dropped[DropInit] != 0 {
			t.Fatalf("%+v", s)
		}
		if got := r.refusedInits(); len(got) != 1 || !strings.Contains(got["v720"], "the width is 64, not 48") {
			t.Fatalf("unfit: %v", got)
		}
		if err := unfitError(r.refusedInits()); !errors.Is(err, ErrUnfit) || !strings.Contains(err.Error(), "v720: ") {
			t.Error(err)
		}
		r.until(2)
		r.send(r.media("v720", 2))
		r.send(r.media("a-en", 2))
		r.settle(time.Second)
		if s := r.stats(); s.Dropped[DropInit] != 1 || s.Published != 2 || len(o.saw("/acme/final/a/v720/2.m4s")) != 0 {
			t.Fatalf("%+v", s)
		}

		// It is asked again now and then.
		time.Sleep(time.Minute)
		asked := len(o.saw(initPath)) - 2
		if asked < 2 || asked > 5 {
			t.Errorf("asked %d times in a minute", asked)
		}
		// Each is counted as the refusal that it is.
		if s := r.stats(); s.Refused["init-differs"] != int64(1+asked) {
			t.Errorf("%+v", s)
		}

		// An encoder that fits: at once.
		r.initOf("v720", "C")
		r.until(40)
		r.send(r.media("v720", 40))
		r.settle(time.Second)
		if s := r.stats(); s.Newest["v720"] != 40 || len(r.refusedInits()) != 0 || unfitError(r.refusedInits()) != nil {
			t.Fatalf("%+v", s)
		}
		n := len(o.saw(initPath))
		time.Sleep(time.Minute)
		if got := len(o.saw(initPath)); got != n {
			t.Errorf("an init segment that was taken was sent %d times again", got-n)
		}

		// The event is made anew, or what viewers had is flushed: B is taken.
		r.initOf("v720", "B")
		r.settle(time.Second)
		o.fitting("B")
		time.Sleep(firstRefit)
		synctest.Wait()
		r.until(75)
		r.send(r.media("v720", 75))
		r.settle(time.Second)
		if s := r.stats(); s.Newest["v720"] != 75 || len(r.refusedInits()) != 0 {
			t.Fatalf("%+v", s)
		}
	})
}

// An encoder that begins anew with what was refused is asked for at once, with
// what was taken not at all.
func TestSameInitSegmentAgain(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		o.fitting("A")
		for _, c := range []struct {
			init string
			asks int
		}{{"A", 1}, {"A", 1}, {"B", 2}, {"B", 3}, {"A", 4}, {"A", 4}} {
			r.initOf("v720", c.init)
			r.settle(time.Second)
			if got := len(o.saw(initPath)); got != c.asks {
				t.Errorf("%s: asked %d times, want %d", c.init, got, c.asks)
			}
		}
		// None is still asked for on the side.
		time.Sleep(time.Minute)
		if got := len(o.saw(initPath)); got != 4 {
			t.Errorf("asked %d times", got)
		}
	})
}

// What an encoder made whose init segment is refused only when a segment asks
// for it (another packager of the pipeline, or an event made anew).
func TestSegmentFindsItsInitSegmentRefused(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		r.initOf("v720", "B")
		r.settle(time.Second)
		o.fitting("A")
		o.on(onePath, problem(live.ErrInitMissing))
		o.on("/acme/final/a/v720/2.m4s", problem(live.ErrInitMissing))
		r.send(r.media("v720", 1))
		r.send(r.media("v720", 2)) // it is asked for once for both
		r.settle(time.Second)
		s := r.stats()
		if s.Dropped[DropInit] != 2 || s.Missed != 0 || s.Refused["init-missing"] != 0 || s.Refused["init-differs"] != 1 || len(o.saw(onePath)) != 1 || len(r.refusedInits()) != 1 {
			t.Errorf("%+v", s)
		}
		o.fitting("B")
		time.Sleep(firstRefit)
		synctest.Wait()
		r.until(5)
		r.send(r.media("v720", 5))
		r.settle(time.Second)
		if s := r.stats(); s.Newest["v720"] != 5 || len(r.refusedInits()) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// What was taken for a generation that is taken back is sent again, and refused then: of
// what is refused an operator learns. What still fits stays as it is.
func TestGenerationTakenBack(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		o.fitting("A", "B")
		r.initOf("v720", "B")
		r.initOf("a-en", "A")
		r.settle(time.Second)
		r.askAgain()
		r.settle(time.Second)
		if got := r.refusedInits(); len(got) != 0 || len(o.saw(initPath)) != 2 {
			t.Fatalf("unfit: %v", got)
		}
		o.fitting("A")
		r.askAgain()
		r.settle(time.Second)
		if got := r.refusedInits(); len(got) != 1 || got["v720"] == "" {
			t.Fatalf("unfit: %v", got)
		}
		// Another generation is begun with it.
		o.fitting("A", "B")
		r.renew()
		r.settle(time.Second)
		synctest.Wait()
		if got := r.refusedInits(); len(got) != 0 {
			t.Fatalf("unfit: %v", got)
		}
	})
}

// Segments keep the init segment that they were made for: what an encoder made
// that nobody took is not sent under the next one's, and what was queued when
// the encoder changed still is.
func TestBackfillAcrossInitSegments(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		o.fitting("A", "C")
		r.initOf("v720", "A")
		r.settle(time.Second)
		// An outage: 1 of A is queued, B's init segment is not answered.
		o.on(initPath, repeat(1000, reset)...)
		o.on("media", repeat(1000, reset)...)
		r.send(r.media("v720", 1))
		r.until(2)
		r.initOf("v720", "B")
		r.send(r.media("v720", 2))
		r.until(3)
		r.sendAfter(r.media("v720", 3), 8*time.Second)
		r.until(6)
		if s := r.stats(); s.Missed != 2 || s.Dropped[DropInit] != 0 {
			t.Fatalf("%+v", s)
		}
		r.send(r.media("v720", 6))
		// It ends as the encoder changes again.
		r.initOf("v720", "C")
		synctest.Wait()
		o.off(initPath)
		o.off("media")
		r.until(7)
		r.send(r.media("v720", 7))
		r.settle(time.Minute)
		var got []string
		for _, n := range []live.Number{1, 2, 3, 6, 7} {
			if all := o.saw("/acme/final/a/v720/" + live.SegmentName(n)); len(all) > 0 && all[len(all)-1].at > 10*time.Second {
				got = append(got, n.String())
			}
		}
		if s := r.stats(); fmt.Sprint(got) != "[1 7]" || s.Published != 2 || s.Dropped[DropInit] != 3 || len(r.refusedInits()) != 0 {
			t.Errorf("sent after the outage: %v, %+v", got, s)
		}
		for _, p := range o.saw(initPath) {
			if p.at > 13*time.Second && string(p.body) == "B" {
				t.Errorf("the init segment of an encoder that is gone came at %v", p.at)
			}
		}
	})
}

// An init segment has no deadline: it is sent until it is taken.
func TestInitSegmentOutlastsAnOutage(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		o.on("init", repeat(60, status(503))...)
		r.init("v720")
		r.settle(time.Minute)
		if s := r.stats(); s.Inits != 1 {
			t.Errorf("%+v after %d attempts", s, len(o.saw("")))
		}
	})
}

func TestTooSoonForTheOrigin(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		r.init("v720")
		r.settle(time.Second)
		// Segment 2 is complete two seconds from now by the event's timeline.
		o.on("media", problem(live.ErrFuture))
		r.send(r.media("v720", 2))
		r.settle(10 * time.Second)
		got := o.saw("/acme/final/a/v720/2.m4s")
		if len(got) != 2 || got[1].at != 2*time.Second || r.stats().Published != 1 {
			t.Errorf("attempts %d, last at %v", len(got), got[len(got)-1].at)
		}
	})
}

func TestRetryAfterThatLeavesNoTime(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		r.init("v720")
		r.settle(time.Second)
		long := *live.ErrNotStored
		long.RetryAfter = 7 * time.Second
		o.on(onePath, problem(&long))
		r.send(r.media("v720", 1))
		synctest.Wait()
		if s := r.stats(); s.Missed != 1 {
			t.Errorf("not given up at once: %+v", s)
		}
		r.settle(30 * time.Second)
		got := o.saw(onePath)
		if len(got) != 2 || got[1].at < 7*time.Second || r.stats().Backfilled != 1 {
			t.Errorf("%d attempts, the last at %v, %+v", len(got), got[len(got)-1].at, r.stats())
		}
	})
}

// The next destination is tried at once, and stays preferred until the first
// has had time to mend.
func TestSecondDestination(t *testing.T) {
	withRig(t, 2, func(r *rig) {
		first, second := r.origins[0], r.origins[1]
		r.init("v720")
		r.settle(time.Second)
		first.on("media", status(503), status(503))
		for n := live.Number(1); n <= 12; n++ {
			begun := time.Now()
			r.send(r.media("v720", n))
			r.settle(time.Second)
			if after := time.Since(begun); after > time.Millisecond {
				t.Errorf("segment %d was acknowledged after %v", n, after)
			}
			time.Sleep(2*time.Second - time.Since(begun))
		}
		s := r.stats()
		if s.Published != 12 || s.Missed != 0 || s.Retried != 2 {
			t.Errorf("%+v", s)
		}
		if n := len(second.saw("")); n < 2 || n > 5 {
			t.Errorf("the second destination got %d requests", n)
		}
		if n := len(first.saw(fmt.Sprintf("/acme/final/a/v720/%d.m4s", 12))); n != 1 {
			t.Error("the first destination was not preferred again")
		}
	})
}

func TestStalledDestinationGoesToTheSecond(t *testing.T) {
	withRig(t, 2, func(r *rig) {
		r.init("v720")
		r.settle(time.Second)
		r.origins[0].on("media", stall)
		r.send(r.media("v720", 1))
		r.settle(5 * time.Second)
		if got := r.origins[1].saw(onePath); len(got) != 1 || got[0].at != 625*time.Millisecond || r.stats().Published != 1 {
			t.Errorf("second destination: %v", got)
		}
	})
}

// A destination that is down altogether costs no budget.
func TestDeadDestination(t *testing.T) {
	withRig(t, 2, func(r *rig) {
		r.origins[0].listener.Close()
		r.init("v720")
		r.send(r.media("v720", 1))
		r.settle(5 * time.Second)
		if s := r.stats(); s.Published != 1 || s.AckMax > time.Millisecond {
			t.Errorf("%+v", s)
		}
	})
}

// One that takes connections and never answers costs no segment either, however
// long that lasts and however many renditions there are: one attempt at a time
// finds out how it is, so that hedges stay few.
func TestSilentDestination(t *testing.T) {
	withRig(t, 2, func(r *rig) {
		renditions := []string{"v1080", "v720", "v540", "v360", "a-en", "a-fr"}
		for _, name := range renditions {
			r.init(name)
		}
		r.settle(time.Second)
		r.origins[0].on("media", repeat(100_000, stall)...)
		const n = 200
		for i := live.Number(1); i <= n; i++ {
			for _, name := range renditions {
				r.send(r.media(name, i))
				synctest.Wait()
			}
			r.until(i + 1)
		}
		r.settle(time.Minute)
		all := int64(n * len(renditions))
		if s := r.stats(); s.Published != all || s.Missed != 0 || s.Held != 0 || s.Hedged > all/10 {
			t.Errorf("%+v", s)
		}
	})
}

// A store that is slow for all is not given twice the work: once that is seen, none is
// sent again for it. When it is well again, what stalls is.
func TestSlowStoreIsNotAskedTwice(t *testing.T) {
	for _, takes := range []time.Duration{600 * time.Millisecond, 1500 * time.Millisecond, 1900 * time.Millisecond} {
		t.Run(takes.String(), func(t *testing.T) {
			withRig(t, 2, func(r *rig) {
				renditions := []string{"v1080", "v720", "v360", "a-en"}
				for _, name := range renditions {
					r.init(name)
				}
				r.settle(time.Second)
				at, sent := live.Number(1), int64(0)
				play := func(many int, first, second http.HandlerFunc) Stats {
					r.origins[0].on("media", repeat(100_000, first)...)
					r.origins[1].on("media", repeat(100_000, second)...)
					for range many {
						for _, name := range renditions {
							r.send(r.media(name, at))
							sent++
						}
						at++
						r.until(at)
					}
					r.settle(2 * time.Second)
					return r.stats()
				}
				s := play(200, slow(takes), slow(takes))
				if s.Published != sent || s.Missed != 0 || s.Hedged > int64(2*len(renditions)) || s.Retried != s.Hedged {
					t.Errorf("while the store is slow: %+v", s)
				}
				play(20, slow(0), slow(0))
				if s := play(4, stall, slow(0)); s.Published != sent || s.Missed != 0 {
					t.Errorf("when an origin stalls after that: %+v", s)
				}
			})
		})
	}
}

// slowly reads pieces of a body, with pauses between them.
func slowly(piece int, pause time.Duration) func(r io.Reader) []byte {
	return func(r io.Reader) []byte {
		var out []byte
		for b := make([]byte, piece); ; time.Sleep(pause) {
			n, err := io.ReadFull(r, b)
			out = append(out, b[:n]...)
			if err != nil {
				return out
			}
		}
	}
}

// A body that moves is neither hedged nor given up at its deadline: only one
// that does not, and one that newer segments have to wait for.
func TestSlowUplink(t *testing.T) {
	const size = 1 << 20
	for _, c := range []struct {
		name   string
		read   func(r io.Reader) []byte
		newer  bool // another segment is under way at the deadline
		for_   time.Duration
		tries  int
		hedged int64
		check  func(s Stats) bool
	}{
		{"within the budget", slowly(256<<10, 400*time.Millisecond), false, 10 * time.Second, 1, 0,
			func(s Stats) bool { return s.Published == 1 && s.Missed == 0 && s.AckMax > time.Second }},
		{"beyond it", slowly(128<<10, 600*time.Millisecond), false, 10 * time.Second, 1, 0,
			func(s Stats) bool { return s.Published == 1 && s.Missed == 1 && s.Backfilled == 1 && s.Queued == 0 }},
		{"it stops", slowly(128<<10, 1400*time.Millisecond), false, 2400 * time.Millisecond, 3, 2,
			func(s Stats) bool { return s.Published == 0 && s.Missed == 0 }},
		{"it stops for good", slowly(128<<10, time.Minute), false, 2600 * time.Millisecond, 4, 2,
			func(s Stats) bool { return s.Published == 0 && s.Missed == 1 }},
		{"newer ones wait", slowly(128<<10, 600*time.Millisecond), true, 2600 * time.Millisecond, 1, 0,
			func(s Stats) bool { return s.Published == 0 && s.Missed == 1 }},
		{"too slow for ever", slowly(32<<10, 600*time.Millisecond), false, 18 * time.Second, 1, 0,
			func(s Stats) bool { return s.Published == 0 && s.Missed == 0 }},
		{"and given up", slowly(32<<10, 600*time.Millisecond), false, 18900 * time.Millisecond, 2, 0,
			func(s Stats) bool { return s.Published == 0 && s.Missed == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			withRig(t, 1, func(r *rig) {
				o := r.origins[0]
				r.init("v720")
				r.settle(time.Second)
				o.mu.Lock()
				o.read = c.read
				o.mu.Unlock()
				seg := r.media("v720", 1)
				seg.data = make([]byte, size)
				r.send(seg)
				if c.newer {
					time.Sleep(2 * time.Second)
					two := r.media("v720", 2)
					two.data = seg.data
					r.send(two)
				}
				r.settle(c.for_ - time.Since(seg.complete))
				if s := r.stats(); !c.check(s) || s.Hedged != c.hedged {
					t.Errorf("%+v", s)
				}
				r.cancel()
				r.close()
				o.close()
				time.Sleep(2 * time.Minute) // until the readers have found out
				if n := len(o.saw(onePath)); n != c.tries {
					t.Errorf("%d attempts, want %d", n, c.tries)
				}
			})
		})
	}
}

func TestMissedSegmentsAreBackfilledBehindLiveOnes(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		r.init("v720")
		r.settle(time.Second)
		// The origin is away for the whole budget of 1 and 2.
		o.on("media", repeat(1000, reset)...)
		r.send(r.media("v720", 1))
		time.Sleep(2 * time.Second)
		r.send(r.media("v720", 2))
		time.Sleep(2 * time.Second)
		if s := r.stats(); s.Missed != 1 || s.Published != 0 {
			t.Fatalf("%+v", s)
		}
		time.Sleep(time.Second)
		// Now 3 is there, and slow: what is queued waits for it.
		o.on("media")
		three := "/acme/final/a/v720/3.m4s"
		o.on(three, slow(300*time.Millisecond))
		r.send(r.media("v720", 3))
		r.settle(time.Minute)
		var order []string
		for _, p := range o.saw("") {
			if p.at >= 5*time.Second {
				order = append(order, p.path[len("/acme/final/a/v720/"):])
			}
		}
		if fmt.Sprint(order) != "[3.m4s 2.m4s 1.m4s]" {
			t.Errorf("order %v", order)
		}
		s := r.stats()
		if s.Published != 3 || s.Backfilled != 2 || s.Missed != 2 {
			t.Errorf("%+v", s)
		}
		if got := o.saw(onePath); got[len(got)-1].at < 5300*time.Millisecond {
			t.Errorf("backfilled at %v, while a live segment was under way", got[len(got)-1].at)
		}
	})
}

func TestBackfillQueueIsBounded(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		r.init("v720")
		r.settle(time.Second)
		o.on("media", repeat(100000, reset)...)
		for n := live.Number(1); n <= 20; n++ {
			seg := r.media("v720", n)
			seg.data = make([]byte, 128<<10)
			r.send(seg)
			time.Sleep(2 * time.Second)
		}
		time.Sleep(10 * time.Second)
		s := r.stats()
		if s.Dropped[DropQueueFull] != 12 {
			t.Errorf("%d dropped, want all but the 8 that fit", s.Dropped[DropQueueFull])
		}
		o.on("media")
		r.settle(time.Minute)
		s = r.stats()
		if s.Backfilled != 8 || s.Newest["v720"] != 20 {
			t.Errorf("%+v", s)
		}
		if len(o.saw("/acme/final/a/v720/12.m4s")) > 0 && o.saw("/acme/final/a/v720/12.m4s")[len(o.saw("/acme/final/a/v720/12.m4s"))-1].at > 50*time.Second {
			t.Error("an old segment was kept rather than a new one")
		}
	})
}

func TestBackfillEndsWithTheDVRWindow(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		r.event.DVRSeconds = 10
		o := r.origins[0]
		r.init("v720")
		r.settle(time.Second)
		o.on("media", repeat(100000, reset)...)
		r.send(r.media("v720", 1))
		r.settle(time.Minute)
		if s := r.stats(); s.Dropped[DropGone] != 1 || s.Missed != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestLateSourceGoesToBackfill(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		r.init("v720")
		r.settle(time.Second)
		time.Sleep(10 * time.Second)
		r.send(r.media("v720", 1))
		r.settle(time.Second)
		if s := r.stats(); s.Missed != 1 || s.Backfilled != 1 || s.Published != 1 {
			t.Errorf("%+v", s)
		}
	})
}

func TestRenditionsDoNotWaitForEachOther(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		r.init("v720")
		r.init("a-en")
		r.settle(time.Second)
		o.on(onePath, stall, stall, stall, stall)
		r.send(r.media("v720", 1))
		r.send(r.media("a-en", 1))
		synctest.Wait()
		if s := r.stats(); s.Newest["a-en"] != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// Everything ends when the context does: the bubble would report a goroutine
// that stays.
func TestSenderEnds(t *testing.T) {
	withRig(t, 1, func(r *rig) {
		o := r.origins[0]
		o.on("init", stall, stall, stall)
		o.on("media", stall, stall, stall)
		r.init("v720")
		r.send(r.media("v720", 1))
		r.sendAfter(r.media("v720", 2), time.Hour)
		time.Sleep(300 * time.Millisecond)
		r.cancel()
		r.close()
		if s := r.stats(); s.Dropped[DropShutdown] != 2 {
			t.Errorf("%+v", s)
		}
	})
}
