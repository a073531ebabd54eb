// Package control is the control API: what operators ask of events and do to them.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"headwater/access"
	"headwater/origin/audit"
	"headwater/origin/book"
	"headwater/origin/journal"
	"headwater/origin/metric"
	"headwater/origin/watch"
	"headwater/origin/window"

	"headwater/clock"
	"headwater/live"
)

// maxControlBody bounds a request to the control API, in bytes.
const maxControlBody = 1 << 20

// A server serves /v1/events of the control listener.
type server struct {
	Config
	uploads chan struct{} // holds one while a clip is being taken: each takes memory several times
}

// A Config is what the control API is built from.
type Config struct {
	Clock    *clock.Clock
	Book     *book.Book
	Window   *window.Window
	Journal  *journal.Journal
	Watchman *watch.Watchman
	Audit    *audit.Log

	TenantEvents, TenantRenditions int             // that one tenant may have
	TenantBytes                    int64           // the same, in the store; 0: as many as there is room for
	Tenants                        *metric.Tenants // what they were refused

	Access       *access.Guard // nil: anybody may
	Hosts        []string      // names with a dot that are this listener's
	BodyTimeout  time.Duration
	StoreTimeout time.Duration
	Log          *slog.Logger
}

// clipTime is how much longer than other bodies a clip may take.
const clipTime = 2 * time.Minute

// What the control API is about.
const (
	eventsPattern = "/v1/events"
	eventPattern  = "/v1/events/{tenant}/{event}"
	slatePattern  = eventPattern + "/slates/{rendition}"
)

// New serves the control API.
func New(cfg Config) http.Handler {
	s := &server{Config: cfg, uploads: make(chan struct{}, 1)}
	mux := http.NewServeMux()
	const event = eventPattern
	for path, methods := range map[string]map[string]controlFunc{
		eventsPattern:                  {"GET": s.listEvents},
		event:                          {"PUT": s.changing(configureVerb, s.putEvent, "replace", "adopt", "yes"), "GET": s.getEvent, "DELETE": s.changing("delete", s.deleteEvent, "yes")},
		event + "/segments":            {"GET": s.listSegments},
		event + "/notifications":       {"GET": s.getNotifications, "POST": s.changing("notify", s.postNotification)},
		event + "/notifications/{id}":  {"DELETE": s.changing("withdraw", s.withdrawNotification)},
		event + "/masks":               {"GET": s.getMasks, "POST": s.changing("mask", s.postMask, "yes")},
		event + "/masks/{id}":          {"DELETE": s.changing("unmask", s.removeMask)},
		event + "/generations":         {"GET": s.getGenerations, "POST": s.changing("generation", s.postGeneration)},
		event + "/generations/{index}": {"DELETE": s.changing("take back generation", s.takeBackGeneration)},
		slatePattern:                   {"PUT": s.changing("slate", s.putSlate), "DELETE": s.changing("take slate back", s.removeSlate)},
		event + "/invalidations":       {"POST": s.changing("invalidate", s.postInvalidation)},
		event + "/flush":               {"POST": s.changing("flush", s.flush, "yes")},
		event + "/audit":               {"GET": s.listAudit},
		"/v1/audit":                    {"GET": s.listAudit},
	} {
		allow := slices.Sorted(maps.Keys(methods))
		for method, f := range methods {
			mux.Handle(method+" "+path, s.control(f))
		}
		mux.Handle(path, s.control(func(w http.ResponseWriter, r *http.Request, _ live.EventID) error {
			w.Header().Set("Allow", strings.Join(allow, ", "))
			return live.ErrMethod.For(-1).With(r.Method + " is not for this URL")
		}))
	}
	mux.Handle("/v1/", s.control(func(_ http.ResponseWriter, r *http.Request, _ live.EventID) error {
		return live.ErrNotHere.For(-1).With(r.Method + " " + r.URL.Path + " is not part of the control API")
	}))
	return mux
}

// A controlFunc answers one request, or returns a *live.Problem, a
// *live.FieldError, or an error that control maps.
type controlFunc func(http.ResponseWriter, *http.Request, live.EventID) error

// control authorises, reads the event's name and maps errors to statuses.
func (s *server) control(f controlFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		by, err := s.controlled(w, r, f)
		if err != nil {
			var problem *live.Problem
			var field *live.FieldError
			switch {
			case errors.As(err, &problem):
			case errors.As(err, &field):
				problem = live.ErrBadRequest.With(field.Error())
			case errors.Is(err, book.ErrNoEvent):
				problem = live.ErrNoEvent.For(-1).With(book.NoEventText(live.EventID{Tenant: r.PathValue("tenant"), Name: r.PathValue("event")}))
			default:
				problem = live.ErrNotStored.With(err.Error())
				s.Log.Error("control", "path", r.URL.Path, "err", err)
			}
			s.Book.Refused(s.Book.Get(live.EventID{Tenant: r.PathValue("tenant"), Name: r.PathValue("event")}), "control", problem)
			s.logRefusal(r, by, problem)
			problem.Write(w, r)
		}
	})
}

