package manifest

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"headwater/live"
)

// Multivariant writes the event's HLS multivariant playlist (RFC 8216bis,
// 4.4.6). Errors are *live.Problem, ready to be answered: live.ErrNoInit
// while too little is known of what there is to play.
//
// Every video rendition is offered with every audio group. A group holds what a
// viewer may choose among, in one format. An event without video offers its audio
// groups themselves.
func Multivariant(in Input) ([]byte, error) {
	tl := in.Config.Event.Timeline()
	if err := in.ready(&tl); err != nil {
		return nil, err
	}
	var videos, audios, texts []*live.Rendition
	renditions := in.Config.RenditionsAt(tl.At(in.Now))
	for i := range renditions {
		r := &renditions[i]
		switch {
		case !known(r):
		case r.Type == live.Video:
			videos = append(videos, r)
		case r.Type == live.Audio:
			audios = append(audios, r)
		default:
			texts = append(texts, r)
		}
	}
	groups := audioGroups(audios)
	if len(videos) == 0 && len(groups) == 0 {
		return nil, live.ErrNoInit
	}
	b := append(make([]byte, 0, 1024+512*len(in.Config.Renditions)), "#EXTM3U\n#EXT-X-VERSION:"...)
	b = append(appendInt(b, hlsVersion), "\n#EXT-X-INDEPENDENT-SEGMENTS\n"...)
	b = appendSessionData(b, in.Config.SessionData)
	b = in.appendSessionKeys(b, &tl)
	for i, g := range groups {
		b = appendMedia(b, "AUDIO", groupID("audio", i), g, len(videos) == 0)
	}
	b = appendMedia(b, "SUBTITLES", groupID("text", 0), texts, false)

	for gi, g := range groups {
		if len(videos) == 0 {
			b = in.appendVariant(b, variant{main: g[0], audio: g, group: gi, texts: texts})
		}
	}
	for _, v := range videos {
		if len(groups) == 0 {
			b = in.appendVariant(b, variant{main: v, texts: texts})
		}
		for gi, g := range groups {
			b = in.appendVariant(b, variant{main: v, audio: g, group: gi, texts: texts})
		}
	}
	for _, v := range videos {
		if v.KeyFrames {
			b = appendKeyFrames(b, v)
		}
	}
	return b, nil
}

// appendKeyFrames writes the EXT-X-I-FRAME-STREAM-INF of a rendition (RFC 8216bis, 4.4.6.3).
// A segment's key frame is no larger than the segment.
func appendKeyFrames(b []byte, r *live.Rendition) []byte {
	a := attributes{b: append(b, "#EXT-X-I-FRAME-STREAM-INF:"...)}
	a.int("BANDWIDTH", r.Bandwidth)
	a.quoted("CODECS", r.Codecs)
	if r.Width > 0 && r.Height > 0 {
		a.word("RESOLUTION", strconv.Itoa(r.Width)+"x"+strconv.Itoa(r.Height))
	}
	if r.Color != "" {
		a.word("VIDEO-RANGE", videoRange(r))
	}
	a.quoted("URI", r.Name+"/"+live.KeysName)
	return append(a.b, '\n')
}

// audioGroups sorts audio renditions into groups of one format each: its best,
// its second best, and so on. In each there is one rendition of every track, since
// all groups must offer the same (RFC 8216bis, 4.4.6.1.1): a track that the format
// does not have is there with what is nearest to it.
func audioGroups(rs []*live.Rendition) [][]*live.Rendition {
	type level struct {
		format format
		n      int // of the track's renditions in the format
	}
	var tracks []track
	var levels []level
	by := map[track][]*live.Rendition{}
	at := map[track]map[level]*live.Rendition{}
	for _, r := range rs {
		t := trackOf(r)
		if at[t] == nil {
			tracks, at[t] = append(tracks, t), map[level]*live.Rendition{}
		}
		l := level{format: formatOf(r)}
		for ; at[t][l] != nil; l.n++ {
		}
		by[t], at[t][l] = append(by[t], r), r
		if !slices.Contains(levels, l) {
			levels = append(levels, l)
		}
	}
	var groups [][]*live.Rendition
	for _, l := range levels {
		var group []*live.Rendition
		for _, t := range tracks {
			r := at[t][l]
			for ; r == nil && l.n > 0; l.n-- {
				r = at[t][level{l.format, l.n - 1}]
			}
			if r == nil {
				r = by[t][0]
			}
			group = append(group, r)
		}
		if !slices.ContainsFunc(groups, func(g []*live.Rendition) bool { return slices.Equal(g, group) }) {
			groups = append(groups, group)
		}
	}
	return groups
}

func groupID(kind string, i int) string {
	if i == 0 {
		return kind
	}
	return kind + "-" + strconv.Itoa(i+1)
}

// appendMedia writes the EXT-X-MEDIA tags of one group. Where the first is the
// variant stream itself it has no URI.
func appendMedia(b []byte, kind, group string, rs []*live.Rendition, firstIsVariant bool) []byte {
	names := map[string]bool{}
	first := max(0, slices.IndexFunc(rs, func(r *live.Rendition) bool { return r.Role == "main" }))
	for i, r := range rs {
		a := attributes{b: append(b, "#EXT-X-MEDIA:"...)}
		a.word("TYPE", kind)
		a.quoted("GROUP-ID", group)
		// A name is used once in a group.
		name := cmp.Or(r.Label, r.Language)
		if name == "" || names[name] {
			name = r.Name
		}
		names[name] = true
		a.quoted("NAME", name)
		a.quoted("LANGUAGE", r.Language)
		if kind == "AUDIO" && i == first {
			a.word("DEFAULT", "YES")
		}
		// Who speaks the language is given this by itself. That is not what a
		// commentary is for.
		if r.Role != "commentary" && r.Role != "supplementary" {
			a.word("AUTOSELECT", "YES")
		}
		if kind == "SUBTITLES" && r.Role == "forced-subtitle" {
			a.word("FORCED", "YES")
		}
		a.quoted("CHARACTERISTICS", characteristics[r.Role])
		if kind == "AUDIO" {
			a.quoted("CHANNELS", channels(r))
		}
		if i > 0 || !firstIsVariant {
			a.quoted("URI", r.Name+"/"+live.PlaylistName)
		}
		b = append(a.b, '\n')
	}
	return b
}

