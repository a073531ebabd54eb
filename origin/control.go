package origin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"crypto/subtle"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"headwater/announce"
	"headwater/live"
	"headwater/selection"
)

// maxControlBody bounds a request to the control API, in bytes.
const maxControlBody = 1 << 20

// ControlHandler serves the control listener: /v1/events, /metrics, /healthz,
// /readyz.
func (o *Origin) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", o.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.cfg.Metrics, promhttp.HandlerOpts{}))
	mux.Handle("GET /v1/events", o.control(o.listEvents))
	const event = "/v1/events/{tenant}/{event}"
	mux.Handle("PUT "+event, o.control(o.putEvent))
	mux.Handle("GET "+event, o.control(o.getEvent))
	mux.Handle("DELETE "+event, o.control(o.deleteEvent))
	mux.Handle("GET "+event+"/segments", o.control(o.listSegments))
	mux.Handle("POST "+event+"/notifications", o.control(o.postNotification))
	mux.Handle("DELETE "+event+"/notifications/{id}", o.control(o.withdrawNotification))
	mux.Handle("POST "+event+"/masks", o.control(o.postMask))
	mux.Handle("DELETE "+event+"/masks/{id}", o.control(o.removeMask))
	mux.Handle("POST "+event+"/invalidations", o.control(o.postInvalidation))
	mux.Handle("POST "+event+"/flush", o.control(o.flush))
	mux.Handle("/v1/", o.control(func(_ http.ResponseWriter, r *http.Request, _ live.EventID) error {
		return live.ErrNotHere.For(-1).With(r.Method + " " + r.URL.Path + " is not part of the control API")
	}))
	return mux
}

func (o *Origin) ready(w http.ResponseWriter, r *http.Request) {
	select {
	case <-o.draining:
		live.ErrDraining.Write(w, r)
	default:
		fmt.Fprintln(w, "ready")
	}
}

// control authorises, reads the event's name and maps errors to statuses.
func (o *Origin) control(f func(http.ResponseWriter, *http.Request, live.EventID) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := o.controlled(w, r, f); err != nil {
			var problem *live.Problem
			var field *live.FieldError
			switch {
			case errors.As(err, &problem):
			case errors.As(err, &field):
				problem = live.ErrBadRequest.With(field.Error())
			case errors.Is(err, errNoEvent):
				problem = live.ErrNoEvent.For(-1).With("no such event")
			default:
				problem = live.ErrNotStored.With(err.Error())
				o.log.Error("control", "path", r.URL.Path, "err", err)
			}
			o.metrics.refused("control", problem)
			problem.Write(w, r)
		}
	})
}