func (s *server) controlled(w http.ResponseWriter, r *http.Request, f controlFunc) (*access.Identity, error) {
	// As a packager's, an operator's body has its time. Writers of tests may not
	// have deadlines.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.BodyTimeout))
	by, err := s.mayControl(w, r)
	if err != nil {
		return by, err
	}
	var id live.EventID
	if r.PathValue("tenant") != "" {
		if id, err = live.ParseEventID(r.PathValue("tenant") + "/" + r.PathValue("event")); err != nil {
			return by, live.ErrBadRequest.With(live.PathReason(err))
		}
	}
	if err := typed(r); err != nil {
		return by, err
	}
	limit := int64(maxControlBody)
	if r.Pattern == "PUT "+slatePattern {
		limit = book.MaxSlateBytes
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(s.BodyTimeout + clipTime))
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	return by, f(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, by)), id)
}

func body(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, live.ErrTooLarge.With(fmt.Sprintf("the body is longer than %d bytes", tooLarge.Limit))
	case err != nil:
		return nil, live.ErrIncomplete.With(err.Error())
	}
	return b, nil
}

// decode reads one JSON object into v, strictly.
func decode(r *http.Request, v any) error {
	b, err := body(r)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return live.ErrBadRequest.With("the body is empty: a JSON object is needed")
	}
	return live.ParseJSON(b, "request", v)
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set(live.HeaderCacheControl, "no-store")
	w.WriteHeader(status)
	w.Write(append(b, '\n'))
	return nil
}

func (s *server) listEvents(w http.ResponseWriter, r *http.Request, _ live.EventID) error {
	type row struct {
		Event    string       `json:"event"`
		Version  int64        `json:"version"`
		Start    time.Time    `json:"start"`
		Finished bool         `json:"finished"`
		LiveEdge *live.Number `json:"live_edge"`
	}
	rows := []row{}
	for _, e := range s.Book.List() {
		if access.Decide(identityOf(r), access.Want{Right: access.Read, Tenant: e.ID.Tenant}) != access.Allowed {
			continue
		}
		cfg := e.View().Config()
		tl := cfg.Event.Timeline()
		x := row{Event: e.ID.String(), Version: cfg.Version, Start: cfg.Start, Finished: tl.Finished(s.Clock.Now())}
		if edge, ok := e.LiveEdge(e.View(), s.Clock.Now()); ok {
			x.LiveEdge = &edge
		}
		rows = append(rows, x)
	}
	return writeJSON(w, http.StatusOK, map[string]any{"events": rows})
}

// putEvent creates or changes an event. The same configuration again changes
// nothing, not even the version.
func (s *server) putEvent(c *change) error {
	b, err := body(c.r)
	if err != nil {
		return err
	}
	ev, err := live.ParseEvent(b)
	if err != nil {
		return live.ErrBadEvent.With(err.Error())
	}
	status := http.StatusOK
	create := access.Want{Right: access.Admin, Tenant: c.id.Tenant}
	return s.apply(c, nil, func(rec *book.Record, exists bool) (book.Edit, error) {
		if exists {
			ev = book.KeepLearnt(ev, rec.Config.Event)
			if len(changes(ev, rec.Config.Event)) == 0 {
				return book.Edit{}, book.ErrUnchanged
			}
			if err := s.mayBecome(c, ev, rec.Config.Event); err != nil {
				return book.Edit{}, err
			}
			// Who may watch is not for those who only operate.
			if v := access.Decide(c.by, create); v != access.Allowed && !reflect.DeepEqual(ev.Viewers, rec.Config.Viewers) {
				return book.Edit{}, v.Problem(create)
			}
		} else {
			if v := access.Decide(c.by, create); v != access.Allowed {
				return book.Edit{}, v.Problem(create)
			}
			status = http.StatusCreated
		}
		if err := s.quota(c, ev, rec.Config.Event, exists); err != nil {
			return book.Edit{}, err
		}
		if !exists {
			x := book.Edit{Configure: &ev}
			err := s.standFor(c, &x)
			return x, err
		}
		return book.Edit{Configure: &ev}, nil
	}, func(v *book.View) error { return writeJSON(c.w, status, v.Config()) })
}

// standFor says of an event to be created whether it is the one of which there is
// media, though its record is gone. That has to be said.
func (s *server) standFor(c *change, x *book.Edit) error {
	life, n, err := s.Book.Left(c.r.Context(), c.id, x.Configure.Renditions)
	switch {
	case err != nil || life == 0:
		return err
	case c.adopt:
		x.Adopt = life
	case c.replace:
		x.Above = life
	default:
		return live.ErrInUse.With(fmt.Sprintf("%d segments or more are stored of an event of this name whose configuration was lost: add ?adopt=true to have them, or ?replace=true to begin without them", n))
	}
	return nil
}

