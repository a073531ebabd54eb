// Package exchange is what a request's walk (package edge) and its driver (package
// front) say to each other. A driver has a Request Begin what a viewer asked, and
// has it Walk until its Answer is finished or cut, or it must wait: for its viewer
// to take more, or for something that is Awaited, which tells of news by a channel
// or wakes who is Parked there. Nothing else passes between the two.
package exchange

import (
	"net/netip"
	"time"

	"headwater/live"
)

// A Load says how viewers' connections are served, since it was last asked.
type Load struct {
	Late        time.Duration // until one who asks at any time is looked at, in the mean
	Connections float64       // how many there are, of those that there may be
}

// A Request is one GET or HEAD on its way through the steps of the walk.
type Request interface {
	// Begin takes up what a viewer asks. Whatever the request was before is over.
	Begin(Asked)
	// Walk goes on until the request is answered or must wait. Whoever waits
	// calls it again; whoever gives up calls Leave.
	Walk(Answer) Pause
	// Keep returns a request that goes on from here, and the original may Begin
	// another. What was asked may lie in a buffer: once Walk has returned that it
	// waits, none of it is needed any more.
	Keep() Request
	// Leave ends a request whose viewer has left, or is let go.
	Leave()
}

// Asked is what a viewer asks for.
type Asked struct {
	Method  string
	Path    live.Path // as far as the driver has read it,
	Target  string    // and where it has not, or it is none of an event's: the path as it came
	More    *More     // nil: nothing else was asked
	Said    Said      // what else, until Walk returns; nil: nothing
	Old     bool      // by HTTP/1.0
	Coding  Coding    // how a manifest may be compressed
	Skip    bool      // of a playlist only what is new (RFC 8216bis, 6.2.5.1)
	Arrived time.Time
}

// Said is what a request says besides, for who wants to know. What it returns may lie
// in a buffer that is used again.
type Said interface {
	Field(name string) string // by its name in lower case; "" where there is none
	Query() string
	Host() string
	Secure() bool // by TLS
	Address() netip.Addr
}

// More is what few requests say.
type More struct {
	Conditions
	Names         bool      // where there is none of a name it wants to know which there are
	Loop          live.Loop // where it says that it has been
	Authorization string    // what it says of who it is
	After         string    // of event.json: the entity tag that is known,
	Sequence      string    // and the notifications
}

// A Pause says why a walk does not go on.
type Pause struct {
	Why   Cause
	On    Awaited   // with Waits:
	Seen  int       // so much of it,
	Until time.Time // and until then at most; zero: without end. Never of what crowds ask for
}

// A Cause of a Pause.
type Cause uint8

// The causes.
const (
	Finished Cause = iota // the answer is sent
	Waits                 // for more than seen of what it is on
	Full                  // for the viewer, who does not take what there is
	Cut                   // the answer cannot go on, and must not look complete
)

// What is Awaited is the head of an object, more of its body, or word of an event.
type Awaited interface {
	// Park has p told, once, when there is more than was seen. It reports false
	// where there is already.
	Park(p Parked, seen int) bool
	Unpark(p Parked)
	// Changed returns a channel that closes then, nil where there is already.
	Changed(seen int) <-chan struct{}
}

// Who is Parked waits without a goroutine. Wake is called from any goroutine, at
// most once for each Park, and under no lock.
type Parked interface{ Wake() }

// WakeAll wakes all of them.
func WakeAll(waiting []Parked) {
	for _, p := range waiting {
		p.Wake()
	}
}

// An Answer is the way of an answer to its viewer.
type Answer interface {
	// Fields is where the head is put.
	Fields(status int, now time.Time) *Fields
	// Begin says that the head is whole, with all of the body where that is
	// short and in memory. size is that of what Write will be given, -1 while
	// it is not known.
	Begin(text []byte, size int64)
	// Write takes a piece of the body, or as much of it as can be taken without
	// waiting for the viewer.
	Write(piece []byte) (n int, err error)
	// End reports whether all of the answer was taken.
	End() (all bool, err error)
}
