package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"headwater/live"
)

// What a change makes different: for the log and the audit log, and of what a PUT
// would change in words.

const configureVerb = "configure"

// A difference is a field that has another value; nil is none.
type difference struct {
	name    string
	was, is json.RawMessage
}

// fields are those of what is stored as JSON, so that it can be written as such.
func fields(v any) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage)
	if b, err := json.Marshal(v); err == nil {
		_ = json.Unmarshal(b, &out)
	}
	return out
}

// differ are the fields that are different, in the order of their names.
func differ(was, is map[string]json.RawMessage) (out []difference) {
	all := make(map[string]json.RawMessage)
	maps.Copy(all, was)
	maps.Copy(all, is)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if a, b := was[name], is[name]; !bytes.Equal(a, b) {
			out = append(out, difference{name, a, b})
		}
	}
	return out
}

// compare tells what is different between an event as it will be and as it is.
func (e *Effect) compare(ev, old live.Event, now time.Time) {
	e.Result, e.Changes = "unchanged", changes(ev, old)
	if len(e.Changes) > 0 {
		e.Result = "changed"
	}
	switch what := reopened(ev, old, now); {
	case what != "":
		e.Warnings = append(e.Warnings, what)
	case ev.End.IsZero() && !old.End.IsZero():
		e.Warnings = append(e.Warnings, "this takes the end away: it was to end at "+old.End.Format(live.TimeLayout))
	}
}

// reopened says, where an end that has passed is moved on or taken away, what
// that means.
func reopened(ev, old live.Event, now time.Time) string {
	if old.End.IsZero() || old.End.After(now) || !ev.End.IsZero() && !ev.End.After(old.End) {
		return ""
	}
	return fmt.Sprintf("this takes the end back, which has passed at %s: players that saw the end do not come back", old.End.Format(live.TimeLayout))
}

// changes names each field that is different.
func changes(ev, old live.Event) (out []string) {
	for _, d := range differ(fields(old), fields(ev)) {
		switch {
		case d.name == "end" && ev.End.IsZero():
			out = append(out, "end "+old.End.Format(live.TimeLayout)+" is taken away")
		case d.name == "end" && old.End.IsZero():
			out = append(out, "end is set to "+ev.End.Format(live.TimeLayout))
		case d.name == "pipelines", d.name == "renditions":
			out = append(out, listChanges(d.name, d.was, d.is)...)
		default:
			out = append(out, fmt.Sprintf("%s %s becomes %s", d.name, d.was, d.is))
		}
	}
	return out
}

// listChanges names what is added to a list of things with names, dropped,
// changed, and whether their order is another.
func listChanges(list string, was, is json.RawMessage) (out []string) {
	named := func(b json.RawMessage) (names []string, by map[string]json.RawMessage) {
		var all []json.RawMessage
		_ = json.Unmarshal(b, &all)
		by = make(map[string]json.RawMessage)
		for _, x := range all {
			var n struct {
				Name string `json:"name"`
			}
			_ = json.Unmarshal(x, &n)
			names, by[n.Name] = append(names, n.Name), x
		}
		return names, by
	}
	a, byA := named(was)
	b, byB := named(is)
	for _, x := range b {
		if old, ok := byA[x]; !ok {
			out = append(out, list+": "+x+" is added")
		} else if !bytes.Equal(old, byB[x]) {
			out = append(out, fmt.Sprintf("%s: %s becomes %s", list, old, byB[x]))
		}
	}
	without := func(names []string, by map[string]json.RawMessage) []string {
		return slices.DeleteFunc(slices.Clone(names), func(x string) bool { return by[x] == nil })
	}
	for _, x := range a {
		if byB[x] == nil {
			out = append(out, list+": "+x+" is dropped")
		}
	}
	if x, y := without(a, byB), without(b, byA); !slices.Equal(x, y) {
		out = append(out, fmt.Sprintf("%s: their order %s becomes %s", list, strings.Join(x, ", "), strings.Join(y, ", ")))
	}
	return out
}
