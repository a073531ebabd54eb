package edge

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
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
	const late = 24                  // bytes, each after 1.5 s
	const timeout = 30 * time.Second // what the front gives him
	runBy(t, parks, 1, func(r *rig) {
		r.know()
		body := []byte(bodyOf("/t/e/v/5.m4s"))
		r.parent.script(func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Header().Set("Cache-Control", "max-age=60")
			for i := range late {
				w.Write(body[i : i+1])
				http.NewResponseController(w).Flush()
				time.Sleep(1500 * time.Millisecond)
			}
			w.Write(body[late:])
		})
		r.at(13 * time.Second)
		nc, err := r.net.Dial(context.Background(), "tcp", "edge:80")
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		io.WriteString(nc, "GET /t/e/v/5.m4s HTTP/1.1\r\nHost: edge\r\n\r\n")
		var got []byte
		buf := make([]byte, 4<<10)
		for !bytes.HasSuffix(got, body[:late]) {
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
	})
}

// All drivers say the same, by each protocol, to the last field.
func TestDriversAnswerAlike(t *testing.T) {
	answers := map[driver][]string{}
	for _, d := range []driver{blocks, parks, sealed, muxes} {
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
	for _, d := range []driver{parks, sealed, muxes} {
		for i, a := range answers[blocks] {
			if b := answers[d][i]; a != b {
				t.Errorf("%s: %s\n%s: %s", blocks, a, d, b)
			}
		}
	}
}
