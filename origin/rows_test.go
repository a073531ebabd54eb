package origin

import (
	"time"

	"headwater/live"
)

// What the control API answers, as a client of it has it.

// A segmentList is the answer to /segments.
type segmentList struct {
	Segments []segmentRow `json:"segments"`
	Reason   string       `json:"reason,omitempty"`
}

type segmentRow struct {
	Rendition string      `json:"rendition"`
	Number    live.Number `json:"number"`
	Start     time.Time   `json:"start"`
	Place     string      `json:"place"`
	nowRow
	Now        nowRow         `json:"now"`
	Served     []servedRow    `json:"served"`
	Refused    []refusedRow   `json:"refused"`
	Candidates []candidateRow `json:"candidates"`
}

type candidateRow struct {
	Pipeline  string    `json:"pipeline"`
	Region    string    `json:"region,omitempty"`
	Digest    string    `json:"digest"`
	Defects   string    `json:"defects,omitempty"`
	MissingMS int64     `json:"missing_ms"`
	Size      int64     `json:"size"`
	Published time.Time `json:"published"`
	Masked    bool      `json:"masked,omitempty"`
}

// A nowRow is what selection says now.
type nowRow struct {
	Action string `json:"action"`
	Reason string `json:"reason"`
	Serves string `json:"serves,omitempty"`
}

// A servedRow is a choice that viewers got.
type servedRow struct {
	Pipeline      string    `json:"pipeline"`
	Region        string    `json:"region,omitempty"`
	Digest        string    `json:"digest"`
	Reason        string    `json:"reason"`
	Defects       string    `json:"defects,omitempty"`
	ChosenAt      time.Time `json:"chosen_at"`
	FirstServedAt time.Time `json:"first_served_at"`
	Node          string    `json:"node"` // which chose
}

// A refusedRow is how often viewers' requests were refused for one reason.
type refusedRow struct {
	Status  int       `json:"status"`
	Problem string    `json:"problem"`
	Count   int64     `json:"count"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
}

// An effect is what a change would do to viewers.
type effect struct {
	DryRun bool   `json:"dry_run"`
	Verb   string `json:"verb"`
	// Scope is what the request names, with its times as numbers.
	Scope      *live.Scope       `json:"scope,omitempty"`
	Renditions []renditionEffect `json:"renditions"`
	// NothingLeft: viewers of a rendition would get nothing where they get, or
	// would get, something as it is.
	NothingLeft bool `json:"nothing_left"`
	// Of a PUT of an event: created, changed or unchanged; what of its
	// configuration changes; and what of that a person should mean.
	Result   string   `json:"result,omitempty"`
	Changes  []string `json:"changes,omitempty"`
	Warnings []string `json:"warnings,omitempty"`
}

// A renditionEffect is what it would do to one rendition.
type renditionEffect struct {
	Rendition string `json:"rendition"`
	// Segments are the published ones that are touched, From to To the range they lie in.
	Segments int         `json:"segments"`
	From     live.Number `json:"from,omitempty"`
	To       live.Number `json:"to,omitempty"`
	// Serves is of how many of them each pipeline's serves, ThenServes of how
	// many it would, and of the rest nothing.
	Serves     map[string]int `json:"serves"`
	ThenServes map[string]int `json:"then_serves"`
	// Next are the pipelines that can serve what comes, ThenNext those that could.
	Next     []string `json:"next"`
	ThenNext []string `json:"then_next"`
}

// What an operator does to a running event: notify, mask, invalidate, flush.

// notificationJSON is a notification in the control API; data is base64.
type notificationJSON struct {
	Type     string      `json:"type"`
	ID       string      `json:"id"`
	From     live.Number `json:"from"`
	To       live.Number `json:"to,omitempty"`
	Data     []byte      `json:"data,omitempty"`
	Withdraw bool        `json:"withdraw,omitempty"`
}

// A refusedInit is a shut gate in the control API.
type refusedInit struct {
	Pipeline  string    `json:"pipeline"`
	Rendition string    `json:"rendition"`
	Since     time.Time `json:"since"`
	Why       string    `json:"why"`
}

type dependencyJSON struct {
	Name     string `json:"name"`
	Healthy  bool   `json:"healthy"`
	Required bool   `json:"required"`
	Detail   string `json:"detail,omitempty"`
}

// Times and limits that what is tested here depends on.
const (
	keepHouse        = 10 * time.Second
	checkVersions    = time.Second
	gatherFor        = 400 * time.Millisecond
	lookEvery        = 250 * time.Millisecond
	sumUp            = 5 * time.Second
	freshOutcome     = time.Second
	unreadyAfter     = 2 * time.Second
	young            = 30 * time.Second
	arrivalWait      = 500 * time.Millisecond
	arrivalPause     = 25 * time.Millisecond
	keepFolded       = time.Hour
	foldAt           = 100
	journalBlock     = 64
	maxEntries       = 20_000
	maxControlBody   = 1 << 20
	maxDropped       = 1 << 20
	maxSkipped       = 256 << 10
	maxMasks         = 256
	maxInvalidations = 64
	loopMember       = "headwater-origin"
)
