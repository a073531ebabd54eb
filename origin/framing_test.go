package origin

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"headwater/listen"
	"headwater/live"
)

// listeners are an origin's three, as the program serves them.
func listeners(r *rig) map[string]*wireRig {
	all := make(map[string]*wireRig)
	for name, h := range map[string]http.Handler{"publish": r.pub, "deliver": r.del, "control": r.ctl} {
		w := &wireRig{rig: r, srv: httptest.NewUnstartedServer(nil)}
		w.srv.Config = listen.NewServer(h, slog.New(slog.DiscardHandler))
		var limits listen.Limits
		if name == "deliver" {
			limits.Refuse = r.o.Refuse
		}
		w.srv.Listener = listen.Limit(w.srv.Listener, limits)
		w.srv.Start()
		r.Cleanup(w.srv.Close)
		all[name] = w
	}
	return all
}

// TestFramingOfRequests: what two readers could understand in two ways ends its connection, and nothing
// behind it is taken for a request (RFC 9112, 11.2). A proxy in front, which read it in the
// other way, would give the next answer to another client.
func TestFramingOfRequests(t *testing.T) {
	r := newRig(t, Config{})
	r.putInits("a", "b")
	n := r.next()
	seg := string(r.m.segment(r.tl, "v", n, take{}))
	put := fmt.Sprintf("/acme/final/a/v/%d.m4s", n)
	chunked := func(body string) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body) }
	length := fmt.Sprintf("Content-Length: %d\r\n", len(seg))
	const te = "Transfer-Encoding: chunked\r\n"
	event := eventsPath + "/acme/final"
	const dry = `{"reason":"x","from":0,"to":0,"pipeline":"a","rendition":"v","dry_run":true}`

	all := listeners(r)
	for _, c := range []struct {
		name, at, line, head, body string
		status                     int
		goes                       bool // the connection goes on
	}{
		{"a length", "publish", "PUT " + put, length, seg, 201, true},
		{"the same length twice", "publish", "PUT " + put, length + length, seg, 200, true},
		{"two lengths", "publish", "PUT " + put, length + "Content-Length: 3\r\n", seg, 400, false},
		{"two lengths in a line", "publish", "PUT " + put, fmt.Sprintf("Content-Length: %d, 3\r\n", len(seg)), seg, 400, false},
		{"a signed length", "publish", "PUT " + put, "Content-Length: +3\r\n", "abc", 400, false},
		{"a negative length", "publish", "PUT " + put, "Content-Length: -3\r\n", "abc", 400, false},
		{"a length in hexadecimal", "publish", "PUT " + put, "Content-Length: 0x3\r\n", "abc", 400, false},
		{"an empty length", "publish", "PUT " + put, "Content-Length: \r\n", "abc", 400, false},
		{"a length beyond any", "publish", "PUT " + put, "Content-Length: 99999999999999999999\r\n", "abc", 400, false},
		{"chunks", "publish", "PUT " + put, te, chunked(seg), 200, true},
		{"chunks, and a length in their head", "publish", "PUT " + put, length + te, chunked(seg), 200, false},
		{"the same the other way round", "publish", "PUT " + put, te + length, chunked(seg), 200, false},
		{"the same with a length of 0", "publish", "PUT " + put, "cOnTeNt-LeNgTh: 0\r\n" + te, chunked(seg), 200, false},
		{"the same over bare LF", "publish", "PUT " + put, "X: y\nContent-Length: 0\n" + te, chunked(seg), 200, false},
		{"chunks after an encoding that is none", "publish", "PUT " + put, "Transfer-Encoding: x, chunked\r\n", chunked(seg), 501, false},
		{"chunks before another encoding", "publish", "PUT " + put, "Transfer-Encoding: chunked, identity\r\n", chunked(seg), 501, false},
		{"identity", "publish", "PUT " + put, "Transfer-Encoding: identity\r\n" + length, seg, 501, false},
		{"chunks twice", "publish", "PUT " + put, te + te, chunked(seg), 501, false},
		{"a space before the colon", "publish", "PUT " + put, "Transfer-Encoding : chunked\r\n", chunked(seg), 400, false},
		{"an encoding with a control character", "publish", "PUT " + put, "Transfer-Encoding: \x0bchunked\r\n", chunked(seg), 400, false},
		{"a folded encoding", "publish", "PUT " + put, "Transfer-Encoding:\r\n chunked\r\n", chunked(seg), 200, true},
		{"chunk extensions", "publish", "PUT " + put, te, fmt.Sprintf("%x;a=b;c=\"d\"\r\n%s\r\n0;e\r\n\r\n", len(seg), seg), 200, true},
		{"a chunk's size that ends in bare LF", "publish", "PUT " + put, te, fmt.Sprintf("%x\n%s\r\n0\r\n\r\n", len(seg), seg), 400, false},
		{"a chunk that ends in bare LF", "publish", "PUT " + put, te, fmt.Sprintf("%x\r\n%s\n0\r\n\r\n", len(seg), seg), 400, false},
		{"a chunk's size with a bare LF in its extension", "publish", "PUT " + put, te, fmt.Sprintf("%x;\nx\r\n%s\r\n0\r\n\r\n", len(seg), seg), 400, false},
		{"a size that is none", "publish", "PUT " + put, te, "zz\r\nabc\r\n0\r\n\r\n", 400, false},
		{"a size with a sign", "publish", "PUT " + put, te, "+3\r\nabc\r\n0\r\n\r\n", 400, false},
		{"a size with 0x", "publish", "PUT " + put, te, "0x3\r\nabc\r\n0\r\n\r\n", 400, false},
		{"a size beyond 64 bits", "publish", "PUT " + put, te, "10000000000000003\r\nabc\r\n0\r\n\r\n", 400, false},
		{"a trailer that frames", "publish", "PUT " + put, te, fmt.Sprintf("%x\r\n%s\r\n0\r\nContent-Length: 3\r\n\r\n", len(seg), seg), 200, false},
		{"HTTP/1.0, kept", "publish", "PUT " + put + " HTTP/1.0", "Connection: keep-alive\r\n" + length, seg, 200, false},
		{"chunks of HTTP/1.0", "publish", "PUT " + put + " HTTP/1.0", "Connection: keep-alive\r\n" + te, chunked(seg), 400, false},
		{"HTTP/2 in the clear", "publish", "PRI * HTTP/2.0", "", "SM\r\n\r\n", 405, false},

		{"a body that is not needed", "deliver", "GET /acme/final/event.json", "Content-Length: 3\r\n", "abc", 200, true},
		{"one that is malformed", "deliver", "GET /acme/final/event.json", te, "nonsense\r\n\r\n", 400, false},
		{"one that is large", "deliver", "GET /acme/final/event.json", "Content-Length: 4097\r\n", strings.Repeat("x", 4097), 413, false},
		{"one that is large, in chunks", "deliver", "GET /acme/final/event.json", te, chunked(strings.Repeat("x", 4097)), 413, false},
		{"a malformed one of what is refused", "deliver", "GET /acme/final/nothing", te, "zz\r\n", 400, false},
		{"a malformed one of a HEAD", "deliver", "HEAD /acme/final/event.json", te, "zz\r\n", 400, false},
		{"a length and chunks of a GET", "deliver", "GET /acme/final/event.json", "Content-Length: 5\r\n" + te, "0\r\n\r\n", 200, false},
		{"a GET of publish", "publish", "GET /readyz", te, "zz\r\n", 400, false},
		{"a DELETE of publish", "publish", "DELETE " + put, te, "zz\r\n", 400, false},

		{"a malformed body of control", "control", "POST " + event + "/masks", "Content-Type: application/json\r\n" + te, "zz\r\n" + dry, 400, false},
		{"two lengths at control", "control", "POST " + event + "/masks", "Content-Type: application/json\r\nContent-Length: 3\r\nContent-Length: 4\r\n", dry, 400, false},
		{"chunks and a length at control", "control", "GET " + event, "Content-Type: application/json\r\nContent-Length: 5\r\n" + te, "0\r\n\r\n", 200, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := all[c.at]
			if !strings.Contains(c.line, " HTTP/") {
				c.line += " HTTP/1.1"
			}
			conn := w.dial("", []byte(c.line+"\r\nHost: x\r\n"+c.head+"\r\n"+c.body))
			// What would be a request of another client.
			fmt.Fprintf(conn, "GET /readyz?behind HTTP/1.1\r\nHost: x\r\n\r\n")
			br := bufio.NewReader(conn)
			method, _, _ := strings.Cut(c.line, " ")
			resp, err := http.ReadResponse(br, &http.Request{Method: method})
			if err != nil {
				t.Fatal(err)
			}
			drain(resp)
			if resp.StatusCode != c.status {
				t.Errorf("%s %v, want %d", resp.Status, resp.Header, c.status)
			}
			next, err := http.ReadResponse(br, nil)
			switch {
			case err == nil && !c.goes:
				t.Errorf("what is behind it was answered: %s", next.Status)
			case err != nil && c.goes:
				t.Errorf("the connection did not go on: %v", err)
			case c.goes && next.StatusCode != 200:
				t.Errorf("and then: %s", next.Status)
			case !c.goes && !resp.Close:
				t.Errorf("it does not say that it closes: %v", resp.Header)
			}
		})
	}
}

