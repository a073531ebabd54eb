package book

import (
	"encoding/json"
	"time"

	"headwater/live"
	"headwater/store"
)

// Record is an event at rest.
type Record struct {
	Config        live.Config        `json:"config"`
	Notifications live.Notifications `json:"notifications"`
	// Life tells apart the events that had this name one after the other: what
	// a deleted one left in the store is not this one's.
	Life int64 `json:"life,omitempty"`
	// Heard is by pipeline what it last said in Live-Notifications.
	Heard map[string]Heard `json:"heard,omitempty"`
	// Operators are the ids of the notifications that operators set.
	Operators []string `json:"operators,omitempty"`
	// Speakers are by the ids of the others the pipelines that said them.
	Speakers map[string]string `json:"speakers,omitempty"`
	// Slates are the clips that operators have given.
	Slates []Slate `json:"slates,omitempty"`
	// Flushed is the last edit that was a flush.
	Flushed store.Token `json:"flushed,omitzero"`
	// Folded are the edits that are in this record and may still be items of
	// their own, Swept those of them that were taken out of the store.
	Folded []store.Token `json:"folded,omitempty"`
	Swept  []store.Token `json:"swept,omitempty"`
}

// A tombstone is what a deleted event leaves, so that versions and notification
// sequences grow even over a deletion: an edge may still have the old ones.
type tombstone struct {
	Version      int64     `json:"version"`
	FlushVersion int64     `json:"flush_version"`
	Sequence     int64     `json:"sequence"`
	Renditions   []string  `json:"renditions,omitempty"` // of which something may be left in the store
	At           time.Time `json:"at"`

	token store.Token
	// unreadable: it was not deleted, its record cannot be read.
	unreadable bool
}

// tombstoneLife is how long a deleted event is remembered. No cache keeps
// anything of an event nearly so long.
const tombstoneLife = 30 * 24 * time.Hour

// storedEvent is the value of an item of layout.Events: one of the two.
type storedEvent struct {
	*Record
	Tombstone *tombstone `json:"tombstone,omitempty"`
}

func (s *storedEvent) UnmarshalJSON(b []byte) error {
	var which struct {
		Tombstone *tombstone `json:"tombstone"`
	}
	if err := json.Unmarshal(b, &which); err != nil {
		return err
	}
	if which.Tombstone != nil {
		*s = storedEvent{Tombstone: which.Tombstone}
		return nil
	}
	*s = storedEvent{Record: new(Record)}
	return json.Unmarshal(b, s.Record)
}
