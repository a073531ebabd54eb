package origin

import (
	"net/http/httptest"
	"testing"

	"headwater/live"
)

// A node that wants to know which names there are is told with a refusal, as they
// are then; nobody else is.
func TestNamesWithRefusals(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		ask := func(path string, headers ...string) *httptest.ResponseRecorder {
			return serve(r.del, request("GET", path, nil, headers...))
		}
		names := func(path, code string, want ...string) {
			t.Helper()
			if h := r.want(ask(path), 404, code).Header().Get(live.HeaderNames); h != "" {
				t.Errorf("%s: %q for nobody", path, h)
			}
			for range 2 { // made, and kept
				got, err := live.ParseNames(r.want(ask(path, live.HeaderNames, "?1"), 404, code).Header().Get(live.HeaderNames))
				if err != nil || len(got) != len(want) {
					t.Errorf("%s: %v, %v", path, got, err)
				}
				for _, name := range want {
					if !got.Has(name) {
						t.Errorf("%s: %s is not there", path, name)
					}
				}
			}
		}
		own := r.id
		ofTenant, ofAll := "/"+own.Tenant+"/none/event.json", "/none/e/event.json"
		names(ofTenant, "no-such-event", own.Name)
		names(ofAll, "no-such-tenant", own.Tenant)
		for _, id := range []live.EventID{{Tenant: "u", Name: "one"}, {Tenant: own.Tenant, Name: "another"}} {
			r.id = id
			r.create(testEvent())
		}
		names(ofTenant, "no-such-event", own.Name, "another")
		names(ofAll, "no-such-tenant", own.Tenant, "u")
		r.want(r.control("DELETE", "?yes=true", "", "Authorization", "Bearer root"), 204, "")
		names(ofTenant, "no-such-event", own.Name)
	})
}
