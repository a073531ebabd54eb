package deliver

import (
	"hash/maphash"
	"time"

	"headwater/admit"
	"headwater/live"
)

// enter lets a delivery in, once, in its turn.
func (s *Server) enter(d *delivery) (step, error) {
	d.conn.Serve(d.class, d.path.Event.Tenant)
	d.turn.Give() // of the time before
	if d.let {
		if d.turn = s.Turns.Take(d.r.Context(), d.class, d.taker()); d.turn == nil {
			return nil, d.r.Context().Err()
		}
	} else {
		if d.turn, d.let = s.Admission.Enter(d.r.Context(), d.class, d.key(), d.taker(), time.Now()); !d.let {
			return nil, live.ErrShed.With("those of the " + d.class.String() + " class make room for others")
		}
	}
	switch d.path.File {
	case live.FileSegment:
		return s.know, nil
	case live.FileInit:
		return s.sendInit, nil
	case live.FileConfig:
		return s.sendConfig, nil
	case live.FileSteering:
		return nil, live.ErrNotHere.With("edges say where viewers are to go on")
	}
	return s.sendManifest, nil
}

// taker is who takes the turns of a delivery.
func (d *delivery) taker() admit.Taker {
	return admit.Taker{Tenant: d.path.Event.Tenant, Address: d.conn.Address()}
}

var seed = maphash.MakeSeed()

// key is the same for all who ask this node for the same.
func (d *delivery) key() uint64 { return maphash.Comparable(seed, d.path) }

// keepBack waits before it is answered who is refused again and again.
func (s *Server) keepBack(d *delivery) {
	delay := d.conn.Refuse(time.Now())
	if delay == 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-d.r.Context().Done():
	case <-s.Draining:
	}
}
