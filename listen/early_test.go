//go:build unix

package listen

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"headwater/listen/plain"
)

// refuseNo refuses what begins with /no.
func refuseNo(b []byte, h *plain.Head) []byte {
	if !bytes.HasPrefix(h.Target, []byte("/no")) {
		return b
	}
	return fmt.Appendf(plain.AppendStart(b, http.StatusNotFound, time.Now()), "Content-Length: 0\r\nX-Path: %s\r\n\r\n", h.Target)
}

// serveEarly serves a listener whose requests for /no... are refused: before net/http has
// them, or by its handler, which counts what it gets.
func serveEarly(t *testing.T, early bool, limits Limits, more http.HandlerFunc) (addr string, handled *atomic.Int64) {
	t.Helper()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	handled = new(atomic.Int64)
	if early {
		limits.Refuse = refuseNo
	}
	srv := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handled.Add(1)
		w.Header().Set("X-Path", r.RequestURI)
		if strings.HasPrefix(r.RequestURI, "/no") {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if more != nil {
			more(w, r)
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s%s", r.Header.Get("A"), body)
	}), slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(Limit(tcp, limits)) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return tcp.Addr().String(), handled
}

// answersTo sends pieces one after the other, and says what came, without what differs by
// the time. Where net/http closes a connection while a piece is on its way to it, the
// answer to that is a reset, which may take back what nobody has read yet: then it tries
// again.
func answersTo(t *testing.T, addr string, pieces ...string) (came string) {
	t.Helper()
	for range 100 {
		var reset bool
		if came, reset = tryAnswersTo(t, addr, pieces...); !reset {
			break
		}
	}
	return came
}

func tryAnswersTo(t *testing.T, addr string, pieces ...string) (came string, reset bool) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		for _, p := range pieces {
			if _, err := io.WriteString(c, p); err != nil {
				return // it was closed
			}
		}
		c.(*net.TCPConn).CloseWrite()
	}()
	c.SetReadDeadline(time.Now().Add(time.Minute))
	br := bufio.NewReader(c)
	var out strings.Builder
	for {
		// Whether an answer to HEAD has a body is not asked: none here has.
		resp, err := http.ReadResponse(br, nil)
		if err != nil {
			fmt.Fprintf(&out, "end")
			return out.String(), reset || errors.Is(err, syscall.ECONNRESET)
		}
		body, err := io.ReadAll(resp.Body)
		reset = reset || errors.Is(err, syscall.ECONNRESET)
		fmt.Fprintf(&out, "%d %s %q %v %v\n", resp.StatusCode, resp.Header.Get("X-Path"), body, err, resp.Close)
	}
}

// TestEarly: whatever comes, in whatever pieces, it is answered as if net/http had all of it.
func TestEarly(t *testing.T) {
	early, fewer := serveEarly(t, true, Limits{}, nil)
	late, _ := serveEarly(t, false, Limits{}, nil)
	const host = " HTTP/1.1\r\nHost: x\r\n"
	no, yes := "GET /no"+host+"\r\n", "GET /yes"+host+"A: b\r\n\r\n"
	put := "PUT /yes" + host + "Content-Length: 3\r\n\r\nabc"
	for _, c := range []struct {
		name, sent string
		handled    int64 // of it, by net/http; -1: does not matter
	}{
		{"one", no, 0},
		{"many", strings.Repeat(no, 1000), 0},
		{"HEAD", "HEAD /no" + host + "\r\n" + no, 0},
		{"one that is another's", yes, 1},
		{"both in turn", strings.Repeat(no+yes, 20), 20},
		{"behind a body", put + no + yes, 3},
		{"before a body", no + put + no, 2},
		{"a body that looks like a request", "PUT /yes" + host + fmt.Sprintf("Content-Length: %d\r\n\r\n", len(no)) + no + yes, 2},
		{"a chunked one", "PUT /yes" + host + "Transfer-Encoding: chunked\r\n\r\n" + fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(no), no) + no, 2},
		{"the last one", "GET /no" + host + "Connection: close\r\n\r\n" + no, 1},
		{"malformed", no + "GET /no" + host + "A : b\r\n\r\n" + no, 0},
		{"half a head", no + "GET /no HTTP/1.1\r\nHo", 0},
		{"half a line", no + "GE", 0},
		{"an empty line", no + "\r\n" + no, -1},
		{"an old one", "GET /no HTTP/1.0\r\n\r\n", 1},
		{"a long head", "GET /no" + host + "A: " + strings.Repeat("x", 5000) + "\r\n\r\n" + no, 2},
		{"a head as long as a buffer", "GET /no" + host + "A: " + strings.Repeat("x", 4096-len("GET /no"+host+"A: \r\n\r\n")) + "\r\n\r\n" + no, 0},
		{"long ones of both kinds", strings.Repeat("GET /no"+host+"A: "+strings.Repeat("x", 3000)+"\r\n\r\n"+"GET /yes"+host+"A: "+strings.Repeat("y", 3500)+"\r\n\r\n", 5), 5},
		{"a folded line", "GET /no" + host + "A: b\r\n c: d\r\n\r\n" + no, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := fewer.Load()
			if got, want := answersTo(t, early, c.sent), answersTo(t, late, c.sent); got != want {
				t.Errorf("%.2000s\nwithout: %.2000s", got, want)
			}
			if n := fewer.Load() - before; c.handled >= 0 && n != c.handled {
				t.Errorf("net/http had %d, want %d", n, c.handled)
			}
			if len(c.sent) > 600 {
				return
			}
			want := answersTo(t, late, c.sent)
			for cut := range len(c.sent) {
				if got := answersTo(t, early, c.sent[:cut], c.sent[cut:]); got != want {
					t.Errorf("cut at %d: %s\nwithout: %s", cut, got, want)
				}
			}
		})
	}
}

