package cmaf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"headwater/live"
)

// ErrUnfit is wrapped where a clip is none that can stand in for segments of a track: it is
// of another encoding, or cannot be cut where segments begin. The error says what is
// different, or where.
var ErrUnfit = errors.New("cmaf: the clip does not fit")

func unfit(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrUnfit, fmt.Sprintf(format, a...))
}

// ParseClip cuts a clip into pieces that can stand in for lost segments of a track, each by
// Again: b is a fragmented MP4, init segment first, of which the track is taken that can
// be decoded with t's init segment, whatever its number, edit list and defaults. at(k) is
// where segment k begins behind the first, in the track's timescale; there pieces are cut,
// video at key frames, and what is behind the last whole one is left out.
//
// Errors wrap ErrUnfit, and ErrMalformed or ErrNotCMAF where b is no such file.
func ParseClip(b []byte, t *Track, at func(k int) int64) ([][]byte, error) {
	c := clip{t: t, at: at, room: len(b)}
	if err := c.read(b); err != nil {
		return nil, err
	}
	return c.cut()
}

// MaxClipPieces bounds a clip: 33 minutes of two-second segments.
const MaxClipPieces = 1000

// maxClipSamples bounds the memory that a clip takes while it is cut: 33 minutes have
// 240,000 frames at the most.
const maxClipSamples = 1 << 20

// A clip is one that is being cut.
type clip struct {
	t  *Track
	at func(k int) int64

	id      uint32 // of the track in the file
	later   int64  // by how much its samples decode later here, for the edit lists
	samples []Sample
	data    [][]byte
	room    int // bytes of the file that no sample has yet
}

// read takes the samples of the track that fits, one after the other without holes.
func (c *clip) read(b []byte) error {
	r := NewReader(bytes.NewReader(b))
	for {
		p, err := r.Next()
		switch {
		case err == io.EOF && len(c.samples) == 0:
			return unfit("there is no media in it: it has to be fragmented (ffmpeg: -movflags +frag_keyframe+empty_moov+default_base_moof)")
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case p.Init != nil:
			if err := c.choose(p.Init); err != nil {
				return err
			}
			continue
		}
		for i := range p.Fragment.Tracks {
			f := &p.Fragment.Tracks[i]
			if f.ID != c.id {
				continue
			}
			if f.Whole {
				return unfit("its keys change inside of fragments: it has to be encrypted with the one key of the init segment")
			}
			for _, s := range f.Samples {
				if len(c.samples) == maxClipSamples {
					return unfit("it has more than %d samples", maxClipSamples)
				}
				if d := p.Data(s); len(d) > 0 {
					// Several may say that the same bytes are theirs: pieces would be far larger than the file.
					if c.room -= len(d); c.room < 0 {
						return malformed(0, "the samples of track %d are more than the file", c.id)
					}
					c.add(s, d)
				}
			}
		}
	}
}

func (c *clip) add(s Sample, data []byte) {
	s.Decode += c.later
	if n := len(c.samples); n > 0 {
		s.Decode = c.samples[n-1].Decode + int64(c.samples[n-1].Duration)
	}
	c.samples, c.data = append(c.samples, s), append(c.data, data)
}

// choose finds the track that fits. What its fragments say is written anew, so its number,
// defaults and edit list may be others.
func (c *clip) choose(in *Init) error {
	err := unfit("it has no %s track", c.t.Type)
	for i := range in.Tracks {
		x := in.Tracks[i]
		if x.Type != c.t.Type {
			continue
		}
		id, later := x.ID, c.t.EditOffset-x.EditOffset
		x.ID, x.EditOffset = c.t.ID, c.t.EditOffset
		x.DefaultDescription, x.DefaultDuration, x.DefaultSize, x.DefaultFlags = c.t.DefaultDescription, c.t.DefaultDuration, c.t.DefaultSize, c.t.DefaultFlags
		differs := c.t.Compatible(&x)
		if differs == nil && len(c.samples) > 0 && (id != c.id || later != c.later) {
			return unfit("another init segment comes in the middle of it")
		}
		if differs == nil {
			c.id, c.later = id, later
			return nil
		}
		err = unfit("%s; the old one is the rendition's, the new one the clip's: encode it with all options of the rendition's encoder, its rate control too", strings.TrimPrefix(differs.Error(), "cmaf: "))
	}
	return err
}

