package edge

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"headwater/access/token"
	"headwater/internal/memnet"
	"headwater/live"
)

// A doorkeeper has keys of tokens, and says how an edge knows them.
type doorkeeper struct {
	key      *token.Key
	verifier *token.Verifier
	log      *memnet.Log
}

func newDoorkeeper(t *testing.T) *doorkeeper {
	t.Helper()
	_, text := token.NewKey("k1", "t")
	keys, err := token.ParseKeys([]byte(`{"keys": [` + string(text) + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	d := &doorkeeper{verifier: token.NewVerifier(keys), log: new(memnet.Log)}
	if d.key, err = keys.Only(""); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *doorkeeper) tune(c *Config) {
	c.Tokens = func() *token.Verifier { return d.verifier }
	c.Log = slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// token opens the event for so long.
func (d *doorkeeper) token(r *rig, life time.Duration, more ...any) string {
	r.Helper()
	claims := map[any]any{4: time.Now().Add(life).Unix(), 312: map[any]any{3: map[any]any{1: "/t/e/"}}}
	for i := 0; i < len(more); i += 2 {
		claims[more[i]] = more[i+1]
	}
	s, err := d.key.CWT(claims)
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// tokens says that viewers of the rig's event must show one.
func tokens(c *live.Config) { c.Viewers = &live.Viewers{Tokens: true} }

// knowing is Config.Peers that knows one node.
func knowing(secret string) func(*Config) {
	return func(c *Config) {
		c.Peers = func(authorization string) bool { return authorization == "Bearer "+secret }
	}
}

// TestTokens: with a token that opens it every file of the event is to be had,
// however it is shown; without one, none. It is no part of what is asked for, nor
// is it sent on, nor logged.
func TestTokens(t *testing.T) {
	d := newDoorkeeper(t)
	run(t, 1, func(r *rig) {
		var seen []string
		r.parent.configure(tokens)
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			seen = append(seen, q.URL.String()+" "+q.Header.Get("Authorization")+q.Header.Get("Cookie")+q.Header.Get(token.HeaderName))
			serveBytes(w, q, segment(q))
		})
		good := d.token(r, time.Hour)
		signed, err := d.key.Sign("/t/e/*", time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		r.at(19 * time.Second)
		for _, path := range []string{"/t/e/v/9.m4s", "/t/e/event.json", "/t/e/v/400.m4s"} {
			a := r.get(path)
			if a.status() != 403 || a.got("Cache-Control") != "no-store" || !strings.Contains(a.text(), `urn:headwater:problem:token-refused`) || !strings.Contains(a.text(), `"missing"`) {
				t.Errorf("%s without one: %d %v %s", path, a.status(), a.sent, a.text())
			}
		}
		if n := len(seen); n != 0 {
			t.Errorf("the parent was asked %d times for who may not watch", n)
		}
		if n := r.metric("answers_total", "event", "t/e", "status", "403", "problem", "token-refused"); n != 3 {
			t.Errorf("%v of 3 refusals are counted by what they are", n)
		}
		for name, o := range map[string]option{
			"header": with("CTA-Common-Access-Token", good), "bearer": with("Authorization", "Bearer "+good), "cookie": with("Cookie", "a=b; CTA-Common-Access-Token="+good+"; c=d"),
			"signed, as a cookie": with("Cookie", "CTA-Common-Access-Token="+signed),
		} {
			a := r.get("/t/e/v/9.m4s", o)
			if a.status() != 200 || a.text() != bodyOf("/t/e/v/9.m4s") {
				t.Errorf("%s: %d %s", name, a.status(), a.text())
			}
			if !strings.HasPrefix(a.got("Cache-Control"), "private, ") {
				t.Errorf("%s: other caches may keep it: %q", name, a.got("Cache-Control"))
			}
		}
		for _, query := range []string{"CAT=" + good, "x=1&CAT=" + good, "CAT=" + signed} {
			if a := r.get("/t/e/v/9.m4s?" + query); a.status() != 200 {
				t.Errorf("%s: %d %s", query, a.status(), a.text())
			}
		}
		if a := r.get("/t/e/event.json?CAT=" + good); a.status() != 200 || a.got("Cache-Control") == "max-age=1" {
			t.Errorf("event.json: %d %v", a.status(), a.sent)
		}
		if a := r.get("/t/e/v/9.m4s", with("Range", "bytes=0-9"), with("Authorization", "Bearer "+good)); a.status() != 206 || a.got("Repr-Digest") == "" {
			t.Errorf("a range: %d %v", a.status(), a.sent)
		}
		if a := r.get("/t/e/v/400.m4s?CAT=" + good); a.status() != 404 || !strings.HasPrefix(a.got("Cache-Control"), "private, ") {
			t.Errorf("too early: %d %v", a.status(), a.sent)
		}
		if len(seen) != 1 || strings.TrimSpace(seen[0]) != "/t/e/v/9.m4s" {
			t.Errorf("the parent was asked for %q", seen)
		}
		for reason, text := range map[token.Reason]string{
			token.WrongPath: d.token(r, time.Hour, 312, map[any]any{3: map[any]any{1: "/t/other/"}}), token.Expired: d.token(r, -time.Second),
			token.Malformed: "x", token.BadSignature: good[:len(good)-4] + "AAAA", token.WrongMethod: d.token(r, time.Hour, 313, "HEAD"),
		} {
			before := r.metric("tokens_refused_total", "reason", string(reason))
			a := r.get("/t/e/v/9.m4s", with("Authorization", "Bearer "+text))
			if a.status() != 403 || !strings.Contains(a.text(), string(reason)) {
				t.Errorf("%s: %d %s", reason, a.status(), a.text())
			}
			if r.metric("tokens_refused_total", "reason", string(reason)) != before+1 {
				t.Errorf("%s is not counted", reason)
			}
		}
		// One that does not open it beside one that does.
		if a := r.get("/t/e/v/9.m4s?CAT="+good, with("Authorization", "Bearer x")); a.status() != 200 {
			t.Errorf("two: %d", a.status())
		}
		if log := d.log.String(); strings.Contains(log, good) || strings.Contains(log, signed) {
			t.Error("a token is in the log")
		}
	}, d.tune)
}

// TestNamesAreForWhoMayWatch: who shows no token learns nothing of an event but that it
// exists: not which renditions it has, nor when its segments begin.
func TestNamesAreForWhoMayWatch(t *testing.T) {
	d := newDoorkeeper(t)
	run(t, 1, func(r *rig) {
		r.parent.configure(tokens)
		r.parent.set(live.HeaderNotifications, `17, ad-break;id="b1";from=10;to=12`)
		r.at(19 * time.Second)
		good := with("Authorization", "Bearer "+d.token(r, time.Hour))
		tl := r.parent.config.Event.Timeline()
		begins, _ := tl.Media(9, 1)
		var said string
		for path, status := range map[string]int{
			"/t/e/v/9.m4s": 200, "/t/e/nope/9.m4s": 404, "/t/e/nope/init.mp4": 404, "/t/e/nope/media.m3u8": 404, "/t/e/v/t1.m4s": 404,
			fmt.Sprintf("/t/e/v/t%d.m4s", begins): 200,
		} {
			a := r.get(path)
			if said == "" {
				said = a.text()
			}
			if a.status() != 403 || a.text() != said || a.got(live.HeaderVersion) != "" || a.got(live.HeaderNotifications) != "" {
				t.Errorf("%s without a token: %d %v %s", path, a.status(), a.sent, a.text())
			}
			if a := r.get(path, good); a.status() != status {
				t.Errorf("%s with one: %d %s", path, a.status(), a.text())
			}
		}
	}, d.tune)
}

// TestTokenOfAnEventThatIsNotKnownYet: the first request waits for the event, and
// its head does not lie where it was when that is there.
func TestTokenOfAnEventThatIsNotKnownYet(t *testing.T) {
	d := newDoorkeeper(t)
	run(t, 1, func(r *rig) {
		r.parent.configure(tokens)
		r.at(19 * time.Second)
		good, bad := r.ask("/t/e/v/9.m4s?CAT="+d.token(r, time.Hour)), r.ask("/t/e/v/9.m4s")
		<-good.closed
		<-bad.closed
		if good.status() != 200 || bad.status() != 403 {
			t.Errorf("%d and %d: %s", good.status(), bad.status(), good.text())
		}
	}, d.tune)
}

// TestEdgeWithoutKeys: without --viewer-keys no token opens, and who shows none is
// told that.
func TestEdgeWithoutKeys(t *testing.T) {
	d := newDoorkeeper(t)
	run(t, 1, func(r *rig) {
		r.parent.configure(tokens)
		r.at(19 * time.Second)
		for query, want := range map[string]string{"": "missing", "?CAT=" + d.token(r, time.Hour): "unknown-key"} {
			if a := r.get("/t/e/v/9.m4s" + query); a.status() != 403 || !strings.Contains(a.text(), `"`+want+`"`) {
				t.Errorf("%q: %d %s, want %s", query, a.status(), a.text(), want)
			}
		}
	})
}

// TestHeldRequestsEndWithTheToken: who waits for a segment is not given it when his
// token has ended meanwhile, and does not wait on.
func TestHeldRequestsEndWithTheToken(t *testing.T) {
	d := newDoorkeeper(t)
	run(t, 1, func(r *rig) {
		r.parent.configure(tokens)
		go0 := make(chan struct{})
		r.parent.script(func(w http.ResponseWriter, q *http.Request) {
			select {
			case <-go0:
			case <-q.Context().Done():
				return
			}
			serveBytes(w, q, segment(q))
		})
		r.at(19500 * time.Millisecond)
		short, long := r.ask("/t/e/v/10.m4s?CAT="+d.token(r, time.Second)), r.ask("/t/e/v/10.m4s?CAT="+d.token(r, time.Hour))
		time.Sleep(2500 * time.Millisecond)
		synctest.Wait()
		if !short.over() || short.status() != 403 || !strings.Contains(short.text(), "expired") {
			t.Errorf("the short one: over %v, %d %s", short.over(), short.status(), short.text())
		}
		if long.over() {
			t.Errorf("the long one: %d %s", long.status(), long.text())
		}
		close(go0)
		<-long.closed
		if long.status() != 200 {
			t.Errorf("the long one: %d %s", long.status(), long.text())
		}
		if n := r.metric("holding"); n != 0 {
			t.Errorf("%v are counted as held", n)
		}
	}, d.tune)
}

// TestHeldConfigurationsEndWithTheToken: so does waiting for another event.json, while
// nothing happens to the event.
func TestHeldConfigurationsEndWithTheToken(t *testing.T) {
	d := newDoorkeeper(t)
	every(t, func(t *testing.T, by driver) {
		runBy(t, by, 1, func(r *rig) {
			r.parent.configure(tokens)
			r.at(200 * time.Millisecond)
			first := r.get("/t/e/event.json?CAT=" + d.token(r, time.Hour))
			held := "/t/e/event.json?after=" + strings.Trim(first.got("ETag"), `"`) + "&CAT="
			short, long := r.ask(held+d.token(r, 3*time.Second)), r.ask(held+d.token(r, time.Hour))
			r.at(6 * time.Second)
			if !short.over() || short.status() != 403 || !strings.Contains(short.text(), "expired") {
				t.Errorf("the short one: over %v, %d %s", short.over(), short.status(), short.text())
			}
			if long.over() {
				t.Errorf("the long one: %d %s", long.status(), long.text())
			}
			<-long.closed
			if long.status() != 200 {
				t.Errorf("the long one: %d %s", long.status(), long.text())
			}
		}, d.tune)
	})
}

// TestRenewal: near its end a token that says so is followed by another, which opens.
func TestRenewal(t *testing.T) {
	d := newDoorkeeper(t)
	run(t, 1, func(r *rig) {
		r.parent.configure(tokens)
		r.at(19 * time.Second)
		cookie := d.token(r, time.Minute, 323, map[any]any{0: 1, 1: 300, 2: 30})
		header := d.token(r, time.Minute, 323, map[any]any{0: 2, 1: 300, 2: 30})
		a := r.get("/t/e/v/9.m4s?CAT=" + cookie)
		if a.status() != 200 || a.got("Set-Cookie") != "" {
			t.Errorf("before its time: %v", a.sent)
		}
		r.at(55 * time.Second)
		a = r.get("/t/e/v/26.m4s?CAT=" + cookie)
		set := a.got("Set-Cookie")
		if a.status() != 200 || !strings.HasPrefix(set, "CTA-Common-Access-Token=") || !strings.Contains(set, "Path=/t/e/; Max-Age=300; HttpOnly") {
			t.Fatalf("%d %v %s", a.status(), a.sent, a.text())
		}
		next, _, _ := strings.Cut(set, ";")
		b := r.get("/t/e/v/26.m4s?CAT=" + header)
		renewed := b.got("Cta-Common-Access-Token")
		if renewed == "" {
			t.Errorf("by header: %v", b.sent)
		}
		r.at(100 * time.Second)
		if a := r.get("/t/e/v/48.m4s", with("Cookie", next)); a.status() != 200 {
			t.Errorf("the next one: %d %s", a.status(), a.text())
		}
		if a := r.get("/t/e/v/48.m4s", with("CTA-Common-Access-Token", renewed)); a.status() != 200 {
			t.Errorf("the next one by header: %d %s", a.status(), a.text())
		}
		if a := r.get("/t/e/v/48.m4s?CAT=" + cookie); a.status() != 403 {
			t.Errorf("the old one: %d", a.status())
		}
	}, d.tune)
}

// TestKeysOfTokensChange: with other keys the tokens of the old ones end, while the
// edge runs.
func TestKeysOfTokensChange(t *testing.T) {
	d, other := newDoorkeeper(t), newDoorkeeper(t)
	old := d.verifier
	run(t, 1, func(r *rig) {
		d.verifier = old
		r.parent.configure(tokens)
		r.at(19 * time.Second)
		good := d.token(r, time.Hour)
		if a := r.get("/t/e/v/9.m4s?CAT=" + good); a.status() != 200 {
			t.Errorf("%d %s", a.status(), a.text())
		}
		d.verifier = other.verifier
		if a := r.get("/t/e/v/9.m4s?CAT=" + good); a.status() != 403 {
			t.Errorf("an old one: %d", a.status())
		}
		if a := r.get("/t/e/v/9.m4s?CAT=" + other.token(r, time.Hour)); a.status() != 200 {
			t.Errorf("a new one: %d %s", a.status(), a.text())
		}
	}, d.tune)
	t.Run("without keys", func(t *testing.T) {
		run(t, 1, func(r *rig) {
			r.parent.configure(tokens)
			if a := r.get("/t/e/event.json?CAT=" + d.token(r, time.Hour)); a.status() != 403 {
				t.Errorf("%d %s", a.status(), a.text())
			}
		})
	})
}

// TestNodesBelowNeedNoToken: a node with credentials fills for its own viewers, and
// may keep what it gets.
func TestNodesBelowNeedNoToken(t *testing.T) {
	d := newDoorkeeper(t)
	run(t, 1, func(r *rig) {
		r.parent.configure(tokens)
		r.at(19 * time.Second)
		for secret, status := range map[string]int{"p": 200, "": 403, "wrong": 403} {
			a := r.get("/t/e/v/9.m4s", with("Authorization", strings.TrimSpace("Bearer "+secret)))
			if a.status() != status {
				t.Errorf("%q: %d, want %d", secret, a.status(), status)
			}
			if status == 200 && strings.Contains(a.got("Cache-Control"), "private") {
				t.Errorf("%q may not keep it: %q", secret, a.got("Cache-Control"))
			}
		}
	}, d.tune, knowing("p"))
}

// TestCredentialedCORS: a page that the event names may read it with its viewers'
// cookies, no other may, and of other events any page may without.
func TestCredentialedCORS(t *testing.T) {
	run(t, 1, func(r *rig) {
		r.parent.configure(func(c *live.Config) { c.Viewers = &live.Viewers{Origins: []string{"https://www.example"}} })
		r.know()
		r.at(19 * time.Second)
		for _, path := range []string{"/t/e/v/9.m4s", "/t/e/event.json", "/t/e/v/400.m4s", "/t/e/main.m3u8"} {
			for origin, allowed := range map[string]string{"https://www.example": "https://www.example", "https://evil.example": "", "null": "", "": ""} {
				a := r.get(path, with("Origin", origin))
				if a.got("Access-Control-Allow-Origin") != allowed || (a.got("Access-Control-Allow-Credentials") == "true") != (allowed != "") || a.got("Vary") != "Origin" {
					t.Errorf("%s from %q: %d %v", path, origin, a.status(), a.sent)
				}
			}
		}
		a := r.get("/t/e/v/9.m4s", method("OPTIONS"), with("Origin", "https://www.example"), with("Access-Control-Request-Headers", "authorization"))
		if a.status() != 204 || a.got("Access-Control-Allow-Origin") != "https://www.example" || a.got("Access-Control-Allow-Credentials") != "true" ||
			!strings.Contains(a.got("Access-Control-Allow-Headers"), "Authorization") || a.got("Vary") != "Origin" {
			t.Errorf("a preflight: %d %v", a.status(), a.sent)
		}
	})
	run(t, 1, func(r *rig) {
		r.at(19 * time.Second)
		a := r.get("/t/e/v/9.m4s", with("Origin", "https://www.example"))
		if a.got("Access-Control-Allow-Origin") != "*" || a.got("Access-Control-Allow-Credentials") != "" || a.got("Vary") != "" {
			t.Errorf("%v", a.sent)
		}
	})
}

// TestParentsAreToldWhoAsks: the secret goes to parents, in requests and nowhere else;
// so does the password of a parent's URL.
func TestParentsAreToldWhoAsks(t *testing.T) {
	log := new(memnet.Log)
	logged := func(c *Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for name, tune := range map[string]func(*Config){
		"secret":   func(c *Config) { c.ParentSecret = "hush" },
		"password": func(c *Config) { c.Parents[0] = strings.Replace(c.Parents[0], "http://", "http://me:hush@", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, 1, func(r *rig) {
				r.parent.script(func(w http.ResponseWriter, q *http.Request) {
					_, password, _ := q.BasicAuth()
					if q.Header.Get("Authorization") != "Bearer hush" && password != "hush" {
						t.Errorf("%s: %q", q.URL, q.Header.Get("Authorization"))
					}
					serveBytes(w, q, segment(q))
				})
				r.at(19 * time.Second)
				if a := r.get("/t/e/v/9.m4s"); a.status() != 200 {
					t.Errorf("%d %s", a.status(), a.text())
				}
				r.parent.stop()
				r.at(30 * time.Second)
				r.get("/t/e/v/14.m4s")
				if s := log.String(); strings.Contains(s, "hush") {
					t.Errorf("the log has the secret: %s", s)
				}
				families, err := r.reg.Gather()
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range families {
					if strings.Contains(f.String(), "hush") {
						t.Errorf("a metric has the secret: %s", f)
					}
				}
			}, tune, logged)
		})
	}
	if err := (&Config{Parents: []string{"http://me:hush@%zz"}}).Validate(); err == nil || strings.Contains(err.Error(), "hush") {
		t.Errorf("%v", err)
	}
}

// TestSiteIsToldToNodes: what this node says of its site is for the site's nodes.
func TestSiteIsToldToNodes(t *testing.T) {
	run(t, 1, func(r *rig) {
		for secret, told := range map[string]bool{"p": true, "": false, "wrong": false} {
			a := r.get(live.TimePath, with(live.HeaderSite, `"g";id="x"`), with("Authorization", strings.TrimSpace("Bearer "+secret)))
			if (a.got(live.HeaderSite) != "") != told {
				t.Errorf("%q: %v", secret, a.sent)
			}
		}
	}, knowing("p"), func(c *Config) {
		c.Name, c.Site = "a", map[string]string{"a": "http://edge:80", "g": "http://peer:80"}
	})
}
