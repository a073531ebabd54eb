package drill

import (
	"context"
	"fmt"
	"strings"
	"time"

	"headwater/viewer"
)

// A Drill is one way to break a system, and what is expected to come of it.
type Drill struct {
	Name string
	// Breaks says what is done, in one sentence.
	Breaks string
	Expect Expectation

	origins int  // how many there are: 1, or 2 that know nothing of each other
	links   bool // what is between processes can be cut and slowed down
	disk    kindOfDisk
	faults  func(s *system) map[string][]string // of packagers, from their start on
	clocks  bool                                // each process's clock can be set
	run     func(ctx context.Context, s *system) error
	signals []string      // the processes that it kills or stops, where it does nothing else
	after   time.Duration // for how long viewers watch when it is over; 0 is settleAfter
}

// An Expectation is what may be seen of a drill. Zero values are nothing at all.
type Expectation struct {
	// Of each viewer, at most.
	Gaps, Refusals, Defects, Stalls int
	// StallFor is how long a viewer's picture may stand, in all.
	StallFor time.Duration
	// Reconnects says that viewers may lose their edge, and find another.
	Reconnects bool
	// Signs are what operators are told. Each must be seen at some time.
	Signs []Sign
	// Check is what headwater store check says of the first origin's store at the end:
	// its exit code.
	Check int
}

// Viewers says what viewers may see.
func (e *Expectation) Viewers() string {
	parts := counted(int64(e.Gaps), int64(e.Refusals), int64(e.Defects))
	if e.Stalls > 0 {
		parts = append(parts, fmt.Sprintf("%s of %v in all", amount(int64(e.Stalls), "stall"), e.StallFor))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return "at most " + strings.Join(parts, ", ") + " each"
}

// A Verdict is what came of a drill.
type Verdict string

// The verdicts.
const (
	Pass        Verdict = "pass"
	Fail        Verdict = "FAIL"
	NotPossible Verdict = "not possible" // here: Why says what is missing
)

// A Result is what a drill showed.
type Result struct {
	Drill    string   `json:"drill"`
	Breaks   string   `json:"breaks"`
	Expected string   `json:"expected_of_viewers"`
	Signs    []string `json:"expected_signs"`
	Verdict  Verdict  `json:"verdict"`
	Why      []string `json:"why,omitempty"` // it is not a pass
	Saw      Saw      `json:"saw"`
	Seconds  float64  `json:"seconds"`
	// Dir has the logs of all processes; only where it did not pass.
	Dir string `json:"dir,omitempty"`
}

// Saw is what viewers saw, all together.
type Saw struct {
	Viewers    int      `json:"viewers"`
	Segments   int64    `json:"segments"`
	Gaps       int64    `json:"gaps"`
	Refusals   int64    `json:"refusals"`
	Defects    int64    `json:"defects"`
	Stalls     int64    `json:"stalls"`
	StallMS    float64  `json:"stall_ms"`
	Reconnects int64    `json:"reconnects"`
	Switches   int64    `json:"switches"`
	Errors     []string `json:"errors,omitempty"`
	// P99 and Max are from published to the last byte, in milliseconds.
	P99 float64 `json:"publish_to_viewer_p99_ms"`
	Max float64 `json:"publish_to_viewer_max_ms"`
}

func sawOf(r *viewer.Report) Saw {
	s := Saw{Viewers: r.Viewers, Segments: r.Segments, Gaps: r.Gaps, Refusals: r.Refusals, Defects: r.DefectiveServed,
		Stalls: r.Stalls, StallMS: r.StallMS, Reconnects: r.Reconnects, Switches: r.Switches, P99: r.PublishToViewer.P99, Max: r.PublishToViewer.Max}
	for _, e := range r.Errors {
		s.Errors = append(s.Errors, fmt.Sprintf("%d times: %s (%s)", e.Count, e.Error, e.First))
	}
	return s
}

// String is what a person reads.
func (s Saw) String() string {
	parts := counted(s.Gaps, s.Refusals, s.Defects)
	if s.Stalls > 0 {
		parts = append(parts, fmt.Sprintf("%s of %.1f s", amount(s.Stalls, "stall"), s.StallMS/1000))
	}
	if n := len(s.Errors); n > 0 {
		parts = append(parts, amount(int64(n), "kind of error"))
	}
	if len(parts) == 0 {
		parts = append(parts, "nothing")
	}
	if s.Reconnects > 0 {
		parts = append(parts, fmt.Sprintf("%d reconnected", s.Reconnects))
	}
	return strings.Join(parts, ", ")
}

// counted are those that there are any of.
func counted(gaps, refusals, defects int64) (parts []string) {
	for _, x := range []struct {
		n    int64
		what string
	}{{gaps, "gap"}, {refusals, "refusal"}, {defects, "flawed segment"}} {
		if x.n > 0 {
			parts = append(parts, amount(x.n, x.what))
		}
	}
	return parts
}

func amount(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
