package edge

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

// steered is a steering manifest as a player reads it.
type steered struct {
	TTL      float64
	Reload   string   `json:"RELOAD-URI"`
	Priority []string `json:"PATHWAY-PRIORITY"`
}

func (r *rig) steered(query string) (s steered) {
	r.Helper()
	v := r.get("/t/e/steering.json" + query)
	if v.status() != 200 || v.got("Content-Type") != "application/json" || v.got("Cache-Control") != "no-store" || v.got("Access-Control-Allow-Origin") == "" {
		r.Errorf("%d %v %s", v.status(), v.header, v.text())
	}
	if err := json.Unmarshal([]byte(v.text()), &s); err != nil {
		r.Fatal(err, v.text())
	}
	return s
}

func (r *rig) pathways() {
	r.parent.configure(func(c *live.Config) {
		c.Pathways = []live.Pathway{{ID: "a", URL: "http://a.test"}, {ID: "b", URL: "http://b.test"}, {ID: "c", URL: "http://c.test"}}
	})
	r.know()
}

// What a player is told follows from how the node is; it is made here, for it alone.
func TestSteering(t *testing.T) {
	every(t, func(t *testing.T, d driver) {
		away := false
		runBy(t, d, 1, func(r *rig) {
			r.pathways()
			expect := func(verdict, query string, priority ...string) steered {
				t.Helper()
				before := r.metric("steered_total", "verdict", verdict)
				s := r.steered(query)
				if !slices.Equal(s.Priority, priority) {
					t.Errorf("%s: %v", verdict, s.Priority)
				}
				if s.TTL < 26 || s.TTL > 34 {
					if verdict == "stay" || s.TTL < 8 || s.TTL > 12 {
						t.Errorf("%s: for %v s", verdict, s.TTL)
					}
				}
				if n := r.metric("steered_total", "verdict", verdict) - before; n != 1 {
					t.Errorf("%s was counted %v times", verdict, n)
				}
				return s
			}
			s := expect("stay", "?_HLS_pathway=b&_HLS_throughput=5000000", "b", "a", "c")
			u, err := url.Parse(s.Reload)
			if err != nil || u.Host != "b.test" || u.Query().Get("base") != "b" || u.Query().Get("part") == "" {
				t.Errorf("asks again at %q", s.Reload)
			}
			if again := expect("stay", "?"+u.RawQuery, "b", "a", "c"); again.Reload != s.Reload {
				t.Errorf("asks again at %q, then at %q", s.Reload, again.Reload)
			}
			away = true
			s = expect("away", "?part=3", "a", "c", "b")
			if want := fmt.Sprintf("http://a.test/t/e/steering.json?base=b&part=3&moved=%d", time.Now().Unix()); s.Reload != want {
				t.Errorf("asks again at %q, want %q", s.Reload, want)
			}
			away = false
			r.ed.Leave()
			expect("draining", fmt.Sprintf("?base=a&part=3&moved=%d", time.Now().Unix()), "a", "c", "b")
			r.ed.leaving.Store(false)

			r.parent.stop()
			time.Sleep(30 * time.Second) // all parents are out of reach
			if !r.ed.parents.Orphaned() {
				t.Fatal("the parent is thought to answer")
			}
			expect("orphaned", "?part=3", "a", "c", "b")
			// Who was sent here by another that has lost its parents goes no rounds.
			expect("stay", fmt.Sprintf("?base=a&part=3&moved=%d", time.Now().Unix()-5), "b", "a", "c")

			if n := r.parent.asks("/t/e/steering.json"); n != 0 {
				t.Errorf("the parent was asked %d times", n)
			}
		}, func(c *Config) { c.Pathway, c.Away = "b", func() bool { return away } })
	})
}

// A node that belongs to no pathway sends nobody elsewhere by itself, and an event without
// them has no steering.
func TestSteeringOfOthers(t *testing.T) {
	run(t, 1, func(r *rig) {
		if v := r.get("/t/e/steering.json"); v.status() != 404 {
			t.Errorf("without pathways: %d %s", v.status(), v.text())
		}
		r.pathways()
		time.Sleep(time.Minute)
		r.ed.Leave()
		if s := r.steered("?part=3"); !slices.Equal(s.Priority, []string{"a", "b", "c"}) {
			t.Errorf("told %v", s.Priority)
		}
		if n := r.metric("steered_total", "verdict", "other"); n != 1 {
			t.Errorf("counted %v times", n)
		}
		if v := r.get("/t/e/steering.json", method(http.MethodHead)); v.status() != 200 || v.text() != "" {
			t.Errorf("HEAD: %d %q", v.status(), v.text())
		}
	})
}

// Lists of an event with pathways say where else it is to be had, compressed and for who
// joins with others, too, and by nodes that wrote them themselves; at who is of no pathway
// they are as they were.
func TestSteeredLists(t *testing.T) {
	list := "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-STREAM-INF:BANDWIDTH=1\nv/media.m3u8\n"
	for self, want := range map[string]string{"b": "http://b.test/t/e/v/media.m3u8", "": "\nv/media.m3u8"} {
		run(t, 1, func(r *rig) {
			r.parent.script(func(w http.ResponseWriter, q *http.Request) {
				w.Header().Set("Cache-Control", "max-age=10")
				w.Header().Set("ETag", `"list"`)
				w.Write([]byte(list))
			})
			r.pathways()
			r.parent.configure(func(c *live.Config) { c.JoinMS = 6000 })
			tags := map[string]bool{}
			for range 40 {
				v := r.get("/t/e/main.m3u8")
				if steered := strings.Contains(v.text(), "#EXT-X-CONTENT-STEERING:"); v.status() != 200 || steered != (self != "") || !strings.Contains(v.text(), want) {
					t.Fatalf("%d %s", v.status(), v.text())
				}
				tags[v.got("ETag")] = true
				time.Sleep(100 * time.Millisecond)
			}
			if tags[`"list"`] == (self != "") {
				t.Errorf("entity tags of a node of pathway %q: %v", self, tags)
			}
			v := r.get("/t/e/main.m3u8", with("Accept-Encoding", "br"))
			if v.got("Content-Encoding") != "br" || self != "" && len(v.text()) == 0 {
				t.Errorf("%v", v.header)
			}
			if n := r.parent.asks("/t/e/main.m3u8"); n > 2 {
				t.Errorf("the parent was asked %d times", n)
			}
		}, func(c *Config) { c.Pathway = self })
	}
}

// Under a crowd that is too large for a node a share of it leaves, not much more than has
// to, and the rest is let alone from then on.
func TestExodus(t *testing.T) {
	for _, load := range []float64{0.9, 1.1, 1.5, 2, 4} {
		const viewers = 10_000
		left, here := make([]bool, viewers), viewers
		var r exodus
		now := time.Unix(0, 0)
		for second := range 1200 {
			r = r.next(now, load*float64(here)/viewers)
			for v := range viewers {
				// Each asks every 10 s, at a time of his own, and belongs to a part.
				if v%10 == second%10 && !left[v] && float64(v*7919%1000) < r.share*1000 {
					left[v], here = true, here-1
				}
			}
			now = now.Add(time.Second)
		}
		rest, want := load*float64(here)/viewers, math.Min(load, 1)
		if rest > want+0.02 || rest < want-0.12 {
			t.Errorf("load %v: %v of the target is left", load, rest)
		}
	}
}
