package viewer

import (
	"slices"
	"time"

	"headwater/live"
)

// An Incident is something that went wrong for one viewer. Its JSON is a line of
// `headwater load --log`.
type Incident struct {
	Time   time.Time    `json:"time"` // by the edge's clock
	What   IncidentKind `json:"what"`
	Viewer int          `json:"viewer"`

	Rendition string      `json:"rendition"`
	Number    live.Number `json:"number"`
	Status    int         `json:"status"`
	Problem   string      `json:"problem,omitempty"` // its code, of refusals that have one
	// Pipeline and Defects are of the segment that was sent.
	Pipeline string `json:"pipeline,omitempty"`
	Defects  string `json:"defects,omitempty"`
}

// An IncidentKind says what it was.
type IncidentKind string

// The incidents.
const (
	// Refusal: one answer, as Report.Refusals counts them.
	Refusal IncidentKind = "refusal"
	// Gap: the viewer went on without the segment of this rendition.
	Gap IncidentKind = "gap"
	// Defect: the segment was sent with a defect.
	Defect IncidentKind = "defect"
)

// report tells of an incident on a track, by the answer that made it one.
func (t *track) report(what IncidentKind, r *reply, now time.Time) {
	if t.s.crowd.cfg.Incident == nil {
		return
	}
	t.s.crowd.cfg.Incident(Incident{
		Time: now.UTC(), What: what, Viewer: t.s.person.index, Rendition: t.name, Number: t.n,
		Status: r.status, Problem: r.problem, Pipeline: r.source.Pipeline, Defects: r.findings.String(),
	})
}

// flawed says whether there is something wrong with what a viewer was sent.
// Remarks are not, nor is what came late but whole to who asked for it later.
func flawed(f live.Findings) bool {
	return slices.ContainsFunc(f, func(x live.Finding) bool { return !x.Kind.Remark() && x.Kind != live.Late })
}
