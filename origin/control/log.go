package control

import (
	"bytes"
	"encoding/json"
	"maps"
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
	was, is := differences(before, after, maxDifference)
	s.Log.Info("control", "did", c.verb, "event", c.id.String(), "by", c.by.Name, "from", c.r.RemoteAddr, "before", was, "after", is)
	e := audit.EntryOf(c.r, c.by, s.Clock.Now())
	e.Did = c.verb
	e.Before, e.After = differences(before, after, audit.MaxDifference)
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

// differences says in brief what of a record is different: the fields of the
// configuration and the notifications, of lists only the members. nil is no event.
func differences(before, after *book.Record, most int) (was, is string) {
	a, b := fields(before), fields(after)
	var x, y []string
	for _, name := range slices.Sorted(maps.Keys(union(a, b))) {
		u, v := a[name], b[name]
		if name == "version" || bytes.Equal(u, v) {
			continue
		}
		u, v = members(u, v), members(v, u)
		if len(u) > 0 {
			x = append(x, name+"="+string(u))
		}
		if len(v) > 0 {
			y = append(y, name+"="+string(v))
		}
	}
	return brief(x, most), brief(y, most)
}

func union(a, b map[string]json.RawMessage) map[string]json.RawMessage {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func fields(rec *book.Record) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage)
	if rec == nil {
		return out
	}
	// What is marshalled here was stored as JSON before.
	if b, err := json.Marshal(rec.Config); err == nil {
		_ = json.Unmarshal(b, &out)
	}
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
	return slices.Concat(json.RawMessage("["), json.RawMessage(bytes.Join(raw(a), []byte(","))), json.RawMessage("]"))
}

func raw(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i, x := range list {
		out[i] = x
	}
	return out
}

func brief(parts []string, most int) string {
	s := strings.Join(parts, " ")
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
