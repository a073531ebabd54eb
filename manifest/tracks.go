package manifest

import (
	"strconv"
	"strings"

	"headwater/live"
)

// A track is what a viewer chooses: renditions of one are the same to hear, see
// or read, in several formats and bit rates.
type track struct {
	language, label string
	role            live.Role
}

func trackOf(r *live.Rendition) track { return track{r.Language, r.Label, r.Role} }

// A format is what a player can switch within while it plays.
type format struct {
	family   string // the sample entry: what one source buffer can hold
	channels int
	objects  bool
	light    string
	kid      string // what keys one needs is what all need
}

func formatOf(r *live.Rendition) format {
	f := format{family: family(r.Codecs), kid: r.KID}
	switch r.Type {
	case live.Audio:
		f.channels, f.objects = r.Channels, r.JOC > 0
	case live.Video:
		f.light = videoRange(r)
	}
	return f
}

// family is the sample entry of an RFC 6381 string: what cannot be switched
// within one source buffer.
func family(codecs string) string {
	f, _, _ := strings.Cut(codecs, ".")
	return f
}

// videoRange is VIDEO-RANGE (RFC 8216bis, 4.4.6.2) by the transfer
// characteristics. What says nothing is SDR, as everywhere.
func videoRange(r *live.Rendition) string {
	const hlg, pq = 18, 16
	switch _, transfer, _, _ := r.ColorCodes(); transfer {
	case pq:
		return "PQ"
	case hlg:
		return "HLG"
	}
	return "SDR"
}

// channelConfig is the ChannelConfiguration of ISO/IEC 23091-3, 0 where it is
// not known: by the usual order of speakers where the media did not say.
func channelConfig(r *live.Rendition) int {
	if r.ChannelConfig > 0 {
		return r.ChannelConfig
	}
	if r.Type == live.Audio && r.Channels < len(usualConfig) {
		return usualConfig[max(r.Channels, 0)]
	}
	return 0
}

var usualConfig = [...]int{1: 1, 2: 2, 3: 3, 5: 5, 6: 6, 8: 12}

// channels is CHANNELS (RFC 8216bis, 4.4.6.1): their count, or that of objects.
func channels(r *live.Rendition) string {
	switch {
	case r.JOC > 0:
		return strconv.Itoa(r.JOC) + "/JOC"
	case r.Channels > 0:
		return strconv.Itoa(r.Channels)
	}
	return ""
}
