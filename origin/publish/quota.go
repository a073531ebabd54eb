package publish

import (
	"fmt"
	"time"

	"headwater/live"
)

// quota refuses what a tenant may not publish any more, before its body is read.
func (s *Server) quota(p *publication) error {
	tenant := p.path.Event.Tenant
	if wait := s.Rates.Over(tenant, time.Now()); wait > 0 {
		s.Tenants.Refused(tenant, live.ErrRate)
		return live.ErrRate.With(fmt.Sprintf("tenant %s published more than it may: there is room again in %v", tenant, wait.Round(time.Millisecond)))
	}
	if s.TenantBytes > 0 && p.path.File == live.FileSegment {
		if u := s.Book.Usage(tenant, ""); u.Bytes >= s.TenantBytes {
			s.Tenants.Refused(tenant, live.ErrTenantFull)
			return live.ErrTenantFull.With(fmt.Sprintf("tenant %s has %d bytes stored, and may have %d: there is room again when segments leave their DVR windows, or an event is deleted", tenant, u.Bytes, s.TenantBytes))
		}
	}
	return nil
}
