package manifest

import (
	"slices"
	"strconv"
	"strings"

	"headwater/live"
)

// A set is one AdaptationSet: renditions among which a player may switch.
type set struct {
	id         int
	role       live.Role
	renditions []*live.Rendition
	newest     live.Number // that is listed, in an MPD that lists
	switchable []string    // sets that differ by nothing but the key
}

// group sorts the known renditions into adaptation sets: tracks that tell
// another thing, and of each what one source buffer can hold.
func group(rs []live.Rendition) []*set {
	var sets []*set
	main := map[live.MediaType]track{} // what is the first of its type
	for i := range rs {
		r := &rs[i]
		if _, ok := main[r.Type]; known(r) && (!ok || r.Role == "main" && main[r.Type].role != "main") {
			main[r.Type] = trackOf(r)
		}
	}
next:
	for i := range rs {
		r := &rs[i]
		if !known(r) {
			continue
		}
		for _, s := range sets {
			if f := s.renditions[0]; f.Type == r.Type && trackOf(f) == trackOf(r) && formatOf(f) == formatOf(r) {
				s.renditions = append(s.renditions, r)
				continue next
			}
		}
		s := &set{id: i + 1, role: r.Role, renditions: []*live.Rendition{r}}
		switch {
		case s.role != "":
		case r.Type == live.Text:
			s.role = "subtitle"
		case trackOf(r) == main[r.Type]:
			s.role = "main"
		default:
			s.role = "alternate"
		}
		sets = append(sets, s)
	}
	for _, a := range sets {
		for _, b := range sets {
			f, g := a.renditions[0], b.renditions[0]
			was, is := formatOf(f), formatOf(g)
			if was.kid, is.kid = "", ""; a != b && f.Type == g.Type && trackOf(f) == trackOf(g) && was == is {
				a.switchable = append(a.switchable, strconv.Itoa(b.id))
			}
		}
	}
	return sets
}

// Schemes of descriptors.
const (
	roleScheme     = "urn:mpeg:dash:role:2011"
	purposeScheme  = "urn:tva:metadata:cs:AudioPurposeCS:2007" // TV-Anytime, as ETSI TS 103 285 uses it
	channelsScheme = "urn:mpeg:mpegB:cicp:ChannelConfiguration"
	trickScheme    = "http://dashif.org/guidelines/trickmode"
	colorScheme    = "urn:mpeg:mpegB:cicp:"
	// DASH-IF IOP, 3.8: players may go from one set to the other.
	switchingScheme = "urn:mpeg:dash:adaptation-set-switching:2016"
	jocScheme       = "tag:dolby.com,2018:dash:EC3_ExtensionType:2018"
	jocIndexScheme  = "tag:dolby.com,2018:dash:EC3_ExtensionComplexityIndex:2018"
)

func (s *set) write(x *xmlWriter, p *period, continues string) {
	r := s.renditions[0]
	x.start("AdaptationSet")
	x.attrInt("id", int64(s.id))
	x.attr("contentType", string(r.Type))
	x.attr("mimeType", r.Type.ContentType())
	x.attr("lang", r.Language)
	x.attr("segmentAlignment", "true")
	x.attr("startWithSAP", "1")
	if r.Type == live.Video {
		var w, h int
		for _, r := range s.renditions {
			w, h = max(w, r.Width), max(h, r.Height)
		}
		x.attrPositive("maxWidth", int64(w))
		x.attrPositive("maxHeight", int64(h))
	}
	p.protection(x, r)
	s.color(x)
	if continues != "" {
		x.descriptor("SupplementalProperty", continuityScheme, continues)
	}
	if len(s.switchable) > 0 {
		x.descriptor("SupplementalProperty", switchingScheme, strings.Join(s.switchable, ","))
	}
	s.inband(x)
	if r.Label != "" {
		x.start("Label")
		x.text(r.Label)
		x.end()
	}
	if !p.static {
		p.captured(x)
	}
	switch s.role { // what it is for those who need it
	case "description":
		x.descriptor("Accessibility", purposeScheme, "1")
	case "caption":
		x.descriptor("Accessibility", purposeScheme, "2")
	case "enhanced-audio-intelligibility":
		x.descriptor("Accessibility", purposeScheme, "8")
	}
	x.descriptor("Role", roleScheme, string(s.role))
	generation, same := p.initOf(s)
	if same {
		p.template(x, s, generation, plain)
	}
	for _, r := range s.renditions {
		representation(x, r)
		generation, _ := p.config.InitAt(r.Name, p.first)
		p.tellFFmpeg(x, generation, !same, plain)
		if !same {
			p.template(x, s, generation, plain)
		}
		x.end()
	}
	x.end()
}

