package ingest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"headwater/cmaf"
	"headwater/live"
)

// A candidate is a track that came, with what is known of it from elsewhere.
type candidate struct {
	key       trackKey
	track     *cmaf.Track
	names     []string // what the encoder calls it
	language  string   // by the manifest, or else by the init segment
	label     string
	bandwidth int64 // by the manifest, or else the init segment (btrt), 0: not known
	measured  int64 // of what came so far, 0: not known
}

// A trackKey names a track of an encoder.
type trackKey struct {
	stream string // the name under which its init segment came
	id     uint32
}

func (k trackKey) String() string { return fmt.Sprintf("%s track %d", k.stream, k.id) }

// match says which rendition each track is. taken are renditions that are others'
// already. Each rule is tried for all before the next: the rendition's match, if it
// has one, which is then all that counts for it; the encoder's name for it is the
// rendition's; of video the size, of audio and text the language is its, and no
// other's; of a type as many are left as renditions, which are then taken in order,
// video by size or bandwidth. What fits none is not there: a guess would publish a
// track under a wrong name.
func match(tracks []candidate, renditions []live.Rendition, taken map[string]bool) map[trackKey]live.Rendition {
	out := map[trackKey]live.Rendition{}
	used := map[string]bool{}
	for name := range taken {
		used[name] = true
	}
	explicit := true
	left := func(typ live.MediaType) (t []candidate, r []live.Rendition) {
		for _, c := range tracks {
			if _, done := out[c.key]; !done && c.track.Type == typ {
				t = append(t, c)
			}
		}
		for _, x := range renditions {
			if x.Type == typ && !used[x.Name] && (explicit || x.Match == live.Match{}) {
				r = append(r, x)
			}
		}
		return t, r
	}
	give := func(c candidate, r live.Rendition) { out[c.key], used[r.Name] = r, true }
	// unique applies a rule where it pairs one with one.
	unique := func(typ live.MediaType, fits func(c candidate, r live.Rendition) bool) {
		t, r := left(typ)
		for _, c := range t {
			at := -1
			for i, x := range r {
				if fits(c, x) {
					if at >= 0 {
						at = -2
						break
					}
					at = i
				}
			}
			if at < 0 || slices.ContainsFunc(t, func(o candidate) bool { return o.key != c.key && fits(o, r[at]) }) {
				continue
			}
			give(c, r[at])
		}
	}
	types := []live.MediaType{live.Video, live.Audio, live.Text}
	for _, typ := range types {
		unique(typ, func(c candidate, r live.Rendition) bool { return r.Match != live.Match{} && fits(c, r.Match) })
	}
	explicit = false
	for _, typ := range types {
		unique(typ, func(c candidate, r live.Rendition) bool { return slices.Contains(c.names, r.Name) })
		if typ == live.Video {
			unique(typ, func(c candidate, r live.Rendition) bool {
				return r.Width > 0 && r.Width == c.track.Width && r.Height == c.track.Height
			})
		} else {
			unique(typ, func(c candidate, r live.Rendition) bool {
				return r.Language != "" && sameLanguage(c.language, r.Language)
			})
		}
		t, r := left(typ)
		if len(t) != len(r) {
			continue
		}
		if typ == live.Video {
			slices.SortStableFunc(t, func(a, b candidate) int {
				return cmp.Or(cmp.Compare(b.track.Width*b.track.Height, a.track.Width*a.track.Height), cmp.Compare(b.bandwidth, a.bandwidth))
			})
			slices.SortStableFunc(r, func(a, b live.Rendition) int {
				return cmp.Or(cmp.Compare(b.Width*b.Height, a.Width*a.Height), cmp.Compare(b.Bandwidth, a.Bandwidth))
			})
		}
		for i := range t {
			give(t[i], r[i])
		}
	}
	return out
}

// fits reports whether a track is what a match asks for.
func fits(c candidate, m live.Match) bool {
	return (m.Name == "" || slices.ContainsFunc(append(c.names, c.key.stream), func(name string) bool { return wild(m.Name, name) })) &&
		(m.Language == "" || sameLanguage(c.language, m.Language)) &&
		strings.HasPrefix(strings.ToLower(c.track.Codecs), strings.ToLower(m.Codec)) &&
		(m.Width == 0 || m.Width == c.track.Width) && (m.Height == 0 || m.Height == c.track.Height)
}

// wild reports whether a name is as a pattern says, in which * stands for any
// characters.
func wild(pattern, name string) bool {
	parts := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(name, parts[0])
	if !ok || len(parts) == 1 {
		return ok && rest == ""
	}
	for _, p := range parts[1 : len(parts)-1] {
		if _, rest, ok = strings.Cut(rest, p); !ok {
			return false
		}
	}
	return strings.HasSuffix(rest, parts[len(parts)-1])
}

// sameLanguage compares a language of an init segment or manifest with the event's:
// en-US is en, and eng is what ISO 639-2 calls it.
func sameLanguage(a, b string) bool {
	base := func(s string) string {
		s, _, _ = strings.Cut(strings.ToLower(s), "-")
		if two, ok := twoLetters[s]; ok {
			return two
		}
		return s
	}
	return base(a) == base(b)
}

// twoLetters are ISO 639-1 codes of the languages that init segments name by three
// letters (ISO 639-2/T and B).
var twoLetters = map[string]string{
	"ara": "ar", "bul": "bg", "cat": "ca", "ces": "cs", "cze": "cs", "chi": "zh", "dan": "da", "deu": "de", "dut": "nl", "ell": "el",
	"eng": "en", "est": "et", "eus": "eu", "fin": "fi", "fra": "fr", "fre": "fr", "ger": "de", "gle": "ga", "glg": "gl", "gre": "el",
	"heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "ind": "id", "isl": "is", "ita": "it", "jpn": "ja", "kor": "ko", "lav": "lv",
	"lit": "lt", "msa": "ms", "nld": "nl", "nor": "no", "pol": "pl", "por": "pt", "ron": "ro", "rum": "ro", "rus": "ru", "slk": "sk",
	"slo": "sk", "slv": "sl", "spa": "es", "srp": "sr", "swe": "sv", "tam": "ta", "tel": "te", "tha": "th", "tur": "tr", "ukr": "uk",
	"urd": "ur", "vie": "vi", "zho": "zh",
}

// describeTracks is for errors and the log.
func describeTracks(tracks []candidate) string {
	var s []string
	for _, c := range tracks {
		d := fmt.Sprintf("%s: %s", c.key, cmp.Or(c.track.Codecs, string(c.track.Type), "neither video, audio nor text"))
		if c.track.Width > 0 {
			d += fmt.Sprintf(" %dx%d", c.track.Width, c.track.Height)
		}
		if c.language != "" {
			d += " " + c.language
		}
		s = append(s, d)
	}
	return strings.Join(s, "; ")
}

func describeRenditions(renditions []live.Rendition) string {
	var s []string
	for _, r := range renditions {
		d := fmt.Sprintf("%s: %s", r.Name, r.Type)
		if r.Width > 0 {
			d += fmt.Sprintf(" %dx%d", r.Width, r.Height)
		}
		if r.Language != "" {
			d += " " + r.Language
		}
		s = append(s, d)
	}
	return strings.Join(s, "; ")
}
