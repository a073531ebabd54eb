package edge

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/edge/object"
	"headwater/live"
)

// breaks answers with part of a body and then breaks the connection.
func breaks(w http.ResponseWriter, body string, n int, header ...string) {
	h := w.Header()
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "max-age=600")
	w.Write([]byte(body[:n]))
	w.(http.Flusher).Flush()
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestWrongBytesNeverLookComplete(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/1.m4s"
		r.know()
		r.at(3 * time.Second)
		body := bodyOf(path)
		rest := make(chan struct{})
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Digest", live.DigestOf([]byte("other")).String())
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Header().Set("Cache-Control", "max-age=600")
			w.Write([]byte(body[:100]))
			w.(http.Flusher).Flush()
			<-rest
			w.Write([]byte(body[100:]))
		})
		begun := r.ask(path)
		ranged := r.ask(path, with("Range", "bytes=0-"))
		synctest.Wait()
		close(rest)
		<-begun.closed
		<-ranged.closed
		for _, v := range []*viewer{begun, ranged} {
			if !v.cut() || v.text() == body {
				t.Errorf("cut off: %v, %d of %d bytes", v.cut(), len(v.text()), len(body))
			}
		}
		// Those who have nothing yet get another try, and then an honest answer;
		// a crowd is no more than one viewer.
		before := r.parent.asks(path)
		crowd := make([]*viewer, r.crowd(200))
		for i := range crowd {
			crowd[i] = r.ask(path)
		}
		for _, v := range crowd {
			<-v.closed
			if v.complete() && v.status() == 200 || v.text() == body {
				t.Fatalf("a wrong body looks complete: %d, %d bytes", v.status(), len(v.text()))
			}
		}
		if n := r.parent.asks(path) - before; n > object.TriesInRow {
			t.Errorf("%d requests for a crowd", n)
		}
		if n := r.metric("digest_mismatches_total"); n < 1 {
			t.Errorf("%v mismatches", n)
		}
		// The object is not kept: with right bytes it is served again.
		r.parent.script(func(w http.ResponseWriter, q *http.Request) { serveBytes(w, q, segment(q)) })
		time.Sleep(retryAfter)
		if v := r.get(path); v.status() != 200 || v.text() != body {
			t.Errorf("afterwards: %d, %d bytes", v.status(), len(v.text()))
		}
	})
}

func TestWrongBytesAreGotElsewhere(t *testing.T) {
	run(t, 2, func(r *rig) {
		const path = "/t/e/v/1.m4s"
		r.know()
		r.at(3 * time.Second)
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Digest", live.DigestOf([]byte("other")).String())
			w.Header().Set("Cache-Control", "max-age=600")
			w.Write([]byte("these"))
		})
		viewers := []*viewer{r.ask(path), r.ask(path), r.ask(path)}
		for _, v := range viewers {
			if <-v.closed; v.status() != 200 || v.text() != bodyOf(path) {
				t.Errorf("%d, %d bytes", v.status(), len(v.text()))
			}
		}
		// The parent is marked: the next one is asked first.
		r.get("/t/e/s/1.m4s").expect(200, 10*time.Minute)
		if a, b := r.parents[0].asks("/t/e/s/1.m4s"), r.parents[1].asks("/t/e/s/1.m4s"); a != 0 || b != 1 {
			t.Errorf("asked %d and %d times", a, b)
		}
	})
}

func TestTruncatedBodyNeverLooksComplete(t *testing.T) {
	for _, chunked := range []bool{false, true} {
		run(t, 1, func(r *rig) {
			const path = "/t/e/v/1.m4s"
			r.know()
			r.at(3 * time.Second)
			r.parent.script(func(w http.ResponseWriter, q *http.Request) {
				if chunked {
					w.Header().Set("Cache-Control", "max-age=600")
					w.Write([]byte("half of it"))
					w.(http.Flusher).Flush()
					panic(http.ErrAbortHandler)
				}
				breaks(w, bodyOf(path), 5000)
			})
			v := r.get(path)
			if !v.cut() && v.status() != 503 { // before the first byte there is time for another answer
				t.Errorf("chunked %v: %d, %d bytes, cut off: %v", chunked, v.status(), len(v.text()), v.cut())
			}
			if v := r.get(path); v.complete() && v.status() == 200 {
				t.Errorf("chunked %v: it was kept", chunked)
			}
		})
	}
}

