package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"headwater/edge/front/h2"
)

// An oddAnswer answers a request of HTTP/2 that is none of those that viewers send
// in crowds: a handler of net/http does, with a goroutine. What it writes it gives
// to the loop, and waits until that has taken it.
type oddAnswer struct {
	st  *stream
	req *http.Request

	// Of the loop.
	body  []byte // of the request, as far as it has come
	piece []byte // is being written,
	wrote chan error
	done  bool // nothing follows

	// Of the handler.
	header http.Header
	status int
	begun  bool // the head is the loop's
	until  time.Time
	cancel context.CancelFunc
}

var errGone = errors.New("front: the stream is over")

// leaveTo leaves a request to the handler, with its body.
func (st *stream) leaveTo(r *h2.Request) {
	l := st.m.c.loop
	u, err := url.ParseRequestURI(string(r.Path))
	if err != nil {
		st.short(http.StatusBadRequest)
		return
	}
	req := &http.Request{
		Method: string(r.Method), URL: u, Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header), Host: string(r.Authority),
		RequestURI: string(r.Path), RemoteAddr: netip.AddrPortFrom(st.m.c.addr, 0).String(), Body: http.NoBody,
		TLS: &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, NegotiatedProtocol: "h2"},
	}
	for _, f := range r.Fields {
		if string(f.Name) == "host" && req.Host == "" {
			req.Host = string(f.Value)
			continue
		}
		req.Header.Add(string(f.Name), string(f.Value))
	}
	st.odd = &oddAnswer{st: st, req: req, header: make(http.Header)}
	st.size = -1
	if r.End {
		st.state = running
		st.odd.start(nil)
		return
	}
	req.ContentLength = -1
	if n, err := strconv.ParseInt(req.Header.Get("Content-Length"), 10, 64); err == nil {
		req.ContentLength = n
	}
	st.state, st.counted = carrying, l.now
	if req.ContentLength > maxBody {
		st.odd.start(nil) // it is refused by its length
	}
}

// carry takes what a request carries, as much of it as one may.
func (st *stream) carry(p []byte, end bool) {
	o := st.odd
	if st.state != carrying || o == nil {
		return
	}
	o.body = append(o.body, p...)
	if end || len(o.body) > maxBody {
		o.start(nil)
	}
}

// late answers a request whose body has not come in time.
func (st *stream) late() { st.odd.start(os.ErrDeadlineExceeded) }

