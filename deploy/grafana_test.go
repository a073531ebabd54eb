package deploy_test

import (
	"encoding/json"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/internal/need"
)

// TestDashboard: every metric and label that the dashboard asks for exists.
func TestDashboard(t *testing.T) {
	need.Long(t, "plays in real time")
	t.Parallel()
	b, err := os.ReadFile("grafana/headwater.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title, Description string
			Type               string
			Targets            []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(b, &board); err != nil {
		t.Fatal(err)
	}
	s := newSystem(t)
	// What exists by label appears with the first of it.
	url := serve(t, s.edge)
	hc := client(t)
	n := s.timeline.Edge(time.Now()) + 1
	every(t, 50*time.Millisecond, func() bool {
		return ask(t, hc, http.MethodGet, url+path("v720", n)).status != http.StatusOK
	})
	labels := map[string]map[string]bool{}
	for _, reg := range []*prometheus.Registry{s.originMetrics, s.edgeMetrics} {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			// le, job and instance are Prometheus's own.
			has := map[string]bool{"le": true, "instance": true}
			for _, m := range f.GetMetric() {
				for _, l := range m.GetLabel() {
					has[l.GetName()] = true
				}
			}
			labels[f.GetName()] = has
		}
	}
	name := regexp.MustCompile(`headwater_[a-z_]+`)
	by := regexp.MustCompile(`by \(([a-z, ]+)\)`)
	asked := 0
	for _, p := range board.Panels {
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 {
			t.Errorf("%s: says or shows nothing", p.Title)
		}
		for _, x := range p.Targets {
			for _, m := range name.FindAllString(x.Expr, -1) {
				asked++
				for _, suffix := range []string{"_bucket", "_sum", "_count"} {
					if base, ok := strings.CutSuffix(m, suffix); ok && labels[base] != nil {
						m = base
					}
				}
				if strings.Contains(m, "defects") {
					continue // the clip has none
				}
				if labels[m] == nil {
					t.Errorf("%s: there is no %s", p.Title, m)
					continue
				}
				for _, g := range by.FindAllStringSubmatch(x.Expr, -1) {
					for l := range strings.SplitSeq(g[1], ", ") {
						if !labels[m][l] {
							t.Errorf("%s: %s has no label %s", p.Title, m, l)
						}
					}
				}
			}
		}
	}
	if asked < 20 {
		t.Errorf("%d metrics", asked)
	}
}
