package edge

import (
	"net/http"
	"strconv"
	"testing"
	"time"

	"headwater/live"
)

// drips sends bodies in pieces, over so long.
func drips(over time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		body := segment(q)
		h := w.Header()
		h.Set("ETag", live.DigestOf(body).ETag())
		h.Set(live.HeaderContentDigest, live.DigestOf(body).String())
		h.Set("Content-Length", strconv.Itoa(len(body)))
		h.Set("Cache-Control", "max-age=600")
		const pieces = 100
		for i := range pieces {
			w.Write(body[i*len(body)/pieces : (i+1)*len(body)/pieces])
			w.(http.Flusher).Flush()
			select {
			case <-time.After(over / pieces):
			case <-q.Context().Done():
				return
			}
		}
	}
}

// next returns the path of a segment, and waits until viewers ask for it.
func (r *rig) next(n int) string {
	r.Helper()
	r.at(time.Duration(2*n+1) * time.Second)
	return "/t/e/v/" + strconv.Itoa(n) + ".m4s"
}

// A parent that is never silent and takes 3 s for each body is left: the rest of the
// first body comes from another one, and so do the bodies after it, until it is tried.
func TestSlowParentIsLeft(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		slow := r.parents[0]
		slow.script(drips(3 * time.Second))
		for n := 1; n <= 16; n++ {
			path := r.next(n)
			v := r.get(path)
			took := v.ended.Sub(r.began) - time.Duration(2*n+1)*time.Second
			if v.text() != bodyOf(path) || !v.complete() {
				t.Fatalf("%s: %d, %d bytes", path, v.status(), len(v.text()))
			}
			asks := map[*testParent]int{}
			for _, p := range r.parents {
				asks[p] = p.asks(path)
			}
			// 3 s: the first body. 13 s: the parent was behind for 10 s, and is tried.
			// Then it is for 20 s.
			want, from := time.Duration(0), 0
			if tried := n == 1 || n == 7; tried {
				want, from = 400*time.Millisecond, 1
			}
			if took > want || asks[slow] != from || asks[r.parents[1]] != 1 {
				t.Errorf("%s: after %v, asked %d and %d times", path, took, asks[slow], asks[r.parents[1]])
			}
		}
		if n := r.metric("fills_relieved_total"); n != 2 {
			t.Errorf("%v bodies were relieved", n)
		}
		if n := r.metric("parent_slow_bodies_total", "parent", "http://p1:80"); n != 2 {
			t.Errorf("%v bodies were slow", n)
		}
		if r.metric("parent_behind", "parent", "http://p1:80") != 1 || r.metric("parent_behind", "parent", "http://p2:80") != 0 {
			t.Error("which parents are behind?")
		}
		// It is mended: what comes well clears it.
		slow.script(func(w http.ResponseWriter, q *http.Request) { serveBytes(w, q, segment(q)) })
		for n := 17; n <= 19; n++ {
			r.get(r.next(n)).expect(200, 10*time.Minute)
		}
		if r.metric("parent_behind", "parent", "http://p1:80") != 0 || slow.asks("/t/e/v/19.m4s") != 1 {
			t.Error("the parent that was slow is not asked again")
		}
	})
}

// Where nobody else is well, a slow parent is what there is.
func TestSlowParentIsAllThereIs(t *testing.T) {
	for name, other := range map[string]http.HandlerFunc{
		"slow too":      drips(3 * time.Second),
		"has another":   func(w http.ResponseWriter, q *http.Request) { serveBytes(w, q, []byte("of the other pipeline")) },
		"does not have": func(w http.ResponseWriter, q *http.Request) { live.ErrLost.For(time.Second).With("no").Write(w, q) },
		"hangs":         func(w http.ResponseWriter, q *http.Request) { <-q.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, 2, func(r *rig) {
				r.know()
				r.parents[0].script(drips(3 * time.Second))
				r.parents[1].script(other)
				path := r.next(1)
				v := r.get(path)
				if took := v.ended.Sub(r.began) - 3*time.Second; v.text() != bodyOf(path) || !v.complete() || took > 7*time.Second {
					t.Errorf("%d, %d bytes after %v", v.status(), len(v.text()), took)
				}
			})
		})
	}
}