// parent dies in the middle of a body: the rest comes from another one.
func TestBodyIsResumed(t *testing.T) {
	const path = "/t/e/v/1.m4s"
	body := bodyOf(path)
	etag := live.DigestOf([]byte(body)).ETag()
	for _, c := range []struct {
		name  string
		other func(w http.ResponseWriter, q *http.Request)
		ok    bool
	}{
		{"by range", func(w http.ResponseWriter, q *http.Request) {
			if q.Header.Get("Range") != "bytes=5000-" || q.Header.Get("If-Range") != etag {
				w.WriteHeader(400)
			}
			serveBytes(w, q, []byte(body))
		}, true},
		{"from the beginning", func(w http.ResponseWriter, q *http.Request) {
			q.Header.Del("Range")
			serveBytes(w, q, []byte(body))
		}, true},
		{"all of it, said to be a part", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Range", "bytes 99999999-99999999/100000000")
			w.Header().Set("ETag", etag)
			io.WriteString(w, body)
		}, true},
		{"all of it with wrong bytes", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("ETag", etag)
			io.WriteString(w, strings.ToUpper(body))
		}, false},
		{"of another body", func(w http.ResponseWriter, q *http.Request) {
			serveBytes(w, q, []byte(strings.ToUpper(body)))
		}, false},
		{"of another range", func(w http.ResponseWriter, q *http.Request) {
			q.Header.Set("Range", "bytes=4000-")
			serveBytes(w, q, []byte(body))
		}, false},
		{"with wrong bytes", func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Range", "bytes 5000-"+strconv.Itoa(len(body)-1)+"/"+strconv.Itoa(len(body)))
			w.Header().Set("ETag", etag)
			w.WriteHeader(206)
			w.Write([]byte(strings.ToUpper(body[5000:])))
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, 2, func(r *rig) {
				r.know()
				r.at(3 * time.Second)
				r.parents[0].script(func(w http.ResponseWriter, q *http.Request) {
					breaks(w, body, 5000, "ETag", etag, "Content-Digest", live.DigestOf([]byte(body)).String())
				})
				r.parents[1].script(c.other)
				v := r.get(path)
				if c.ok && (v.text() != body || !v.complete()) {
					t.Errorf("%d, %d of %d bytes, cut off: %v", v.status(), len(v.text()), len(body), v.cut())
				}
				if !c.ok && (!v.cut() && v.status() != 503 || v.text() == body) {
					t.Errorf("%d, %d of %d bytes, cut off: %v", v.status(), len(v.text()), len(body), v.cut())
				}
				if liar := r.metric("parent_behind", "parent", "http://p2:80"); c.name == "all of it with wrong bytes" && liar != 1 {
					t.Error("who sent other bytes is believed as before")
				}
				if n := r.metric("fills_resumed_total"); n < 1 {
					t.Errorf("%v fills were resumed", n)
				}
			})
		})
	}
}

// A body that stops coming is as good as broken off, once viewers cannot wait for it any
// longer, or where nobody else has it.
func TestBodyThatStalls(t *testing.T) {
	for _, c := range []struct {
		parents int
		after   time.Duration
	}{{2, 400 * time.Millisecond}, {1, stallTimeout}} {
		run(t, c.parents, func(r *rig) {
			const path = "/t/e/v/1.m4s"
			r.know()
			r.at(3 * time.Second)
			body := bodyOf(path)
			stalls := true
			r.parents[0].script(func(w http.ResponseWriter, q *http.Request) {
				if !stalls {
					serveBytes(w, q, []byte(body))
					return
				}
				stalls = false
				w.Header().Set("ETag", live.DigestOf([]byte(body)).ETag())
				w.Header().Set("Content-Length", strconv.Itoa(len(body)))
				w.Write([]byte(body[:1000]))
				w.(http.Flusher).Flush()
				<-q.Context().Done()
			})
			v := r.get(path)
			if v.text() != body || !v.complete() || v.ended.Sub(r.began) != 3*time.Second+c.after {
				t.Errorf("of %d parents: %d bytes after %v", c.parents, len(v.text()), v.ended.Sub(r.began))
			}
		})
	}
}

