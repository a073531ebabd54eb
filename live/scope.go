package live

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
	Scope
}

// An Invalidation tells caches to drop what they hold of a scope. It applies
// to what was filled under a configuration version lower than Version.
type Invalidation struct {
	ID      string `json:"id"`
	Version int64  `json:"version"`
	Scope
}