// TestHeadsOfRequests: lines of heads, and targets, that are read in one way or refused.
func TestHeadsOfRequests(t *testing.T) {
	r := newRig(t, Config{})
	r.putInits("a", "b")
	all := listeners(r)
	const get, host = "GET /acme/final/event.json HTTP/1.1\r\n", "Host: x\r\n"
	for _, c := range []struct {
		name, head string
		status     int
	}{
		{"as it should be", get + host, 200},
		{"no Host", get, 400},
		{"two Hosts", get + host + "Host: y\r\n", 400},
		{"a Host with a space", get + "Host: x y\r\n", 400},
		{"a Host with a slash", get + "Host: x/acme\r\n", 400},
		{"a folded line", get + host + "A: b\r\n c\r\n", 200},
		{"a folded line that would frame", get + host + "A: b\r\n Transfer-Encoding: chunked\r\n", 200},
		{"a first line that is folded", get + " A: b\r\n" + host, 400},
		{"lines that end in bare LF", "GET /acme/final/event.json HTTP/1.1\nHost: x\n", 200},
		{"a bare CR in a value", get + host + "A: b\rTransfer-Encoding: chunked\r\n", 400},
		{"a NUL in a value", get + host + "A: b\x00c\r\n", 400},
		{"a name with a space", get + host + "A b: c\r\n", 400},
		{"a space before a colon", get + host + "A : b\r\n", 400},
		{"no name", get + host + ": b\r\n", 400},
		{"no colon", get + host + "A\r\n", 400},
		{"a name with an underscore is another's", get + host + "Content_Length: 5\r\nTransfer_Encoding: chunked\r\n", 200},
		{"a name in another alphabet", get + host + "Transf\xc3\xa9r: b\r\n", 400},
		{"a method in lower case", "get /acme/final/event.json HTTP/1.1\r\n" + host, 405},
		{"a method that is none", "G@T /acme/final/event.json HTTP/1.1\r\n" + host, 400},
		{"two spaces", "GET  /acme/final/event.json HTTP/1.1\r\n" + host, 400},
		{"a space in the target", "GET /acme/final/event.json x HTTP/1.1\r\n" + host, 400},
		{"no version", "GET /acme/final/event.json\r\n" + host, 400},
		{"a version that there is not", "GET /acme/final/event.json HTTP/1.9\r\n" + host, 200},
		{"an absolute target, whatever Host says", "GET http://y/acme/final/event.json HTTP/1.1\r\n" + host, 200},
		{"an absolute target of another scheme", "GET ftp://y/acme/final/event.json HTTP/1.1\r\n" + host, 200},
		{"an absolute target and no Host", "GET http://y/acme/final/event.json HTTP/1.1\r\n", 400},
		{"a target that is no path", "GET acme/final/event.json HTTP/1.1\r\n" + host, 400},
		{"a target for proxies", "CONNECT x:443 HTTP/1.1\r\n" + host, 405},
		{"an upgrade", get + host + "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n", 200},
		{"an expectation that is none", get + host + "Expect: miracles\r\n", 417},

		// One resource has one name, since a cache would keep each.
		{"an encoded letter", "GET /acme/final/%65vent.json HTTP/1.1\r\n" + host, 404},
		{"an encoded slash", "GET /acme%2ffinal/event.json HTTP/1.1\r\n" + host, 404},
		{"an encoded dot", "GET /acme/final/event%2ejson HTTP/1.1\r\n" + host, 404},
		{"a NUL", "GET /acme/final/event.json%00 HTTP/1.1\r\n" + host, 404},
		{"a NUL as it is", "GET /acme/final/event.json\x00 HTTP/1.1\r\n" + host, 400},
		{"half an encoding", "GET /acme/final/event.json%6 HTTP/1.1\r\n" + host, 400},
		{"encoded twice", "GET /acme/final/%2565vent.json HTTP/1.1\r\n" + host, 404},
		{"dots", "GET /acme/x/../final/event.json HTTP/1.1\r\n" + host, 404},
		{"encoded dots", "GET /acme/x/%2e%2e/final/event.json HTTP/1.1\r\n" + host, 404},
		{"two slashes", "GET //acme/final/event.json HTTP/1.1\r\n" + host, 404},
		{"a slash behind", "GET /acme/final/event.json/ HTTP/1.1\r\n" + host, 404},
		{"a backslash", "GET /acme\\final/event.json HTTP/1.1\r\n" + host, 404},
		{"a parameter", "GET /acme/final/event.json;a=b HTTP/1.1\r\n" + host, 404},
		{"a fragment", "GET /acme/final/event.json#a HTTP/1.1\r\n" + host, 404},
		{"another case", "GET /ACME/final/event.json HTTP/1.1\r\n" + host, 404},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := all["deliver"]
			end := "\r\n"
			if !strings.Contains(c.head, "\r") {
				end = "\n"
			}
			conn := w.dial("", []byte(c.head+end))
			resp, body := w.answer(bufio.NewReader(conn))
			if resp.StatusCode != c.status {
				t.Errorf("%s %s, want %d", resp.Status, body, c.status)
			}
		})
	}
}

