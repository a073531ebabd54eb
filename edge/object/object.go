package object

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/edge/exchange"
	"headwater/live"
)

// An Object is one answer of a parent, or the attempt to get one. It belongs
// to the cache: whoever began it may leave, it goes on.
//
// Phases: until it is ready only its fill knows the head. From then on the head
// is immutable and anybody may read it, while the body still grows under mu.
// Bytes once visible never change.
type Object struct {
	Key   Key
	Begun int64           // configuration version when it was asked for
	Ctx   context.Context // of the fill

	// Set when it becomes ready.
	Head
	Common  *exchange.Shared     // of the heads of answers with all of it
	Sending []prometheus.Counter // of each time that it is sent
	Err     error                // there is no answer

	ready  chan struct{}
	cancel context.CancelFunc // of the fill
	tries  int                // how many fills in a row failed just before
	keep   bool               // worth filling although nobody waits for it any more

	mu      sync.Mutex              // guards the following
	buf     []byte                  // what came
	visible int                     // what readers may see of it
	done    bool                    // nothing more comes
	bodyErr error                   // with done: the body is not complete or not right
	failed  time.Time               // with bodyErr: when
	more    chan struct{}           // closed when visible grows or done is set
	parked  map[exchange.Parked]int // and what each has seen: told when there is more

	forms atomic.Pointer[[int(kinds) * codings]Form] // nil: none was asked for

	// Guarded by the cache's mu.
	standing
	place      int  // in the heap of the live window, from 1; 0: not there
	stays      bool // it cannot leave just now
	neighbours      // in the list of those that may leave
}

func newObject(k Key) *Object {
	return &Object{Key: k, Head: Head{Size: -1}, ready: make(chan struct{}), more: make(chan struct{})}
}

// Ready reports whether the head is there.
func (o *Object) Ready() bool {
	select {
	case <-o.ready:
		return true
	default:
		return false
	}
}

// Open says what the head is. sending is counted each time that it is sent.
func (o *Object) Open(h Head, sending ...prometheus.Counter) {
	o.Head, o.Sending, o.Common = h, sending, h.common()
	o.open()
}

func (o *Object) open() {
	o.mu.Lock()
	close(o.ready)
	var waiting []exchange.Parked
	if o.done || o.visible > 0 {
		waiting = o.takeParked()
	} else {
		// A crowd is woken once, when there is something to send.
		for p, seen := range o.parked {
			if seen == HeadOnly {
				waiting = append(waiting, p)
				delete(o.parked, p)
			}
		}
	}
	o.mu.Unlock()
	exchange.WakeAll(waiting)
}

// Refusal is what an object without an answer is answered with.
func (o *Object) Refusal(now time.Time) *live.Problem {
	left := max(o.Lifetime-now.Sub(o.Received), 0)
	if p := (*live.Problem)(nil); errors.As(o.Err, &p) {
		return p.For(left)
	}
	return live.ErrUpstream.For(left).With("no parent answered in time")
}

// Fail says that there is no answer. For a moment nobody asks again: a crowd
// must not become a storm.
func (o *Object) Fail(err error) {
	o.Err, o.Received, o.Lifetime = err, time.Now(), live.ErrUpstream.Lifetime
	if p := (*live.Problem)(nil); errors.As(err, &p) {
		o.Lifetime = max(p.Lifetime, 0)
	}
	o.Finish(nil, err)
	o.open()
}

// HeadOnly is what who waits for the head has seen of the body.
const HeadOnly = -1

// Park has p told, once, when there is a head and more than the seen bytes of the
// body, or for HeadOnly when there is a head. It reports false where there is.
func (o *Object) Park(p exchange.Parked, seen int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.Ready() && (seen == HeadOnly || o.done || o.visible > seen) {
		return false
	}
	if o.parked == nil {
		o.parked = make(map[exchange.Parked]int)
	}
	o.parked[p] = seen
	return true
}

// Unpark takes back Park.
func (o *Object) Unpark(p exchange.Parked) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.parked, p)
}