// writeKeyFrames writes a set of the key frames alone of renditions that offer them, for trick
// modes of players (DASH-IF IOP, 3.2.9). Others know nothing of the property, and so leave
// the set alone. For tools that need a list it is none.
func (s *set) writeKeyFrames(x *xmlWriter, p *period) {
	offered := slices.DeleteFunc(slices.Clone(s.renditions), func(r *live.Rendition) bool { return !r.KeyFrames })
	if len(offered) == 0 || p.listed {
		return
	}
	x.start("AdaptationSet")
	x.attrInt("id", int64(keyFramesID+s.id))
	x.attr("contentType", string(live.Video))
	x.attr("mimeType", live.Video.ContentType())
	x.attr("segmentAlignment", "true")
	x.attr("startWithSAP", "1")
	p.protection(x, offered[0])
	x.descriptor("EssentialProperty", trickScheme, strconv.Itoa(s.id))
	s.color(x)
	for _, r := range offered {
		x.start("Representation")
		x.attr("id", r.Name+".k") // no rendition has such a name
		x.attrInt("bandwidth", r.Bandwidth)
		x.attr("codecs", r.Codecs)
		x.attrPositive("width", int64(r.Width))
		x.attrPositive("height", int64(r.Height))
		x.attr("sar", r.SAR)
		x.attrInt("maxPlayoutRate", keyFramesRate)
		x.attr("codingDependency", "false")
		generation, _ := p.config.InitAt(r.Name, p.first)
		as := naming{r.Name, live.KeyPrefix + numbered}
		p.tellFFmpeg(x, generation, true, as)
		p.template(x, s, generation, as)
		x.end()
	}
	x.end()
}

const (
	keyFramesID   = 10_000 // and the set's own: above all of those
	keyFramesRate = 32     // how much faster than in real time players may show them
)

// inband says which kinds of event messages its segments have (ISO/IEC 23009-1, 5.10.3.3):
// players look at no others.
func (s *set) inband(x *xmlWriter) {
	var all live.EventSchemes
	for _, r := range s.renditions {
		all = all.Add(r.InbandEvents.List()...)
	}
	for _, e := range all.List() {
		x.descriptor("InbandEventStream", e.Scheme, e.Value)
	}
}

// color says how samples become light. Who cannot show HDR must not take it.
func (s *set) color(x *xmlWriter) {
	primaries, transfer, matrix, ok := s.renditions[0].ColorCodes()
	if !ok {
		return
	}
	property := "SupplementalProperty"
	if videoRange(s.renditions[0]) != "SDR" {
		property = "EssentialProperty"
	}
	x.descriptor(property, colorScheme+"ColourPrimaries", strconv.Itoa(primaries))
	x.descriptor(property, colorScheme+"TransferCharacteristics", strconv.Itoa(transfer))
	x.descriptor(property, colorScheme+"MatrixCoefficients", strconv.Itoa(matrix))
}

// representation begins one.
func representation(x *xmlWriter, r *live.Rendition) {
	x.start("Representation")
	x.attr("id", r.Name)
	x.attrInt("bandwidth", r.Bandwidth)
	x.attr("codecs", r.Codecs)
	x.attrPositive("width", int64(r.Width))
	x.attrPositive("height", int64(r.Height))
	x.attr("sar", r.SAR)
	x.attr("frameRate", r.FrameRate)
	x.attrPositive("audioSamplingRate", int64(r.SampleRate))
	if c := channelConfig(r); c > 0 {
		x.descriptor("AudioChannelConfiguration", channelsScheme, strconv.Itoa(c))
	}
	if r.JOC > 0 {
		x.descriptor("SupplementalProperty", jocScheme, "JOC")
		x.descriptor("SupplementalProperty", jocIndexScheme, strconv.Itoa(r.JOC))
	}
}