// characteristics are Apple's names of what a role is for.
var characteristics = map[live.Role]string{
	"description":                    "public.accessibility.describes-video",
	"enhanced-audio-intelligibility": "public.accessibility.enhances-speech-intelligibility",
	"caption":                        "public.accessibility.transcribes-spoken-dialog,public.accessibility.describes-music-and-sound",
	"easyreader":                     "public.easy-to-read",
}

// appendSessionData writes what the event's settings say of it.
func appendSessionData(b []byte, data []live.SessionDatum) []byte {
	for _, d := range data {
		a := attributes{b: append(b, "#EXT-X-SESSION-DATA:"...)}
		a.quoted("DATA-ID", d.ID)
		a.quoted("VALUE", d.Value)
		a.quoted("LANGUAGE", d.Language)
		b = append(a.b, '\n')
	}
	return b
}

// A variant is one EXT-X-STREAM-INF.
type variant struct {
	main  *live.Rendition
	audio []*live.Rendition // one of which is played with main
	group int
	texts []*live.Rendition
}

// sum adds f up over what may be played at once: main, and of each group the
// rendition for which f gives most.
func (v *variant) sum(f func(*live.Rendition) int64) int64 {
	most := func(rs []*live.Rendition) (m int64) {
		for _, r := range rs {
			m = max(m, f(r))
		}
		return m
	}
	if v.main.Type == live.Audio {
		return most(v.audio) + most(v.texts)
	}
	return f(v.main) + most(v.audio) + most(v.texts)
}

// averageSteps is how many steps of averages there are up to the bandwidth of a
// rendition: so few that what nodes write is nearly always the same.
const averageSteps = 20

func (in *Input) appendVariant(b []byte, v variant) []byte {
	a := attributes{b: append(b, "#EXT-X-STREAM-INF:"...)}
	a.int("BANDWIDTH", v.sum(func(r *live.Rendition) int64 { return r.Bandwidth }))
	all := true
	average := v.sum(func(r *live.Rendition) int64 {
		n := in.Average[r.Name]
		all = all && n > 0
		step := max(r.Bandwidth/averageSteps, 1)
		return min((n+step-1)/step*step, r.Bandwidth)
	})
	if all {
		a.int("AVERAGE-BANDWIDTH", average)
	}
	a.quoted("CODECS", v.codecs())
	if v.main.Width > 0 && v.main.Height > 0 {
		a.word("RESOLUTION", strconv.Itoa(v.main.Width)+"x"+strconv.Itoa(v.main.Height))
	}
	a.word("FRAME-RATE", decimalFrameRate(v.main.FrameRate))
	if slices.ContainsFunc(in.Config.Renditions, func(r live.Rendition) bool { return r.Color != "" }) && v.main.Type == live.Video {
		a.word("VIDEO-RANGE", videoRange(v.main)) // of all, or of none
	}
	if len(v.audio) > 0 {
		a.quoted("AUDIO", groupID("audio", v.group))
	}
	if len(v.texts) > 0 {
		a.quoted("SUBTITLES", groupID("text", 0))
	}
	b = append(a.b, '\n')
	return append(append(b, v.main.Name...), "/"+live.PlaylistName+"\n"...)
}

// codecs lists every format that a variant may need, once.
func (v *variant) codecs() string {
	out := []string{v.main.Codecs}
	for _, r := range slices.Concat(v.audio, v.texts) {
		if !slices.Contains(out, r.Codecs) {
			out = append(out, r.Codecs)
		}
	}
	return strings.Join(out, ",")
}

// decimalFrameRate turns 30000/1001 into 29.970 (RFC 8216bis, 4.4.6.2: three
// decimal places).
func decimalFrameRate(s string) string {
	num, den, frac := strings.Cut(s, "/")
	n, err := strconv.ParseUint(num, 10, 32)
	if err != nil {
		return ""
	}
	d := uint64(1)
	if frac {
		if d, err = strconv.ParseUint(den, 10, 32); err != nil || d == 0 {
			return ""
		}
	}
	milli := int64((2000*n + d) / (2 * d))
	return string(appendPadded(append(appendInt(nil, milli/1000), '.'), milli%1000, 3))
}

// attributes appends an attribute list (RFC 8216bis, 4.2). Empty values add
// nothing. Values hold no quote and no line end: live.Event.Validate sees to
// that.
type attributes struct {
	b    []byte
	more bool
}

func (a *attributes) name(name string) {
	if a.more {
		a.b = append(a.b, ',')
	}
	a.more = true
	a.b = append(append(a.b, name...), '=')
}

func (a *attributes) word(name, v string) {
	if v != "" {
		a.name(name)
		a.b = append(a.b, v...)
	}
}

func (a *attributes) quoted(name, v string) {
	if v != "" {
		a.name(name)
		a.b = append(append(append(a.b, '"'), v...), '"')
	}
}

func (a *attributes) int(name string, v int64) {
	a.name(name)
	a.b = appendInt(a.b, v)
}
