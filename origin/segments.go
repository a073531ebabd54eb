package origin

import (
	"fmt"
	"net/http"
	"time"

	"headwater/live"
	"headwater/selection"
)

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
	edge := live.Number(e.edge.Load()) // -1 before the first
	from, err := momentParam(r, "from", &tl, now, max(edge-9, tl.First()))
	if err != nil {
		return err
	}
	to, err := momentParam(r, "to", &tl, now, edge)
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