// TestHeadersAreNoPartOfAnAnswer: an answer that a cache may keep for all is the same whatever else
// a request says.
func TestHeadersAreNoPartOfAnAnswer(t *testing.T) {
	r := newRig(t, Config{})
	r.putInits("a", "b")
	n := r.next()
	r.putSegment("a", "v", n, take{}, 201)
	w := listeners(r)["deliver"]
	var said strings.Builder
	for _, name := range []string{"X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-For", "X-Host", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override",
		"Origin", "Referer", "Cookie", "Authorization", "CDN-Loop", "Via", "X-Requested-With", "Accept", "Accept-Language", "User-Agent", "Max-Forwards", "Prefer", "Pragma",
		"Cache-Control", live.HeaderDefects, live.HeaderPipeline, live.HeaderNotifications, live.HeaderContentDigest} {
		fmt.Fprintf(&said, "%s: http://evil.example/\n", name)
	}
	for _, path := range []string{"/acme/final/main.m3u8", "/acme/final/manifest.mpd", "/acme/final/timeline.mpd", "/acme/final/event.json", "/acme/final/v/media.m3u8", "/acme/final/v/init.mp4",
		"/acme/final/v/" + live.SegmentName(n), "/acme/final/nothing", "/acme/other/event.json", "/nobody/final/event.json"} {
		plain, want := w.answer(bufio.NewReader(w.dial("GET "+path+" HTTP/1.1\nHost: origin\n\n", nil)))
		resp, got := w.answer(bufio.NewReader(w.dial("GET "+path+"?x=y HTTP/1.1\nHost: evil.example\n"+said.String()+"\n", nil)))
		if resp.StatusCode != plain.StatusCode || strings.Contains(string(got), "evil") || len(got) != len(want) {
			t.Errorf("%s: %s, without them %s\n%s\n%s", path, resp.Status, plain.Status, got, want)
		}
		for name, v := range resp.Header {
			if strings.Contains(strings.Join(v, ","), "evil") {
				t.Errorf("%s: %s: %s", path, name, v)
			}
		}
	}
}

func drain(resp *http.Response) {
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
}