func TestParentsRefusalsLastAsLongAsTheySay(t *testing.T) {
	const path = "/t/e/v/1.m4s"
	for _, p := range []*live.Problem{
		live.ErrNoInit.For(1834 * time.Millisecond), live.ErrLost.For(1999 * time.Millisecond),
		live.ErrShed.For(5001 * time.Millisecond), live.ErrGone.For(700 * time.Millisecond),
	} {
		run(t, 1, func(r *rig) {
			r.know()
			r.at(3 * time.Second)
			r.parent.script(func(w http.ResponseWriter, q *http.Request) { p.Write(w, q) })
			for _, elapsed := range []time.Duration{0, 333 * time.Millisecond, p.Lifetime - time.Millisecond} {
				r.at(3*time.Second + elapsed)
				r.get(path).expect(p.Status, p.Lifetime-elapsed)
			}
			if n := r.parent.asks(path); n != 1 {
				t.Errorf("%s: asked %d times within the lifetime", p.Code, n)
			}
			// A crowd at its end is one request.
			r.at(3*time.Second + p.Lifetime)
			crowd := make([]*viewer, 50)
			for i := range crowd {
				crowd[i] = r.ask(path)
			}
			for _, v := range crowd {
				<-v.closed
				v.expect(p.Status, p.Lifetime)
			}
			if n := r.parent.asks(path); n != 2 {
				t.Errorf("%s: asked %d times after the lifetime", p.Code, n)
			}
		})
	}
}

// A zero lifetime serialises Varnish's waiting list (varnish-cache 3461).
func TestZeroLifetimeAnswersAllWhoWait(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/1.m4s"
		r.know()
		r.at(1 * time.Second)
		r.parent.header.Set("Cache-Control", "no-store")
		r.parent.script(r.publishes(2 * time.Second))
		crowd := make([]*viewer, r.crowd(500))
		for i := range crowd {
			crowd[i] = r.ask(path)
		}
		for _, v := range crowd {
			if <-v.closed; v.text() != bodyOf(path) || v.ended.Sub(r.began) != 2*time.Second {
				t.Fatalf("%d after %v", v.status(), v.ended.Sub(r.began))
			}
		}
		if n := r.parent.asks(path); n != 1 {
			t.Errorf("the parent was asked %d times", n)
		}
		r.get(path)
		if n := r.parent.asks(path); n != 2 {
			t.Errorf("afterwards the parent was asked %d times", n)
		}
	})
}

func TestRefusalOfOneParentIsAskedOfTheNext(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		r.at(3 * time.Second)
		shed := live.ErrShed.For(4 * time.Second)
		r.parents[0].script(func(w http.ResponseWriter, q *http.Request) { shed.Write(w, q) })
		r.get("/t/e/v/1.m4s").expect(200, 10*time.Minute)
		r.parents[1].script(func(w http.ResponseWriter, q *http.Request) { shed.For(3*time.Second).Write(w, q) })
		r.get("/t/e/s/1.m4s").expect(503, 3*time.Second)
	})
}

func TestParentThatHangs(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		r.at(3 * time.Second)
		hang := func(w http.ResponseWriter, q *http.Request) { <-q.Context().Done() }
		r.parents[0].script(hang)
		v := r.get("/t/e/v/1.m4s")
		v.expect(200, 10*time.Minute)
		if d := v.ended.Sub(r.began) - 3*time.Second; d != 250*time.Millisecond {
			t.Errorf("answered after %v", d)
		}
		// Both hang: an honest refusal within the budget.
		r.parents[1].script(hang)
		v = r.get("/t/e/s/1.m4s")
		v.expect(503, time.Second)
		if d := v.ended.Sub(r.began); d > 4500*time.Millisecond+retryBudget {
			t.Errorf("refused after %v", d)
		}
	})
}

// A held segment is asked for elsewhere once it is late, not before.
func TestHoldIsHedgedWhenLate(t *testing.T) {
	run(t, 2, func(r *rig) {
		const path = "/t/e/v/3.m4s"
		r.know()
		r.at(5 * time.Second)
		r.parents[0].script(func(w http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
		r.parents[1].script(r.publishes(6600 * time.Millisecond))
		v := r.ask(path)
		r.at(6700 * time.Millisecond)
		if n := r.parents[1].asks(path); n != 0 {
			t.Errorf("the second parent was asked before the segment was late")
		}
		if <-v.closed; v.status() != 200 || v.ended.Sub(r.began) != 6750*time.Millisecond {
			t.Errorf("%d after %v", v.status(), v.ended.Sub(r.began))
		}
	})
}

// A parent that vanishes without a word is noticed by probes, and what is held
// at it goes on.
func TestParentVanishesInMidHold(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/5.m4s"
		r.know()
		r.at(8500 * time.Millisecond)
		r.parent.script(func(w http.ResponseWriter, q *http.Request) { <-q.Context().Done() })
		r.parent.clock = func(w http.ResponseWriter, q *http.Request) { <-q.Context().Done() }
		v := r.ask(path)
		r.at(12100 * time.Millisecond) // the only one has twice the patience
		if r.metric("parent_up", "parent", "http://p1:80") != 0 {
			t.Error("the parent is still taken to be up")
		}
		r.parent.script(r.publishes(0))
		r.parent.mu.Lock()
		r.parent.clock = nil
		r.parent.mu.Unlock()
		if <-v.closed; v.status() != 200 {
			t.Errorf("%d after %v", v.status(), v.ended.Sub(r.began))
		}
	})
}

