package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"headwater/origin/book"
	"headwater/origin/journal"

	"headwater/live"
	"headwater/selection"
)

// maxSegmentRows bounds one answer of listSegments.
const maxSegmentRows = 1000

// A CandidateRow is what a pipeline published of a segment.
type CandidateRow struct {
	Pipeline  string    `json:"pipeline"`
	Region    string    `json:"region,omitempty"`
	Digest    string    `json:"digest"`
	Defects   string    `json:"defects,omitempty"`
	MissingMS int64     `json:"missing_ms"`
	Quality   string    `json:"quality,omitempty"`
	Size      int64     `json:"size"`
	Published time.Time `json:"published"`
	Masked    bool      `json:"masked,omitempty"`
}

// A SegmentRow is what listSegments says of one.
type SegmentRow struct {
	Rendition  string               `json:"rendition"`
	Number     live.Number          `json:"number"`
	Start      time.Time            `json:"start"`
	Place      string               `json:"place"`
	NowRow                          // as Now, for those who knew nothing else
	Now        NowRow               `json:"now"`
	Served     []journal.ServedRow  `json:"served"`
	Refused    []journal.RefusedRow `json:"refused"`
	Candidates []CandidateRow       `json:"candidates"`
}

// A SegmentList is the answer; Reason says why there is no segment.
type SegmentList struct {
	Segments []SegmentRow `json:"segments"`
	Reason   string       `json:"reason,omitempty"`
}

// A NowRow is what selection says now.
type NowRow struct {
	Action string `json:"action"`
	Reason string `json:"reason"`
	Serves string `json:"serves,omitempty"`
}

// listSegments says of each segment what was published, what viewers got of it,
// and what selection makes of it now: of the last ten, or the ten up to to, unless
// from says more.
func (s *server) listSegments(w http.ResponseWriter, r *http.Request, id live.EventID) error {
	e, err := s.lookUp(id)
	if err != nil {
		return err
	}
	v, now := e.View(), s.Clock.Now()
	tl := v.Config().Event.Timeline()
	edge := e.Last()
	q := r.URL.Query()
	rendition := q.Get("rendition")
	if _, ok := v.Config().Rendition(rendition); rendition != "" && !ok {
		return &live.FieldError{Field: "rendition", Reason: fmt.Sprintf("the event has no %q", rendition)}
	}
	asked := func(name string) point {
		text := q.Get(name)
		_, err := strconv.ParseInt(text, 10, 64)
		return point{text: text, quoted: text != "" && (err != nil || text[0] == '+')}
	}
	from, to, err := readRange(&tl, asked("from"), asked("to"), now)
	if out := (outsideError{}); errors.As(err, &out) {
		return writeJSON(w, http.StatusOK, SegmentList{[]SegmentRow{}, out.Error()})
	}
	if err != nil {
		return err
	}
	if q.Get("to") == "" {
		to = edge
	}
	if q.Get("from") == "" {
		from = max(to-9, tl.First())
	}
	renditions := v.Config().Renditions
	if rendition != "" {
		renditions = slices.DeleteFunc(slices.Clone(renditions), func(r live.Rendition) bool { return r.Name != rendition })
	}
	if n := (int64(to) - int64(from) + 1) * int64(len(renditions)); n > maxSegmentRows {
		return live.ErrBadRequest.With(fmt.Sprintf("from %d to %d are %d rows, at most %d", from, to, n, maxSegmentRows))
	}
	if from > to {
		why := fmt.Sprintf("nothing is published; the event starts at %s", tl.Start(tl.First()).Format(live.TimeLayout))
		if edge >= tl.First() {
			why = fmt.Sprintf("segment %d is not published: the last is %d", from, edge)
		}
		return writeJSON(w, http.StatusOK, SegmentList{[]SegmentRow{}, why})
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.StoreTimeout)
	defer cancel()
	if err := s.Book.Know(ctx, e, from, to); err != nil {
		return live.ErrStoreDown.With(err.Error())
	}
	h := make(journal.History)
	if err := s.Journal.Read(ctx, e.Named(), from, to, h.Add); err != nil {
		return live.ErrStoreDown.With(err.Error())
	}
	rows := []SegmentRow{}
	for n := from; n <= to; n++ {
		for _, rd := range renditions {
			row := segmentRowOf(e, v, rd.Name, n, now)
			row.Served, row.Refused = h.Rows(rd.Name, n)
			rows = append(rows, row)
		}
	}
	return writeJSON(w, http.StatusOK, SegmentList{rows, ""})
}

func segmentRowOf(e *book.Event, v *book.View, rendition string, n live.Number, now time.Time) SegmentRow {
	tl := v.Timelines[rendition]
	d := e.Choose(v, rendition, n, nil, now)
	row := SegmentRow{Rendition: rendition, Number: n, Start: tl.Start(n), Place: tl.Place(n, now).String(),
		Now: NowRow{Action: d.Action.String(), Reason: string(d.Reason)}, Candidates: []CandidateRow{}}
	switch d.Action {
	case selection.Serve:
		row.Now.Serves = d.Candidate.Pipeline
	case selection.Refuse:
		if v.Slate(rendition, n) != nil {
			row.Now = NowRow{Action: selection.Serve.String(), Reason: string(selection.Slated)}
		} else if in, _, ok := e.StandIn(v, rendition, n, nil, now); ok {
			row.Now = NowRow{Action: in.Action.String(), Reason: string(selection.Filled), Serves: in.Candidate.Pipeline}
		}
	}
	row.NowRow = row.Now
	for _, c := range e.Candidates(rendition, n) {
		p, _, _ := v.Config().Pipeline(c.Pipeline)
		row.Candidates = append(row.Candidates, CandidateRow{Pipeline: c.Pipeline, Region: c.Region, Digest: journal.ShortDigest(c.Digest.String()), Defects: c.Findings.String(),
			MissingMS: c.Findings.MissingMS(), Quality: c.Quality.String(), Size: c.Size, Published: c.Published, Masked: v.Masked(p, rendition, n)})
	}
	return row
}
