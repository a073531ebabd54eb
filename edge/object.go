package edge

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge/exchange"
	"headwater/live"
)

// An object is one answer of a parent, or the attempt to get one. It belongs
// to the cache: whoever began it may leave, it goes on.
//
// Phases: until ready is closed only the fill touches the head (status to
// err). From then on the head is immutable and anybody may read it, while the
// body still grows under mu. Bytes once visible never change.
type object struct {
	key   key
	ready chan struct{}
	begun int64 // configuration version when it was asked for
	tries int   // how many fills in a row failed just before
	keep  bool  // worth filling although nobody waits for it any more

	ctx    context.Context // of the fill
	cancel context.CancelFunc

	status   int
	header   http.Header
	common   *exchange.Shared // of the heads of answers with all of it
	passed   []string         // Cache-Status of the caches before this one
	source   live.Source
	problem  string               // the code of a refusal that a parent gave
	sending  []prometheus.Counter // of each time that it is sent
	onDisk   bool                 // the answer came from the disk
	made     int64                // configuration version that the answer was made under
	size     int64                // of the body, -1 while not known
	received time.Time            // when the head came, or the fill failed
	age      time.Duration
	lifetime time.Duration // from received on
	plain    time.Duration // the same for those who do not heed invalidations
	err      error         // there is no answer

	mu      sync.Mutex              // guards the following
	buf     []byte                  // what came
	visible int                     // what readers may see of it
	done    bool                    // nothing more comes
	bodyErr error                   // with done: the body is not complete or not right
	failed  time.Time               // with bodyErr: when
	more    chan struct{}           // closed when visible grows or done is set
	parked  map[exchange.Parked]int // and what each has seen: told when there is more

	// Guarded by the cache's mu.
	listed     bool      // in the cache
	charged    int64     // bytes it counts for there
	users      int       // requests that wait for it or read it
	filling    bool      // its fill is not over
	inWindow   bool      // of the live window,
	liveUntil  time.Time // until then
	place      int       // in the heap of those, from 1; 0: not there
	stays      bool      // it cannot leave just now
	neighbours           // in the list of those that may leave
}

// busy reports whether dropping the object would free nothing. It needs the
// cache's mu.
func (o *object) busy() bool { return o.users > 0 || o.filling }

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

// open closes ready: the head is there.
func (o *object) open() {
	if o.err == nil {
		o.prepare()
	}
	o.mu.Lock()
	close(o.ready)
	var waiting []exchange.Parked
	if o.done || o.visible > 0 {
		waiting = o.takeParked()
	} else {
		// A crowd is woken once, when there is something to send.
		for p, seen := range o.parked {
			if seen == headOnly {
				waiting = append(waiting, p)
				delete(o.parked, p)
			}
		}
	}
	o.mu.Unlock()
	exchange.WakeAll(waiting)
}

// refusal is what an object without an answer is answered with.
func (o *object) refusal(now time.Time) *live.Problem {
	left := max(o.lifetime-now.Sub(o.received), 0)
	if p := (*live.Problem)(nil); errors.As(o.err, &p) {
		return p.For(left)
	}
	return live.ErrUpstream.For(left).With("no parent answered in time")
}

// fail says that there is no answer. For a moment nobody asks again: a crowd
// must not become a storm.
func (o *object) fail(err error) {
	o.err, o.received, o.lifetime = err, time.Now(), live.ErrUpstream.Lifetime
	if p := (*live.Problem)(nil); errors.As(err, &p) {
		o.lifetime = max(p.Lifetime, 0)
	}
	o.finish(nil, err)
	o.open()
}

// headOnly is what who waits for the head has seen of the body.
const headOnly = -1

// Park has p told, once, when there is a head and more than the seen bytes of the
// body, or for headOnly when there is a head. It reports false where there is.
func (o *object) Park(p exchange.Parked, seen int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.isReady() && (seen == headOnly || o.done || o.visible > seen) {
		return false
	}
	if o.parked == nil {
		o.parked = make(map[exchange.Parked]int)
	}
	o.parked[p] = seen
	return true
}

// Changed returns a channel that closes when there is more than was seen, nil
// where there is.
func (o *object) Changed(seen int) <-chan struct{} {
	if seen == headOnly {
		return o.ready
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !o.done && o.visible <= seen:
		return o.more
	case !o.isReady():
		return o.ready
	}
	return nil
}

// Unpark takes back Park.
func (o *object) Unpark(p exchange.Parked) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.parked, p)
}

// retryAfter is how long a fill that failed is remembered, when several in a
// row did: a crowd must not become a storm.
const retryAfter = time.Second

// triesInRow is how many fills may fail one right after the other.
const triesInRow = 3

// fresh reports whether the object may be served at now: while it is being
// filled, and then until its lifetime is over.
func (o *object) fresh(now time.Time) bool {
	if !o.isReady() {
		return true
	}
	if at, failed := o.broken(); failed {
		return o.tries+1 >= triesInRow && now.Sub(at) < retryAfter
	}
	return now.Sub(o.received) < o.lifetime
}

// broken reports whether the body failed, and when.
func (o *object) broken() (at time.Time, failed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed, o.err == nil && o.done && o.bodyErr != nil
}

// view returns what may be read now, whether that is all, and a channel that
// closes when there is more.
func (o *object) view() (data []byte, done bool, more <-chan struct{}, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf[:o.visible], o.done, o.more, o.bodyErr
}

// progress returns how much may be read now, and whether that is all.
func (o *object) progress() (came int, done bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.visible, o.done, o.bodyErr
}

// ended reports whether nothing more comes.
func (o *object) ended() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done
}

// grow makes what is in buf up to n visible.
func (o *object) grow(buf []byte, n int) {
	o.mu.Lock()
	o.buf, o.visible = buf, n
	close(o.more)
	o.more = make(chan struct{})
	waiting := o.takeParked()
	o.mu.Unlock()
	exchange.WakeAll(waiting)
}

// finish ends the body.
func (o *object) finish(buf []byte, err error) {
	o.mu.Lock()
	if err == nil {
		o.buf, o.visible = buf, len(buf)
	} else {
		// Whoever still reads has the bytes; nobody else gets them.
		o.buf, o.visible, o.failed = nil, 0, time.Now()
	}
	o.done, o.bodyErr = true, err
	close(o.more)
	waiting := o.takeParked()
	o.mu.Unlock()
	exchange.WakeAll(waiting)
}

// takeParked needs mu. Those who wait for the head are open's to wake.
func (o *object) takeParked() []exchange.Parked {
	if !o.isReady() {
		return nil
	}
	waiting := make([]exchange.Parked, 0, len(o.parked))
	for p := range o.parked {
		waiting = append(waiting, p)
	}
	o.parked = nil
	return waiting
}
