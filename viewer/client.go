package viewer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"headwater/live"
)

var (
	// errLeft says that the viewer went away before the answer was complete.
	errLeft = errors.New("viewer: left")
	// errSilent says that the edge did not answer in time.
	errSilent = errors.New("no answer in time")
	errHead   = errors.New("the answer's head is too large")
)

// A dialError says that no connection could be opened.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// A cutError says that an answer began and did not end.
type cutError struct{ error }

func (e cutError) Unwrap() error { return e.error }

// A request is what a viewer asks for. Its times are by our clock.
type request struct {
	path     string
	answerBy time.Time // the answer has begun by then, or the edge is silent
	until    time.Time // the viewer goes away then; zero: never
	verify   bool      // digest the body
	// keep is asked, once the head has been read, whether to keep the body. May be nil.
	keep func(*reply) bool
}

// A reply is what the edge answered.
type reply struct {
	status   int
	digest   live.Digest // of the header; zero: none
	source   live.Source
	version  int64
	lifetime time.Duration // how long the answer may be cached, or how long to stay away
	lasting  bool          // lifetime was said
	after    time.Duration // Retry-After
	// published is when the origin made it durable, by the origin's clock.
	published     time.Time
	notifications string
	cacheStatus   string
	findings      live.Findings // of Live-Defects
	problem       string        // the code of a refusal that names one
	malformed     error         // a header that cannot be read

	sent, first, last time.Time // by our clock
	bytes             int64
	sum               live.Digest // of the body, where it was verified or kept
	body              []byte      // where it was kept
}

// A client asks one edge after the other, over one connection at a time. What
// it does itself needs little stack; its crew does the rest.
type client struct {
	net     *network
	edges   []*edge
	at      int // of edges
	conn    *conn
	waiting func(int64) // counts the requests that wait for their answer

	// The request that is being made, and its answer.
	ctx     context.Context
	req     *request
	reply   reply
	again   bool // the connection can be used once more
	err     error
	connect *job
	read    *job
}

func newClient(n *network, edges []*edge, at int, waiting func(int64)) *client {
	cl := &client{net: n, edges: edges, at: at, waiting: waiting}
	cl.connect = newJob(cl.doConnect)
	cl.read = newJob(cl.doRead)
	return cl
}

func (cl *client) edge() *edge { return cl.edges[cl.at] }

// close closes the connection, if there is one.
func (cl *client) close() {
	if cl.conn != nil {
		cl.net.close(cl.conn)
		cl.conn = nil
	}
}

// idleRace is how soon after a request a reused connection can turn out to
// have been closed before it: that is nobody's failure. Later, the edge has cut
// off a request that it was holding.
const idleRace = 100 * time.Millisecond

// get asks for a path and reads the whole answer, which is the caller's until
// the next get. Errors are errStopped, errLeft, a dialError, a cutError, or a
// network error before the answer began; after any of them the connection is
// closed, and the answer has what is known of it.
func (cl *client) get(ctx context.Context, req *request) (*reply, error) {
	cl.ctx, cl.req = ctx, req
	r := &cl.reply
	for {
		*r, cl.err, cl.again = reply{}, nil, false
		if cl.conn == nil {
			cl.net.crew.run(cl.connect)
			if cl.err != nil {
				return r, cl.err
			}
		}
		c := cl.conn
		err := cl.ask(c)
		if err == nil {
			cl.net.crew.run(cl.read)
			err = cl.err
		}
		if err == nil {
			c.used = true
			if !cl.again {
				cl.close()
			}
			return r, nil
		}
		cl.close()
		now := time.Now()
		switch {
		case ctx.Err() != nil:
			return r, errStopped
		case !req.until.IsZero() && !now.Before(req.until):
			return r, errLeft
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = errSilent
		case c.used && r.first.IsZero() && now.Sub(r.sent) < idleRace:
			continue // on a new connection, which is not used
		}
		if !r.first.IsZero() {
			return r, cutError{err}
		}
		return r, err
	}
}

func (cl *client) doConnect() {
	c, err := cl.net.connect(cl.ctx, cl.edge())
	switch {
	case err == nil:
		cl.conn = c
	case errors.Is(err, errStopped):
		cl.err = err
	default:
		cl.err = dialError{err}
		cl.at = (cl.at + 1) % len(cl.edges)
	}
}

// ask sends the request and waits until its answer begins.
func (cl *client) ask(c *conn) error {
	e, r := cl.edge(), &cl.reply
	w := workspaces.Get().(*workspace)
	w.buf = append(w.buf[:0], "GET "...)
	w.buf = append(w.buf, e.prefix...)
	w.buf = append(w.buf, cl.req.path...)
	w.buf = append(w.buf, " HTTP/1.1\r\nHost: "...)
	w.buf = append(w.buf, e.host...)
	if t := cl.net.token; t != "" {
		w.buf = append(append(w.buf, "\r\nAuthorization: Bearer "...), t...)
	}
	w.buf = append(w.buf, "\r\nUser-Agent: headwater-viewer\r\n\r\n"...)
	r.sent = time.Now()
	c.deadline(earlier(cl.req.answerBy, cl.req.until))
	_, err := c.Write(w.buf)
	workspaces.Put(w)
	if err != nil {
		return err
	}
	cl.waiting(1)
	c.begun = 0
	for c.begun == 0 && err == nil {
		c.begun, err = c.Read(c.first[:])
	}
	cl.waiting(-1)
	if c.begun == 0 {
		return err
	}
	r.first = time.Now()
	return nil
}

// doRead reads the answer that has begun.
func (cl *client) doRead() {
	cl.err = cl.readReply(cl.conn, cl.req, &cl.reply)
}

