package cmaf

import "math"

// Flags of tfhd (ISO/IEC 14496-12, 8.8.7).
const (
	tfhdBaseOffset    = 0x000001
	tfhdDescription   = 0x000002
	tfhdDuration      = 0x000008
	tfhdSize          = 0x000010
	tfhdFlags         = 0x000020
	tfhdEmpty         = 0x010000
	tfhdBaseIsMoof    = 0x020000
	trunDataOffset    = 0x000001
	trunFirstFlags    = 0x000004
	trunDuration      = 0x000100
	trunSize          = 0x000200
	trunFlags         = 0x000400
	trunComposition   = 0x000800
	flagNonSync       = 0x00010000 // sample_is_non_sync_sample
	flagDependsMask   = 0x03000000 // sample_depends_on
	flagDependsOthers = 0x01000000
)

// maxTime bounds decode times, so that no sum of them overflows.
const maxTime = math.MaxInt64 / 4

// syncFlags reports whether sample flags mean a sync sample. A sample that
// depends on others is none, whatever its sync flag says: muxers that leave
// the sync flag 0 everywhere exist, and players judge it so.
func syncFlags(flags uint32) bool {
	return flags&flagNonSync == 0 && flags&flagDependsMask != flagDependsOthers
}

// A trackFragment is what tfhd and tfdt of a traf say.
type trackFragment struct {
	box                         Box
	id                          uint32
	flags                       uint32
	base                        int64 // of data offsets
	description                 uint32
	duration, size, sampleFlags uint32
	decode                      int64
	runs                        scanner // from the first trun on
	senc                        Box     // without Data where there is none
	unknown                     int64   // what a sample duration of 0 stands for; -1 not looked for yet
}

// parseTraf reads the headers of a traf. moof is the offset of the moof, and
// follow where the data of the traf before it ended.
func parseTraf(x Box, moof, follow int64) (trackFragment, error) {
	f := trackFragment{box: x, decode: -1, unknown: -1}
	var found bool
	for s := x.children(0); s.more(); {
		from := s
		c, err := s.next()
		if err != nil {
			return f, err
		}
		switch c.Type {
		case boxTrun:
			if !f.runs.more() {
				f.runs = from
			}
		case boxSenc:
			f.senc = c
		case boxTfhd:
			if found {
				return f, malformed(c.Offset, "a second tfhd")
			}
			found = true
			if err := f.header(c, moof, follow); err != nil {
				return f, err
			}
		case boxTfdt:
			if err := f.time(c); err != nil {
				return f, err
			}
		}
	}
	switch {
	case !found:
		return f, malformed(x.Offset, "no tfhd")
	case f.decode < 0:
		return f, malformed(x.Offset, "no tfdt: the fragment has no decode time")
	}
	return f, nil
}

func (f *trackFragment) header(c Box, moof, follow int64) error {
	_, flags, p, err := c.full(4)
	if err != nil {
		return err
	}
	need := 4
	for _, o := range [...]struct {
		flag uint32
		size int
	}{{tfhdBaseOffset, 8}, {tfhdDescription, 4}, {tfhdDuration, 4}, {tfhdSize, 4}, {tfhdFlags, 4}} {
		if flags&o.flag != 0 {
			need += o.size
		}
	}
	if len(p) < need {
		return malformed(c.Offset, "needs %d bytes for its flags %#x, has %d", need, flags, len(p)).in(c.Type)
	}
	f.id, f.flags = be32(p), flags
	p = p[4:]
	switch {
	case flags&tfhdBaseOffset != 0:
		base := be64(p)
		if base > maxTime {
			return malformed(c.Offset, "impossible base data offset %d", base).in(c.Type)
		}
		f.base = int64(base)
		p = p[8:]
	case flags&tfhdBaseIsMoof != 0:
		f.base = moof
	default:
		f.base = follow
	}
	for _, o := range [...]struct {
		flag uint32
		to   *uint32
	}{{tfhdDescription, &f.description}, {tfhdDuration, &f.duration}, {tfhdSize, &f.size}, {tfhdFlags, &f.sampleFlags}} {
		if flags&o.flag != 0 {
			*o.to, p = be32(p), p[4:]
		}
	}
	return nil
}

