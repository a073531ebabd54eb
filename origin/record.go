package origin

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"headwater/live"
	"headwater/store"
)

// How the origin lays its data out in the store.
//
//	control  events                      TENANT/EVENT            storedEvent: a record, or what a deleted event left
//	control  events                      TENANT/EVENT/TOKEN      edit: a change since the record was written
//	control  init/TENANT/EVENT/RENDITION PIPELINE                the init segment, with segmentMeta
//	control  init/TENANT/EVENT/RENDITION PIPELINE/gate           nothing, with gateJSON
//	media    TENANT/EVENT/RENDITION      NUMBER/PIPELINE         the segment, with segmentMeta
//	media    TENANT/EVENT/-journal       NUMBER/NODE-COUNT       what was served and refused of that number and the next few
//
// Numbers are padded, so that key order is number order.

var eventsRecord = store.Record{Namespace: store.Control, ID: "events"}

func mediaRecord(id live.EventID, rendition string) store.Record {
	return store.Record{Namespace: store.Media, ID: id.String() + "/" + rendition}
}

func initRecord(id live.EventID, rendition string) store.Record {
	return store.Record{Namespace: store.Control, ID: "init/" + id.String() + "/" + rendition}
}

// No rendition has a name that begins with a hyphen.
func journalRecord(id live.EventID) store.Record {
	return store.Record{Namespace: store.Media, ID: id.String() + "/-journal"}
}

func numberKey(n live.Number) string { return fmt.Sprintf("%016d/", int64(n)) }

// numberRange is the range of the keys of one number.
func numberRange(n live.Number) (from, to string) {
	from = numberKey(n)
	return from, from[:len(from)-1] + "0" // the byte after the slash
}

func segmentKey(n live.Number, pipeline string) string { return numberKey(n) + pipeline }

func parseSegmentKey(key string) (live.Number, string, error) {
	digits, pipeline, ok := strings.Cut(key, "/")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || !live.ValidName(pipeline) {
		return 0, "", fmt.Errorf("origin: %q is not a segment's key", key)
	}
	return live.Number(n), pipeline, nil
}

// eventRecord is an event at rest.
type eventRecord struct {
	Config        live.Config        `json:"config"`
	Notifications live.Notifications `json:"notifications"`
	// Life tells apart the events that had this name one after the other: what
	// a deleted one left in the store is not this one's.
	Life int64 `json:"life,omitempty"`
	// Heard is by pipeline what it last said in Live-Notifications.
	Heard map[string]heard `json:"heard,omitempty"`
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
}

// tombstoneLife is how long a deleted event is remembered. No cache keeps
// anything of an event nearly so long.
const tombstoneLife = 30 * 24 * time.Hour

// storedEvent is the value of an item of eventsRecord: one of the two.
type storedEvent struct {
	*eventRecord
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
	*s = storedEvent{eventRecord: new(eventRecord)}
	return json.Unmarshal(b, s.eventRecord)
}

// segmentMeta is what is known of a stored segment without its bytes.
type segmentMeta struct {
	Defects   string `json:"defects,omitempty"` // as Live-Defects
	Digest    string `json:"digest"`            // as Content-Digest
	Region    string `json:"region,omitempty"`
	Published int64  `json:"published"` // Unix ns, when storing began
	Life      int64  `json:"life,omitempty"`
	// Where the media lies, as live.Span; absent where it is not known.
	Start     int64 `json:"start,omitempty"`
	End       int64 `json:"end,omitempty"`
	Timescale int64 `json:"timescale,omitempty"`
}

func encodeMeta(c live.Candidate, life int64) ([]byte, error) {
	return json.Marshal(segmentMeta{Defects: c.Findings.String(), Digest: c.Digest.String(), Region: c.Region, Published: c.Published.UnixNano(), Life: life,
		Start: c.Span.Start, End: c.Span.End, Timescale: c.Span.Timescale})
}

// decodeCandidate reads a segment's key and metadata.
func decodeCandidate(item store.Item) (c live.Candidate, life int64, err error) {
	n, pipeline, err := parseSegmentKey(item.Key)
	if err != nil {
		return live.Candidate{}, 0, err
	}
	return decodeMeta(item, n, pipeline)
}

func decodeMeta(item store.Item, n live.Number, pipeline string) (live.Candidate, int64, error) {
	var m segmentMeta
	if err := json.Unmarshal(item.Meta, &m); err != nil {
		return live.Candidate{}, 0, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
	}
	c := live.Candidate{Pipeline: pipeline, Region: m.Region, Number: n, Size: item.Size, Published: time.Unix(0, m.Published).UTC(),
		Span: live.Span{Start: m.Start, End: m.End, Timescale: m.Timescale}}
	var err error
	if m.Defects != "" {
		if c.Findings, err = live.ParseFindings([]string{m.Defects}); err != nil {
			return c, 0, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
		}
	}
	if c.Digest, err = live.ParseDigest([]string{m.Digest}); err != nil {
		return c, 0, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
	}
	return c, m.Life, nil
}
