package listen

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
)

// A timedBody notices that its reader gave up because of a deadline.
type timedBody struct {
	io.ReadCloser
	late bool
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.late = b.late || errors.Is(err, os.ErrDeadlineExceeded)
	return n, err
}

// letHear has net/http close only its half of the connection after this answer, and the
// rest a moment later. A packager whose body was given up may be sending still: what
// comes at a closed connection is reset, and of a reset connection it does not read the
// answer that says why (RFC 9112, 9.6). After a body that is too large net/http does so
// itself; it takes one that ended in an error for a client that has left.
func letHear(w http.ResponseWriter) {
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader(".")), 0).Read(make([]byte, 1))
}
