package control

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"headwater/access"
	"headwater/origin/book"

	"headwater/live"
)

// A change is a request that changes an event, or with dry_run says what it
// would do.
type change struct {
	w    http.ResponseWriter
	r    *http.Request
	id   live.EventID
	by   *access.Identity
	verb string

	dryRun  bool // change nothing, say what would be touched
	yes     bool // also where viewers are left with nothing, or what is on air is hurt
	replace bool // also where it drops what is published
	adopt   bool // with the media that is stored of an event whose record is gone

	blackout bool // found: viewers are left with nothing
}

// changing makes a handler of one that changes an event. Besides dry_run it
// takes the query parameters that are named. What is misspelt is refused: it
// must not be done for real.
func (s *server) changing(verb string, f func(c *change) error, params ...string) controlFunc {
	params = append(params, "dry_run")
	return func(w http.ResponseWriter, r *http.Request, id live.EventID) error {
		c := &change{w: w, r: r, id: id, by: identityOf(r), verb: verb}
		for name, values := range r.URL.Query() {
			on, err := strconv.ParseBool(values[0])
			switch {
			case !slices.Contains(params, name):
				return live.ErrBadRequest.With(fmt.Sprintf("%q is not a parameter of this request: there is %s", name, strings.Join(params, ", ")))
			case err != nil || len(values) > 1:
				return live.ErrBadRequest.With(name + ": is true or false, once")
			}
			*map[string]*bool{"dry_run": &c.dryRun, "yes": &c.yes, "replace": &c.replace, "adopt": &c.adopt}[name] = on
		}
		return f(c)
	}
}

// apply makes a change and answers, or says what it would do to the segments of
// a scope; nil for those of which another serves.
func (s *server) apply(c *change, touched *live.Scope, f func(rec *book.Record, exists bool) (book.Edit, error), answered func(v *book.View) error) error {
	if c.dryRun {
		return s.rehearse(c, touched, f)
	}
	changed := false
	var before *book.Record
	v, err := s.Book.Edit(c.r.Context(), c.id, func(rec *book.Record, exists bool) (book.Edit, error) {
		if exists {
			before = rec
		}
		x, err := f(rec, exists)
		changed = err == nil
		return x, err
	})
	if err != nil {
		return err
	}
	if changed {
		s.Book.Changed(c.id)
		s.logChange(c, before, &v.Record)
	}
	return answered(v)
}

// mayHurt refuses a verb that would hurt what is on air and does not say so.
func (c *change) mayHurt(e *book.Event, what string, now time.Time) error {
	if e == nil || c.yes || c.dryRun || !onAir(e, now) {
		return nil
	}
	return live.ErrBlackout.With(fmt.Sprintf("event %v is on air, and %s: add ?yes=true if that is meant", c.id, what))
}

// onAir reports whether viewers may be watching live: the event is not over, and
// what was published last is of the live window.
func onAir(e *book.Event, now time.Time) bool {
	v := e.View()
	tl := v.Config().Event.Timeline()
	edge, ok := e.LiveEdge(v, now)
	return ok && !tl.Finished(now) && tl.Live(edge, now)
}

// existing is for changes of events that there are.
func existing(id live.EventID, f func(rec *book.Record) (book.Edit, error)) func(*book.Record, bool) (book.Edit, error) {
	return func(rec *book.Record, exists bool) (book.Edit, error) {
		if !exists {
			return book.Edit{}, book.NoEvent(id)
		}
		return f(rec)
	}
}

// A point is from or to in a request: a number, or a string of a time.
type point struct {
	text   string // "" where there is none
	quoted bool
}

func (p *point) UnmarshalJSON(b []byte) error {
	switch {
	case b[0] == '"':
		p.quoted = true
		return json.Unmarshal(b, &p.text)
	case string(b) != "null":
		p.text = string(b)
	}
	return nil
}

// set reports whether there is any.
func (p point) set() bool { return p.text != "" || p.quoted }

// A scopeRequest is a scope as operators name it.
type scopeRequest struct {
	ID        string `json:"id"`
	All       bool   `json:"all"`
	Pipeline  string `json:"pipeline"`
	Region    string `json:"region"`
	Rendition string `json:"rendition"`
	From      point  `json:"from"`
	To        point  `json:"to"`
}

