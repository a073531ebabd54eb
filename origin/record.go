package origin

import (
	"context"
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
//	control  events                      TENANT/EVENT            eventRecord
//	control  init/TENANT/EVENT/RENDITION PIPELINE                the init segment, with initMeta
//	media    TENANT/EVENT/RENDITION      NUMBER/PIPELINE         the segment, with segmentMeta
//
// Numbers are padded, so that key order is number order.

var eventsRecord = store.Record{Namespace: store.Control, ID: "events"}

func mediaRecord(id live.EventID, rendition string) store.Record {
	return store.Record{Namespace: store.Media, ID: id.String() + "/" + rendition}
}

func initRecord(id live.EventID, rendition string) store.Record {
	return store.Record{Namespace: store.Control, ID: "init/" + id.String() + "/" + rendition}
}

func numberKey(n live.Number) string { return fmt.Sprintf("%016d/", int64(n)) }

func segmentKey(n live.Number, pipeline string) string { return numberKey(n) + pipeline }

func parseSegmentKey(key string) (live.Number, string, error) {
	digits, pipeline, ok := strings.Cut(key, "/")
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || !live.ValidName(pipeline) {
		return 0, "", fmt.Errorf("origin: %q is not a segment's key", key)
	}
	return live.Number(n), pipeline, nil
}

// eventRecord is an event at rest. A deleted event leaves its version, so that
// versions and notification sequences grow even over a deletion.
type eventRecord struct {
	Config        live.Config        `json:"config"`
	Notifications live.Notifications `json:"notifications"`
	Deleted       bool               `json:"deleted,omitempty"`
}

// segmentMeta is what is known of a stored segment without its bytes.
type segmentMeta struct {
	Defects   string `json:"defects,omitempty"` // as Live-Defects
	Digest    string `json:"digest"`            // as Content-Digest
	Region    string `json:"region,omitempty"`
	Published int64  `json:"published"` // Unix ns
}

func encodeMeta(c live.Candidate) ([]byte, error) {
	return json.Marshal(segmentMeta{Defects: c.Findings.String(), Digest: c.Digest.String(), Region: c.Region, Published: c.Published.UnixNano()})
}

func decodeCandidate(item store.Item) (live.Candidate, error) {
	n, pipeline, err := parseSegmentKey(item.Key)
	if err != nil {
		return live.Candidate{}, err
	}
	return decodeMeta(item, n, pipeline)
}

func decodeMeta(item store.Item, n live.Number, pipeline string) (live.Candidate, error) {
	var m segmentMeta
	if err := json.Unmarshal(item.Meta, &m); err != nil {
		return live.Candidate{}, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
	}
	c := live.Candidate{Pipeline: pipeline, Region: m.Region, Number: n, Size: item.Size, Published: time.Unix(0, m.Published).UTC()}
	var err error
	if m.Defects != "" {
		if c.Findings, err = live.ParseFindings([]string{m.Defects}); err != nil {
			return c, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
		}
	}
	if c.Digest, err = live.ParseDigest([]string{m.Digest}); err != nil {
		return c, fmt.Errorf("origin: metadata of %s: %w", item.Key, err)
	}
	return c, nil
}

// scan calls f for every item of a record between from and to.
func scan(ctx context.Context, s store.Store, r store.Record, from, to string, values bool, f func(store.Item) error) error {
	opt := store.ScanOptions{From: from, To: to, Values: values}
	for {
		page, err := s.Scan(ctx, r, opt)
		if err != nil {
			return fmt.Errorf("origin: scanning %v: %w", r, err)
		}
		for _, item := range page.Items {
			if err := f(item); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		opt.Page = page.Next
	}
}
