package origin

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"headwater/live"
	"headwater/origin/audit"
	"headwater/store"
	"headwater/store/memory"
	"headwater/store/storetest"
)

// auditOf is the audit log as the control API of a rig tells it.
func auditOf(r *rig, query string, headers ...string) []audit.Entry {
	r.Helper()
	w := r.want(serve(r.ctl, request("GET", "/v1/audit"+query, nil, append(headers, "Authorization", "Bearer root")...)), 200, "")
	var out struct{ Entries []audit.Entry }
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		r.Fatal(err)
	}
	return out.Entries
}

func lines(entries []audit.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%s %s%s %s by %s\n", e.Event, e.Did, e.Refused, e.Method, e.By)
	}
	return b.String()
}

// TestAudit: every change and every refusal, once, by whom, from where, with what
// was before and after; at every node, and after a restart.
func TestAudit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		r, stop := stoppableRig(t, Config{Store: st, Access: guard(t, "o=operate:acme")})
		r.create(testEvent())
		o := []string{"Authorization", "Bearer o"}
		r.want(r.control("POST", "/masks", `{"id": "m", "pipeline": "a", "from": 7}`, o...), 200, "")
		r.want(r.control("POST", "/masks?dry_run=true", `{"id": "n", "pipeline": "a", "from": 7}`, o...), 200, "") // changes nothing
		r.want(r.control("DELETE", "?yes=true", "", o...), 403, "forbidden")
		r.want(r.control("POST", "/flush", "", "Authorization", "Bearer x"), 401, "unauthorized")
		r.want(r.control("POST", "/masks", `{"from": 7}`, o...), 400, "bad-request")
		r.want(r.control("GET", "/masks", "", o...), 200, "")
		synctest.Wait()
		want := "acme/final configure PUT by admin\nacme/final mask POST by operate:acme\nacme/final forbidden DELETE by operate:acme\nacme/final unauthorized POST by nobody\nacme/final bad-request POST by operate:acme\n"
		entries := auditOf(r, "")
		if got := lines(entries); got != want {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
		if e := entries[1]; !strings.Contains(e.After, `"pipeline":"a"`) || e.Before != "" || e.From != "192.0.2.1:1234" || e.Path != "/v1/events/acme/final/masks" {
			t.Errorf("%+v", e)
		}
		stop()
		time.Sleep(time.Minute)
		two := openRig(t, Config{Store: st, Access: guard(t, "r=read:acme", "g=read:globex")})
		if got := lines(auditOf(two, "")); got != want {
			t.Errorf("after a restart:\n%s", got)
		}
		if got := lines(auditOf(two, "?from=-30s")); got != "" {
			t.Errorf("from a moment on:\n%s", got)
		}
		if got := auditOf(two, "?limit=2"); len(got) != 2 || got[1].Refused != "bad-request" {
			t.Errorf("the last two: %+v", got)
		}
		for _, q := range []string{"?limit=0", "?form=now", "?from=3", "?to=x"} {
			two.want(serve(two.ctl, request("GET", "/v1/audit"+q, nil, "Authorization", "Bearer root")), 400, "bad-request")
		}
		// Who may see one tenant sees its events' only.
		two.want(serve(two.ctl, request("GET", "/v1/audit", nil, "Authorization", "Bearer r")), 403, "forbidden")
		two.want(two.control("GET", "/audit", "", "Authorization", "Bearer g"), 403, "forbidden")
		if w := two.want(two.control("GET", "/audit", "", "Authorization", "Bearer r"), 200, ""); !strings.Contains(w.Body.String(), `"did": "mask"`) {
			t.Error(w.Body)
		}
		two.want(two.control("DELETE", "?yes=true", "", "Authorization", "Bearer root"), 204, "")
		if w := two.want(two.control("GET", "/audit", "", "Authorization", "Bearer r"), 200, ""); !strings.Contains(w.Body.String(), `"did": "delete"`) {
			t.Error(w.Body)
		}
		// Days are records of their own.
		time.Sleep(26 * time.Hour)
		two.create(testEvent())
		if got := auditOf(two, "?from=-48h"); len(got) < 7 || got[len(got)-1].Did != "configure" || got[0].Did != "configure" {
			t.Errorf("over two days:\n%s", lines(got))
		}
	})
}