// quota refuses a tenant more events, or more renditions of all of them, than it may
// have. What it has it keeps. Two events that are made at once may both find room.
func (s *server) quota(c *change, ev, old live.Event, exists bool) error {
	u := s.Book.Usage(c.id.Tenant, c.id.Name)
	detail := ""
	switch renditions := u.Renditions + len(ev.Renditions); {
	case !exists && u.Events >= s.TenantEvents:
		detail = fmt.Sprintf("tenant %s has %d events, and may have %d", c.id.Tenant, u.Events, s.TenantEvents)
	case renditions > s.TenantRenditions && len(ev.Renditions) > len(old.Renditions):
		detail = fmt.Sprintf("tenant %s would have %d renditions, and may have %d", c.id.Tenant, renditions, s.TenantRenditions)
	default:
		return nil
	}
	s.Tenants.Refused(c.id.Tenant, live.ErrQuota)
	return live.ErrQuota.With(detail)
}

// mayBecome refuses what would make nonsense of what is published, and without
// replace what would take it away.
func (s *server) mayBecome(c *change, ev, old live.Event) error {
	e := s.Book.Get(c.id)
	if e.Published() && moved(ev, old) {
		return live.ErrStarted.With("start, first_number, segment and media_time cannot change once segments are published: delete the event first")
	}
	for _, r := range ev.Renditions {
		was, ok := old.Rendition(r.Name)
		if in, _ := e.InitOf(r.Name, ""); ok && in != nil && was.Type != r.Type {
			return live.ErrStarted.With(fmt.Sprintf("the type of rendition %q cannot change once its init segment is published: name another", r.Name))
		}
	}
	now := s.Clock.Now()
	if what := reopened(ev, old, now); what != "" && !c.yes && !c.dryRun {
		return live.ErrBlackout.With(what + ": add ?yes=true if that is meant")
	}
	if tl := ev.Timeline(); !ev.End.Equal(old.End) && tl.Over(now) {
		if err := c.mayHurt(e, "this end leaves viewers nothing more to come", now); err != nil {
			return err
		}
	}
	if !c.replace {
		if err := s.Book.Await(c.r.Context(), e); err != nil {
			return err
		}
	}
	if lost := droppedBy(e, ev); len(lost) > 0 && !c.replace {
		return live.ErrInUse.With(strings.Join(lost, "; ") + ": keep it, or add ?replace=true to drop it")
	}
	return nil
}

// moved reports whether segments would have other numbers or decode times.
func moved(a, b live.Event) bool {
	return !a.Start.Equal(b.Start) || a.FirstNumber != b.FirstNumber || a.Segment != b.Segment || a.MediaTime != b.MediaTime
}

func (s *server) lookUp(id live.EventID) (*book.Event, error) {
	if e := s.Book.Get(id); e != nil {
		return e, nil
	}
	return nil, book.NoEvent(id)
}

func (s *server) getEvent(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	e, err := s.lookUp(id)
	if err != nil {
		return err
	}
	rec := &e.View().Record
	return writeJSON(w, http.StatusOK, eventDetail{&rec.Config, eventNotes{e.RefusedInits(), rec.Slates, rec.SlatesNeeded()}})
}

// An eventDetail is what GET shows of an event: its configuration, and what caches do not
// need to know.
type eventDetail struct {
	config *live.Config
	notes  eventNotes
}

// eventNotes are which pipelines are refused, which clips there are, and which are missing.
type eventNotes struct {
	RefusedInits []book.RefusedInit `json:"refused_inits,omitempty"`
	Slates       []book.Slate       `json:"slates,omitempty"`
	SlatesNeeded []book.SlateNeeded `json:"slates_needed,omitempty"`
}

// MarshalJSON writes one flat object.
func (d eventDetail) MarshalJSON() ([]byte, error) {
	b, err := json.Marshal(d.config)
	if err != nil {
		return nil, err
	}
	notes, err := json.Marshal(d.notes)
	if err != nil || len(notes) == len("{}") {
		return b, err
	}
	return slices.Concat(b[:len(b)-1], []byte(","), notes[1:]), nil
}

// deleteEvent removes an event and everything published of it.
func (s *server) deleteEvent(c *change) error {
	e := s.Book.Get(c.id)
	if c.dryRun {
		if e == nil {
			return book.NoEvent(c.id)
		}
		if err := s.Book.Await(c.r.Context(), e); err != nil {
			return err
		}
		return writeJSON(c.w, http.StatusOK, effectOf(e, c.verb, nil, nil, s.Clock.Now()))
	}
	if err := c.mayHurt(e, "all that is published of it goes for good", s.Clock.Now()); err != nil {
		return err
	}
	var before *book.Record
	if e != nil {
		before = &e.View().Record
	}
	err := s.Book.Remove(c.r.Context(), c.id)
	if s.Book.Get(c.id) == nil { // even where the store was left with some of it
		s.Window.Forget(c.id)
		if !errors.Is(err, book.ErrNoEvent) {
			s.Book.Changed(c.id)
		}
		if before != nil || err == nil {
			s.logChange(c, before, nil)
		}
	}
	if err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}
