package front

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"headwater/edge/exchange"
	"headwater/listen/plain"
	"headwater/live"
)

func TestParseHead(t *testing.T) {
	const host = "Host: edge\r\n"
	for _, c := range []struct {
		in   string
		kind plain.Kind
	}{
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "\r\n", plain.Plain},
		{"HEAD /t/e/manifest.mpd HTTP/1.1\r\n" + host + "Accept: */*\r\n\r\nGET", plain.Plain},
		{"GET /t/e/v/1.m4s?CMCD=br%3D3000 HTTP/1.1\r\n" + host + "\r\n", plain.Plain},
		{"GET /t/e/event.json HTTP/1.1\r\n" + host + "Live-Names: ?\r\n\r\n", plain.Plain},
		// What is no file of an event is refused like one that there is not.
		{"GET /t/e/v/%31.m4s HTTP/1.1\r\n" + host + "\r\n", plain.Plain},
		{"GET /metrics?a=b HTTP/1.1\r\n" + host + "\r\n", plain.Plain},
		{"GET //t/../e/@ HTTP/1.1\r\n" + host + "\r\n", plain.Plain},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\nhost: [::1]:80\r\nConnection: Keep-Alive\r\n\r\n", plain.Plain},
		{"", plain.Part},
		{"G", plain.Part},
		{"\r", plain.Part},
		{"\r\n", plain.Part},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host, plain.Part},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "\r", plain.Part},
		// Other requests.
		{"POST", plain.Other},
		{"PRI * HTTP/2.0\r\n\r\n", plain.Other},
		{"\x16\x03\x01", plain.Other},
		{"GET /t/e/event.json?after=x HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.0\r\n" + host + "\r\n", plain.Other},
		{"OPTIONS /t/e/v/1.m4s HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"GET http://edge/t/e/v/1.m4s HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"GET /t/e/v/%3.m4s HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"GET /t/e/v/1.m4s%3 HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"GET /t/e/v/%g1.m4s HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"GET * HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "A: 12345678\x7f0123456\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "A: 123456\x1f80123456\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "A: 1\xe4345678\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "Expect: 100-continue\r\n\r\n", plain.Other},
		// What two readers could take in two ways.
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "Content-Length: 5\r\n\r\nabcde", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "Transfer-Encoding : chunked\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "A: b\r\n Transfer-Encoding: chunked\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "A: b\nTransfer-Encoding: chunked\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\n" + "Host: edge\n\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "A: b\rc\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + "A: \x00\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + host + "\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\nHost: a b\r\n\r\n", plain.Other},
		{"GET /t/e/v/1.m4s HTTP/1.1\r\n" + host + ": empty\r\n\r\n", plain.Other},
		{"GET  /t/e/v/1.m4s HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"GET /t/e/v/1.m4s  HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"GET /t/e/v/1.m4s?a\tb HTTP/1.1\r\n" + host + "\r\n", plain.Other},
		{"get /t/e/v/1.m4s HTTP/1.1\r\n" + host + "\r\n", plain.Other},
	} {
		if _, kind := parseHead([]byte(c.in)); kind != c.kind {
			t.Errorf("%q: %d, want %d", c.in, kind, c.kind)
		}
	}
}

// What is taken here net/http takes in the same way.
func FuzzParseHead(f *testing.F) {
	f.Add([]byte("GET /t/e/v/1.m4s?x=y HTTP/1.1\r\nHost: edge\r\nRange: bytes=1-2\r\nConnection: close\r\n\r\nGET"))
	f.Add([]byte("HEAD /t/e/main.m3u8 HTTP/1.1\r\nhOST: [::1]:80\r\na:  b\t\r\nA: c\r\n\r\n"))
	f.Add([]byte("GET /t/e/v/1.m4s HTTP/1.1\r\nHost: edge\r\nContent-Length: 0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		h, kind := parseHead(in)
		if kind == plain.Part && bytes.Contains(in, []byte("\r\n\r\n")) {
			t.Fatalf("%q: more is waited for", in)
		}
		if kind != plain.Plain {
			return
		}
		if h.length > len(in) || !bytes.HasSuffix(in[:h.length], []byte("\r\n\r\n")) {
			t.Fatalf("%q: %d bytes", in, h.length)
		}
		br := bufio.NewReader(bytes.NewReader(in))
		want, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("%q: net/http: %v", in, err)
		}
		if rest := br.Buffered(); len(in)-rest != h.length && len(in) < 4096 {
			t.Fatalf("%q: %d bytes, net/http takes %d", in, h.length, len(in)-rest)
		}
		if want.ContentLength != 0 || len(want.TransferEncoding) > 0 {
			t.Fatalf("%q: it has a body", in)
		}
		var more exchange.More
		if h.more != nil {
			more = *h.more
		}
		if h.method != want.Method || h.close != want.Close {
			t.Fatalf("%q:\n%+v\n%+v", in, h, want)
		}
		if got := exchange.ConditionsOf(want.Header); got != (exchange.Conditions{}) && got != more.Conditions && !repeated(want.Header) {
			t.Fatalf("%q: %+v, net/http has %+v", in, more.Conditions, got)
		}
		if !slices.Equal(members(string(more.Loop)), members(string(live.LoopOf(want.Header["Cdn-Loop"])))) {
			t.Fatalf("%q: %q", in, more.Loop)
		}
		if p, err := live.ParsePath(want.URL.EscapedPath()); (err != nil) != (h.target != "") || p != h.path {
			t.Fatalf("%q: %v %v", in, p, err)
		}
	})
}

// repeated reports whether a field is there twice of which only one counts.
func repeated(h http.Header) bool {
	for _, name := range []string{"Range", "If-Range", "If-Modified-Since", "If-Unmodified-Since"} {
		if len(h[name]) > 1 {
			return true
		}
	}
	return false
}

// members are what is between the commas.
func members(list string) (m []string) {
	for x := range strings.SplitSeq(list, ",") {
		if x = strings.TrimSpace(x); x != "" {
			m = append(m, x)
		}
	}
	return m
}