// TestAuditOfPackagers: what a packager changes of what viewers are told is an
// entry, once, however often it says it.
func TestAuditOfPackagers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Access: guard(t, "all=publish:acme", "b=publish:acme/b")})
		r.want(r.put("b/v/init.mp4", r.m.inits["v"], "Authorization", "Bearer all"), 201, "")
		for _, says := range []string{`1, x;id="x";from=9`, `1, x;id="x";from=9`, `2, x;id="x";from=9`, `3, withdraw;id="x";from=0`, `4, withdraw;id="x";from=0`} {
			r.want(r.put("b/v/init.mp4", r.m.inits["v"], "Authorization", "Bearer b", live.HeaderNotifications, says), 200, "")
		}
		synctest.Wait()
		entries := auditOf(r, "")
		want := "acme/final configure PUT by admin\nacme/final notify PUT by publish:acme/b\nacme/final notify PUT by publish:acme/b\n"
		if got := lines(entries); got != want {
			t.Fatalf("got\n%swant\n%s", got, want)
		}
		for i, c := range []struct{ before, after string }{{"0", `1, x;id="x";from=9`}, {`1, x;id="x";from=9`, "2"}} {
			if e := entries[i+1]; e.Before != c.before || e.After != c.after || e.Path != "/acme/final/b/v/init.mp4" || e.From != "192.0.2.1:1234" {
				t.Errorf("%+v", e)
			}
		}
	})
}

// TestAuditIsBounded: who guesses cannot fill the store; how many there were is said.
func TestAuditIsBounded(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Access: guard(t)})
		for range 500 {
			r.want(r.control("POST", "/flush", ""), 401, "unauthorized")
		}
		time.Sleep(time.Second)
		entries := auditOf(r, "?limit=1000")
		if n := len(entries); n != audit.RefusalBurst+1 {
			t.Errorf("%d entries", n)
		}
		time.Sleep(3 * audit.RefusalEvery)
		r.want(r.control("POST", "/flush", ""), 401, "unauthorized")
		synctest.Wait()
		if e := auditOf(r, "?limit=1")[0]; e.Unsaid != 500-audit.RefusalBurst {
			t.Errorf("%+v", e)
		}
	})
}

// A stubbornStore does not take entries of the audit log while it is stubborn, and
// lets them wait for its gate, where it has one.
type stubbornStore struct {
	store.Store
	stubborn *atomic.Bool
	gate     chan struct{}
}

func (s stubbornStore) Put(ctx context.Context, r store.Record, item store.Item) error {
	if !strings.HasPrefix(r.ID, "audit/") {
		return s.Store.Put(ctx, r, item)
	}
	if s.gate != nil {
		<-s.gate
	}
	if s.stubborn.Load() {
		return store.ErrUnavailable
	}
	return s.Store.Put(ctx, r, item)
}

// TestSayingsAreInTheAuditLogWhenTheyAreAnswered: a crash after the answer to a PUT
// does not lose who changed what viewers are told.
func TestSayingsAreInTheAuditLogWhenTheyAreAnswered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := stubbornStore{memory.New(memory.Options{}), new(atomic.Bool), make(chan struct{}, 1)}
		s.gate <- struct{}{}
		r := newRig(t, Config{Store: s})
		answer := make(chan *httptest.ResponseRecorder, 1)
		go func() {
			answer <- r.put("b/v/init.mp4", r.m.inits["v"], live.HeaderNotifications, `1, x;id="x";from=9`)
		}()
		if w := answered(answer); w != nil {
			t.Fatalf("%d before the entry is stored", w.Code)
		}
		close(s.gate)
		r.want(<-answer, 201, "")
	})
}

// TestAuditHasWhatWasDone: a PUT that changes nothing is no change, and a deletion
// that leaves something in the store is one.
func TestAuditHasWhatWasDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: st})
		r.want(r.control("PUT", "", r.control("GET", "", "").Body.String()), 200, "")
		st.Add(storetest.Fault{Op: storetest.DeleteRecord, Err: store.ErrUnavailable})
		r.want(r.control("DELETE", "?yes=true", ""), 503, "not-stored")
		r.want(r.get("event.json"), 404, "")
		synctest.Wait()
		if got, want := lines(auditOf(r, "")), "acme/final configure PUT by anyone\nacme/final delete DELETE by anyone\nacme/final not-stored DELETE by anyone\n"; got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	})
}