// TestEarlyWatchesForTheEnd: a handler hears that its client has left, and what comes behind
// its request is no sign of that, and is answered.
func TestEarlyWatchesForTheEnd(t *testing.T) {
	began, left := make(chan bool, 1), make(chan error, 1)
	addr, _ := serveEarly(t, true, Limits{}, func(w http.ResponseWriter, r *http.Request) {
		began <- true
		if r.Header.Get("A") == "waits" {
			select {
			case <-r.Context().Done():
				left <- context.Cause(r.Context())
			case <-time.After(time.Minute):
				left <- nil
			}
		}
	})
	dial := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}
	c := dial()
	fmt.Fprint(c, "GET /no HTTP/1.1\r\nHost: x\r\n\r\nGET /yes HTTP/1.1\r\nHost: x\r\nA: waits\r\n\r\n")
	<-began
	c.Close()
	if err := <-left; err == nil {
		t.Error("it was not told")
	}
	c = dial()
	fmt.Fprint(c, "GET /yes HTTP/1.1\r\nHost: x\r\n\r\nGET /no HTTP/1.1\r\nHost: x\r\n\r\n")
	<-began
	br := bufio.NewReader(c)
	for _, want := range []int{200, 404} {
		resp, err := http.ReadResponse(br, nil)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("%v %v, want %d", resp, err, want)
		}
		io.Copy(io.Discard, resp.Body)
	}
}

// TestEarlyCutsOffWhoDoesNotRead: the limit of slow readers is that of other answers.
func TestEarlyCutsOffWhoDoesNotRead(t *testing.T) {
	dropped := make(chan string, 1)
	addr, _ := serveEarly(t, true, Limits{WriteTimeout: 20 * time.Millisecond, Dropped: func(reason string) { dropped <- reason }}, nil)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	many := []byte(strings.Repeat("GET /no HTTP/1.1\r\nHost: x\r\n\r\n", 1000))
	for {
		if _, err := c.Write(many); err != nil {
			break
		}
	}
	select {
	case reason := <-dropped:
		if reason != DropSlow {
			t.Errorf("%s", reason)
		}
	case <-time.After(time.Minute):
		t.Error("nobody is dropped")
	}
}

// A deadlined connection notes until when it may be read.
type deadlined struct {
	net.Conn
	set []time.Time
}

func (d *deadlined) SetReadDeadline(t time.Time) error { d.set = append(d.set, t); return nil }