func (o *Origin) controlled(w http.ResponseWriter, r *http.Request, f func(http.ResponseWriter, *http.Request, live.EventID) error) error {
	if o.cfg.ControlToken != "" {
		secret, _ := credentials(r)
		if subtle.ConstantTimeCompare([]byte(secret), []byte(o.cfg.ControlToken)) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="control"`)
			return live.ErrUnauthorized.With("send Authorization: Bearer SECRET")
		}
	}
	var id live.EventID
	if r.PathValue("tenant") != "" {
		var err error
		if id, err = live.ParseEventID(r.PathValue("tenant") + "/" + r.PathValue("event")); err != nil {
			return live.ErrBadRequest.With(err.Error())
		}
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxControlBody)
	return f(w, r, id)
}

func body(r *http.Request) ([]byte, error) {
	b, err := io.ReadAll(r.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, live.ErrTooLarge.With(fmt.Sprintf("the body is longer than %d bytes", maxControlBody))
	case err != nil:
		return nil, live.ErrIncomplete.With(err.Error())
	}
	return b, nil
}

func decode(r *http.Request, v any) error {
	b, err := body(r)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(strings.NewReader(string(b)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return live.ErrBadRequest.With(strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func answer(w http.ResponseWriter, status int, v any) error {
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

// changed announces a change of an event.
func (o *Origin) changed(ctx context.Context, id live.EventID) {
	if err := o.cfg.Bus.Announce(ctx, announce.Message{Kind: announce.Changed, Event: id}); err != nil {
		o.log.Warn("announcement lost", "event", id.String(), "err", err)
	}
}

func (o *Origin) listEvents(w http.ResponseWriter, r *http.Request, _ live.EventID) error {
	type row struct {
		Event    string    `json:"event"`
		Version  int64     `json:"version"`
		Start    time.Time `json:"start"`
		Finished bool      `json:"finished"`
		LiveEdge *int64    `json:"live_edge"`
	}
	rows := []row{}
	for _, e := range o.events.list() {
		cfg := e.view.Load().config()
		tl := cfg.Event.Timeline()
		x := row{Event: e.id.String(), Version: cfg.Version, Start: cfg.Start, Finished: tl.Finished(time.Now())}
		if edge := e.edge.Load(); edge >= 0 {
			x.LiveEdge = &edge
		}
		rows = append(rows, x)
	}
	return answer(w, http.StatusOK, map[string]any{"events": rows})
}

// putEvent creates or changes an event. The same configuration again changes
// nothing, not even the version.
func (o *Origin) putEvent(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	b, err := body(r)
	if err != nil {
		return err
	}
	ev, err := live.ParseEvent(b)
	if err != nil {
		return live.ErrBadEvent.With(err.Error())
	}
	status := http.StatusOK
	e, err := o.events.edit(r.Context(), id, func(rec *eventRecord, exists bool) error {
		if !exists {
			status = http.StatusCreated
			// A new life: nothing of a deleted event's but its counts.
			rec.Config = live.Config{Version: rec.Config.Version, FlushVersion: rec.Config.FlushVersion}
			rec.Notifications.Set = nil
		} else {
			ev = keepLearnt(ev, rec.Config.Event)
			if sameEvent(ev, rec.Config.Event) {
				return errUnchanged
			}
			if moved(ev, rec.Config.Event) && o.events.get(id).published() {
				return live.ErrStarted.With("start, first_number, segment and media_time cannot change once segments are published: delete the event first")
			}
		}
		rec.Config.Event = ev
		rec.Config.Version++
		if !exists && rec.Config.Version > 1 {
			rec.Config.FlushVersion = rec.Config.Version
		}
		return nil
	})
	if err != nil {
		return err
	}
	o.changed(r.Context(), id)
	return answer(w, status, e.view.Load().config())
}

// keepLearnt keeps what init segments told, where the operator leaves it out.
func keepLearnt(ev, old live.Event) live.Event {
	ev.Renditions = slices.Clone(ev.Renditions)
	for i := range ev.Renditions {
		r := &ev.Renditions[i]
		if was, ok := old.Rendition(r.Name); ok && was.Type == r.Type {
			setIfEmpty(&r.Codecs, was.Codecs)
			setIfEmpty(&r.Width, was.Width)
			setIfEmpty(&r.Height, was.Height)
			setIfEmpty(&r.FrameRate, was.FrameRate)
			setIfEmpty(&r.Timescale, was.Timescale)
			setIfEmpty(&r.SampleRate, was.SampleRate)
			setIfEmpty(&r.Channels, was.Channels)
		}
	}
	return ev
}

func sameEvent(a, b live.Event) bool {
	x, err1 := json.Marshal(a)
	y, err2 := json.Marshal(b)
	return err1 == nil && err2 == nil && string(x) == string(y)
}

// moved reports whether segments would have other numbers or decode times.
func moved(a, b live.Event) bool {
	return !a.Start.Equal(b.Start) || a.FirstNumber != b.FirstNumber || a.Segment != b.Segment || a.MediaTime != b.MediaTime
}

func (o *Origin) lookUp(id live.EventID) (*event, error) {
	if e := o.events.get(id); e != nil {
		return e, nil
	}
	return nil, live.ErrNoEvent.For(-1).With(fmt.Sprintf("event %v has not been created", id))
}

func (o *Origin) getEvent(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	e, err := o.lookUp(id)
	if err != nil {
		return err
	}
	return answer(w, http.StatusOK, e.view.Load().config())
}

// deleteEvent removes an event and everything published of it.
func (o *Origin) deleteEvent(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	if _, err := o.lookUp(id); err != nil {
		return err
	}
	var renditions []live.Rendition
	_, err := o.events.edit(r.Context(), id, func(rec *eventRecord, exists bool) error {
		if !exists {
			return errNoEvent
		}
		renditions = rec.Config.Renditions
		rec.Deleted = true
		rec.Config.Version++
		return nil
	})
	if err != nil {
		return err
	}
	o.window.forget(id)
	o.changed(r.Context(), id)
	for _, rd := range renditions {
		if err := o.store.DeleteRecord(r.Context(), mediaRecord(id, rd.Name), o.tokens.Next()); err != nil {
			return fmt.Errorf("control: deleting %v %s: %w", id, rd.Name, err)
		}
		if err := o.store.DeleteRecord(r.Context(), initRecord(id, rd.Name), o.tokens.Next()); err != nil {
			return fmt.Errorf("control: deleting %v %s: %w", id, rd.Name, err)
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// maxSegmentRows bounds one answer of listSegments.
const maxSegmentRows = 1000

type candidateRow struct {
	Pipeline  string    `json:"pipeline"`
	Region    string    `json:"region,omitempty"`
	Defects   string    `json:"defects,omitempty"`
	MissingMS int64     `json:"missing_ms"`
	Size      int64     `json:"size"`
	Published time.Time `json:"published"`
	Masked    bool      `json:"masked,omitempty"`
}

type segmentRow struct {
	Rendition  string         `json:"rendition"`
	Number     live.Number    `json:"number"`
	Start      time.Time      `json:"start"`
	Place      string         `json:"place"`
	Action     string         `json:"action"`
	Reason     string         `json:"reason"`
	Serves     string         `json:"serves,omitempty"`
	Candidates []candidateRow `json:"candidates"`
}

// listSegments says of each segment what was published and what selection
// makes of it. from and to default to the last ten.
func (o *Origin) listSegments(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	e, err := o.lookUp(id)
	if err != nil {
		return err
	}
	v, now := e.view.Load(), time.Now()
	tl := v.config().Event.Timeline()
	edge := live.Number(e.edge.Load())
	from, err := numberParam(r, "from", max(edge-9, tl.First()))
	if err != nil {
		return err
	}
	to, err := numberParam(r, "to", edge)
	if err != nil {
		return err
	}
	if n := (int64(to) - int64(from) + 1) * int64(len(v.config().Renditions)); n > maxSegmentRows {
		return live.ErrBadRequest.With(fmt.Sprintf("from %d to %d are %d rows, at most %d", from, to, n, maxSegmentRows))
	}
	rows := []segmentRow{}
	for n := from; n <= to; n++ {
		for _, rd := range v.config().Renditions {
			rows = append(rows, e.segmentRow(v, rd.Name, n, now))
		}
	}
	return answer(w, http.StatusOK, map[string]any{"segments": rows})
}

func (e *event) segmentRow(v *view, rendition string, n live.Number, now time.Time) segmentRow {
	tl := v.timelines[rendition]
	cs := e.candidates(rendition, n)
	d := v.choose(rendition, n, cs, now)
	row := segmentRow{Rendition: rendition, Number: n, Start: tl.Start(n), Place: tl.Place(n, now).String(),
		Action: d.Action.String(), Reason: string(d.Reason), Candidates: []candidateRow{}}
	if d.Action == selection.Serve {
		row.Serves = d.Candidate.Pipeline
	}
	for _, c := range cs {
		p, _, _ := v.config().Pipeline(c.Pipeline)
		row.Candidates = append(row.Candidates, candidateRow{Pipeline: c.Pipeline, Region: c.Region, Defects: c.Findings.String(),
			MissingMS: c.Findings.MissingMS(), Size: c.Size, Published: c.Published, Masked: v.masked(p, rendition, n)})
	}
	return row
}

func numberParam(r *http.Request, name string, otherwise live.Number) (live.Number, error) {
	s := r.URL.Query().Get(name)
	if s == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > live.MaxNumber {
		return 0, live.ErrBadRequest.With(fmt.Sprintf("%s: %q is not a segment number", name, s))
	}
	return live.Number(n), nil
}