func TestAllParentsGone(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		r.at(11 * time.Second)
		cached := []string{"/t/e/v/1.m4s", "/t/e/v/2.m4s", "/t/e/v/3.m4s"}
		for _, p := range cached {
			r.get(p).expect(200, 10*time.Minute)
		}
		for _, p := range r.parents {
			p.stop()
		}
		synctest.Wait()
		for i, p := range cached {
			if v := r.get(p); v.status() != 200 || v.text() != bodyOf(p) {
				t.Errorf("%s, cached: %d", cached[i], v.status())
			}
		}
		// Live: held to the deadline, then an honest refusal. Segment 6 is due
		// at 10.5 s and has its deadline at 14.5 s.
		lost := make([]*viewer, r.crowd(100))
		for i := range lost {
			lost[i] = r.ask("/t/e/v/6.m4s")
		}
		for _, v := range lost {
			<-v.closed
			v.expect(503, time.Second)
			if d := v.ended.Sub(r.began); d != 14500*time.Millisecond {
				t.Fatalf("refused after %v", d)
			}
		}
		if strings.Contains(lost[0].text(), "p1") {
			t.Errorf("the refusal tells of the inside: %s", lost[0].text())
		}
		// Early and never are refused as before: the configuration is there.
		r.at(31 * time.Second)
		r.get("/t/e/v/18.m4s").expect(404, 3500*time.Millisecond)
		r.get("/t/e/event.json").expect(200, time.Second)
		// They come back: without a rush, and within the budget.
		viewers := make([]*viewer, 60)
		for i := range viewers { // of 30 segments and 2 renditions, from the DVR window and the live edge
			viewers[i] = r.ask("/t/e/" + []string{"v", "s"}[i%2] + "/" + strconv.Itoa(1+i/4) + ".m4s")
		}
		synctest.Wait()
		for _, p := range r.parents {
			p.start()
		}
		for i, v := range viewers {
			if <-v.closed; v.status() != 200 {
				t.Fatalf("viewer %d: %d after %v", i, v.status(), v.ended.Sub(r.began))
			}
		}
	})
}

func TestErrorsOfParentsAreRetried(t *testing.T) {
	run(t, 1, func(r *rig) {
		const path = "/t/e/v/3.m4s"
		r.know()
		r.at(5 * time.Second)
		n := 0
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			if n++; n < 3 {
				w.WriteHeader([]int{0, 500, 502}[n])
				return
			}
			serveBytes(w, q, segment(q))
		})
		r.get(path).expect(200, 10*time.Minute)
		if n := r.metric("origin_requests_total", "event", "t/e", "rendition", "v"); n != 3 {
			t.Errorf("%v origin requests were counted, want 3", n)
		}
	})
}

func TestTooLargeABody(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.know()
		r.at(3 * time.Second)
		r.get("/t/e/s/1.m4s").expect(200, 10*time.Minute)
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Cache-Control", "max-age=60")
			if strings.Contains(q.URL.Path, "/v/") {
				w.Header().Set("Content-Length", "10000000000000")
			}
			for range 100 {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		})
		if v := r.get("/t/e/v/1.m4s"); v.status() != 503 {
			t.Errorf("an announced length: %d", v.status())
		}
		if v := r.get("/t/e/s/2.m4s"); v.complete() && v.status() == 200 {
			t.Errorf("a chunked body: %d bytes", len(v.text()))
		}
		// What was there was not thrown out for it.
		if v := r.get("/t/e/s/1.m4s"); !strings.Contains(v.got("Cache-Status"), "hit") {
			t.Errorf("Cache-Status %q", v.got("Cache-Status"))
		}
	}, func(c *Config) { c.MaxObjectBytes = 200 << 10 })
}
