package publish

import (
	"fmt"
	"time"

	"headwater/live"
)

// quota refuses what a tenant may not publish any more, before its body is read. What
// may be a repeat of what is stored costs nothing more: it is read, and reconcile
// refuses other bytes.
func (s *Server) quota(p *publication) error {
	tenant := p.path.Event.Tenant
	if wait := s.Rates.Over(tenant, time.Now()); wait > 0 {
		s.Tenants.Refused(tenant, live.ErrRate)
		return live.ErrRate.With(fmt.Sprintf("tenant %s published more than it may: there is room again in %v", tenant, wait.Round(time.Millisecond)))
	}
	if s.TenantBytes > 0 && p.path.File == live.FileSegment {
		if u := s.Book.Usage(tenant, ""); u.Bytes >= s.TenantBytes {
			p.full = live.ErrTenantFull.With(fmt.Sprintf("tenant %s has %d bytes stored, and may have %d: there is room again when segments leave their DVR windows, or an event is deleted", tenant, u.Bytes, s.TenantBytes))
			if old, ok := p.event.Candidate(p.path.Rendition, p.path.Number, p.path.Pipeline); ok && (p.sent.IsZero() || p.sent == old.Digest) {
				return nil
			}
			return s.fullFor(p)
		}
	}
	return nil
}

// fullFor refuses a publication for which its tenant has no room.
func (s *Server) fullFor(p *publication) error {
	s.Tenants.Refused(p.path.Event.Tenant, live.ErrTenantFull)
	return p.full
}