// readScope reads and checks a scope of an event: names that it does not have
// are refused with those that it has.
func (s *server) readScope(c *change, in *scopeRequest) (live.Scope, error) {
	var scope live.Scope
	e, err := s.lookUp(c.id)
	if err != nil {
		return scope, err
	}
	if err := decode(c.r, in); err != nil {
		return scope, err
	}
	cfg := e.View().Config()
	scope = live.Scope{Pipeline: in.Pipeline, Region: in.Region, Rendition: in.Rendition}
	tl := cfg.Event.Timeline()
	if scope.From, scope.To, err = readRange(&tl, in.From, in.To, s.Clock.Now()); err != nil {
		return scope, err
	}
	if err := scope.Validate(); err != nil {
		return scope, err
	}
	var pipelines, regions, renditions []string
	for _, p := range cfg.Pipelines {
		pipelines = append(pipelines, p.Name)
		if p.Region != "" && !slices.Contains(regions, p.Region) {
			regions = append(regions, p.Region)
		}
	}
	for _, r := range cfg.Renditions {
		renditions = append(renditions, r.Name)
	}
	known := func(name string, names []string) bool { return name == "" || slices.Contains(names, name) }
	if !known(scope.Pipeline, pipelines) || !known(scope.Rendition, renditions) {
		if err := s.Book.Await(c.r.Context(), e); err != nil {
			return scope, err
		}
	}
	used := inUse(e) // what the event dropped may still be in caches
	for _, x := range []struct {
		field, name string
		known       []string
		dropped     map[string]use
	}{{"pipeline", scope.Pipeline, pipelines, used.pipelines}, {"region", scope.Region, regions, nil}, {"rendition", scope.Rendition, renditions, used.renditions}} {
		if _, ok := x.dropped[x.name]; x.name != "" && !ok && !slices.Contains(x.known, x.name) {
			return scope, &live.FieldError{Field: x.field, Reason: fmt.Sprintf("the event has no %q: %s", x.name, oneOf(x.known))}
		}
	}
	return scope, nil
}

func oneOf(names []string) string {
	if len(names) == 0 {
		return "it has none"
	}
	return "it has " + strings.Join(names, ", ")
}

// An outsideError is a range without one segment of the event.
type outsideError struct{ *live.FieldError }

func (e outsideError) Unwrap() error { return e.FieldError }

// readRange reads from and to; without one it is 0. A range may begin before the
// event and end after it, but of a range wholly outside nothing is left: it is no
// other segment that was meant.
func readRange(tl *live.Timeline, from, to point, now time.Time) (a, b live.Number, err error) {
	var outside error
	for _, x := range []struct {
		field string
		p     point
		n     *live.Number
	}{{"from", from, &a}, {"to", to, &b}} {
		if !x.p.set() {
			continue
		}
		m, err := live.ParseMoment(x.field, x.p.text)
		if err != nil {
			return 0, 0, err
		}
		t, timed := m.Time(now)
		if timed != x.p.quoted {
			return 0, 0, &live.FieldError{Field: x.field, Reason: fmt.Sprintf("%s: a number is written without quotes, a time with them", x.p.text)}
		}
		said := "segment " + x.p.text
		if timed {
			said = t.UTC().Format(live.TimeLayout)
		}
		*x.n = m.Number(tl, now)
		switch first := tl.First(); {
		case x.field == "to" && m.Before(tl, now) && (timed || *x.n != 0): // a number 0 is no end
			outside = cmp.Or[error](outside, outsideError{&live.FieldError{Field: x.field, Reason: fmt.Sprintf("%s is before the event, which starts at %s with segment %d", said, tl.Start(first).Format(live.TimeLayout), first)}})
		case x.field == "from" && m.After(tl, now):
			last, _ := tl.Last()
			outside = outsideError{&live.FieldError{Field: x.field, Reason: fmt.Sprintf("%s is after the event, which ends at %s with segment %d", said, tl.End(last).Format(live.TimeLayout), last)}}
		case x.field == "to" && timed && *x.n == 0:
			return 0, 0, &live.FieldError{Field: x.field, Reason: said + " lies in segment 0, and to 0 is without an end: name a later one"}
		}
	}
	if from.set() && to.set() && b != 0 && a > b {
		return 0, 0, &live.FieldError{Field: "to", Reason: fmt.Sprintf("segment %d is before from, segment %d", b, a)}
	}
	return a, b, outside
}
