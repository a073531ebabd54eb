package browser

import (
	"os"
	"testing"
	"time"

	"headwater/internal/records"
)

// recordsVariable names a file to which every run adds a line for each player: make
// players-table has docs/players.md's tables written from it, by scripts/tables. With it
// each situation has a run of its own, which is too long for make test.
const recordsVariable = "HEADWATER_PLAYERS"

// long says whether situations have runs of their own.
func long() bool { return os.Getenv(recordsVariable) != "" }

// A record is what was seen of a player in a situation, in seconds. watch.mjs makes most
// of it, of browsers' players; scripts/tables reads it.
type record struct {
	Situation string    `json:"situation"`
	Player    string    `json:"player"`
	At        time.Time `json:"at"`
	Try       int       `json:"try"` // from 1

	Start    float64  `json:"start"`   // from opening the page to the first picture that moves
	Latency  float64  `json:"latency"` // in the end
	Progress float64  `json:"progress"`
	Seconds  int      `json:"seconds"` // for how long it was watched
	Stalls   int      `json:"stalls"`
	Stalled  float64  `json:"stalled"`
	Jumps    int      `json:"jumps"`
	Jumped   float64  `json:"jumped"`
	Still    float64  `json:"still"` // for how long the picture has stood in the end
	Ended    bool     `json:"ended"`
	Height   int      `json:"height"`
	Seeks    []sought `json:"seeks,omitempty"`
	Ads      []string `json:"ads,omitempty"`

	StartedAt float64 `json:"startedAt,omitempty"` // when, in milliseconds of Unix time
	Failed    string  `json:"failed,omitempty"`    // why it did not play
	Refused   int64   `json:"refused"`             // a tool's requests that were answered 4xx or 5xx, where it was counted
}

// A sought is a seek: how far, how long it took until the picture moved there, and how far
// from there.
type sought struct {
	By   float64  `json:"by"`
	Took *float64 `json:"took,omitempty"` // nil: it did not
	Off  float64  `json:"off"`
}

// leaving guards the file of records.
// leave adds to the file of records, where there is one.
func leave(t *testing.T, r record) {
	t.Helper()
	name := os.Getenv(recordsVariable)
	if name == "" {
		return
	}
	r.At = time.Now().UTC().Truncate(time.Second)
	records.Leave(t, name, r)
}
