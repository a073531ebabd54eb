package origin

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

// A history is what the nodes' journals say of some segments, merged.
type history map[slotKey][]*entry

// add takes an entry. What nodes say of one choice, or of refusals for one
// reason, becomes one; so does what a node served again and again in place of a
// choice that it could not have yet.
func (h history) add(x *entry) {
	k := slotKey{x.Rendition, x.Number}
	for _, old := range h[k] {
		if old.Problem != x.Problem || old.Digest != x.Digest || old.Turn != x.Turn || old.By != x.By {
			continue
		}
		if old.Reason == "" {
			old.Reason = x.Reason // who chose knows why
		}
		if x.First < old.First {
			old.First, old.Defects = x.First, x.Defects
		}
		old.Chosen = min(old.Chosen, x.Chosen)
		old.Count, old.Last = old.Count+x.Count, max(old.Last, x.Last)
		return
	}
	own := *x
	h[k] = append(h[k], &own)
}

// rows is the history of one segment, in the order of time.
func (h history) rows(rendition string, n live.Number) ([]servedRow, []refusedRow) {
	served, refused := []servedRow{}, []refusedRow{}
	at := func(ns int64) time.Time { return time.Unix(0, ns).UTC() }
	all := h[slotKey{rendition, n}]
	slices.SortFunc(all, func(a, b *entry) int { return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Turn, b.Turn)) })
	for _, x := range all {
		if x.Problem != "" {
			refused = append(refused, refusedRow{x.Status, x.Problem, x.Count, at(x.First), at(x.Last)})
			continue
		}
		reason := cmp.Or(x.Reason, string(selection.Pinned))
		served = append(served, servedRow{x.Pipeline, x.Region, shortDigest(x.Digest), reason, x.Defects, at(x.Chosen), at(x.First), x.By})
	}
	return served, refused
}

// shortDigest is the first eight bytes of a digest as Content-Digest has it, in
// hexadecimal: enough to tell candidates apart.
func shortDigest(s string) string {
	d, err := live.ParseDigest([]string{s})
	if err != nil {
		return ""
	}
	return hex.EncodeToString(d[:8])
}