func (cl *client) readReply(c *conn, req *request, r *reply) error {
	w := workspaces.Get().(*workspace)
	defer w.release()
	w.src = source{conn: c, head: c.first[:c.begun], room: maxHead}
	w.br.Reset(&w.src)
	c.deadline(earlier(r.first.Add(cl.net.timeout), req.until))
	resp, err := http.ReadResponse(w.br, nil)
	for err == nil && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols {
		// An interim answer (RFC 9110, 15.2): the real one is still to come.
		c.deadline(earlier(req.answerBy, req.until))
		resp, err = http.ReadResponse(w.br, nil)
		r.first = time.Now()
	}
	if err != nil {
		return err
	}
	w.src.room = -1
	c.deadline(earlier(r.first.Add(cl.net.timeout), req.until))
	r.readHead(resp)
	room := 0
	if req.keep != nil && req.keep(r) {
		room = maxKept
	} else if strings.HasPrefix(resp.Header.Get("Content-Type"), live.ProblemType) {
		room = maxProblem
	}
	if err := r.readBody(resp, w, req.verify, room); err != nil {
		return err
	}
	if room == maxProblem {
		r.readProblem()
	}
	r.last = time.Now()
	cl.again = !resp.Close && resp.StatusCode >= 200 && w.br.Buffered() == 0
	return nil
}

func (r *reply) readHead(resp *http.Response) {
	h := resp.Header
	r.status = resp.StatusCode
	note := func(err error) {
		if err != nil && r.malformed == nil {
			r.malformed = err
		}
	}
	var err error
	r.digest, err = live.ParseDigest(h[live.HeaderContentDigest])
	note(err)
	if v := h.Get(live.HeaderVersion); v != "" {
		r.version, err = live.ParseVersion(v)
		note(err)
	}
	if v := h.Get(live.HeaderPublished); v != "" {
		r.published, err = live.ParsePublished(v)
		note(err)
	}
	if v := h.Get(live.HeaderPipeline); v != "" {
		r.source, err = live.ParseSource(v)
		note(err)
	}
	r.notifications = h.Get(live.HeaderNotifications)
	r.cacheStatus = strings.Join(h[live.HeaderCacheStatus], ", ")
	r.findings, err = live.ParseFindings(h[live.HeaderDefects])
	note(err)
	r.lifetime, r.lasting = live.ParseLifetime(h[live.HeaderCacheControl])
	// What a cache had for a while lasts that much less (RFC 9111, 4.2).
	if age, err := strconv.ParseInt(h.Get("Age"), 10, 32); err == nil && age > 0 {
		r.lifetime = max(r.lifetime-time.Duration(age)*time.Second, 0)
	}
	if s, err := strconv.ParseUint(h.Get("Retry-After"), 10, 16); err == nil {
		if r.after = time.Duration(s) * time.Second; r.lifetime == 0 {
			r.lifetime, r.lasting = r.after, true
		}
	}
}

// maxKept bounds a body that is kept, maxProblem one that says why something was
// refused.
const (
	maxKept    = 64 << 20
	maxProblem = 4 << 10
)

// readProblem takes the code of a problem (RFC 9457) from the body.
func (r *reply) readProblem() {
	var p live.Problem
	const longest = 64
	if json.Unmarshal(r.body, &p) == nil && len(p.Code) <= longest {
		r.problem = p.Code
	}
	r.body = nil
}

// readBody reads the body to its end, and keeps up to room bytes of it.
func (r *reply) readBody(resp *http.Response, w *workspace, verify bool, room int) error {
	if room > 0 {
		r.body = make([]byte, 0, min(max(resp.ContentLength, 0), int64(room)))
	}
	verify = verify || room > 0
	if verify {
		w.sum.Reset()
	}
	buf := w.buf[:cap(w.buf)]
	for {
		n, err := resp.Body.Read(buf)
		r.bytes += int64(n)
		if verify {
			w.sum.Write(buf[:n])
		}
		if len(r.body)+n <= room {
			r.body = append(r.body, buf[:n]...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if verify {
		w.sum.Sum(r.sum[:0])
	}
	return nil
}

// A workspace is what reading an answer takes. A viewer has one only while bytes
// arrive, not while it waits for them.
type workspace struct {
	src source
	br  *bufio.Reader
	buf []byte
	sum hash.Hash
}

var workspaces = sync.Pool{New: func() any {
	return &workspace{br: bufio.NewReaderSize(nil, 2048), buf: make([]byte, 0, 16<<10), sum: sha256.New()}
}}

func (w *workspace) release() {
	w.src = source{}
	w.br.Reset(nil)
	workspaces.Put(w)
}

// maxHead bounds the head of an answer.
const maxHead = 64 << 10

// A source is the connection, after the bytes that were read first.
type source struct {
	conn *conn
	head []byte
	room int // bytes that may still be read, or -1: any number
}

func (s *source) Read(p []byte) (int, error) {
	if len(s.head) > 0 {
		n := copy(p, s.head)
		s.head = s.head[n:]
		return n, nil
	}
	if s.room < 0 {
		return s.conn.Read(p)
	}
	if s.room == 0 {
		return 0, errHead
	}
	n, err := s.conn.Read(p[:min(len(p), s.room)])
	s.room -= n
	return n, err
}

// earlier is the earlier of two times, of which the second can be zero: never.
func earlier(a, b time.Time) time.Time {
	if b.IsZero() || a.Before(b) {
		return a
	}
	return b
}

// cause is an error in few words, without the addresses that would make each
// one different.
func cause(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		inner := op.Err
		var sys *os.SyscallError
		if errors.As(inner, &sys) {
			inner = sys.Err
		}
		return fmt.Sprintf("%s: %v", op.Op, inner)
	}
	return err.Error()
}
