package viewer

import (
	"fmt"
	"time"
)

// A Report is what the viewers saw, so far or in all. Its JSON has the fields
// that `headwater load` prints.
type Report struct {
	ElapsedMS int64 `json:"elapsed_ms"`
	Viewers   int   `json:"viewers"`
	Sessions  int64 `json:"sessions"` // sittings begun: who leaves and comes back is counted again
	Watching  int64 `json:"watching"` // sittings now
	Waiting   int64 `json:"waiting"`  // requests without an answer now
	// Dark is how many viewers have no picture now though they should: it
	// stands, there is a gap, or it never began.
	Dark int64 `json:"without_picture"`

	Segments int64 `json:"segments"` // complete bodies of segments
	Bytes    int64 `json:"bytes"`    // of them
	// Statuses counts all answers, those for init segments included.
	Statuses map[string]int64 `json:"statuses"`
	// Problems is of what was refused how often, as STATUS CODE (RFC 9457).
	Problems map[string]int64 `json:"problems"`
	// Errors is what a player could not have repaired, each with how often.
	Errors []Error `json:"errors"`

	// Stalls is how often a picture stood still for want of a segment that was
	// not lost, StallMS for how long in all.
	Stalls  int64   `json:"stalls"`
	StallMS float64 `json:"stall_ms"`
	// Gaps counts the lost segments (410) that viewers jumped over.
	Gaps int64 `json:"gaps"`
	// Refusals counts the answers that refused a viewer a segment that it was
	// right to ask for: all but early, never, and gone for who is that late.
	Refusals int64 `json:"refusals"`
	// Lost is by RENDITION/NUMBER how often viewers went on without it: all of them
	// where the segment was never published, some where the edge or the
	// origin was too slow to know better.
	Lost map[string]int64 `json:"lost,omitempty"`
	// Reconnects counts how often a viewer lost the edge and found it again.
	Reconnects int64 `json:"reconnects"`

	// PublishToViewer is from Live-Published to the last byte, of segments that
	// were asked for before they were published. Milliseconds, as all quantiles.
	PublishToViewer Quantiles `json:"publish_to_viewer_ms"`
	// SlowestSegments are those of which it took longest to the 99th of a hundred
	// viewers, slowest first.
	SlowestSegments []SegmentDelay `json:"slowest_segments,omitempty"`
	// Hold is from the request to the first byte, of requests that were held.
	Hold Quantiles `json:"hold_ms"`
	// Fetch is from the request to the last byte, of segments that were there already.
	Fetch Quantiles `json:"fetch_ms"`
	// Startup is from joining, or jumping, to the first picture.
	Startup Quantiles `json:"startup_ms"`
	// Latency is from capture to screen at the live edge, for each segment played.
	Latency Quantiles `json:"latency_ms"`

	ServedBy map[string]int64 `json:"served_by"` // segments by pipeline
	// Switches counts the changes of pipeline from one segment to the next, of
	// all viewers and tracks; SwitchesMax is those of the viewer with the most.
	Switches    int64 `json:"switches"`
	SwitchesMax int64 `json:"switches_max"`
	// DefectiveServed counts the segments with a defect in Live-Defects; remarks are none.
	DefectiveServed int64 `json:"defective_served"`
	// Renditions is the same by rendition.
	Renditions map[string]RenditionReport `json:"renditions"`

	// Verified is how many segments were compared with their Content-Digest,
	// Undigested how many had none. Inspected counts versions of segments.
	Verified      int64   `json:"verified"`
	VerifiedShare float64 `json:"verified_share"`
	Undigested    int64   `json:"undigested"`
	Inspected     int64   `json:"inspected"`
	// Notifications is the highest sequence number of notifications seen.
	Notifications int64 `json:"notifications"`

	// OriginGetsPerSegment is by rendition the edge's requests to the origin
	// over the segments that it had to get, both between the first and the last
	// reading of its counters, before and after which no segment counts on
	// either side. Absent where it is not measured.
	OriginGetsPerSegment map[string]float64 `json:"origin_gets_per_segment,omitempty"`
	// Notes says what could not be measured.
	Notes []string `json:"notes,omitempty"`
}

// Quantiles are milliseconds of Count values. P50 and P99 are at most 1.6 % above
// the true ones, and never below.
type Quantiles struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
	Count int64   `json:"count"`
}

// An Error is one kind of error.
type Error struct {
	Error string    `json:"error"`
	Count int64     `json:"count"`
	First string    `json:"first,omitempty"` // the first one, more closely
	At    time.Time `json:"at"`              // when that was
}

// Noticed says in words what a person in front of the screen would have noticed;
// empty when nothing.
func (r *Report) Noticed() []string {
	var out []string
	if r.Stalls > 0 {
		out = append(out, fmt.Sprintf("%d stalls of %v in all", r.Stalls, time.Duration(r.StallMS*float64(time.Millisecond)).Round(time.Millisecond)))
	}
	if r.Gaps > 0 {
		out = append(out, fmt.Sprintf("%d gaps", r.Gaps))
	}
	if r.DefectiveServed > 0 {
		out = append(out, fmt.Sprintf("%d defective segments", r.DefectiveServed))
	}
	for _, e := range r.Errors {
		times := "once"
		if e.Count != 1 {
			times = fmt.Sprintf("%d times", e.Count)
		}
		out = append(out, fmt.Sprintf("%s: %s (%s)", times, e.Error, e.First))
	}
	return out
}
