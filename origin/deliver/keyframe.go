package deliver

import (
	"fmt"
	"time"

	"headwater/blobs"
	"headwater/live"
)

// cutKeyFrame cuts out of the segment, or of its filler, the key frame that is asked for
// alone. As a candidate it differs by its bytes only: whatever takes the segment back takes
// it back, too.
func (s *Server) cutKeyFrame(d *delivery) (step, error) {
	if !d.path.Key {
		return s.send, nil
	}
	in, err := s.findInit(d)
	if err != nil {
		return nil, err
	}
	work := s.Turns.Begin(d.r.Context(), d.class, d.taker())
	defer work.End()
	began := time.Now()
	data, err := in.KeyFrame(d.view.Timelines[d.path.Rendition], d.data, d.path.Number)
	if err != nil {
		return nil, live.ErrNoKeyFrame.With(fmt.Sprintf("segment %d: %v", d.path.Number, err))
	}
	c := *d.decision.Candidate
	c.Digest, c.Size = blobs.DigestOf(d.r.Context(), data), int64(len(data))
	d.decision.Candidate, d.data, d.beside = &c, data, true
	d.timing.Add("cut", time.Since(began))
	return s.send, nil
}
