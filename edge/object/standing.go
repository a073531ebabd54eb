package object

import "time"

// A standing is what the cache knows of an object. It decides where the object is
// kept and what it counts for, and nothing else does.
type standing struct {
	listed    bool      // in the cache
	charged   int64     // bytes it counts for there
	users     int       // requests that wait for it or read it
	filling   bool      // its fill is not over
	inWindow  bool      // of the live window,
	liveUntil time.Time // until then
}

// busy reports whether dropping the object would free nothing.
func (s *standing) busy() bool { return s.users > 0 || s.filling }

// A shelf is where a cache keeps objects.
type shelf uint8

const (
	nowhere shelf = iota // it is in nobody's way: in use, or in the cache no more
	window               // of the live window
	idle                 // it may leave
)

func (s *standing) shelf() shelf {
	switch {
	case s.listed && s.inWindow:
		return window
	case s.listed && !s.busy():
		return idle
	}
	return nowhere
}

// sums are of bytes.
type sums struct {
	bytes int64 // of all objects listed, being filled or being read
	live  int64 // of them, those of the live window
	busy  int64 // of them, those that are neither of that nor idle
}

func (u *sums) add(s *standing) { u.count(s, s.charged) }
func (u *sums) sub(s *standing) { u.count(s, -s.charged) }

func (u *sums) count(s *standing, n int64) {
	switch {
	case s.shelf() == window:
		u.live += n
	case s.busy():
		u.busy += n
	case !s.listed:
		return
	}
	u.bytes += n
}

// admits reports whether so much more of what is not of the live window may be
// filled and read at once: not so much that a live window which begins to fill
// finds no room.
func (u *sums) admits(limit, more int64) bool {
	return u.busy+more <= u.bound(limit)
}

func (u *sums) bound(limit int64) int64 { return max(min(limit-u.live, limit/2), limit/4) }

// leaves says from where an object is to leave next, where there are any that
// could: first what is idle, then, where the live window takes more than three
// quarters, what leaves that first.
func (u *sums) leaves(limit int64, isIdle, isLive bool) shelf {
	switch {
	case u.bytes <= limit:
		return nowhere
	case isIdle:
		return idle
	case isLive && u.live > limit-limit/4:
		return window
	}
	return nowhere
}
