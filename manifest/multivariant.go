package manifest

import (
	"slices"
	"strconv"
	"strings"

	"headwater/live"
)

// Multivariant writes the event's HLS multivariant playlist (RFC 8216bis,
// 4.4.6). Errors are *live.Problem, ready to be answered: live.ErrNoInit
// while too little is known of what there is to play.
//
// Every video rendition is offered with every audio group. A group holds one
// rendition per language; where a language has several, the second of each
// makes the second group, and so on. An event without video offers its audio
// groups themselves.
func Multivariant(in Input) ([]byte, error) {
	tl := in.Config.Event.Timeline()
	if err := in.ready(&tl); err != nil {
		return nil, err
	}
	var videos, audios, texts []*live.Rendition
	for i := range in.Config.Renditions {
		r := &in.Config.Renditions[i]
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
	return b, nil
}

// audioGroups sorts audio renditions into groups with one rendition per
// language each. A group that has run out of a language repeats its last
// rendition: all groups must offer the same languages (RFC 8216bis, 4.4.6.1.1).
func audioGroups(rs []*live.Rendition) [][]*live.Rendition {
	var languages []string
	by := map[string][]*live.Rendition{}
	n := 0
	for _, r := range rs {
		if by[r.Language] == nil {
			languages = append(languages, r.Language)
		}
		by[r.Language] = append(by[r.Language], r)
		n = max(n, len(by[r.Language]))
	}
	groups := make([][]*live.Rendition, n)
	for i := range groups {
		for _, l := range languages {
			of := by[l]
			groups[i] = append(groups[i], of[min(i, len(of)-1)])
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
	for i, r := range rs {
		a := attributes{b: append(b, "#EXT-X-MEDIA:"...)}
		a.word("TYPE", kind)
		a.quoted("GROUP-ID", group)
		// A name is used once in a group.
		name := r.Language
		if name == "" || names[name] {
			name = r.Name
		}
		names[name] = true
		a.quoted("NAME", name)
		a.quoted("LANGUAGE", r.Language)
		if kind == "AUDIO" && i == 0 {
			a.word("DEFAULT", "YES")
		}
		a.word("AUTOSELECT", "YES")
		if r.Channels > 0 && kind == "AUDIO" {
			a.quoted("CHANNELS", strconv.Itoa(r.Channels))
		}
		if i > 0 || !firstIsVariant {
			a.quoted("URI", r.Name+"/"+live.PlaylistName)
		}
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

func (in *Input) appendVariant(b []byte, v variant) []byte {
	a := attributes{b: append(b, "#EXT-X-STREAM-INF:"...)}
	a.int("BANDWIDTH", v.sum(func(r *live.Rendition) int64 { return r.Bandwidth }))
	if in.Average != nil {
		all := true
		sum := v.sum(func(r *live.Rendition) int64 {
			n := in.Average(r.Name)
			all = all && n > 0
			return n
		})
		if all {
			a.int("AVERAGE-BANDWIDTH", sum)
		}
	}
	a.quoted("CODECS", v.codecs())
	if v.main.Width > 0 && v.main.Height > 0 {
		a.word("RESOLUTION", strconv.Itoa(v.main.Width)+"x"+strconv.Itoa(v.main.Height))
	}
	a.word("FRAME-RATE", decimalFrameRate(v.main.FrameRate))
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
