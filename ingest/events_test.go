package ingest

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"headwater/cmaf"
	"headwater/internal/mp4box"
	"headwater/live"
)

// eventsOf are the ids of the event messages of what was published, by number, of one
// rendition, with when each is.
func (w *world) eventsOf(s *source, rendition string) map[live.Number][]cmaf.Event {
	w.t.Helper()
	out := map[live.Number][]cmaf.Event{}
	for n, p := range w.origin.media(rendition) {
		r, err := cmaf.Inspect(p.body, s.track, cmaf.Window{})
		if err != nil {
			w.t.Errorf("%s %d: %v", rendition, n, err)
		}
		if len(r.Events) > 0 {
			out[n] = r.Events
		}
	}
	return out
}

// at is when an event message of version 1 is, in an event that counts from 1970.
func at(e cmaf.Event) time.Time {
	return time.Unix(0, e.Time*int64(time.Second/time.Duration(e.Timescale))).UTC()
}

// TestEventMessages sends them in segments of each form, by encoders whose times begin at
// 0: they come out once in the segments of the picture, at the time of its frame.
func TestEventMessages(t *testing.T) {
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(1234 * time.Millisecond)
				w := newWorld(t, testEvent(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), "v720", "a-en"), nil)
				all := sources(t)
				tracks := map[string]*source{"v720": all["v720"], "a-en": all["a-en"]}
				tracks["v720"].events = map[int][]cmaf.Event{
					2: {{Version: 1, Scheme: "urn:x", ID: 1, Timescale: 1000, Time: 4500, Duration: 10, Data: []byte("one")}},
					3: {{Version: 0, Scheme: "urn:x", ID: 2, Timescale: 1000, Time: 500, Data: []byte("two")}},
				}
				f.play(w, tracks, 6)
				w.stop()
				got := w.eventsOf(tracks["v720"], "v720")
				var numbers []live.Number
				for n := range got {
					numbers = append(numbers, n)
				}
				slices.Sort(numbers)
				if len(numbers) != 2 || numbers[1] != numbers[0]+1 {
					t.Fatalf("event messages in segments %v", numbers)
				}
				ev := w.origin.event
				tl := ev.Timeline()
				one, two := got[numbers[0]][0], got[numbers[1]][0]
				if want := tl.Start(numbers[0]).Add(500 * time.Millisecond); one.ID != 1 || !at(one).Equal(want) {
					t.Errorf("%+v at %v, want %v", one, at(one), want)
				}
				if two.ID != 2 || two.Version != 0 || two.Time != 500 {
					t.Errorf("%+v, half a second into its segment", two)
				}
				if got := w.eventsOf(tracks["a-en"], "a-en"); len(got) > 0 {
					t.Errorf("sound has %v", got)
				}
			})
		})
	}
}

var box = mp4box.Box

// TestEventMessageTrack has a track of event messages (ISO/IEC 23001-18) come beside
// sound and picture, in a long POST of its own: each event is in the picture's segments once,
// though each sample repeats it.
func TestEventMessageTrack(t *testing.T) {
	zero := make([]byte, 100)
	header := slices.Concat(box("ftyp", "iso6", uint32(0), "iso6"), box("moov",
		box("mvhd", uint32(0), zero[:92], uint32(9)),
		box("trak", box("tkhd", uint32(3), zero[:8], uint32(1), zero[:68]), box("mdia",
			box("mdhd", uint32(0), zero[:8], uint32(1000), uint32(0), uint32(0x55c4_0000)),
			box("hdlr", uint32(0), uint32(0), "meta", zero[:13]),
			box("minf", box("stbl", box("stsd", uint32(0), uint32(1), box("evte", zero[:6], uint16(1))))))),
		box("mvex", box("trex", uint32(0), uint32(1), uint32(1), zero[:12]))))
	// An ad break 5.5 s after the encoder began, said again in each second.
	sample := func(at int64) []byte {
		data := box("emib", uint32(0), uint32(0), 5500-at, uint32(30_000), uint32(77), "urn:scte:scte35:2013:bin\x00", "1\x00", "splice")
		if at < 2000 {
			data = box("emeb")
		}
		return cmaf.AppendChunk(nil, 1, &cmaf.Track{ID: 1, DefaultDescription: 1}, []cmaf.Sample{{Decode: at, Duration: 1000, Description: 1, Sync: true}}, func(int) []byte { return data })
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(1234 * time.Millisecond)
		w := newWorld(t, testEvent(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), "v720", "v360", "a-en"), nil)
		all := sources(t)
		f := forms[0]
		done := make(chan struct{})
		go func() {
			defer close(done)
			w.must("POST", "Streams(meta.cmfm)", header)
			for n := range int64(12) {
				time.Sleep(time.Second)
				w.must("POST", "Streams(meta.cmfm)", sample(1000*n))
			}
		}()
		f.play(w, all, 6)
		<-done
		w.stop()
		tl := w.origin.event.Timeline()
		for _, rendition := range []string{"v720", "v360"} {
			got := w.eventsOf(all[rendition], rendition)
			if len(got) != 1 {
				t.Fatalf("%s: messages in %v", rendition, got)
			}
			for n, events := range got {
				first := min(n, slices.Min(slicesOf(w.origin.media(rendition))))
				if want := tl.Start(first).Add(5500 * time.Millisecond); len(events) != 1 || events[0].ID != 77 || !at(events[0]).Equal(want) || string(events[0].Data) != "splice" {
					t.Errorf("%s %d: %+v at %v, want %v", rendition, n, events, at(events[0]), want)
				}
			}
		}
		if got := w.eventsOf(all["a-en"], "a-en"); len(got) > 0 {
			t.Errorf("sound has %v", got)
		}
		if !bytes.Contains(w.log.Bytes(), []byte("has event messages")) {
			t.Error("the log does not say what the track is")
		}
	})
}

func slicesOf(m map[live.Number]put) (out []live.Number) {
	for n := range m {
		out = append(out, n)
	}
	return out
}
