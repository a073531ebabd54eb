package journal

import (
	"cmp"
	"encoding/hex"
	"slices"
	"time"

	"headwater/live"
	"headwater/selection"
)

// A slotKey names a segment of an event.
type slotKey struct {
	rendition string
	number    live.Number
}

// A History is what the nodes' journals say of some segments, merged.
type History map[slotKey][]*Entry

// Add takes an entry. What nodes say of one choice, or of refusals for one
// reason, becomes one; so does what a node served again and again in place of a
// choice that it could not have yet.
func (h History) Add(x *Entry) {
	if x.Turn < 0 && x.Turn != InPlace {
		return // of verdicts the candidates tell; more there may be of a later version
	}
	k := slotKey{x.Rendition, x.Number}
	for _, old := range h[k] {
		if old.Problem != x.Problem || old.Pipeline != x.Pipeline || old.Digest != x.Digest || old.Turn != x.Turn || old.By != x.By {
			continue
		}
		if old.Reason == "" {
			old.Reason = x.Reason // who chose knows why
		}
		if x.First < old.First {
			old.First, old.Defects, old.Quality = x.First, x.Defects, x.Quality
		}
		old.Chosen = min(old.Chosen, x.Chosen)
		old.Count, old.Last = old.Count+x.Count, max(old.Last, x.Last)
		return
	}
	own := *x
	h[k] = append(h[k], &own)
}

// Rows is the history of one segment, in the order of time.
func (h History) Rows(rendition string, n live.Number) ([]ServedRow, []RefusedRow) {
	served, refused := []ServedRow{}, []RefusedRow{}
	at := func(ns int64) time.Time { return time.Unix(0, ns).UTC() }
	all := h[slotKey{rendition, n}]
	slices.SortFunc(all, func(a, b *Entry) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Turn, b.Turn)) })
	for _, x := range all {
		if x.Problem != "" {
			refused = append(refused, RefusedRow{x.Status, x.Problem, x.Count, at(x.First), at(x.Last)})
			continue
		}
		reason := cmp.Or(x.Reason, string(selection.Pinned))
		served = append(served, ServedRow{x.Pipeline, x.Region, ShortDigest(x.Digest), reason, x.Defects, x.Quality, at(x.Chosen), at(x.First), x.By})
	}
	return served, refused
}

// ShortDigest is the first eight bytes of a digest as Content-Digest has it, in
// hexadecimal: enough to tell candidates apart.
func ShortDigest(s string) string {
	d, err := live.ParseDigest([]string{s})
	if err != nil {
		return ""
	}
	return hex.EncodeToString(d[:8])
}

// A ServedRow is a choice that viewers got.
type ServedRow struct {
	Pipeline      string    `json:"pipeline"`
	Region        string    `json:"region,omitempty"`
	Digest        string    `json:"digest"`
	Reason        string    `json:"reason"`
	Defects       string    `json:"defects,omitempty"`
	Quality       string    `json:"quality,omitempty"`
	ChosenAt      time.Time `json:"chosen_at"`
	FirstServedAt time.Time `json:"first_served_at"`
	Node          string    `json:"node"` // which chose
}

// A RefusedRow is how often viewers' requests were refused for one reason.
type RefusedRow struct {
	Status  int       `json:"status"`
	Problem string    `json:"problem"`
	Count   int64     `json:"count"`
	FirstAt time.Time `json:"first_at"`
	LastAt  time.Time `json:"last_at"`
}
