package ingest

import (
	"path"
	"slices"
	"strings"
	"unicode"
)

// isManifest and isPlaylist go by the name: encoders say all kinds of media types.
func isManifest(name string) bool { return strings.EqualFold(path.Ext(name), ".mpd") }
func isPlaylist(name string) bool { return strings.EqualFold(path.Ext(name), ".m3u8") }

// commonWords say that a file is a header or a segment, and not of which stream.
var commonWords = []string{"init", "initialization", "header", "map", "chunk", "seg", "segment", "media", "frag", "fragment", "part"}

// A stem is what in a file's name tells its stream from others: its words without
// the number at the end and without those of commonWords.
//
//	init-stream0.m4s                 stream0
//	chunk-stream0-00042.m4s          stream0
//	live_1init.mp4, live_1_00042.mp4 live 1
//	video/init.cmfv, video/42.cmfv   (nothing: its directory tells)
func stem(name string) string {
	base := strings.ToLower(path.Base(name))
	base = strings.TrimSuffix(base, path.Ext(base))
	words := strings.FieldsFunc(base, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	header := false
	kept := words[:0]
	for i, w := range words {
		if cut, ok := strings.CutSuffix(w, "init"); ok && cut != "" {
			w, header = cut, true // AWS: NAME_1init.mp4
		}
		switch {
		case slices.Contains(commonWords, w):
			header = header || w == "init" || w == "initialization" || w == "header" || w == "map"
		case i == len(words)-1 && !header && strings.TrimRight(w, "0123456789") == "":
			// The number of a segment.
		default:
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

// find says which of the streams whose init segments came under names the file of
// a segment belongs to, -1 where names do not tell: by its own name, by stem in its
// directory, as the one of its directory that has no stem, by stem anywhere.
func find(name string, inits []string) int {
	if i := slices.Index(inits, name); i >= 0 {
		return i
	}
	dir, own := path.Dir(name), stem(name)
	for _, fits := range []func(init string) bool{
		func(init string) bool { return path.Dir(init) == dir && stem(init) == own },
		func(init string) bool { return path.Dir(init) == dir && (stem(init) == "" || own == "") },
		func(init string) bool { return own != "" && stem(init) == own },
	} {
		if i := slices.IndexFunc(inits, fits); i >= 0 {
			if slices.ContainsFunc(inits[i+1:], fits) {
				return -1
			}
			return i
		}
	}
	return -1
}

// ofStreams reports whether a name is of CMAF ingest: Streams(NAME.cmfv).
func ofStreams(name string) bool { return strings.HasPrefix(path.Base(name), "Streams(") }

// streamName is what an encoder calls a stream, as far as the name under which its
// init segment came says it: Streams(NAME.cmfv), NAME.cmfv, NAME/init.cmfv.
func streamName(name string) string {
	base := path.Base(name)
	if in, ok := strings.CutPrefix(base, "Streams("); ok {
		base = strings.TrimSuffix(in, ")")
	}
	base = strings.TrimSuffix(base, path.Ext(base))
	if stem(base) == "" {
		if dir := path.Base(path.Dir(name)); dir != "." && dir != "/" {
			return dir
		}
		return ""
	}
	return strings.ReplaceAll(stem(base), " ", "-")
}

// toName makes a name of the event of what others call something.
func toName(s string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(s) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() == 40 {
			break
		}
	}
	return strings.Trim(b.String(), "-")
}
