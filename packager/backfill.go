package packager

import (
	"time"
)

// A queue holds segments that missed their deadline. The newest goes first: it
// is nearest to viewers. When it is full the oldest are dropped.
type queue struct {
	items []*segment // oldest first
	bytes int64
	limit int64
}

// push adds a segment and returns how many it dropped for it.
func (q *queue) push(seg *segment) (dropped int64) {
	i := len(q.items)
	for i > 0 && q.items[i-1].number > seg.number {
		i--
	}
	q.items = append(q.items, nil)
	copy(q.items[i+1:], q.items[i:])
	q.items[i] = seg
	q.bytes += int64(len(seg.data))
	for q.bytes > q.limit && len(q.items) > 0 {
		q.bytes -= int64(len(q.items[0].data))
		q.items[0] = nil
		q.items = q.items[1:]
		dropped++
	}
	return dropped
}

// pop removes the newest segment, or returns nil.
func (q *queue) pop() *segment {
	n := len(q.items)
	if n == 0 {
		return nil
	}
	seg := q.items[n-1]
	q.items[n-1] = nil
	q.items = q.items[:n-1]
	q.bytes -= int64(len(seg.data))
	return seg
}

// backfill sends queued segments, one at a time, while no live one is under
// way. It runs until the sender's ctx ends.
func (s *sender) backfill() {
	fails := 0
	for {
		seg := s.nextBackfill()
		if seg == nil {
			return
		}
		tl := s.timeline()
		if s.clock.Now().After(tl.GoneAt(seg.number)) {
			s.dropped(DropGone, seg.rendition, seg.number)
			s.change(func() { s.busy = false })
			continue
		}
		if s.isUnfit(seg) {
			s.unfit(seg)
			s.change(func() { s.busy = false })
			continue
		}
		a := s.deliver(s.ctx, seg, s.budget(), s.dests)
		switch a.verdict {
		case acked:
			fails = 0
			s.count.ack(seg, -1)
			s.log.Info("segment backfilled", "rendition", seg.rendition, "number", seg.number, "digest", seg.digest.String(), "to", a.from.base)
		case refused:
			fails = 0
			s.refuse(seg, a)
		case unfit:
			fails = 0
			s.unfit(seg)
		default:
			fails++
			s.change(func() {
				if n := s.queue.push(seg); n > 0 {
					s.count.drop(DropQueueFull, n)
				}
			})
			select {
			case <-time.After(backoff(fails, firstBackoff, mostShare)):
			case <-s.ctx.Done():
			}
		}
		s.change(func() { s.busy = false })
	}
}

// nextBackfill waits until there is a segment and no live one is under way. It
// returns nil when the sender's ctx has ended.
func (s *sender) nextBackfill() *segment {
	for {
		s.mu.Lock()
		if s.ctx.Err() == nil && s.total == 0 {
			if seg := s.queue.pop(); seg != nil {
				s.busy = true
				s.mu.Unlock()
				return seg
			}
		}
		changed := s.changed
		s.mu.Unlock()
		select {
		case <-changed:
		case <-s.ctx.Done():
			return nil
		}
	}
}