// inherit takes from trex what tfhd left out; t may be nil.
func (f *trackFragment) inherit(t *Track) {
	if t == nil {
		return
	}
	for _, o := range [...]struct {
		flag uint32
		to   *uint32
		from uint32
	}{
		{tfhdDescription, &f.description, t.DefaultDescription}, {tfhdDuration, &f.duration, t.DefaultDuration},
		{tfhdSize, &f.size, t.DefaultSize}, {tfhdFlags, &f.sampleFlags, t.DefaultFlags},
	} {
		if f.flags&o.flag == 0 {
			*o.to = o.from
		}
	}
}

func (f *trackFragment) time(c Box) error {
	version, _, p, err := c.full(4)
	if err != nil {
		return err
	}
	if f.decode >= 0 {
		return malformed(c.Offset, "a second tfdt")
	}
	t := uint64(be32(p))
	if version > 0 {
		if len(p) < 8 {
			return malformed(c.Offset, "needs 8 bytes for a version 1 time, has %d", len(p)).in(c.Type)
		}
		t = be64(p)
	}
	if t > maxTime {
		return malformed(c.Offset, "impossible decode time %d", t).in(c.Type)
	}
	f.decode = int64(t)
	return nil
}

// A sampleRun is one trun: samples whose data lies end to end.
type sampleRun struct {
	count      uint32
	flags      uint32
	firstFlags uint32
	data       int64  // offset of the first sample's data
	table      []byte // count entries of stride bytes
	stride     int
	// where in an entry a field lies, -1 where the default below holds
	durationAt, sizeAt, flagsAt, compositionAt int
	duration, size, sampleFlags                uint32
}

// parseRun reads a trun of f. follow is where the data of the run before ended.
func (f *trackFragment) parseRun(c Box, follow int64) (sampleRun, error) {
	_, flags, p, err := c.full(4)
	if err != nil {
		return sampleRun{}, err
	}
	r := sampleRun{
		count: be32(p), flags: flags, data: follow,
		durationAt: -1, sizeAt: -1, flagsAt: -1, compositionAt: -1,
		duration: f.duration, size: f.size, sampleFlags: f.sampleFlags, firstFlags: f.sampleFlags,
	}
	p = p[4:]
	short := func() (sampleRun, error) {
		return sampleRun{}, malformed(c.Offset, "%d samples do not fit in %d bytes", r.count, len(c.Data)).in(c.Type)
	}
	if flags&trunDataOffset != 0 {
		if len(p) < 4 {
			return short()
		}
		r.data, p = f.base+int64(int32(be32(p))), p[4:]
	}
	if flags&trunFirstFlags != 0 {
		if len(p) < 4 {
			return short()
		}
		r.firstFlags, p = be32(p), p[4:]
	}
	if flags&trunDuration != 0 {
		r.durationAt, r.stride = r.stride, r.stride+4
	}
	if flags&trunSize != 0 {
		r.sizeAt, r.stride = r.stride, r.stride+4
	}
	if flags&trunFlags != 0 {
		r.flagsAt, r.stride = r.stride, r.stride+4
	}
	if flags&trunComposition != 0 {
		r.compositionAt, r.stride = r.stride, r.stride+4
	}
	if int64(len(p)) < int64(r.count)*int64(r.stride) {
		return short()
	}
	r.table = p[:int(r.count)*r.stride]
	return r, nil
}

// sample is entry i. A composition offset is read as signed in both versions
// of trun: writers of version 0 use negative ones too, and no true offset
// needs the 32nd bit.
func (r *sampleRun) sample(i int) (duration, size, flags uint32, composition int32) {
	duration, size, flags = r.duration, r.size, r.sampleFlags
	e := r.table[i*r.stride:]
	if r.durationAt >= 0 {
		duration = be32(e[r.durationAt:])
	}
	if r.sizeAt >= 0 {
		size = be32(e[r.sizeAt:])
	}
	if r.flagsAt >= 0 {
		flags = be32(e[r.flagsAt:])
	}
	if r.compositionAt >= 0 {
		composition = int32(be32(e[r.compositionAt:]))
	}
	if i == 0 && r.flags&trunFirstFlags != 0 {
		flags = r.firstFlags
	}
	return duration, size, flags, composition
}

// bytes is how much data the samples have, at most maxTime.
func (r *sampleRun) bytes() int64 {
	if r.sizeAt < 0 {
		return int64(min(uint64(r.count)*uint64(r.size), maxTime))
	}
	sum := int64(0)
	for i := range int(r.count) {
		sum += int64(be32(r.table[i*r.stride+r.sizeAt:]))
	}
	return sum
}
