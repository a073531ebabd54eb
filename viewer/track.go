package viewer

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"headwater/live"
)

// A track is one rendition in one sitting, with a connection of its own.
type track struct {
	s      *session
	name   string
	client *client
	timer  *time.Timer

	epoch    int
	n        live.Number
	pipeline string // that made the segment before; "" after a jump
	before   version
	media    *media // what the init segment says; nil when media is not inspected
	// generation is that of the init segment.
	generation int

	trouble trouble
}

// trouble is what is wrong with the way to the edge.
type trouble struct {
	since    time.Time // of the first failure in a row; zero: all is well
	last     string
	back     backoff
	reported bool
	// cut is a body that ended early. It is an error unless the edge turns out
	// to be gone: then it is part of that.
	cut string
}

func newTrack(s *session, name string) *track {
	c := s.crowd
	t := &track{s: s, name: name, epoch: -1, timer: time.NewTimer(time.Hour)}
	t.client = newClient(c.net, c.edges, s.person.index%len(c.edges), c.stats.wait)
	t.timer.Stop()
	return t
}

// begin goes on elsewhere.
func (t *track) begin(epoch int, from live.Number) {
	t.epoch, t.n = epoch, from
	t.pipeline, t.before = "", version{}
}

func (t *track) run(ctx context.Context) {
	defer t.client.close()
	defer t.timer.Stop()
	if !t.init(ctx) {
		return
	}
	for ctx.Err() == nil {
		sched := t.s.crowd.events.now.Load()
		now := t.client.edge().now()
		if t.s.turn(t, sched, now) == rest {
			return
		}
		if at := t.s.askAt(t, sched, now); now.Before(at) {
			t.sleep(ctx, sched, at.Sub(now))
			continue
		}
		if index, _ := sched.InitAt(t.name, t.n); index != t.generation {
			t.generation, t.before = index, version{} // what is played with another init segment is another track
			if !t.init(ctx) {
				return
			}
			continue
		}
		t.segment(ctx)
	}
}

// sleep waits, but not past the end of the run, a jump or a new schedule.
func (t *track) sleep(ctx context.Context, sched *schedule, d time.Duration) {
	if until := t.s.until(); !until.IsZero() {
		d = min(d, until.Sub(t.client.edge().now()))
	}
	t.timer.Reset(max(d, 0))
	select {
	case <-t.timer.C:
	case <-sched.replaced:
	case <-ctx.Done():
	}
	t.timer.Stop()
}

// path is the URL path of a file of this rendition.
func (t *track) path(f live.File, n live.Number) string {
	return live.Path{Event: t.s.crowd.cfg.Event, File: f, Rendition: t.name, Number: n}.String()
}

// init gets the init segment; false means that the sitting is over.
func (t *track) init(ctx context.Context) bool {
	c := t.s.crowd
	path := live.Path{Event: c.cfg.Event, File: live.FileInit, Rendition: t.name, Generation: t.generation}.String()
	begun := t.client.edge().now()
	late := false
	for ctx.Err() == nil {
		sched := c.events.now.Load()
		if !t.s.leave.IsZero() && !t.client.edge().now().Before(t.s.leave) {
			return false
		}
		now := time.Now()
		req := request{path: path, answerBy: now.Add(c.cfg.Timeout), verify: true}
		if !t.s.leave.IsZero() {
			req.until = t.client.edge().local(t.s.leave)
		}
		if !c.cfg.NoInspect {
			req.keep = ok200
		}
		r, err := t.get(ctx, &req)
		if err != nil {
			t.wait(ctx, sched, err)
			continue
		}
		switch {
		case r.status != http.StatusOK:
			switch r.status {
			case http.StatusNotFound, http.StatusServiceUnavailable, http.StatusTooManyRequests:
			default:
				c.stats.fail(fmt.Sprintf("unexpected status %d", r.status), path)
			}
			wanted := latest(begun, sched.line(t.name).Expected(sched.FirstNumber))
			if !late && t.client.edge().now().Sub(wanted) > c.cfg.GiveUp {
				late = true
				c.stats.fail("no init segment in "+c.cfg.GiveUp.String(), fmt.Sprintf("%s: status %d", path, r.status))
			}
			t.sleep(ctx, sched, t.stay(r))
			continue
		case !r.digest.IsZero() && r.sum != r.digest:
			c.stats.fail("digest mismatch", path)
		case !c.cfg.NoInspect:
			t.media = c.inspector.init(sched, t.name, r)
		}
		return true
	}
	return false
}

