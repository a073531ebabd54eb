package packager

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"headwater/cmaf"
	"headwater/live"
)

// ErrTracks is wrapped where the tracks of the input are not those of the event.
var ErrTracks = errors.New("packager: tracks do not fit the event")

// matchTracks says which rendition each track is, by track ID. With explicit
// given, that is all: tracks it does not name are left out. Otherwise tracks
// match renditions type by type: video in descending size against descending
// size or, where the event does not tell sizes, bandwidth; audio and text in
// the order of both. An input may lack a type altogether, but where it has
// one, the counts must agree: a guess would publish a track under a wrong name.
func matchTracks(in *cmaf.Init, renditions []live.Rendition, explicit map[uint32]string) (map[uint32]live.Rendition, error) {
	out := map[uint32]live.Rendition{}
	if len(explicit) > 0 {
		used := map[string]uint32{}
		for _, id := range slices.Sorted(maps.Keys(explicit)) {
			name := explicit[id]
			t := in.Track(id)
			if t == nil {
				return nil, fmt.Errorf("%w: the input has no track %d, it has %s", ErrTracks, id, listTracks(in.Tracks))
			}
			i := slices.IndexFunc(renditions, func(r live.Rendition) bool { return r.Name == name })
			if i < 0 {
				return nil, fmt.Errorf("%w: the event has no rendition %q, it has %s", ErrTracks, name, listRenditions(renditions))
			}
			if r := renditions[i]; t.Type != r.Type {
				return nil, fmt.Errorf("%w: track %d is %s, rendition %s is %s", ErrTracks, id, typeName(t.Type), name, r.Type)
			}
			if other, twice := used[name]; twice {
				return nil, fmt.Errorf("%w: tracks %d and %d are both mapped to rendition %s", ErrTracks, other, id, name)
			}
			used[name] = id
			out[id] = renditions[i]
		}
		return out, nil
	}
	for _, typ := range []live.MediaType{live.Video, live.Audio, live.Text} {
		var tracks []cmaf.Track
		for _, t := range in.Tracks {
			if t.Type == typ {
				tracks = append(tracks, t)
			}
		}
		var rends []live.Rendition
		sized := true
		for _, r := range renditions {
			if r.Type == typ {
				rends = append(rends, r)
				sized = sized && r.Width > 0 && r.Height > 0
			}
		}
		if len(tracks) == 0 {
			continue
		}
		if len(tracks) != len(rends) {
			return nil, fmt.Errorf("%w: the input has %s %s, the event %s %s: say which is which (track=rendition)", ErrTracks,
				plural(len(tracks), string(typ)+" track"), listTracks(tracks), plural(len(rends), string(typ)+" rendition"), listRenditions(rends))
		}
		if typ == live.Video {
			slices.SortStableFunc(tracks, func(a, b cmaf.Track) int { return cmp.Compare(b.Width*b.Height, a.Width*a.Height) })
			slices.SortStableFunc(rends, func(a, b live.Rendition) int {
				if sized {
					return cmp.Compare(b.Width*b.Height, a.Width*a.Height)
				}
				return cmp.Compare(b.Bandwidth, a.Bandwidth)
			})
		}
		for i, t := range tracks {
			out[t.ID] = rends[i]
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: the input has %s and the event %s", ErrTracks, listTracks(in.Tracks), listRenditions(renditions))
	}
	return out, nil
}

func plural(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func typeName(t live.MediaType) string {
	if t == "" {
		return "neither video, audio nor text"
	}
	return string(t)
}

func listTracks(tracks []cmaf.Track) string {
	var s []string
	for _, t := range tracks {
		d := fmt.Sprintf("%d: %s", t.ID, cmp.Or(t.Codecs, typeName(t.Type)))
		if t.Width > 0 {
			d += fmt.Sprintf(" %dx%d", t.Width, t.Height)
		}
		s = append(s, d)
	}
	return "(" + strings.Join(s, ", ") + ")"
}

func listRenditions(renditions []live.Rendition) string {
	var s []string
	for _, r := range renditions {
		d := r.Name
		if r.Width > 0 {
			d += fmt.Sprintf(" %dx%d", r.Width, r.Height)
		}
		s = append(s, d)
	}
	return "(" + strings.Join(s, ", ") + ")"
}
