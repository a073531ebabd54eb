package packager

import (
	"bytes"
	"io"
	"testing"

	"headwater/cmaf"
	"headwater/live"
)

// told puts event messages before the fragments of a stream, counted from 0.
func told(t *testing.T, stream []byte, before map[int][]cmaf.Event) []byte {
	t.Helper()
	var out []byte
	n := 0
	for r := cmaf.NewReader(bytes.NewReader(stream)); ; {
		p, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if p.Fragment != nil {
			for _, e := range before[n] {
				out = cmaf.AppendEvent(out, &e)
			}
			n++
		}
		out = append(out, p.Raw...)
	}
}

// messages are those of segments of a rendition, as inspection reads them.
func messages(t *testing.T, segs []*segment) map[int64][]cmaf.Event {
	t.Helper()
	out := map[int64][]cmaf.Event{}
	for _, s := range segs {
		r, err := cmaf.Inspect(s.data, s.track, cmaf.Window{})
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Events) > 0 {
			out[int64(s.number)] = r.Events
		}
	}
	return out
}

func TestEventMessagesGoWithTheirMedia(t *testing.T) {
	e := eventOf("ladder.mp4")
	plain := mustSplit(t, e, fixture(t, "ladder.mp4"))
	early := cmaf.Event{Version: 0, Scheme: "urn:x", Value: "1", ID: 1, Timescale: 1000, Time: 3500, Duration: 100, Data: []byte("a")}
	exact := cmaf.Event{Version: 1, Scheme: "urn:x", Value: "1", ID: 2, Timescale: 90000, Time: e.Start.Unix() * 90000, Duration: 9000, Data: []byte("b")}
	second := media(plain, "v720")[1].number
	// Of the fragments before the last segment, whichever track is theirs.
	n := 0
	for r := cmaf.NewReader(bytes.NewReader(fixture(t, "ladder.mp4"))); ; n++ {
		p, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f := p.Fragment; f != nil && f.Tracks[0].ID == 1 && n > 1 {
			n-- // the init segment is none
			break
		}
	}
	segs := mustSplit(t, e, told(t, fixture(t, "ladder.mp4"), map[int][]cmaf.Event{0: {early}, n: {exact, early, exact}}))
	for _, rendition := range []string{"v720", "v360"} {
		got := messages(t, media(segs, rendition))
		first := int64(media(plain, rendition)[0].number)
		if len(got) != 2 || len(got[first]) != 1 || len(got[int64(second)]) != 2 {
			t.Fatalf("%s: messages of segments %v", rendition, got)
		}
		if x := got[first][0]; !x.Same(&early) || x.Version != 0 {
			t.Errorf("%s: %+v, want %+v", rendition, x, early)
		}
		if x := got[int64(second)][0]; !x.Same(&exact) {
			t.Errorf("%s: %+v, want %+v, once", rendition, x, exact)
		}
	}
	if got := messages(t, media(segs, "a-en")); len(got) > 0 {
		t.Errorf("sound has %v", got)
	}
	// The media is what it is without.
	for i, s := range media(segs, "v720") {
		want, _ := cmaf.Inspect(media(plain, "v720")[i].data, s.track, cmaf.Window{})
		got, _ := cmaf.Inspect(s.data, s.track, cmaf.Window{})
		if got.Samples != want.Samples || got.Span != want.Span {
			t.Errorf("segment %d: %+v, want %+v", s.number, got, want)
		}
	}
}

// TestEventMessagesAreRestamped has an encoder whose times begin at 0: what says when it
// is moves as far as the media, what counts from its segment as far as that is cut anew.
func TestEventMessagesAreRestamped(t *testing.T) {
	c := newCutRun("video").c
	var segs []*segment
	c.emit = func(c *cutter, n live.Number, s []sample) {
		seg, err := newSegment("x", c.track, n, s)
		if err != nil {
			t.Fatal(err)
		}
		segs = append(segs, seg)
	}
	scale := c.track.Timescale
	// A fragment that begins 400 ms into segment 1: its message is 300 ms after that.
	c.add(frames(0, 400, 0))
	c.told = []cmaf.Event{{Version: 0, Scheme: "urn:x", Timescale: 2 * scale, ID: 1, Time: 2 * 700}}
	c.add(frames(400, 2000))
	// One of the past: it was for a segment that is not there.
	c.told = []cmaf.Event{{Version: 0, Scheme: "urn:x", Timescale: scale, ID: 2, Time: 1500}}
	c.add(frames(2000, 4000, 2000))
	c.flush()
	got := messages(t, segs)
	if x := got[1]; len(x) != 1 || x[0].Time != 1400 || x[0].Version != 0 {
		t.Errorf("in segment 1: %+v", x)
	}
	if x := got[2]; len(x) != 1 || x[0].Time != 1500 || x[0].Version != 1 {
		t.Errorf("in segment 2: %+v", x)
	}
}

// TestDroppedSegmentsLeaveTheirMessages has what came with a partial segment go into the next.
func TestDroppedSegmentsLeaveTheirMessages(t *testing.T) {
	r := newCutRun("video")
	var events []cmaf.Event
	r.c.emit = func(_ *cutter, _ live.Number, s []sample) {
		for i := range s {
			events = append(events, s[i].events...)
		}
	}
	r.c.told = []cmaf.Event{{Version: 1, Scheme: "urn:x", Timescale: 1000, ID: 1, Time: 5000}}
	r.c.add(frames(1000, 2000, 1000))
	r.c.add(frames(2000, 4000, 2000))
	r.c.flush()
	if len(events) != 1 || events[0].ID != 1 {
		t.Errorf("%+v", events)
	}
}
