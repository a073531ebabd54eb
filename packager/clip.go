package packager

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"headwater/clock"
	"headwater/cmaf"
	"headwater/live"
	"headwater/packager/clip"
)

// ErrClip is wrapped where the built-in clip cannot play an event.
var ErrClip = errors.New("packager: clip")

// clipGOP is how far apart the clip's key frames are, in seconds.
const clipGOP = 2

// A clipTrack is one track of the clip.
type clipTrack struct {
	name    string // of the rendition, unless the event says otherwise
	init    []byte
	track   *cmaf.Track
	samples []sample // one loop, decode times from 0
	loop    int64    // its length in ticks
}

// clipNames are the renditions of the clip's tracks, in their order.
var clipNames = []string{"v720", "v360", "v180", "a-en"}

// clipTracks reads a version of the clip.
func clipTracks(version string) ([]clipTrack, error) {
	raw := clip.B
	if version == "a" {
		raw = clip.A
	}
	var out []clipTrack
	byID := map[uint32]*clipTrack{}
	for r := cmaf.NewReader(bytes.NewReader(raw)); ; {
		part, err := r.Next()
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrClip, err)
		}
		if part.Init != nil {
			if len(out) > 0 || len(part.Init.Tracks) != len(clipNames) {
				return nil, fmt.Errorf("%w: not one init segment of %d tracks", ErrClip, len(clipNames))
			}
			out = make([]clipTrack, len(clipNames))
			for i, t := range part.Init.Tracks {
				init, err := part.Init.Single(part.Raw, t.ID)
				if err != nil {
					return nil, fmt.Errorf("%w: %w", ErrClip, err)
				}
				single, err := cmaf.ParseInit(init)
				if err != nil {
					return nil, fmt.Errorf("%w: %w", ErrClip, err)
				}
				out[i] = clipTrack{name: clipNames[i], init: init, track: &single.Tracks[0]}
				byID[t.ID] = &out[i]
			}
			continue
		}
		for _, f := range part.Fragment.Tracks {
			t := byID[f.ID]
			for _, s := range f.Samples {
				t.samples = append(t.samples, sample{Sample: s, data: part.Data(s)})
				t.loop = s.Decode + int64(s.Duration)
			}
		}
	}
}

// ClipRenditions describes the built-in clip as an event's renditions.
func ClipRenditions() ([]live.Rendition, error) {
	tracks, err := clipTracks("a")
	if err != nil {
		return nil, err
	}
	var out []live.Rendition
	for i := range tracks {
		t := &tracks[i]
		r := live.Rendition{
			Name: t.name, Type: t.track.Type, Bandwidth: t.bandwidth(), Codecs: t.track.Codecs,
			Width: t.track.Width, Height: t.track.Height, Timescale: int64(t.track.Timescale),
			SampleRate: t.track.SampleRate, Channels: t.track.Channels,
		}
		if r.Type == live.Video {
			r.FrameRate = strconv.FormatInt(int64(t.track.Timescale)/int64(t.samples[0].Duration), 10)
		} else {
			r.Language = "en"
		}
		out = append(out, r)
	}
	return out, nil
}

// PrintRenditions writes the built-in clip's renditions as JSON, for the
// "renditions" of an event.
func PrintRenditions(w io.Writer) error {
	renditions, err := ClipRenditions()
	if err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(renditions)
}

// bandwidth is that of the largest GOP, in bits per second, rounded up to 1000.
func (t *clipTrack) bandwidth() int64 {
	gop := int64(t.track.Timescale) * clipGOP
	bits := map[int64]int64{}
	var most int64
	for _, s := range t.samples {
		bits[s.Decode/gop] += int64(len(s.data)) * 8
		most = max(most, bits[s.Decode/gop])
	}
	return (most/clipGOP + 999) / 1000 * 1000
}

// A clipSource plays the clip for ever, in step with the event: its first
// frame is that of the event's first segment, so every packager of the event,
// whenever it starts, makes the same segment n at the same time, when n's last
// frame has been captured.
type clipSource struct {
	ctx      context.Context
	clock    *clock.Clock
	timeline func() live.Timeline
	stays    bool // beyond the event's end
	tracks   []clipTrack
	cutters  []*cutter
	number   live.Number
	begun    bool
	ready    []*segment
	err      error
}

