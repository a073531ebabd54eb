package edge

import (
	"net/http"
	"sync"
	"time"
)

// An object is one answer of a parent, or the attempt to get one. It belongs
// to the cache: whoever began it may leave, it goes on.
//
// Phases: until ready is closed only the fill touches the other fields. From
// then on the head (status to err) is immutable and anybody may read it, while
// the body still grows under mu. Bytes once visible never change.
type object struct {
	key   key
	ready chan struct{}

	status   int
	header   http.Header
	size     int64     // of the body, -1 while not known
	received time.Time // when the head came
	age      time.Duration
	lifetime time.Duration // from received on
	err      error         // there is no answer

	mu      sync.Mutex    // guards the following
	buf     []byte        // what came
	visible int           // what readers may see of it: the last piece waits for the digest
	done    bool          // nothing more comes
	bodyErr error         // with done: the body is not complete or not right
	more    chan struct{} // closed when visible grows or done is set

	// Guarded by the cache's mu.
	listed  bool  // in the cache
	charged int64 // bytes it counts for there
}

func newObject(k key) *object {
	return &object{key: k, ready: make(chan struct{}), size: -1, more: make(chan struct{})}
}

// isReady reports whether the head is there.
func (o *object) isReady() bool {
	select {
	case <-o.ready:
		return true
	default:
		return false
	}
}

// fresh reports whether the object may be served at now: while it is being
// filled, and then until its lifetime is over.
func (o *object) fresh(now time.Time) bool {
	return !o.isReady() || now.Sub(o.received) < o.lifetime
}

// view returns what may be read now, whether that is all, and a channel that
// closes when there is more.
func (o *object) view() (data []byte, done bool, more <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf[:o.visible], o.done, o.more, o.bodyErr
}

// complete reports whether the whole body is there and right.
func (o *object) complete() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done && o.bodyErr == nil
}

// grow makes what is in buf up to n visible.
func (o *object) grow(buf []byte, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf, o.visible = buf, n
	close(o.more)
	o.more = make(chan struct{})
}

// finish ends the body.
func (o *object) finish(buf []byte, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err == nil {
		o.buf, o.visible = buf, len(buf)
	}
	o.done, o.bodyErr = true, err
	close(o.more)
}
