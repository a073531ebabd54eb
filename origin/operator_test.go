package origin

import (
	"net/http/httptest"
	"strings"
	"testing"

	"headwater/live"
)

// TestScopes: each request of the control API wants a right, of the tenant.
func TestScopes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Access: guard(t, "r=read:acme", "o=operate:acme", "a=admin:acme", "p=publish:acme", "x=admin:globex", "all=read")})
		mask := `{"id": "m", "pipeline": "a", "from": 7}`
		for _, c := range []struct {
			who, method, path, body string
			status                  int
		}{
			{"r", "GET", "", "", 200}, {"o", "GET", "", "", 200}, {"a", "GET", "", "", 200}, {"all", "GET", "", "", 200},
			{"p", "GET", "", "", 403}, {"x", "GET", "", "", 403}, {"", "GET", "", "", 401}, {"none", "GET", "", "", 401},
			{"r", "POST", "/masks", mask, 403}, {"x", "POST", "/masks", mask, 403}, {"all", "POST", "/masks", mask, 403}, {"o", "POST", "/masks", mask, 200},
			{"r", "DELETE", "/masks/m", "", 403}, {"o", "DELETE", "/masks/m", "", 200},
			{"r", "POST", "/flush?yes=true&dry_run=true", "", 403}, {"o", "POST", "/flush?yes=true", "", 200},
			{"r", "DELETE", "?yes=true", "", 403}, {"o", "DELETE", "?yes=true", "", 403}, {"x", "DELETE", "?yes=true", "", 403}, {"a", "DELETE", "?yes=true", "", 204},
		} {
			w := r.control(c.method, c.path, c.body, "Authorization", "Bearer "+c.who)
			if w.Code != c.status {
				t.Errorf("%s: %s %s: %d, want %d: %s", c.who, c.method, c.path, w.Code, c.status, w.Body)
			}
		}
		// Only an admin creates; who operates changes what is there.
		ev := `{"start": "2026-11-23T20:00:00Z", "pipelines": [{"name": "a"}], "renditions": [{"name": "v", "type": "video", "bandwidth": 1}]`
		for _, c := range []struct {
			who, body string
			status    int
		}{{"o", ev + "}", 403}, {"a", ev + "}", 201}, {"o", ev + `, "dvr_seconds": 60}`, 200}} {
			if w := r.control("PUT", "", c.body, "Authorization", "Bearer "+c.who); w.Code != c.status {
				t.Errorf("%s creates or changes: %d, want %d: %s", c.who, w.Code, c.status, w.Body)
			}
		}
		// The list has what each may see.
		for who, sees := range map[string]bool{"r": true, "a": true, "all": true, "x": false} {
			w := r.want(serve(r.ctl, request("GET", eventsPath, nil, "Authorization", "Bearer "+who)), 200, "")
			if strings.Contains(w.Body.String(), "acme/final") != sees {
				t.Errorf("%s: %s", who, w.Body)
			}
		}
		// Who may see none is told so.
		w := r.want(serve(r.ctl, request("GET", eventsPath, nil, "Authorization", "Bearer p")), 403, "forbidden")
		if d := problemOf(w).Detail; !strings.Contains(d, "the right read") {
			t.Error(d)
		}
		// And who may not create, what right that takes: not the next one only.
		for _, who := range []string{"p", "r", "o"} {
			w := r.want(serve(r.ctl, request("PUT", eventsPath+"/acme/other", strings.NewReader(ev+"}"), "Authorization", "Bearer "+who)), 403, "forbidden")
			if d := problemOf(w).Detail; !strings.Contains(d, "the right admin") {
				t.Errorf("%s: %s", who, d)
			}
		}
	})
}

