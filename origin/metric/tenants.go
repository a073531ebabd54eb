package metric

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/live"
)

// mostTenants have series of their own.
const mostTenants = 100

// Tenants count what each tenant was refused since it has as much as it may. The first
// so many that were have series of their own, all others share one.
type Tenants struct {
	refused *prometheus.CounterVec

	mu    sync.Mutex // guards the following
	known map[string]bool
}

// NewTenants returns counters at zero, of no tenant yet.
func NewTenants(reg prometheus.Registerer) *Tenants {
	t := &Tenants{known: make(map[string]bool), refused: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: Name("tenant_refusals_total"), Help: "What tenants were refused since they have as much as they may, by problem."}, []string{"tenant", "problem"})}
	reg.MustRegister(t.refused)
	t.begin("other")
	return t
}

func (t *Tenants) begin(tenant string) {
	for _, p := range []*live.Problem{live.ErrRate, live.ErrTenantFull, live.ErrQuota} {
		t.refused.WithLabelValues(tenant, p.Code)
	}
}

// Refused counts a refusal.
func (t *Tenants) Refused(tenant string, p *live.Problem) {
	t.mu.Lock()
	switch {
	case t.known[tenant]:
	case len(t.known) < mostTenants:
		t.known[tenant] = true
		t.begin(tenant)
	default:
		tenant = "other"
	}
	t.mu.Unlock()
	t.refused.WithLabelValues(tenant, p.Code).Inc()
}
