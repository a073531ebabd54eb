package live

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
)

// Types of notifications that manifests say in players' own words. All others are
// for applications.
const (
	// TypeAdBreak is an ad break, which an AdBreak may say more of.
	TypeAdBreak = "ad-break"
	// TypeSCTE35, TypeSCTE35Out and TypeSCTE35In have a splice_info_section (ANSI/SCTE
	// 35) for data: one that says all by itself, the way out of the programme, and back.
	TypeSCTE35    = "scte35"
	TypeSCTE35Out = "scte35-out"
	TypeSCTE35In  = "scte35-in"
	// SpliceBack, behind the id of a way out of the programme, is the id of its way back.
	SpliceBack = "-in"
)

// An AdBreak is the data of a notification of an ad break, as JSON: what plays in it
// instead of the programme, for players of HLS (RFC 8216bis, appendix D: a playlist,
// or a list of assets) and of DASH (a presentation).
type AdBreak struct {
	AssetURI  string `json:"asset_uri,omitempty"`
	AssetList string `json:"asset_list,omitempty"`
	AssetMPD  string `json:"asset_mpd,omitempty"`
	// Restrict has "skip" and "jump": what viewers may not do.
	Restrict []string `json:"restrict,omitempty"`
}

// AdBreak is what the data of an ad break says; ok is false where it is no ad break,
// or names nothing that plays in it.
func (n *Notification) AdBreak() (b AdBreak, ok bool) {
	if n.Type != TypeAdBreak || len(n.Data) == 0 || json.Unmarshal(n.Data, &b) != nil {
		return AdBreak{}, false
	}
	return b, b.AssetURI != "" || b.AssetList != "" || b.AssetMPD != ""
}

// IsSplice reports whether data, where there is some, is a splice_info_section.
func (n *Notification) IsSplice() bool {
	return n.Type == TypeSCTE35 || n.Type == TypeSCTE35Out || n.Type == TypeSCTE35In
}

// validateData looks at data that manifests hand on to players.
func (n *Notification) validateData() error {
	if n.IsSplice() && len(n.Data) > 0 {
		if err := checkSplice(n.Data); err != nil {
			return badField("data", "is no splice_info_section (ANSI/SCTE 35, 9.6): %v", err)
		}
	}
	b, ok := n.AdBreak()
	if !ok {
		return nil
	}
	if b.AssetURI != "" && b.AssetList != "" {
		return badField("data", "has both asset_uri and asset_list")
	}
	for name, v := range map[string]string{"asset_uri": b.AssetURI, "asset_list": b.AssetList, "asset_mpd": b.AssetMPD} {
		if u, err := url.Parse(v); v != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' })) {
			return badField("data", "%s: %q is not an absolute http or https URL", name, clip(v))
		}
	}
	for _, r := range b.Restrict {
		if !slices.Contains([]string{"skip", "jump"}, r) {
			return badField("data", "restrict: %q is neither skip nor jump", clip(r))
		}
	}
	return nil
}
