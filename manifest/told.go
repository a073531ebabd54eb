package manifest

import (
	"encoding/base64"
	"encoding/hex"
	"hash/fnv"
	"strings"
	"time"

	"headwater/live"
)

// What viewers are told is in the response headers of whatever they ask for; players
// that know nothing of these find it in manifests: as EXT-X-DATERANGE in each media
// playlist, and as EventStream in MPDs.

const (
	interstitialClass = "com.apple.hls.interstitial" // RFC 8216bis, appendix D.2
	// notificationScheme is that of notifications no standard has words for: the
	// value of the EventStream is their type, or it is behind this in CLASS.
	notificationScheme = "urn:headwater:notification"
	spliceScheme       = "urn:scte:scte35:2014:xml+bin" // ANSI/SCTE 214-1, 6.7.4
	spliceNamespace    = "http://www.scte.org/schemas/35/2016"
	// replaceScheme is for alternative presentations (ISO/IEC 23009-1, 6th edition).
	replaceScheme = "urn:mpeg:dash:event:alternativeMPD:replace:2025"
)

// isListed reports whether a playlist or Period that begins with oldest says it.
func isListed(n *live.Notification, oldest live.Number) bool { return n.To == 0 || n.To >= oldest }

// appendDateRanges writes the notifications (RFC 8216bis, 4.4.5.1). Date ranges are
// in delta updates too, so that no player has to remember one.
func (in *Input) appendDateRanges(b []byte, tl *live.Timeline, oldest live.Number) []byte {
	for i := range in.Notifications.Set {
		n := &in.Notifications.Set[i]
		if !isListed(n, oldest) || in.isBack(n) {
			continue
		}
		a := attributes{b: append(b, "#EXT-X-DATERANGE:"...)}
		a.quoted("ID", quotable.Replace(n.ID))
		ad, isAd := n.AdBreak()
		isAd = isAd && (ad.AssetURI != "" || ad.AssetList != "")
		if isAd {
			a.quoted("CLASS", interstitialClass)
		} else {
			a.quoted("CLASS", notificationScheme+":"+n.Type)
		}
		from, to := n.Span(tl)
		a.quoted("START-DATE", from.Format(timeLayout))
		length := seconds(from, to)
		back := in.back(n)
		switch {
		case back != nil:
			until, _ := back.Span(tl)
			a.word("DURATION", seconds(from, until))
		case n.Type == live.TypeSCTE35Out:
			a.word("PLANNED-DURATION", length) // who left may come back at another time
		default:
			a.word("DURATION", length)
		}
		data := "0x" + strings.ToUpper(hex.EncodeToString(n.Data))
		switch {
		case isAd:
			a.quoted("X-ASSET-URI", ad.AssetURI)
			a.quoted("X-ASSET-LIST", ad.AssetList)
			a.word("X-PLAYOUT-LIMIT", length)
			a.quoted("X-RESTRICT", strings.ToUpper(strings.Join(ad.Restrict, ",")))
		case len(n.Data) == 0:
		case n.Type == live.TypeSCTE35Out:
			a.word("SCTE35-OUT", data)
			if back != nil {
				a.word("SCTE35-IN", "0x"+strings.ToUpper(hex.EncodeToString(back.Data)))
			}
		case n.Type == live.TypeSCTE35In:
			a.word("SCTE35-IN", data)
		case n.Type == live.TypeSCTE35:
			a.word("SCTE35-CMD", data)
		default:
			a.word("X-DATA", data)
		}
		b = append(a.b, '\n')
	}
	return b
}

// quotable makes of an ID, which may be any printable ASCII, one for a quoted string.
var quotable = strings.NewReplacer(`"`, "%22", "%", "%25")

// back is the way back of a splice out of the programme, where it is told of by a name that
// goes with the way out: players have both in one date range (RFC 8216bis, 4.4.5.1.1).
func (in *Input) back(out *live.Notification) *live.Notification {
	if out.Type != live.TypeSCTE35Out || len(out.Data) == 0 {
		return nil
	}
	for i := range in.Notifications.Set {
		if n := &in.Notifications.Set[i]; n.Type == live.TypeSCTE35In && n.ID == out.ID+live.SpliceBack && n.From >= out.From && len(n.Data) > 0 {
			return n
		}
	}
	return nil
}

// isBack reports whether a notification is written with another.
func (in *Input) isBack(n *live.Notification) bool {
	for i := range in.Notifications.Set {
		if in.back(&in.Notifications.Set[i]) == n {
			return true
		}
	}
	return false
}

// seconds is how long something lasts, "" where no end is known.
func seconds(from, to time.Time) string {
	if to.IsZero() {
		return ""
	}
	ms := max(to.Sub(from).Milliseconds(), 0)
	return string(appendPadded(append(appendInt(nil, ms/1000), '.'), ms%1000, 3))
}

// eventStreams writes the notifications as events of the Period (ISO/IEC 23009-1,
// 5.10.2), those of a scheme and value together.
func (in *Input) eventStreams(x *xmlWriter, p *period) {
	type stream struct{ scheme, value string }
	var streams []stream
	of := map[stream][]*live.Notification{}
	for i := range in.Notifications.Set {
		n := &in.Notifications.Set[i]
		if !isListed(n, p.shown) || p.ends && n.From > p.last {
			continue
		}
		s := stream{notificationScheme, n.Type}
		if ad, ok := n.AdBreak(); ok && ad.AssetMPD != "" {
			s = stream{replaceScheme, ""}
		} else if isSplice(n) {
			s = stream{spliceScheme, ""}
		}
		if of[s] == nil {
			streams = append(streams, s)
		}
		of[s] = append(of[s], n)
	}
	for _, s := range streams {
		x.start("EventStream")
		x.attr("schemeIdUri", s.scheme)
		x.attr("value", s.value)
		x.attrInt("timescale", 1000)
		for _, n := range of[s] {
			p.event(x, n, s.scheme)
		}
		x.end()
	}
}

func isSplice(n *live.Notification) bool {
	return len(n.Data) > 0 && n.IsSplice()
}

func (p *period) event(x *xmlWriter, n *live.Notification, scheme string) {
	begins := p.tl.Start(p.shown)
	from, to := n.Span(p.tl)
	if from.Before(begins) {
		from = begins // what began before the Period is shown from its beginning on
	}
	x.start("Event")
	x.attrInt("presentationTime", from.Sub(begins).Milliseconds())
	length := int64(0)
	if !to.IsZero() {
		length = max(to.Sub(from).Milliseconds(), 0)
		x.attrInt("duration", length)
	}
	id := fnv.New32a()
	id.Write([]byte(n.ID)) // an event's id is a number
	x.attrInt("id", int64(id.Sum32()))
	switch scheme {
	case replaceScheme:
		ad, _ := n.AdBreak()
		x.start("ReplacePresentation")
		x.attr("url", ad.AssetMPD)
		x.attrPositive("maxDuration", length)
		x.attrPositive("returnOffset", length)
		if len(ad.Restrict) > 0 {
			x.attrInt("noJump", 1)
		}
		x.end()
	case spliceScheme:
		x.start("Signal")
		x.attr("xmlns", spliceNamespace)
		x.start("Binary")
		x.text(base64.StdEncoding.EncodeToString(n.Data))
		x.end()
		x.end()
	default:
		if len(n.Data) > 0 {
			x.attr("contentEncoding", "base64")
			x.text(base64.StdEncoding.EncodeToString(n.Data))
		}
	}
	x.end()
}
