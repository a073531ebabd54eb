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

// What a PUT changes of an event's configuration, in words.

const configureVerb = "configure"

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
	is, was := eventFields(ev), eventFields(old)
	for _, name := range slices.Sorted(maps.Keys(union(is, was))) {
		switch a, b := was[name], is[name]; {
		case bytes.Equal(a, b):
		case name == "end" && ev.End.IsZero():
			out = append(out, "end "+old.End.Format(live.TimeLayout)+" is taken away")
		case name == "end" && old.End.IsZero():
			out = append(out, "end is set to "+ev.End.Format(live.TimeLayout))
		case name == "pipelines", name == "renditions":
			out = append(out, listChanges(name, a, b)...)
		default:
			out = append(out, fmt.Sprintf("%s %s becomes %s", name, a, b))
		}
	}
	return out
}

func eventFields(ev live.Event) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage)
	if b, err := json.Marshal(ev); err == nil { // it was stored as JSON before
		_ = json.Unmarshal(b, &out)
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
