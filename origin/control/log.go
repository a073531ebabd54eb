package control

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"headwater/access"
	"headwater/live"
	"headwater/origin/audit"
	"headwater/origin/book"
)

// Every change by an operator is a line in the log: what, of which event, by
// whose token, from which address, and what is different.

// logChange logs one that was made.
func (s *server) logChange(c *change, before, after *book.Record) {
	was, is := differences(before, after)
	s.Log.Info("control", "did", c.verb, "event", c.id.String(), "by", c.by.Name, "from", c.r.RemoteAddr, "before", brief(was, maxDifference), "after", brief(is, maxDifference))
	e := audit.EntryOf(c.r, c.by, s.Clock.Now())
	e.Did, e.Before, e.After = c.verb, brief(was, audit.MaxDifference), brief(is, audit.MaxDifference)
	s.Audit.Changed(c.r.Context(), e)
}

// logRefusal notes an attempt to change an event that was refused, or to see what
// is not for who asked; by is nil where that is nobody who is known.
func (s *server) logRefusal(r *http.Request, by *access.Identity, p *live.Problem) {
	if r.Method == http.MethodGet && p.Code != live.ErrUnauthorized.Code && p.Code != live.ErrForbidden.Code {
		return
	}
	s.Watchman.RefusedControl(r, by, p)
	e := audit.EntryOf(r, by, s.Clock.Now())
	e.Refused = p.Code
	s.Audit.Refused(e)
}

// maxDifference bounds what a line says of a change, in bytes.
const maxDifference = 512

// differences says what of a record is different: the fields of the
// configuration and the notifications, of lists only the members. nil is no event.
func differences(before, after *book.Record) (was, is string) {
	var x, y []string
	for _, d := range differ(shown(before), shown(after)) {
		if d.name == "version" {
			continue
		}
		if u := members(d.was, d.is); len(u) > 0 {
			x = append(x, d.name+"="+string(u))
		}
		if v := members(d.is, d.was); len(v) > 0 {
			y = append(y, d.name+"="+string(v))
		}
	}
	return strings.Join(x, " "), strings.Join(y, " ")
}

// shown are the fields of a record that the log is about.
func shown(rec *book.Record) map[string]json.RawMessage {
	if rec == nil {
		return nil
	}
	out := fields(rec.Config)
	if b, err := json.Marshal(rec.Notifications.Set); err == nil && len(rec.Notifications.Set) > 0 {
		out["notifications"] = b
	}
	return out
}

// members leaves of a list what the other does not have; all else is whole.
func members(list, other json.RawMessage) json.RawMessage {
	var a, b []json.RawMessage
	if len(list) == 0 || list[0] != '[' || json.Unmarshal(list, &a) != nil || len(other) > 0 && json.Unmarshal(other, &b) != nil {
		return list
	}
	a = slices.DeleteFunc(a, func(x json.RawMessage) bool {
		return slices.ContainsFunc(b, func(y json.RawMessage) bool { return bytes.Equal(x, y) })
	})
	if len(a) == 0 && len(b) > 0 {
		return nil
	}
	left, _ := json.Marshal(a) // it was JSON
	return left
}

func brief(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