// TestAuditLooksAtDaysThereAre: however long the time that is asked about.
func TestAuditLooksAtDaysThereAre(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := storetest.NewFaulty(memory.New(memory.Options{}))
		r := newRig(t, Config{Store: st, Access: guard(t)})
		before := st.Count(storetest.Scan)
		if got := auditOf(r, "?from=1970-01-01T00:00:00Z&to=9999-01-01T00:00:00Z"); len(got) != 1 {
			t.Errorf("%+v", got)
		}
		if n, most := st.Count(storetest.Scan)-before, int(audit.Life/(24*time.Hour))+2; n > most {
			t.Errorf("%d looks into the store", n)
		}
		st.Add(storetest.Fault{Op: storetest.Scan, Err: store.ErrUnavailable})
		r.want(r.control("GET", "/audit", "", "Authorization", "Bearer root"), 503, "store-unavailable")
	})
}

// TestAuditIsTriedAgain: an entry that the store does not take is not lost.
func TestAuditIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		stubborn := new(atomic.Bool)
		stubborn.Store(true)
		r := newRig(t, Config{Store: stubbornStore{memory.New(memory.Options{}), stubborn, nil}, Access: guard(t)})
		if got := lines(auditOf(r, "")); got != "" {
			t.Errorf("got\n%s", got)
		}
		time.Sleep(10 * time.Second)
		stubborn.Store(false)
		time.Sleep(2 * audit.Retry)
		if got := lines(auditOf(r, "")); got != "acme/final configure PUT by admin\n" {
			t.Errorf("got\n%s", got)
		}
	})
}

// TestPackagersDoNotOverruleOperators: neither a pipeline's key nor its tenant's
// withdraws or replaces what an operator tells viewers.
func TestPackagersDoNotOverruleOperators(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{Access: guard(t, "all=publish:acme", "b=publish:acme/b")})
		r.want(r.put("b/v/init.mp4", r.m.inits["v"], "Authorization", "Bearer all"), 201, "")
		says := func(secret, header string) string {
			t.Helper()
			r.want(r.put("b/v/init.mp4", r.m.inits["v"], "Authorization", "Bearer "+secret, live.HeaderNotifications, header), 200, "")
			w := r.want(r.control("GET", "/notifications", "", "Authorization", "Bearer root"), 200, "")
			var out struct {
				Notifications []struct{ ID, Type string }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
				t.Fatal(err)
			}
			var all []string
			for _, n := range out.Notifications {
				all = append(all, n.ID+" "+n.Type)
			}
			return strings.Join(all, ", ")
		}
		r.want(r.control("POST", "/notifications", `{"id": "o", "type": "blackout", "from": 1}`, "Authorization", "Bearer root"), 200, "")
		for i, c := range []struct{ secret, header, want string }{
			{"b", `2, withdraw;id="o";from=0`, "o blackout"},
			{"b", `3, nothing;id="o";from=1`, "o blackout"},
			{"b", `4, ad;id="p";from=1, withdraw;id="o";from=0`, "o blackout, p ad"},
			{"b", `5, withdraw;id="p";from=0`, "o blackout"}, // its own
			{"all", `6, ad;id="p";from=1, withdraw;id="o";from=0`, "o blackout, p ad"},
			{"b", `7, ad2;id="p";from=1`, "o blackout, p ad2"},
		} {
			if got := says(c.secret, c.header); got != c.want {
				t.Errorf("%d: %q, want %q", i, got, c.want)
			}
		}
		r.want(r.control("POST", "/notifications", `{"id": "p", "type": "blackout", "from": 1}`, "Authorization", "Bearer root"), 200, "")
		for i, secret := range []string{"b", "all"} {
			if got := says(secret, fmt.Sprintf(`%d, withdraw;id="p";from=0`, 8+i)); got != "o blackout, p blackout" {
				t.Errorf("what an operator took over: %q", got)
			}
		}
	})
}