// start has the handler answer. err is how the body ends, where it is not whole.
func (o *oddAnswer) start(err error) {
	st, s := o.st, o.st.m.c.loop.srv
	st.state = running
	if o.req.ContentLength != 0 {
		end := io.Reader(strings.NewReader(""))
		if err != nil {
			end = failing{err}
		}
		o.req.Body = io.NopCloser(io.MultiReader(bytes.NewReader(o.body), end))
	}
	ctx, cancel := context.WithCancel(s.ctx)
	o.cancel, o.req = cancel, o.req.WithContext(ctx)
	if !s.spawn(func() { o.run(s) }) {
		cancel()
		st.leave()
		st.m.h.Abort(st.s, h2.RefusedStream)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// run is the handler's goroutine.
func (o *oddAnswer) run(s *Server) {
	defer o.cancel()
	defer func() {
		x := recover()
		if x == nil {
			return
		}
		if x != http.ErrAbortHandler {
			s.Log.Error("panic", "panic", x, "stack", string(debug.Stack()))
		}
		o.tell(func() { o.st.quit() })
	}()
	s.std.Handler.ServeHTTP(o, o.req)
	if !o.begun {
		o.begin(nil)
	}
	o.tell(func() {
		o.done = true
		o.push()
	})
}

// tell has the loop do something where the stream is not over.
func (o *oddAnswer) tell(do func()) bool { return o.tellOr(do, o.gone) }

// tellOr has it do something else where it is.
func (o *oddAnswer) tellOr(do, over func()) bool {
	c := o.st.m.c
	return c.loop.post(post{what: call, do: func() {
		if o.st.state == ended {
			over()
			return
		}
		defer c.recover()
		c.left, o.st.left = turnBytes, streamBytes
		do()
		o.st.m.after()
	}})
}

// quit ends an answer in the middle.
func (st *stream) quit() {
	st.leave()
	st.m.h.Abort(st.s, h2.InternalError)
}

// Header is that of http.ResponseWriter, like the others.
func (o *oddAnswer) Header() http.Header { return o.header }

func (o *oddAnswer) WriteHeader(status int) {
	if o.status == 0 && status >= 200 {
		o.status = status
	}
}

// begin gives the loop the head.
func (o *oddAnswer) begin(first []byte) {
	o.WriteHeader(http.StatusOK)
	o.begun = true
	h, status := o.header.Clone(), o.status
	if len(first) > 0 && h.Get("Content-Type") == "" {
		h.Set("Content-Type", http.DetectContentType(first))
	}
	o.tell(func() {
		f := o.st.Fields(status, time.Now())
		for name, values := range h {
			switch name {
			case "Connection":
				o.st.m.away = true
				o.st.m.h.GoAway(false)
				continue
			case "Date", "Keep-Alive", "Transfer-Encoding", "Upgrade", "Alt-Svc":
				continue
			}
			for _, v := range values {
				f.Put(name, v)
			}
		}
		o.st.Begin(nil, -1)
		o.push()
	})
}

// bodiless reports whether nothing follows the head.
func (o *oddAnswer) bodiless() bool {
	return o.req.Method == http.MethodHead || o.status == http.StatusNoContent || o.status == http.StatusNotModified
}

func (o *oddAnswer) Write(p []byte) (int, error) {
	if !o.begun {
		o.begin(p)
	}
	if o.bodiless() || len(p) == 0 {
		return len(p), nil
	}
	wrote := make(chan error, 1)
	if !o.tellOr(func() {
		o.piece, o.wrote = p, wrote
		o.st.counted, o.st.taken = time.Now(), 0 // it was not the viewer who was slow
		o.push()
	}, func() { wrote <- errGone }) {
		return 0, errGone
	}
	var late <-chan time.Time
	if !o.until.IsZero() {
		t := time.NewTimer(time.Until(o.until))
		defer t.Stop()
		late = t.C
	}
	select {
	case err := <-wrote:
		return len(p), err
	case <-o.req.Context().Done():
		<-wrote // the loop has p until then
		return 0, errGone
	case <-late:
		if o.tell(func() { o.st.quit() }) {
			<-wrote
		}
		return 0, os.ErrDeadlineExceeded
	}
}

// FlushError is for http.ResponseController, like SetWriteDeadline.
func (o *oddAnswer) FlushError() error {
	if !o.begun {
		o.begin(nil)
	}
	return o.req.Context().Err()
}

func (o *oddAnswer) SetWriteDeadline(t time.Time) error { o.until = t; return nil }

// push writes what there is, as far as the viewer takes it. It is the loop's, like
// gone.
func (o *oddAnswer) push() {
	st := o.st
	st.state, st.left = running, streamBytes
	n, err := st.Write(o.piece)
	if err != nil {
		st.quit()
		return
	}
	if o.piece = o.piece[n:]; len(o.piece) > 0 {
		st.block()
		return
	}
	if o.wrote != nil {
		o.wrote <- nil
		o.piece, o.wrote = nil, nil
	}
	if !o.done {
		if len(st.pre) > 0 && st.m.control() && !st.m.sock.full() {
			st.put(nil)
		}
		st.pre = bytes.Clone(st.pre)
		return
	}
	all, err := st.End()
	switch {
	case err != nil:
		st.quit()
	case all:
		st.finish()
	default:
		st.pre = bytes.Clone(st.pre)
		st.block()
	}
}

// gone tells the handler that there is nobody to answer.
func (o *oddAnswer) gone() {
	if o.cancel != nil {
		o.cancel()
	}
	if o.wrote != nil {
		o.wrote <- errGone
		o.piece, o.wrote = nil, nil
	}
}