// newClip checks that the clip can play the event. Tracks match renditions by
// name where the event has one of the clip's names, and as any input's otherwise.
// It ends with the event unless it stays, and dropped hears of what is then outside.
func newClip(ctx context.Context, clk *clock.Clock, version string, event *live.Event, timeline func() live.Timeline, stays bool, explicit map[uint32]string, dropped func(reason, rendition string, n live.Number)) (*clipSource, error) {
	if d := event.Segment; d.Ticks%(clipGOP*d.Timescale) != 0 {
		return nil, fmt.Errorf("%w: it has a key frame each %d s, so segments must last a multiple of that, not %d/%d s", ErrClip, clipGOP, d.Ticks, d.Timescale)
	}
	tracks, err := clipTracks(version)
	if err != nil {
		return nil, err
	}
	all, named := &cmaf.Init{}, map[uint32]string{}
	for i := range tracks {
		t := *tracks[i].track
		t.ID = uint32(i + 1)
		all.Tracks = append(all.Tracks, t)
		if _, ok := event.Rendition(tracks[i].name); ok {
			named[uint32(i+1)] = tracks[i].name
		}
	}
	if len(explicit) == 0 {
		explicit = named
	}
	match, err := matchTracks(all, event.Renditions, explicit)
	if err != nil {
		return nil, err
	}
	c := &clipSource{ctx: ctx, clock: clk, timeline: timeline, stays: stays}
	for i := range tracks {
		r, ok := match[uint32(i+1)]
		if !ok {
			continue
		}
		t := tracks[i]
		c.tracks = append(c.tracks, t)
		c.cutters = append(c.cutters, &cutter{
			rendition: r, track: t.track, timeline: timeline, emit: c.emit,
			dropped: func(reason string, n live.Number) { dropped(reason, r.Name, n) },
		})
		c.ready = append(c.ready, initSegment(r.Name, t.init, t.track))
	}
	return c, nil
}

func (c *clipSource) emit(cut *cutter, n live.Number, samples []sample) {
	seg, err := newSegment(cut.rendition.Name, cut.track, n, samples)
	if err != nil {
		c.err = err
		return
	}
	c.ready = append(c.ready, seg)
}

// Next returns init segments and then, for ever, one segment of each rendition
// each segment duration. It waits for the clock, or until ctx ends.
func (c *clipSource) Next() (*segment, error) {
	for len(c.ready) == 0 {
		if c.err != nil {
			return nil, c.err
		}
		if c.err = c.wait(); c.err != nil {
			return nil, c.err
		}
		for i := range c.cutters {
			c.cutters[i].add(c.tracks[i].of(c.number, c.timeline()))
		}
		c.number++
	}
	seg := c.ready[0]
	c.ready = c.ready[1:]
	return seg, nil
}

// mostBehind is how many segments a clip makes late, after its machine slept,
// before it leaves the others out.
const mostBehind = 5

// wait sleeps until the next segment's last frame has been captured.
func (c *clipSource) wait() error {
	tl := c.timeline()
	capturing := max(tl.At(c.clock.Now()), tl.First())
	if !c.begun || capturing-c.number > mostBehind || c.number-capturing > mostBehind { // or its clock was set right
		c.number, c.begun = capturing, true
	}
	if last, ok := tl.Last(); ok && c.number > last && !c.stays {
		return io.EOF
	}
	t := time.NewTimer(c.clock.Until(tl.End(c.number)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	}
}

// of returns the samples that begin inside segment n's boundaries: the loop,
// repeated from the event's start. The samples of a track are equally long.
func (t *clipTrack) of(n live.Number, tl live.Timeline) []sample {
	scale := int64(t.track.Timescale)
	origin, _ := tl.Media(tl.First(), scale)
	start, end := tl.Media(n, scale)
	start, end = start-origin, end-origin
	d := int64(t.samples[0].Duration)
	count := int64(len(t.samples))
	from, to := (start+d-1)/d, (end+d-1)/d
	out := make([]sample, 0, to-from)
	for i := from; i < to; i++ {
		s := t.samples[i%count]
		s.Decode = origin + i*d
		out = append(out, s)
	}
	return out
}