// Once both were found slow, nobody is asked twice.
func TestWhereAllAreSlowNobodyIsAskedTwice(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		for _, p := range r.parents {
			p.script(drips(3 * time.Second))
		}
		r.get(r.next(1))
		path := r.next(4)
		if r.get(path); r.parents[0].asks(path)+r.parents[1].asks(path) != 1 {
			t.Errorf("asked %d and %d times", r.parents[0].asks(path), r.parents[1].asks(path))
		}
	})
}

// A parent whose answers begin late is left too.
func TestLateParentIsLeft(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		r.parents[1].set(live.HeaderPublished, live.FormatPublished(r.began)) // long ago
		r.parents[0].script(func(w http.ResponseWriter, q *http.Request) {
			select {
			case <-time.After(3 * time.Second):
				serveBytes(w, q, segment(q))
			case <-q.Context().Done():
			}
		})
		for n := 1; n <= 5; n++ {
			path := r.next(n)
			v := r.get(path)
			want := 250 * time.Millisecond
			if n > 3 {
				want = 0
			}
			if took := v.ended.Sub(r.began) - time.Duration(2*n+1)*time.Second; v.status() != 200 || took != want {
				t.Errorf("%s: %d after %v", path, v.status(), took)
			}
		}
	})
}

// A parent that lied is asked after the others; when it is tried, its bytes are looked
// at before anybody gets them.
func TestLiarIsLookedAtFirst(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		liar := r.parents[0]
		liar.script(func(w http.ResponseWriter, q *http.Request) {
			body := segment(q)
			h := w.Header()
			h.Set("ETag", live.DigestOf(body).ETag())
			h.Set(live.HeaderContentDigest, live.DigestOf(body).String())
			h.Set("Content-Length", strconv.Itoa(len(body)))
			body[100] ^= 1
			w.Write(body[:len(body)/2])
			w.(http.Flusher).Flush()
			time.Sleep(50 * time.Millisecond)
			w.Write(body[len(body)/2:])
		})
		asked := 0
		for n := 1; n <= 20; n++ {
			path := r.next(n)
			v := r.get(path)
			if n == 1 && !v.cut() {
				t.Errorf("the first lie: %d, %d bytes, cut off: %v", v.status(), len(v.text()), v.cut())
			}
			if n > 1 && (v.text() != bodyOf(path) || !v.complete()) {
				t.Errorf("%s: %d, %d bytes, cut off: %v", path, v.status(), len(v.text()), v.cut())
			}
			asked += liar.asks(path)
		}
		if asked != 3 { // at 3 s, after 10 s, and after another 20 s
			t.Errorf("the liar was asked %d times", asked)
		}
	})
}

// One bad parent alone costs few requests for each segment, whatever is bad of it, and
// however many viewers insist.
func TestBadParentIsNotAskedForEver(t *testing.T) {
	for name, bad := range map[string]http.HandlerFunc{
		"lies": func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set(live.HeaderContentDigest, live.DigestOf([]byte("other")).String())
			w.Write(segment(q))
		},
		"breaks off": func(w http.ResponseWriter, q *http.Request) {
			body := segment(q)
			breaks(w, string(body), 5000, "ETag", live.DigestOf(body).ETag(), live.HeaderContentDigest, live.DigestOf(body).String())
		},
		"has no digest": func(w http.ResponseWriter, q *http.Request) { w.Write(segment(q)) },
		"says no":       func(w http.ResponseWriter, q *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"fails":         func(w http.ResponseWriter, q *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, 1, func(r *rig) {
				r.know()
				r.at(3 * time.Second)
				r.get("/t/e/s/1.m4s").expect(200, 10*time.Minute) // so that a digest is missed
				r.parent.script(bad)
				path := r.next(2)
				for end := time.Now().Add(8 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
					if v := r.get(path); v.complete() && v.status() == 200 {
						t.Fatal("it looks complete")
					}
				}
				if n := r.parent.asks(path); n > 20 {
					t.Errorf("asked %d times in 8 s", n)
				}
			})
		})
	}
}