// TestEarlyLimits: a head has the time that it has in net/http, from its first byte, and the
// next one may be waited for as long; a storm sets no deadline for each.
func TestEarlyLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d deadlined
		e := &early{c: &Conn{Conn: &d}}
		want := func(what string, left ...time.Duration) {
			t.Helper()
			ok := len(d.set) == len(left)
			for i := range left {
				ok = ok && time.Until(d.set[i]) == left[i]
			}
			if !ok {
				t.Errorf("%s: %v, want %v", what, d.set, left)
			}
			d.set = nil
		}
		e.setLimit(forHead)
		want("a part of the first head: net/http has set one")
		e.begun = true
		e.limit = notMine
		e.setLimit(forNext)
		want("nothing has been answered: net/http has set one")
		e.limit = forNext
		e.setLimit(forNext)
		want("after an answer", IdleTimeout)
		time.Sleep(500 * time.Millisecond)
		e.setLimit(forNext)
		want("and another")
		time.Sleep(time.Second)
		e.setLimit(forNext)
		want("and one a while after", IdleTimeout)
		e.setLimit(forHead)
		want("the beginning of a head", HeaderTimeout)
		time.Sleep(time.Second)
		e.setLimit(forHead)
		want("more of it")
		e.limit = forNext
		e.setLimit(forNext)
		want("its answer", IdleTimeout)
	})
}

// A noted connection tells of each time that reading it is given.
type noted struct {
	*net.TCPConn
	given chan time.Duration
}

func (n *noted) SetReadDeadline(t time.Time) error {
	n.given <- time.Until(t).Round(time.Minute)
	return n.TCPConn.SetReadDeadline(t)
}

// connected returns the two ends of a connection.
func connected(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if client, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return client, server
}

// TestEarlyGivesEachHeadItsTime: a head that begins in the same piece as the one before it
// ends has its own time, however long there have been such pieces.
func TestEarlyGivesEachHeadItsTime(t *testing.T) {
	client, nc := connected(t)
	n := &noted{nc.(*net.TCPConn), make(chan time.Duration, 10)}
	go newEarly(&Conn{Conn: n, of: &Limited{Limits: Limits{Refuse: refuseNo}}}).read(make([]byte, 4096))
	const no = "GET /no HTTP/1.1\r\nHost: x\r\n\r\n"
	for i, c := range []struct {
		sent string
		want time.Duration
	}{{no, IdleTimeout}, {no[:10], 0}, {no[10:] + no[:10], 0}, {no[10:] + no[:20], 0}, {no[20:], IdleTimeout}} {
		if _, err := io.WriteString(client, c.sent); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-n.given:
			if got != c.want {
				t.Fatalf("after piece %d: %v, want %v", i, got, c.want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("after piece %d: no time is given", i)
		}
	}
}

// TestEarlyCountsWhatWasRead: answers that went at once are read, too: who has read so many
// has the whole time anew for the next that has to wait.
func TestEarlyCountsWhatWasRead(t *testing.T) {
	client, server := connected(t)
	c := &Conn{Conn: server, of: &Limited{Limits: Limits{Refuse: refuseNo}}, sent: slowBytes - 1}
	c.early = newEarly(c)
	const no = "GET /no HTTP/1.1\r\nHost: x\r\n\r\n"
	if _, err := io.WriteString(client, no); err != nil {
		t.Fatal(err)
	}
	client.(*net.TCPConn).CloseWrite()
	if _, err := c.Read(make([]byte, 4096)); err != io.EOF {
		t.Fatal(err)
	}
	if c.sent < slowBytes {
		t.Errorf("%d bytes", c.sent)
	}
}

// TestEarlySeesTheEndOfAStorm: of a connection that was refused again and again the end is seen, too,
// where it comes with the last request, or while nothing comes any more.
func TestEarlySeesTheEndOfAStorm(t *testing.T) {
	t.Parallel()
	addr, _ := serveEarly(t, true, Limits{}, nil)
	for _, with := range []bool{true, false} {
		nc, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.SetDeadline(time.Now().Add(time.Minute))
		answers := bufio.NewReader(nc)
		for k := range 3 * aStorm {
			last := k == 3*aStorm-1
			if _, err := io.WriteString(nc, "GET /no HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if last && with {
				nc.(*net.TCPConn).CloseWrite()
			}
			if resp, err := http.ReadResponse(answers, nil); err != nil || resp.StatusCode != http.StatusNotFound {
				t.Fatal(resp, err)
			}
			if last && !with {
				nc.(*net.TCPConn).CloseWrite()
			}
		}
		if _, err := answers.ReadByte(); err != io.EOF {
			t.Errorf("with its last request %v: %v", with, err)
		}
	}
}