// TestPipelinesDoNotOverruleEachOther: a key of one pipeline neither withdraws nor
// replaces what another told viewers, also after a restart; its tenant's key does.
func TestPipelinesDoNotOverruleEachOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		cfg := Config{Store: st, Access: guard(t, "all=publish:acme", "a=publish:acme/a", "b=publish:acme/b")}
		r, stop := stoppableRig(t, cfg)
		r.create(testEvent())
		for _, p := range []string{"a", "b"} {
			r.want(r.put(p+"/v/init.mp4", r.m.inits["v"], "Authorization", "Bearer all"), 201, "")
		}
		for i, c := range []struct{ secret, pipeline, header, want string }{
			{"b", "b", `2, x;id="b1";from=9`, `1, x;id="b1";from=9`},
			{"a", "a", `1, withdraw;id="b1";from=0`, `1, x;id="b1";from=9`},
			{"a", "a", `2, y;id="b1";from=1, z;id="a1";from=1`, `2, x;id="b1";from=9, z;id="a1";from=1`},
			{"restart", "", "", ""},
			{"a", "a", `3, withdraw;id="b1";from=0`, `2, x;id="b1";from=9, z;id="a1";from=1`},
			{"b", "b", `3, x;id="b1";from=10, withdraw;id="a1";from=0`, `3, x;id="b1";from=10, z;id="a1";from=1`},
			{"a", "a", `4, withdraw;id="a1";from=0`, `4, x;id="b1";from=10`},
			{"all", "a", `5, y;id="b1";from=11`, `5, y;id="b1";from=11`}, // and is a's now
			{"b", "b", `4, withdraw;id="b1";from=0`, `5, y;id="b1";from=11`},
			{"all", "b", `5, withdraw;id="b1";from=0`, `6`},
			{"a", "a", `6, x;id="b1";from=9`, `7, x;id="b1";from=9`}, // free again
		} {
			if c.secret == "restart" {
				stop()
				cfg.Access = guard(t, "all=publish:acme", "a=publish:acme/a", "b=publish:acme/b")
				r = openRig(t, cfg)
				continue
			}
			w := r.want(r.put(c.pipeline+"/v/init.mp4", r.m.inits["v"], "Authorization", "Bearer "+c.secret, live.HeaderNotifications, c.header), 200, "")
			if got := w.Header().Get(live.HeaderNotifications); got != c.want {
				t.Errorf("%d: %s says %q as %s: %q, want %q", i, c.secret, c.header, c.pipeline, got, c.want)
			}
		}
	})
}

// TestDeliveredToWhomMayFill: an event of which viewers must show tokens is
// delivered to who holds them to it, and a private origin's to who is known.
func TestDeliveredToWhomMayFill(t *testing.T) {
	bubble(t, func(t *testing.T) {
		secrets := []string{"d=deliver", "x=deliver:globex", "p=publish:acme/a", "y=publish:globex", "r=read:acme", "o=operate:acme", "peer=peer", "i=init:acme/a"}
		for _, c := range []struct {
			name           string
			tokens, secret bool
			private        bool
			want           map[string]int
		}{
			{"anybody's", false, true, false, map[string]int{"": 200, "d": 200}},
			{"with tokens", true, true, false, map[string]int{"": 401, "none": 401, "x": 403, "d": 200, "p": 200, "root": 200,
				"y": 403, "r": 200, "o": 200, "peer": 200, "i": 403}},
			{"private", false, true, true, map[string]int{"": 401, "x": 403, "d": 200}},
			{"on one machine", true, false, false, map[string]int{"": 200}},
		} {
			cfg := Config{Private: c.private}
			if c.secret {
				cfg.Access = guard(t, secrets...)
			}
			r := newRig(t, cfg, func(ev *live.Event) { ev.Viewers = &live.Viewers{Tokens: c.tokens} })
			for secret, status := range c.want {
				w := r.get("event.json", "Authorization", "Bearer "+secret)
				if w.Code != status {
					t.Errorf("%s: %q: %d, want %d", c.name, secret, w.Code, status)
				}
				if w.Code >= 400 && w.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("%s: a refusal may be kept: %v", c.name, w.Header())
				}
			}
		}
		// Who may get event.json may get the media, and of all pipelines.
		r := newRig(t, Config{Access: guard(t, "all=publish:acme", "p=publish:acme/a")}, func(ev *live.Event) { ev.Viewers = &live.Viewers{Tokens: true} })
		r.want(r.put("b/v/init.mp4", r.m.inits["v"], "Authorization", "Bearer all"), 201, "")
		for secret, status := range map[string]int{"": 401, "p": 200} {
			if w := r.get("v/init.mp4", "Authorization", "Bearer "+secret); w.Code != status {
				t.Errorf("the init segment with %q: %d, want %d", secret, w.Code, status)
			}
		}
		r = newRig(t, Config{Access: guard(t, "r=read")})
		for secret, status := range map[string]int{"": 401, "r": 200} {
			if w := serve(r.del, request("GET", "/metrics", nil, "Authorization", "Bearer "+secret)); w.Code != status {
				t.Errorf("metrics of the delivery listener with %q: %d", secret, w.Code)
			}
		}
	})
}