// TestForeignPagesDoNothing: what the page of another site can make a browser
// send changes nothing, and a name that was led here shows nothing.
func TestForeignPagesDoNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, open := range []bool{true, false} {
			cfg := Config{ControlHosts: []string{"control.example"}}
			if !open {
				cfg.Access = guard(t)
			}
			r := newRig(t, cfg)
			for _, c := range []struct {
				name, method, path, body, host string
				header                         []string
				status                         int
			}{
				{"a form", "POST", "/flush", "a=b", "127.0.0.1:7003", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415},
				{"text", "POST", "/masks", `{"all": true, "from": 1}`, "127.0.0.1:7003", []string{"Content-Type", "text/plain"}, 415},
				{"no type", "POST", "/masks", `{"all": true, "from": 1}`, "127.0.0.1:7003", []string{"Content-Type", ""}, 415},
				{"no body, another origin", "POST", "/flush", "", "127.0.0.1:7003", []string{"Origin", "http://evil.example"}, 403},
				{"a sandbox", "POST", "/flush", "", "127.0.0.1:7003", []string{"Origin", "null"}, 403},
				{"what the browser says", "POST", "/flush", "", "127.0.0.1:7003", []string{"Sec-Fetch-Site", "cross-site"}, 403},
				{"another port", "DELETE", "", "", "127.0.0.1:7003", []string{"Origin", "http://127.0.0.1:8080"}, 403},
				{"a name that was led here", "DELETE", "", "", "evil.example:7003", nil, 403},
				{"the same, reading", "GET", "", "", "evil.example:7003", nil, 403},
				{"the same, with its own origin", "POST", "/flush", "", "evil.example:7003", []string{"Origin", "http://evil.example:7003"}, 403},
				{"this page", "POST", "/flush?dry_run=true", "", "127.0.0.1:7003", []string{"Origin", "http://127.0.0.1:7003"}, 200},
				{"localhost", "GET", "", "", "localhost:7003", nil, 200},
				{"IPv6", "GET", "", "", "[::1]:7003", nil, 200},
				{"a name of a service", "GET", "", "", "control:7003", nil, 200},
				{"a top-level domain", "GET", "", "", "evil.:7003", nil, 403},
				{"the same, without a port", "GET", "", "", "evil.", nil, 403},
				{"no name", "GET", "", "", "", nil, 403},
				{"no name, with a port", "GET", "", "", ":7003", nil, 403},
				{"no name but a dot", "GET", "", "", ".", nil, 403},
				{"localhost with a dot", "GET", "", "", "localhost.:7003", nil, 200},
				{"a name that is known", "GET", "", "", "Control.example.:7003", nil, 200},
			} {
				req := request(c.method, eventsPath+"/"+r.id.String()+c.path, strings.NewReader(c.body), c.header...)
				req.Host = c.host
				if !open {
					req.SetBasicAuth("me", "root") // a browser sends it by itself
				}
				if w := serve(r.ctl, req); w.Code != c.status {
					t.Errorf("open %v: %s: %d, want %d: %s", open, c.name, w.Code, c.status, w.Body)
				}
			}
			r.want(r.control("GET", "/masks", "", "Authorization", "Bearer root"), 200, "")
			if v := r.o.book.Get(r.id).View().Config(); v.FlushVersion != 0 || len(v.Masks) != 0 {
				t.Errorf("open %v: something was changed: %+v", open, v)
			}
		}
		// HTTP/1.0 has no names.
		r := newRig(t, Config{})
		old := request("GET", eventsPath, nil)
		old.Host, old.Proto, old.ProtoMinor = "", "HTTP/1.0", 0
		r.want(serve(r.ctl, old), 200, "")
		// A browser does not put a secret into the header by itself.
		r = newRig(t, Config{Access: guard(t)})
		req := httptest.NewRequest("GET", "http://origin.example:7003"+eventsPath, nil)
		req.Header.Set("Authorization", "Bearer root")
		r.want(serve(r.ctl, req), 200, "")
	})
}

// TestAStolenKeyOfAPipeline publishes as that pipeline and nothing else, and does
// not set what all others have to fit.
func TestAStolenKeyOfAPipeline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Access: guard(t, "all=publish:acme", "b=publish:acme/b")})
		b := []string{"Authorization", "Bearer b"}
		n := r.next()
		r.want(r.put("a/v/init.mp4", r.m.inits["v"], b...), 403, "forbidden")
		w := r.want(r.put("b/v/init.mp4", r.m.inits["v"], b...), 403, "forbidden")
		if p := problemOf(w); !strings.Contains(p.Detail, "all pipelines'") {
			t.Error(p.Detail)
		}
		r.want(r.get("v/init.mp4"), 404, "no-init")
		r.want(r.put("a/v/init.mp4", r.m.inits["v"], "Authorization", "Bearer all"), 201, "")
		r.want(r.put("b/v/init.mp4", r.m.inits["v"], b...), 201, "")
		r.want(r.put("b/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{}), b...), 201, "")
		r.want(r.put("a/v/"+live.SegmentName(n), r.m.segment(r.tl, "v", n, take{}), b...), 403, "forbidden")
	})
}
