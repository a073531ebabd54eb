package edge

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Parents of the edge's own region come first, whatever their order; where none
// of them is up the others do.
func TestParentsOfOwnRegionFirst(t *testing.T) {
	run(t, 4, func(r *rig) {
		r.know()
		r.at(9 * time.Second)
		asked := func(path string) string {
			r.get(path).expect(200, 10*time.Minute)
			var who []string
			for _, p := range r.parents {
				if p.asks(path) > 0 {
					who = append(who, p.addr)
				}
			}
			return strings.Join(who, " ")
		}
		if s := asked("/t/e/v/1.m4s"); s != "p2:80" {
			t.Errorf("%s was asked, want the first of the region", s)
		}
		r.parents[1].stop()
		if s := asked("/t/e/v/2.m4s"); s != "p4:80" {
			t.Errorf("%s was asked, want the second of the region", s)
		}
		r.parents[3].stop()
		if s := asked("/t/e/v/3.m4s"); s != "p1:80" {
			t.Errorf("%s was asked, want the first of another region", s)
		}
		r.parents[1].start()
		r.at(10 * time.Second)
		if s := asked("/t/e/v/4.m4s"); s != "p2:80" {
			t.Errorf("%s was asked, want the one that came back", s)
		}
	}, func(c *Config) {
		c.Region = "east"
		c.ParentRegions = map[string]string{"http://p1:80": "west", "http://p2:80": "east", "http://p4:80": "east"}
	})
}

// Of two parents one that answers with errors leaves time for the other.
func TestFailoverWithinTheBudget(t *testing.T) {
	run(t, 2, func(r *rig) {
		r.know()
		r.at(9 * time.Second)
		r.parents[0].script(func(w http.ResponseWriter, q *http.Request) {
			time.Sleep(200 * time.Millisecond)
			w.WriteHeader(http.StatusBadGateway)
		})
		v := r.get("/t/e/v/1.m4s")
		v.expect(200, 10*time.Minute)
		if d := v.ended.Sub(r.began) - 9*time.Second; d > 200*time.Millisecond {
			t.Errorf("answered after %v", d)
		}
	})
}

func TestSiteConfig(t *testing.T) {
	parents := []string{"http://o:7002"}
	for _, c := range []struct {
		want string
		cfg  Config
	}{
		{"", Config{Name: "a", Site: map[string]string{"a": "http://h:1", "b": "http://h:2"}}},
		{`name "c" is not in the site: a, b`, Config{Name: "c", Site: map[string]string{"a": "http://h:1", "b": "http://h:2"}}},
		{`another node's`, Config{Name: "a", Site: map[string]string{"a": "http://h:1", "b": "http://h:1"}}},
		{"not a URL", Config{Name: "a", Site: map[string]string{"a": "h:1"}}},
		{"not the name of a node", Config{Name: "a", Site: map[string]string{"A": "http://h:1"}}},
		{"is a parent too", Config{Name: "a", Site: map[string]string{"a": "http://h:1", "b": "http://o:7002"}}},
		{"not the region of a parent", Config{ParentRegions: map[string]string{"http://x:1": "east"}}},
		{`region "East" is not a name`, Config{Region: "East"}},
	} {
		c.cfg.Parents = parents
		err := c.cfg.Validate()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
}