// cut makes the pieces.
func (c *clip) cut() ([][]byte, error) {
	frame, first, last, err := c.times()
	if err != nil {
		return nil, err
	}
	n := 0 // whole pieces
	for n < MaxClipPieces && first+c.at(n+1) <= last+frame {
		n++
	}
	seconds := func(ticks int64) float64 { return float64(ticks) / float64(c.t.Timescale) }
	switch {
	case n == 0:
		return nil, unfit("it lasts for %.3f s, and a segment for %.3f s", seconds(last-first), seconds(c.at(1)))
	case n == MaxClipPieces && last-first-c.at(n) > frame:
		return nil, unfit("it lasts for %.0f s: %d segments are the most", seconds(last-first), MaxClipPieces)
	}
	pieces := make([][]byte, 0, n)
	from := 0
	if c.t.Type == live.Video && !c.samples[0].Sync {
		return nil, unfit("it does not begin with a key frame")
	}
	for k := 1; k <= n; k++ {
		boundary := first + c.at(k)
		to, off := c.next(from, boundary)
		switch {
		case c.t.Type == live.Video && to < len(c.samples) && abs(off) > frame:
			return nil, unfit("a segment begins at %.3f s of it, and the nearest key frame is at %.3f s: it needs one every %.3f s", seconds(c.at(k)), seconds(c.at(k)+off), seconds(c.at(1)))
		case to == len(c.samples) && last-boundary > frame:
			return nil, unfit("a segment begins at %.3f s of it, and no key frame is there: it needs one every %.3f s", seconds(c.at(k)), seconds(c.at(1)))
		}
		if to == from {
			return nil, unfit("there is nothing in it from %.3f s to %.3f s", seconds(c.at(k-1)), seconds(c.at(k)))
		}
		data := c.data[from:to]
		pieces = append(pieces, AppendSegment(nil, uint32(k), c.t, c.samples[from:to], func(i int) []byte { return data[i] }))
		from = to
	}
	return pieces, nil
}

// times are how long a sample usually lasts, and from where to where the clip is shown. It
// moves samples that would decode before 0.
func (c *clip) times() (frame, first, last int64, err error) {
	var durations histogram
	for i := range c.samples {
		durations.add(c.samples[i].Duration, 1)
	}
	usual, _ := durations.typical()
	if frame = int64(usual); frame == 0 {
		return 0, 0, 0, unfit("it does not say how long its samples last")
	}
	shift := int64(0)
	if decode := c.samples[0].Decode; decode < 0 {
		shift = (-decode + frame - 1) / frame * frame
	}
	for i := range c.samples {
		s := &c.samples[i]
		s.Decode += shift
		if s.Decode > maxTime {
			return 0, 0, 0, malformed(0, "impossible decode time %d", s.Decode)
		}
		shown := c.shown(i)
		if i == 0 {
			first, last = shown, shown
		}
		first, last = min(first, shown), max(last, shown+int64(s.Duration))
	}
	return frame, first, last, nil
}

func (c *clip) shown(i int) int64 {
	return c.samples[i].Decode + int64(c.samples[i].Composition) - c.t.EditOffset
}

// next is the first sample behind from of the piece that begins at a boundary, of video the
// key frame nearest to that, and how far off it is; the number of samples where there is none.
func (c *clip) next(from int, boundary int64) (to int, off int64) {
	to, off = len(c.samples), 0
	for i := from + 1; i < len(c.samples); i++ {
		d := c.shown(i) - boundary
		if c.t.Type != live.Video {
			if d >= 0 {
				return i, d
			}
			continue
		}
		if !c.samples[i].Sync {
			continue
		}
		if to < len(c.samples) && abs(d) >= abs(off) {
			return to, off // they come later and later
		}
		to, off = i, d
	}
	return to, off
}
