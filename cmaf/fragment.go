package cmaf

import "slices"

// A Fragment is a parsed moof.
type Fragment struct {
	Sequence uint32 // of mfhd
	Tracks   []TrackFragment
}

// A TrackFragment is one traf of a moof.
type TrackFragment struct {
	ID          uint32
	Track       *Track // nil when the init segment has no such track
	Description uint32 // sample entry, from 1
	Decode      int64  // of the first sample, in the track's timescale
	Samples     []Sample
	Box         Box // the traf itself
	// Whole says that the samples of this fragment must stay together, and be
	// written by AppendFragment: keys change by sample group (seig), or where
	// their initialization vectors are is known to saio alone.
	Whole bool
}

// maxBareSamples bounds the samples of one fragment that take no bytes at all:
// neither in the sample table nor, having no size, in the data.
const maxBareSamples = 1 << 16

// maxPlainSamples bounds those that take no bytes in the sample table, whatever their size: one
// takes as much memory as 64 bytes of media.
const maxPlainSamples = 1 << 20

// ParseFragment reads the sample tables of a moof, which begins at offset base
// of its stream (this matters to absolute data offsets only) and is followed
// by at most data bytes of media. Offsets of samples count from the moof.
//
// It allocates for no more samples than the moof has table entries for or,
// where all is default, than fit into data by their size, and 1,048,576; samples of no size
// at all are at most 65,536. More is ErrMalformed.
func ParseFragment(moof []byte, in *Init, base, data int64) (*Fragment, error) {
	s := scanner{rest: moof}
	x, err := s.next()
	if err != nil {
		return nil, err
	}
	if x.Type != boxMoof {
		return nil, malformed(0, "not a moof").in(x.Type)
	}
	f := &Fragment{}
	room := int64(len(x.Data)) + max(data, 0)
	bare, plain := maxBareSamples, maxPlainSamples
	follow := int64(0)
	seen := false
	for s := x.children(0); s.more(); {
		c, err := s.next()
		if err != nil {
			return nil, within(boxMoof, err)
		}
		switch c.Type {
		case boxMfhd:
			_, _, p, err := c.full(4)
			if err != nil {
				return nil, within(boxMoof, err)
			}
			f.Sequence, seen = be32(p), true
		case boxTraf:
			t, end, err := readTraf(c, in, base, follow, &room, &bare, &plain)
			if err != nil {
				return nil, within(boxMoof, within(boxTraf, err))
			}
			f.Tracks = append(f.Tracks, t)
			follow = end
		}
	}
	if !seen {
		return nil, malformed(0, "no mfhd").in(boxMoof)
	}
	return f, nil
}

func readTraf(c Box, in *Init, base, follow int64, room *int64, bare, plain *int) (TrackFragment, int64, error) {
	f, err := parseTraf(c, 0, follow)
	if err != nil {
		return TrackFragment{}, 0, err
	}
	f.inherit(in.Track(f.id))
	if f.flags&tfhdBaseOffset != 0 {
		f.base -= base
	}
	out := TrackFragment{ID: f.id, Track: in.Track(f.id), Description: f.description, Decode: f.decode, Box: c}
	decode, end := f.decode, f.base
	for s := f.runs; s.more(); {
		b, err := s.next()
		if err != nil {
			return out, 0, err
		}
		if b.Type != boxTrun {
			continue
		}
		r, err := f.parseRun(b, end)
		if err != nil {
			return out, 0, err
		}
		if r.stride == 0 {
			// A product of two uint32 fits a uint64.
			need := uint64(r.count) * uint64(r.size)
			if need > uint64(*room) || r.size == 0 && int64(r.count) > int64(*bare) || int64(r.count) > int64(*plain) {
				return out, 0, malformed(b.Offset, "%d samples without entries are more than the data holds, or than %d", r.count, maxPlainSamples).in(boxTrun)
			}
			*room -= int64(need)
			*plain -= int(r.count)
			if r.size == 0 {
				*bare -= int(r.count)
			}
		}
		end = r.data
		out.Samples = slices.Grow(out.Samples, int(r.count))
		for i := range int(r.count) {
			duration, size, flags, composition := r.sample(i)
			out.Samples = append(out.Samples, Sample{
				Decode: decode, Duration: duration, Size: size, Composition: composition,
				Sync: syncFlags(flags), Flags: flags, Offset: end, Description: f.description,
			})
			decode += int64(duration)
			end += int64(size)
		}
		if decode > maxTime {
			return out, 0, malformed(b.Offset, "impossible decode time %d", decode).in(boxTrun)
		}
	}
	if out.Track != nil && out.Track.Encrypted {
		if err := out.protection(); err != nil {
			return out, 0, err
		}
	}
	return out, end, nil
}

// dataEnd is the offset from the start of a moof where its samples' data ends.
func dataEnd(moof []byte, in *Init, base int64) (int64, error) {
	s := scanner{rest: moof}
	x, err := s.next()
	if err != nil {
		return 0, err
	}
	var follow, end int64
	for s := x.children(0); s.more(); {
		c, err := s.next()
		if err != nil {
			return 0, within(boxMoof, err)
		}
		if c.Type != boxTraf {
			continue
		}
		f, err := parseTraf(c, 0, follow)
		if err != nil {
			return 0, within(boxMoof, within(boxTraf, err))
		}
		if f.flags&tfhdBaseOffset != 0 {
			f.base -= base
		}
		f.inherit(in.Track(f.id))
		follow = f.base
		for s := f.runs; s.more(); {
			b, err := s.next()
			if err != nil {
				return 0, within(boxMoof, within(boxTraf, err))
			}
			if b.Type != boxTrun {
				continue
			}
			r, err := f.parseRun(b, follow)
			if err != nil {
				return 0, within(boxMoof, within(boxTraf, err))
			}
			follow = min(r.data+r.bytes(), maxTime)
			end = max(end, follow)
		}
	}
	return end, nil
}
