package deliver

import (
	"context"
	"strconv"
	"time"

	"headwater/admit"
	"headwater/live"
)

// configHold is how long event.json?after= is held when nothing changes.
const configHold = 25 * time.Second

// sendConfig answers with event.json; with ?after=ETAG, once it is another.
func (s *Server) sendConfig(d *delivery) (step, error) {
	if after := d.r.URL.Query().Get("after"); after != "" {
		if !s.Watching.Enter(d.conn.Address(), admit.Rest, 1) {
			return nil, live.ErrShed.With("too many requests of this address wait for another configuration")
		}
		defer s.Watching.Leave(d.conn.Address(), 1)
		if err := s.holdConfig(d, after, d.r.URL.Query().Get("notifications")); err != nil {
			return nil, err
		}
		s.release(d)
	}
	s.answerText(d, "application/json", d.view.JSON, d.view.ETag, time.Second)
	return nil, nil
}

// holdConfig holds while the configuration has the tag and, where it was told,
// the set of notifications the sequence number that the client has.
func (s *Server) holdConfig(d *delivery, after, sequence string) error {
	timer := time.NewTimer(configHold)
	defer timer.Stop()
	for d.view.ETag == after || d.view.ETag == `"`+after+`"` {
		if sequence != "" && sequence != strconv.FormatInt(d.view.Record.Notifications.Sequence, 10) {
			return nil
		}
		// Whoever waits here has a configuration to go on with: it gives way to
		// those who wait for a segment.
		if err := s.hold(d, admit.Rest); err != nil {
			return err
		}
		select {
		case <-d.view.Changed:
			if _, err := s.find(d); err != nil {
				return err
			}
		case <-timer.C:
			return nil
		case <-d.r.Context().Done():
			return context.Cause(d.r.Context())
		case <-s.Draining:
			return live.ErrDraining.With("ask another origin")
		}
	}
	return nil
}
