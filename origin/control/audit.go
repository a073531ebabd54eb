package control

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"headwater/live"
	"headwater/origin/audit"
)

// listAudit answers with the audit log, of one event or of all.
func (s *server) listAudit(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	now := s.Clock.Now()
	span := map[string]time.Time{"from": now.Add(-24 * time.Hour), "to": now}
	limit := 100
	for name, values := range r.URL.Query() {
		switch m, err := live.ParseMoment(name, values[0]); {
		case name == "limit":
			n, err := strconv.Atoi(values[0])
			if err != nil || n < 1 || n > audit.MaxEntries {
				return live.ErrBadRequest.With(fmt.Sprintf("limit: %q is not between 1 and %d", values[0], audit.MaxEntries))
			}
			limit = n
		case name != "from" && name != "to":
			return live.ErrBadRequest.With(fmt.Sprintf("%q is not a parameter of this request: there is from, to, limit", name))
		case err != nil:
			return err
		default:
			t, timed := m.Time(now)
			if !timed {
				return live.ErrBadRequest.With(name + ": is a time, or a duration from now like -10m")
			}
			span[name] = t
		}
	}
	want := ""
	if id.Tenant != "" {
		want = id.String()
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.StoreTimeout)
	defer cancel()
	entries, err := s.Audit.Read(ctx, span["from"], span["to"].Add(time.Nanosecond), limit, func(e *audit.Entry) bool { return want == "" || e.Event == want })
	if err != nil {
		return live.ErrStoreDown.With(err.Error())
	}
	return writeJSON(w, http.StatusOK, map[string]any{"entries": append([]audit.Entry{}, entries...)})
}