// Changed returns a channel that closes when there is more than was seen, nil
// where there is.
func (o *Object) Changed(seen int) <-chan struct{} {
	if seen == HeadOnly {
		return o.ready
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case !o.done && o.visible <= seen:
		return o.more
	case !o.Ready():
		return o.ready
	}
	return nil
}

// retryAfter is how long a fill that failed is remembered, when several in a
// row did: a crowd must not become a storm.
const retryAfter = time.Second

// TriesInRow is how many fills may fail one right after the other. From then on there
// is one in each retryAfter, until for triesFor none has failed.
const (
	TriesInRow = 3
	triesFor   = 10 * time.Second
)

// Again reports whether a fill of the same failed just before this one.
func (o *Object) Again() bool { return o.tries > 0 }

// fresh reports whether the object may be served at now: while it is being
// filled, and then until its lifetime is over.
func (o *Object) fresh(now time.Time) bool {
	if !o.Ready() {
		return true
	}
	if at, failed := o.broken(); failed {
		return o.tries+1 >= TriesInRow && now.Sub(at) < retryAfter
	}
	return now.Sub(o.Received) < o.Lifetime
}

// broken reports whether the body failed, and when.
func (o *Object) broken() (at time.Time, failed bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failed, o.Err == nil && o.done && o.bodyErr != nil
}

// Body returns what may be read now, and whether that is all.
func (o *Object) Body() (data []byte, done bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf[:o.visible], o.done, o.bodyErr
}

// Progress returns how much may be read now, and whether that is all.
func (o *Object) Progress() (came int, done bool, err error) {
	data, done, err := o.Body()
	return len(data), done, err
}

// Ended reports whether nothing more comes.
func (o *Object) Ended() bool {
	_, done, _ := o.Body()
	return done
}

// Grow makes what is in buf up to n visible.
func (o *Object) Grow(buf []byte, n int) {
	o.mu.Lock()
	o.buf, o.visible = buf, n
	close(o.more)
	o.more = make(chan struct{})
	waiting := o.takeParked()
	o.mu.Unlock()
	exchange.WakeAll(waiting)
}

// Finish ends the body.
func (o *Object) Finish(buf []byte, err error) {
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

// Done ends the context of the fill.
func (o *Object) Done() { o.cancel() }

// takeParked needs mu. Those who wait for the head are open's to wake.
func (o *Object) takeParked() []exchange.Parked {
	if !o.Ready() {
		return nil
	}
	waiting := make([]exchange.Parked, 0, len(o.parked))
	for p := range o.parked {
		waiting = append(waiting, p)
	}
	o.parked = nil
	return waiting
}

// withdrawn reports whether an invalidation since the object was made, or asked
// for, tells caches to drop it. It is looked at when the object is looked up,
// so that neither a fill under way nor one from a parent that lags can slip by.
func (o *Object) withdrawn(c *live.Config) bool {
	if len(c.Invalidations) == 0 {
		return false
	}
	if o.Ready() && o.Err == nil {
		return withdrawn(c, o.Key.Path, o.Made, &o.Source)
	}
	return withdrawn(c, o.Key.Path, o.Begun, nil)
}

// withdrawn is the same for an answer that was made under a version. Where its
// source is not known, nil, it may be of any.
func withdrawn(c *live.Config, p live.Path, made int64, from *live.Source) bool {
	for i := range c.Invalidations {
		inv := &c.Invalidations[i]
		scope := inv.Scope
		source := live.Source{Pipeline: scope.Pipeline, Region: scope.Region}
		if from != nil {
			source = *from
		}
		if made >= inv.Version {
			continue
		}
		switch p.File {
		case live.FileSegment:
			if scope.Holds(source.Pipeline, source.Region, p.Rendition, p.Number) {
				return true
			}
		case live.FileInit:
			// An init segment has no number: only a scope without a range holds it.
			if scope.From == 0 && scope.To == 0 && scope.Holds(source.Pipeline, source.Region, p.Rendition, 0) {
				return true
			}
		}
	}
	return false
}
