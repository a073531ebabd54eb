package edge

import (
	"time"

	"headwater/edge/object"
	"headwater/live"
	"headwater/manifest"
)

// Who joins together is spread: while an event begins, and after an outage, all ask for
// the same within a second, as often as they fail, and go on at the same place for as
// long as they watch. So who is refused is told to come back at a time of his own, and
// playlists have joiners begin some way behind the live edge, each third at another
// place: they ask for what is there, at other times than the others.

// comeBack is over how long those come back at least who were refused together.
const comeBack = 3 * time.Second

// retryAfter is when who is refused is to come back, in seconds. Of what was shed that
// is how long the refusal lasts, for everybody.
func (q *request) retryAfter(p *live.Problem) int64 {
	d := (p.RetryAfter + time.Second - 1).Truncate(time.Second)
	if p.Code != live.ErrShed.Code {
		within := comeBack
		if q.config != nil {
			within = max(within, q.config.JoinWindow())
		}
		d += live.Spread(within, uint64(q.Arrived.UnixNano()))
	}
	return int64(d / time.Second)
}

// joining is how long those who join now are to take for it together: the event's
// window where it begins, where this node has just begun, or where its parents were
// all out of reach a moment ago. Another cache is nobody who joins.
func (q *request) joining(now time.Time) time.Duration {
	within := q.config.JoinWindow()
	if q.More != nil && q.More.Loop != "" {
		return 0
	}
	if within == 0 || now.Sub(q.ed.began) < within || now.Sub(time.Unix(0, q.ed.orphaned.Load())) < within {
		return within
	}
	return q.config.Joining(q.ed.parents.Theirs(now))
}

// behind says in which form a joiner gets a list: as it is, or of those further and
// further behind the live edge.
func (q *request) behind() (as object.As, by time.Duration) {
	if q.Path.File != live.FileMPD && q.Path.File != live.FileHLS {
		return object.Whole, 0
	}
	within := q.joining(q.now())
	n := live.Spread(object.Behinds+1, uint64(q.Arrived.UnixNano()))
	if within == 0 || n == 0 {
		return object.Whole, 0
	}
	return object.Behind + object.As(n-1), within * n / object.Behinds
}

// form is how a list is to be said otherwise than it is: the function is nil where only
// the coding differs.
func (q *request) form() (as object.As, change func([]byte) []byte) {
	if q.Skip && q.Path.File == live.FilePlaylist {
		return object.Delta, manifest.Delta
	}
	as, by := q.behind()
	segment := q.config.Segment.Floor()
	switch at, steered := q.steers(); {
	case !steered && as == object.Whole:
		return as, nil
	case !steered:
		return as, func(list []byte) []byte { return manifest.Behind(list, segment, by) }
	case as == object.Whole:
		return object.Steered, func(list []byte) []byte { return manifest.Steered(list, at) }
	default:
		return object.Steered + as, func(list []byte) []byte { return manifest.Steered(manifest.Behind(list, segment, by), at) }
	}
}
