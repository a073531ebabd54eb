package live

import "slices"

// A Scope names a set of segments: a range of numbers, of one pipeline, region
// or rendition, or of all where a field is empty.
type Scope struct {
	Pipeline  string `json:"pipeline,omitempty"`
	Region    string `json:"region,omitempty"`
	Rendition string `json:"rendition,omitempty"`
	From      Number `json:"from"`
	To        Number `json:"to,omitempty"` // inclusive; 0: no end
}

// Holds reports whether a segment is in the scope.
func (s Scope) Holds(pipeline, region, rendition string, n Number) bool {
	return (s.Pipeline == "" || s.Pipeline == pipeline) &&
		(s.Region == "" || s.Region == region) &&
		(s.Rendition == "" || s.Rendition == rendition) &&
		n >= s.From && (s.To == 0 || n <= s.To)
}

// Validate returns a *FieldError for the first impossible value.
func (s Scope) Validate() error {
	for _, f := range []struct{ name, v string }{{"pipeline", s.Pipeline}, {"region", s.Region}, {"rendition", s.Rendition}} {
		if f.v != "" && !ValidName(f.v) {
			return badField(f.name, "%q is not %s", f.v, namePattern)
		}
	}
	if s.From < 0 {
		return badField("from", "%d is negative", s.From)
	}
	if s.To != 0 && s.To < s.From {
		return badField("to", "%d is before from, %d", s.To, s.From)
	}
	return nil
}

// A Mask takes candidates out of selection: an operator saw that they are bad
// although inspection did not.
type Mask struct {
	ID string `json:"id"`
	// All says that every pipeline is meant. Then the scope names neither a
	// pipeline nor a region.
	All bool `json:"all,omitempty"`
	Scope
}

// Unmasked returns the pipelines that no mask takes out of a segment, in order.
func (c *Config) Unmasked(rendition string, n Number) []Pipeline {
	return slices.DeleteFunc(slices.Clone(c.Pipelines), func(p Pipeline) bool {
		return slices.ContainsFunc(c.Masks, func(m Mask) bool { return m.Holds(p.Name, p.Region, rendition, n) })
	})
}

// Blackout returns the first segment of a scope, of the first rendition that has
// one, of which c's masks leave no pipeline while those of before did.
func (c *Config) Blackout(s Scope, before *Config) (rendition string, n Number, found bool) {
	for _, r := range c.Renditions {
		if s.Rendition != "" && s.Rendition != r.Name {
			continue
		}
		// Where the last pipeline goes, a mask begins, or one of before ends.
		at := []Number{s.From}
		for _, m := range c.Masks {
			at = append(at, m.From)
		}
		for _, m := range before.Masks {
			if m.To != 0 {
				at = append(at, m.To+1)
			}
		}
		slices.Sort(at)
		for _, n := range slices.Compact(at) {
			if n >= s.From && (s.To == 0 || n <= s.To) && len(c.Unmasked(r.Name, n)) == 0 && len(before.Unmasked(r.Name, n)) > 0 {
				return r.Name, n, true
			}
		}
	}
	return "", 0, false
}

// An Invalidation tells caches to drop what they hold of a scope. It applies
// to what was filled under a configuration version lower than Version.
type Invalidation struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
	Scope
}
