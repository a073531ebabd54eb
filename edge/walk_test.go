package edge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
)

// Of a body without a length any byte may be the last, and is kept back until it
// is known that all is right: else a wrong body would look complete.
func TestLastByteOfAnUnsizedBody(t *testing.T) {
	for name, right := range map[string]bool{"right": true, "wrong": false} {
		t.Run(name, func(t *testing.T) {
			run(t, 1, func(r *rig) {
				r.know()
				body := []byte(bodyOf("/t/e/v/5.m4s"))
				end := make(chan struct{})
				r.parent.script(func(w http.ResponseWriter, req *http.Request) {
					digest := live.DigestOf(body).String()
					if !right {
						digest = live.DigestOf([]byte("something else")).String()
					}
					w.Header().Set("Content-Digest", digest)
					w.Write(body)
					http.NewResponseController(w).Flush()
					<-end
				})
				r.at(13 * time.Second)
				v := r.ask("/t/e/v/5.m4s")
				synctest.Wait()
				if got := v.text(); got != string(body[:len(body)-1]) {
					t.Errorf("%d bytes of %d before the end is known", len(got), len(body))
				}
				close(end)
				<-v.closed
				if right != (v.complete() && v.text() == string(body)) {
					t.Errorf("complete: %v, with %d bytes of %d", v.complete(), len(v.text()), len(body))
				}
			})
		})
	}
}

// Who waits for a body that is slow to come is not slow himself: he has his whole
// time for what comes then.
func TestStarvedIsNotSlow(t *testing.T) {
	const timeout = 10 * time.Second
	runBy(t, parks, 1, func(r *rig) {
		r.know()
		body := []byte(bodyOf("/t/e/v/5.m4s"))
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Header().Set("Cache-Control", "max-age=60")
			for i := range 12 {
				w.Write(body[i : i+1])
				http.NewResponseController(w).Flush()
				time.Sleep(1500 * time.Millisecond)
			}
			w.Write(body[12:])
		})
		r.at(13 * time.Second)
		nc, err := r.net.Dial(context.Background(), "tcp", "edge:80")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		io.WriteString(nc, get("/t/e/v/5.m4s"))
		var got []byte
		buf := make([]byte, 4<<10)
		for !bytes.HasSuffix(got, body[:12]) {
			n, err := nc.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		time.Sleep(1500*time.Millisecond + timeout/2) // he does not read what comes
		for !bytes.HasSuffix(got, body) {
			n, err := nc.Read(buf)
			if err != nil {
				t.Fatalf("let go after %d bytes: %v", len(got), err)
			}
			got = append(got, buf[:n]...)
		}
	}, func(c *Config) { c.WriteTimeout = timeout })
}

// The last answer on a connection comes whole although the viewer has sent what
// nobody reads: to close at once would be a reset, which takes back what is on
// its way.
func TestLastAnswerIsNotTakenBack(t *testing.T) {
	s := serveEdge(t)
	body, rest := s.large()
	close(rest)
	c := s.dial()
	c.send(get(s.path("v"), "Connection: close"))
	s.until("it waits for its viewer", func() bool { _, in := s.state(stuckAt); return in == 1 })
	c.send(strings.Repeat("x", 1000)) // nobody will read that
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	parted := func(c *conn) bool { return c.state == parting }
	for ; read < len(body); read += 64 << 10 {
		if all, in := s.state(parted); all == 0 || in == 1 {
			break // all of it has been written
		}
		if _, err := io.CopyN(io.Discard, resp.Body, 64<<10); err != nil {
			t.Fatal(err)
		}
	}
	if read >= len(body)-64<<10 {
		t.Skip("nothing was left on its way")
	}
	s.until("it is gone", func() bool { all, _ := s.state(isIdle); return all == 0 })
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || read+int(n) != len(body) {
		t.Errorf("%d bytes of %d, then %v", read+int(n), len(body), err)
	}
}

// Both drivers say the same, to the last field.
func TestDriversAnswerAlike(t *testing.T) {
	answers := map[driver][]string{}
	for _, d := range []driver{blocks, parks} {
		runBy(t, d, 1, func(r *rig) {
			r.parent.set("Live-Notifications", `5, ad-break;id="b1";from=1042`)
			r.know()
			r.at(13 * time.Second)
			for _, ask := range [][]string{
				{"/t/e/v/1.m4s"}, {"/t/e/v/1.m4s"}, {"/t/e/v/1.m4s", "Range", "bytes=5-9"}, {"/t/e/v/1.m4s", "Range", "bytes=900000-"},
				{"/t/e/v/1.m4s", "If-None-Match", "*"}, {"/t/e/v/1.m4s", "If-Match", `"no"`}, {"/t/e/v/99.m4s"}, {"/t/e/v/0.m4s"},
				{"/t/e/x/1.m4s"}, {"/t/unheard/v/1.m4s"}, {"/unheard/e/v/1.m4s"}, {"/t/e/main.m3u8"}, {"/t/e/v/media.m3u8", "CDN-Loop", "a, b"},
				{"/t/e/event.json"}, {"/t/e/v/1.m4s", "Range", "bytes=1-2,4-5"},
			} {
				opts := []option{}
				if len(ask) > 1 {
					opts = append(opts, with(ask[1], ask[2]))
				}
				for _, m := range []string{"GET", "HEAD"} {
					v := r.get(ask[0], append(opts, method(m))...)
					v.sent.Del("Date") // net/http's own, by the other driver
					answers[d] = append(answers[d], fmt.Sprintf("%s %v: %d %v %d bytes", m, ask, v.status(), v.sent, len(v.text())))
				}
			}
		})
	}
	for i, a := range answers[blocks] {
		if b := answers[parks][i]; a != b {
			t.Errorf("block: %s\npark:  %s", a, b)
		}
	}
}
