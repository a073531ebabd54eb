// Package layout is how the origin lays its data out in the store.
//
//	control  events                      TENANT/EVENT            storedEvent of book: a record, or what a deleted event left
//	control  events                      TENANT/EVENT/TOKEN      Edit of book: a change since the record was written
//	control  init/TENANT/EVENT/RENDITION PIPELINE                the init segment, with segmentMeta
//	control  init/TENANT/EVENT/RENDITION PIPELINE/gate           nothing, with gateJSON of book
//	control  init/TENANT/EVENT/RENDITION PIPELINE/refused        the newest init segment that was refused, with segmentMeta
//	control  init/TENANT/EVENT/RENDITION -generation/DIGEST      the init segment of a generation after the first, with segmentMeta
//	control  audit/DAY                   NANOSECONDS-NODE-COUNT  Entry of audit
//	control  usage                       TENANT/EVENT            storedUsage of book: how much was stored of it, by numbers
//	control  probe                       NODE                    nothing: what health writes
//	media    TENANT/EVENT/RENDITION      NUMBER/PIPELINE         the segment, with segmentMeta
//	media    TENANT/EVENT/-slates        PIECE/ID                a piece of the clip of that id, for ever
//	media    TENANT/EVENT/-journal       NUMBER/NODE-COUNT       batch of journal: what was served and refused of that number and the next few
//
// Numbers are padded, so that key order is number order.
package layout

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"headwater/live"
	"headwater/store"
)

// Events is the record of all events and their edits.
var Events = store.Record{Namespace: store.Control, ID: "events"}

// Usage is the record of how much is stored of each event.
var Usage = store.Record{Namespace: store.Control, ID: "usage"}

// Media is the record of a rendition's segments.
func Media(id live.EventID, rendition string) store.Record {
	return store.Record{Namespace: store.Media, ID: id.String() + "/" + rendition}
}

// Inits is the record of a rendition's init segments and gates.
func Inits(id live.EventID, rendition string) store.Record {
	return store.Record{Namespace: store.Control, ID: "init/" + id.String() + "/" + rendition}
}

// Journal is the record of what was served and refused of an event. No rendition
// has a name that begins with a hyphen.
func Journal(id live.EventID) store.Record {
	return store.Record{Namespace: store.Media, ID: id.String() + "/-journal"}
}

// Slates is the record of the clips that stand in for an event's lost segments.
func Slates(id live.EventID) store.Record {
	return store.Record{Namespace: store.Media, ID: id.String() + "/-slates"}
}

// SlateKey is the key of a piece of a clip.
func SlateKey(piece int, id string) string { return NumberKey(live.Number(piece)) + id }

// NumberKey begins the keys of one number.
func NumberKey(n live.Number) string { return fmt.Sprintf("%016d/", int64(n)) }

// NumberRange is the range of the keys of one number.
func NumberRange(n live.Number) (from, to string) {
	from = NumberKey(n)
	return from, from[:len(from)-1] + "0" // the byte after the slash
}

// SegmentKey is the key of a pipeline's segment.
func SegmentKey(n live.Number, pipeline string) string { return NumberKey(n) + pipeline }

// ParseSegmentKey reads it.
func ParseSegmentKey(key string) (live.Number, string, error) {
	digits, pipeline, ok := strings.Cut(key, "/")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || !live.ValidName(pipeline) {
		return 0, "", fmt.Errorf("origin: %q is not a segment's key", key)
	}
	return live.Number(n), pipeline, nil
}

// segmentMeta is what is known of a stored segment without its bytes.
type segmentMeta struct {
	Defects   string `json:"defects,omitempty"`  // as Live-Defects
	Quality   string `json:"quality,omitempty"`  // as Live-Quality
	Digest    string `json:"digest"`             // as Content-Digest
	Pipeline  string `json:"pipeline,omitempty"` // where the key does not name it
	Region    string `json:"region,omitempty"`
	Published int64  `json:"published"` // Unix ns, when storing began
	Life      int64  `json:"life,omitempty"`
	// Of which generation its init segment is, or it.
	Generation int    `json:"generation,omitempty"`
	Key        string `json:"key,omitempty"` // as live.SegmentKey
	// Where the media lies, as live.Span; absent where it is not known.
	Start     int64 `json:"start,omitempty"`
	End       int64 `json:"end,omitempty"`
	Timescale int64 `json:"timescale,omitempty"`
}

// EncodeMeta is the metadata of a candidate of one life of an event.
func EncodeMeta(c live.Candidate, life int64) ([]byte, error) {
	return encodeMeta(c, life, "")
}

// EncodeNamedMeta is that of an item whose key does not name the pipeline.
func EncodeNamedMeta(c live.Candidate, life int64) ([]byte, error) {
	return encodeMeta(c, life, c.Pipeline)
}

func encodeMeta(c live.Candidate, life int64, pipeline string) ([]byte, error) {
	return json.Marshal(segmentMeta{Pipeline: pipeline, Defects: c.Findings.String(), Quality: c.Quality.String(), Digest: c.Digest.String(), Region: c.Region, Published: c.Published.UnixNano(), Life: life, Generation: c.Generation, Key: string(c.Key),
		Start: c.Span.Start, End: c.Span.End, Timescale: c.Span.Timescale})
}

// DecodeCandidate reads a segment's key and metadata.
func DecodeCandidate(item store.Item) (c live.Candidate, life int64, err error) {
	n, pipeline, err := ParseSegmentKey(item.Key)
	if err != nil {
		return live.Candidate{}, 0, err
	}
	return DecodeMeta(item, n, pipeline)
}

// DecodeMeta reads it.
func DecodeMeta(item store.Item, n live.Number, pipeline string) (live.Candidate, int64, error) {
	var m segmentMeta
	if err := json.Unmarshal(item.Meta, &m); err != nil {
		return live.Candidate{}, 0, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
	}
	c := live.Candidate{Pipeline: cmp.Or(m.Pipeline, pipeline), Region: m.Region, Number: n, Size: item.Size, Generation: m.Generation, Published: time.Unix(0, m.Published).UTC(),
		Span: live.Span{Start: m.Start, End: m.End, Timescale: m.Timescale}}
	var err error
	if m.Defects != "" {
		if c.Findings, err = live.ParseFindings([]string{m.Defects}); err != nil {
			return c, 0, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
		}
	}
	if m.Quality != "" {
		if c.Quality, err = live.ParseQuality([]string{m.Quality}); err != nil {
			return c, 0, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
		}
	}
	if c.Key, err = live.ParseSegmentKey(m.Key); err != nil {
		return c, 0, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
	}
	if c.Digest, err = live.ParseDigest([]string{m.Digest}); err != nil {
		return c, 0, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
	}
	return c, m.Life, nil
}

// Scan calls f for every item of a record that opt names. What f cannot read is
// logged and left out, as is what the store finds corrupt.
func Scan(ctx context.Context, s store.Store, log *slog.Logger, r store.Record, opt store.ScanOptions, f func(store.Item) error) error {
	for item, err := range store.All(ctx, s, r, opt) {
		if err == nil {
			err = f(item)
		} else if !errors.Is(err, store.ErrCorrupt) {
			return fmt.Errorf("origin: scanning %v: %w", r, err)
		}
		if err != nil {
			log.Error("stored item left out", "record", r.String(), "key", item.Key, "err", err)
		}
	}
	return nil
}