// get asks once and accounts for the answer, whatever it is.
func (t *track) get(ctx context.Context, req *request) (*reply, error) {
	c := t.s.crowd
	r, err := t.client.get(ctx, req)
	x := &t.trouble
	if err != nil {
		if errors.Is(err, errStopped) || errors.Is(err, errLeft) {
			return r, err
		}
		now := time.Now()
		if x.since.IsZero() {
			x.since = now
		}
		x.last = cause(err)
		var cut cutError
		var dial dialError
		switch {
		case errors.As(err, &cut):
			x.cut = fmt.Sprintf("%s: %d bytes: %s", req.path, r.bytes, x.last)
		case errors.As(err, &dial):
			x.cut = ""
		}
		t.s.outage(x.last)
		if !x.reported && now.Sub(x.since) > c.cfg.GiveUp {
			x.reported = true
			c.stats.fail("edge out of reach for "+c.cfg.GiveUp.String(), x.last)
		}
		return r, err
	}
	if !x.since.IsZero() {
		if x.cut != "" {
			c.stats.fail("truncated body", x.cut)
		}
		c.stats.reconnect()
		t.s.outage("")
		*x = trouble{}
	}
	c.stats.status(r)
	c.events.saw(r.version)
	if r.malformed != nil {
		c.stats.fail("malformed header", fmt.Sprintf("%s: %v", req.path, r.malformed))
	}
	c.stats.notifications(r.notifications)
	return r, nil
}

// wait spaces attempts after a network error.
func (t *track) wait(ctx context.Context, sched *schedule, err error) {
	if errors.Is(err, errStopped) || errors.Is(err, errLeft) {
		return
	}
	d := t.trouble.back.next()
	d = d*3/4 + t.s.jitter(d/2)
	if within := t.s.crowd.joinWindow(sched); within > 0 {
		// All lost their edge at once, and will all find it again.
		if now := time.Now(); now.Sub(t.trouble.since) < sched.timeline.Segment() {
			within = min(within, sched.timeline.Segment())
		}
		d = max(d, t.s.jitter(within))
	}
	t.sleep(ctx, sched, d)
}

// stay is how long to stay away after a refusal.
func (t *track) stay(r *reply) time.Duration {
	const least, unsaid = 5 * time.Millisecond, 500 * time.Millisecond
	if !r.lasting {
		return unsaid
	}
	if t.s.crowd.cfg.Heedless {
		return max(r.lifetime, least)
	}
	return max(r.lifetime, r.after, least)
}

// segment gets segment t.n, however often it has to be asked for, and goes on to
// the next; it returns without either when the viewer leaves or jumps meanwhile.
func (t *track) segment(ctx context.Context) {
	c := t.s.crowd
	path := t.path(live.FileSegment, t.n)
	asked := t.client.edge().now()
	epoch := t.epoch
	var troubled string
	var back backoff
	for ctx.Err() == nil {
		sched := c.events.now.Load()
		tl := sched.line(t.name)
		e := t.client.edge()
		now := e.now()
		if t.s.turn(t, sched, now) == rest || t.epoch != epoch {
			return
		}
		req := request{path: path, answerBy: e.local(latest(now, tl.Deadline(t.n)).Add(c.cfg.Timeout)), verify: t.s.chance(c.cfg.Verify)}
		if until := t.s.until(); !until.IsZero() {
			req.until = e.local(until)
		}
		var v version
		if t.media != nil {
			req.keep = func(r *reply) bool { return r.status == http.StatusOK && t.media.claim(t.n, r, req.verify, &v) }
		}
		if !now.Before(tl.Due(t.n)) {
			c.stats.asking(t.name, t.n)
		}
		r, err := t.get(ctx, &req)
		if err != nil {
			t.media.release(&v)
			if errors.Is(err, errLeft) || errors.Is(err, errStopped) {
				if !r.sent.IsZero() {
					c.stats.asked(t.name, t.n, nil)
				}
				continue
			}
			troubled = t.trouble.last
		} else if t.take(sched, r, asked, v, troubled) {
			return
		}
		if now = e.now(); now.Sub(latest(asked, tl.Deadline(t.n))) > c.cfg.GiveUp {
			reason := troubled
			if err == nil {
				reason = fmt.Sprintf("status %d", r.status)
			}
			c.stats.fail("segment not to be had in "+c.cfg.GiveUp.String(), path+": "+reason)
			t.lose(sched, r, now, troubled)
			return
		}
		switch {
		case err != nil:
			t.wait(ctx, sched, err)
		case r.status == http.StatusNotFound && t.s.person.does == Poll && c.cfg.Poll > 0:
			t.sleep(ctx, sched, c.cfg.Poll)
		case r.status >= 500 && !r.lasting:
			t.sleep(ctx, sched, back.next())
		default:
			t.sleep(ctx, sched, t.stay(r))
		}
	}
}

