package edge

import (
	"errors"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A response writes one answer of HTTP/1.1 to a connection, without buffers:
// the head goes out with the first piece of the body, in one system call.
// Methods are as those of net/http's.
type response struct {
	nc     net.Conn
	header http.Header
	head   []byte // written but not sent
	pooled *[]byte

	bodyless bool // HEAD
	close    bool // the connection ends with this answer
	status   int  // 0: not begun
	chunked  bool
	left     int64         // bytes that Content-Length promises and that have not come
	timed    bool          // a write deadline is set,
	own      bool          // and not by who answers
	slow     bool          // the viewer did not read before own
	timeout  time.Duration // for what has no deadline
	err      error         // of the connection
}

// heads are buffers for the heads of answers.
var heads = sync.Pool{New: func() any { b := make([]byte, 0, 2<<10); return &b }}

func (w *response) Header() http.Header { return w.header }

func (w *response) WriteHeader(status int) {
	if w.status != 0 || status < 200 {
		return
	}
	w.status = status
	w.left = -1
	h := w.header
	empty := w.bodyless || status == http.StatusNoContent || status == http.StatusNotModified
	if s := h.Get("Content-Length"); s != "" {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil && n >= 0 {
			w.left = n
		} else {
			h.Del("Content-Length")
		}
	}
	if empty {
		w.bodyless, w.left = true, 0
	}
	w.chunked = w.left < 0
	w.pooled = heads.Get().(*[]byte)
	b := appendHead((*w.pooled)[:0], status, h, time.Now())
	if w.chunked {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if w.close {
		b = append(b, "Connection: close\r\n"...)
	}
	w.head = append(b, "\r\n"...)
}

// appendHead appends status line and header fields, without the empty line.
func appendHead(b []byte, status int, h http.Header, now time.Time) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(status)...)
	b = append(b, "\r\nDate: "...)
	b = now.UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\n"...)
	for name, values := range h {
		switch name {
		case "Date", "Connection", "Transfer-Encoding":
			continue
		}
		for _, v := range values {
			b = append(b, name...)
			b = append(b, ": "...)
			if strings.ContainsAny(v, "\r\n") {
				v = strings.NewReplacer("\r", " ", "\n", " ").Replace(v)
			}
			b = append(b, v...)
			b = append(b, "\r\n"...)
		}
	}
	return b
}

func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	switch {
	case w.err != nil:
		return 0, w.err
	case w.bodyless:
		return len(p), nil
	case len(p) == 0:
		return 0, nil
	case w.chunked:
		var size [18]byte
		line := append(strconv.AppendInt(size[:0], int64(len(p)), 16), "\r\n"...)
		w.send(line, p, headEnd[:2])
	case int64(len(p)) > w.left:
		w.err = http.ErrContentLength
	default:
		w.left -= int64(len(p))
		w.send(p)
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(p), nil
}

// send sends what is there of the head, and pieces of the body.
func (w *response) send(pieces ...[]byte) {
	if !w.timed || w.own {
		w.SetWriteDeadline(time.Now().Add(w.timeout))
		w.own = true
	}
	defer func() { w.slow = w.own && errors.Is(w.err, os.ErrDeadlineExceeded) }()
	if len(w.head) == 0 && len(pieces) == 1 {
		_, w.err = w.nc.Write(pieces[0])
		return
	}
	bufs := make(net.Buffers, 0, 4)
	if len(w.head) > 0 {
		bufs = append(bufs, w.head)
	}
	bufs = append(bufs, pieces...)
	if len(bufs) > 0 {
		_, w.err = bufs.WriteTo(w.nc)
	}
	w.head = nil
	if w.pooled != nil {
		heads.Put(w.pooled)
		w.pooled = nil
	}
}

// FlushError sends the head, where it has not gone yet.
func (w *response) FlushError() error {
	w.WriteHeader(http.StatusOK)
	if w.err == nil && len(w.head) > 0 {
		w.send()
	}
	return w.err
}

// SetWriteDeadline is for http.ResponseController.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.timed, w.own = !t.IsZero(), false
	return w.nc.SetWriteDeadline(t)
}

// finish ends the answer, and reports whether another may follow it.
func (w *response) finish() bool {
	if w.status == 0 {
		w.header.Set("Content-Length", "0")
	}
	w.WriteHeader(http.StatusOK)
	switch {
	case w.err != nil:
	case w.chunked:
		w.send([]byte("0\r\n\r\n"))
	case len(w.head) > 0:
		w.send()
	}
	if w.timed {
		w.SetWriteDeadline(time.Time{}) // it was for this answer
	}
	// A body that is shorter than was said ends the connection.
	return w.err == nil && !w.close && w.left <= 0
}
