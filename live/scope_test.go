package live

import "testing"

// TestBlackout: the first segment of which no pipeline is left, that had one.
func TestBlackout(t *testing.T) {
	mask := func(pipeline, rendition string, from, to Number) Mask {
		return Mask{Scope: Scope{Pipeline: pipeline, Rendition: rendition, From: from, To: to}}
	}
	all := Mask{All: true, Scope: Scope{From: 5, To: 9}}
	for name, c := range map[string]struct {
		before []Mask
		add    Mask
		want   Number // 0: none
		of     string
	}{
		"one of two":                     {nil, mask("a", "", 1, 0), 0, ""},
		"all":                            {nil, all, 5, "v"},
		"the other":                      {[]Mask{mask("a", "", 7, 0)}, mask("b", "", 3, 0), 7, "v"},
		"the other, of one rendition":    {[]Mask{mask("a", "w", 7, 0)}, mask("b", "", 3, 0), 7, "w"},
		"the other, of another":          {[]Mask{mask("a", "w", 7, 0)}, mask("b", "v", 3, 0), 0, ""},
		"beside":                         {[]Mask{mask("a", "", 7, 9)}, mask("b", "", 10, 0), 0, ""},
		"the last one of a range":        {[]Mask{mask("a", "", 7, 9)}, mask("b", "", 9, 0), 9, "v"},
		"where there was none before":    {[]Mask{all}, mask("a", "", 5, 9), 0, ""},
		"behind where there was none":    {[]Mask{all, mask("a", "", 5, 0)}, mask("b", "", 5, 0), 10, "v"},
		"a region of two":                {nil, Mask{Scope: Scope{Region: "east", From: 2}}, 0, ""},
		"that region and the other's":    {[]Mask{mask("b", "", 4, 0)}, Mask{Scope: Scope{Region: "east", From: 2}}, 4, "v"},
		"one that is as far as the mask": {[]Mask{mask("a", "", 7, 0)}, mask("b", "", 3, 6), 0, ""},
	} {
		ev := Default()
		ev.Pipelines = []Pipeline{{Name: "a", Region: "east"}, {Name: "b", Region: "west"}}
		ev.Renditions = []Rendition{{Name: "v"}, {Name: "w"}}
		before := Config{Event: ev, Masks: c.before}
		after := Config{Event: ev, Masks: append(c.before[:len(c.before):len(c.before)], c.add)}
		if rendition, n, found := after.Blackout(c.add.Scope, &before); found != (c.want != 0) || n != c.want || rendition != c.of {
			t.Errorf("%s: %s %d %v, want %s %d", name, rendition, n, found, c.of, c.want)
		}
	}
}