// take deals with an answer; false means that the segment is to be asked for again.
func (t *track) take(sched *schedule, r *reply, asked time.Time, v version, troubled string) bool {
	st := t.s.crowd.stats
	offset := time.Duration(t.client.edge().offset.Load())
	now := r.last.Add(offset)
	tl := sched.line(t.name)
	what := t.path(live.FileSegment, t.n)
	switch {
	case r.status == http.StatusOK:
		st.asked(t.name, t.n, r)
		st.segment(t.name, t.n, r, asked, offset)
		if flawed(r.findings) {
			t.report(Defect, r, now)
		}
		if !r.sum.IsZero() && !r.digest.IsZero() && r.sum != r.digest {
			st.fail("digest mismatch", what)
			t.media.release(&v)
		} else {
			t.media.inspect(sched, &v, t.before, r)
		}
		t.before = v
		if p := r.source.Pipeline; p != "" {
			if t.pipeline != "" && t.pipeline != p {
				t.s.switched()
			}
			if t.pipeline != p {
				t.pipeline = strings.Clone(p) // p keeps the answer's whole head
			}
		}
		t.s.answer(t, sched, slot{at: now, trouble: troubled})
		t.n++
		return true
	case r.status == http.StatusGone:
		st.asked(t.name, t.n, r)
		if sched.timeline.Place(t.n, now) == live.Gone {
			st.lost(t.name, t.n)
			t.report(Gap, r, now)
			t.s.skip(t, sched, now, troubled)
			return true
		}
		t.refused(r, now)
		t.lose(sched, r, now, troubled)
		return true
	case r.status == http.StatusNotFound:
		// Right while it is early or may be; after its deadline it is one of
		// the other two.
		const tolerance = time.Second
		if sched.timeline.Holds(t.n) && r.version <= sched.Version && now.After(tl.Deadline(t.n).Add(tolerance)) {
			st.fail("status 404 for a segment that is past", what)
			t.refused(r, now)
			t.lose(sched, r, now, troubled)
			return true
		}
		return false
	case r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests:
		t.refused(r, now)
		return false
	case r.status >= 500:
		st.fail(fmt.Sprintf("unexpected status %d", r.status), what)
		t.refused(r, now)
		return false
	}
	st.fail(fmt.Sprintf("unexpected status %d", r.status), what)
	t.refused(r, now)
	t.lose(sched, r, now, troubled)
	return true
}

// refused accounts for a refusal of what could rightly be asked for.
func (t *track) refused(r *reply, now time.Time) {
	t.s.crowd.stats.refused(t.name)
	t.report(Refusal, r, now)
}

// lose goes on without segment t.n, after answer r.
func (t *track) lose(sched *schedule, r *reply, now time.Time, troubled string) {
	t.s.crowd.stats.lost(t.name, t.n)
	t.report(Gap, r, now)
	t.s.answer(t, sched, slot{at: now, lost: true, trouble: troubled})
	t.before, t.pipeline = version{}, ""
	t.n++
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
