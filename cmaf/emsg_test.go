package cmaf

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

var (
	eventOld = Event{Version: 0, Scheme: "urn:scte:scte35:2013:bin", Value: "1001", ID: 7, Timescale: 90000, Time: 45000, Duration: NoEventDuration, Data: []byte("old")}
	eventNew = Event{Version: 1, Scheme: "https://aomedia.org/emsg/ID3", ID: 8, Timescale: 1000, Time: 1 << 40, Duration: 500, Data: []byte("new")}
	anEvent  = AppendEvent(nil, &eventNew)
)

func TestEventMessages(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	for _, c := range []struct {
		name string
		in   []byte
		want string // of the events, or of the error
	}{
		{"none", nil, ""},
		{"version 0, as the standard writes it", full("emsg", 0, 0, "urn:scte:scte35:2013:bin\x00", "1001\x00", uint32(90000), uint32(45000), ^uint32(0), uint32(7), "old"), "7 0 45000/90000"},
		{"version 1, as the standard writes it", full("emsg", 1, 0, uint32(1000), uint64(1<<40), uint32(500), uint32(8), "https://aomedia.org/emsg/ID3\x00", "\x00", "new"), "8 1 1099511627776/1000"},
		{"two, and what lies between", join(anEvent, box("free"), AppendEvent(nil, &eventOld)), "8 1 1099511627776/1000, 7 0 45000/90000"},
		{"a version of the future", full("emsg", 2, 0, "anything"), ""},
		{"no timescale", full("emsg", 1, 0, uint32(0), uint64(5), uint32(0), uint32(1), "urn:x\x00\x00"), ""},
		{"no scheme", full("emsg", 1, 0, uint32(1), uint64(5), uint32(0), uint32(1), "\x00\x00"), ""},
		{"a scheme that is no text", full("emsg", 1, 0, uint32(1), uint64(5), uint32(0), uint32(1), "\xff\xfe\x00\x00"), ""},
		{"data beyond all reason", full("emsg", 1, 0, uint32(1), uint64(5), uint32(0), uint32(1), "urn:x\x00\x00", make([]byte, maxEventData+1)), ""},
		{"a scheme without end", full("emsg", 1, 0, uint32(1), uint64(5), uint32(0), uint32(1), "urn:x"), "error: its strings do not end"},
		{"a value without end", full("emsg", 0, 0, "urn:x\x00", "value"), "error: its strings do not end"},
		{"fields cut off", full("emsg", 0, 0, "urn:x\x00", "\x00", uint32(1)), "error: 4 bytes of fields"},
		{"no version", box("emsg"), "error: needs 4 bytes"},
		{"too many", bytes.Repeat(anEvent, MaxEvents+1), "error: more than 256"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Inspect(join(AppendStyp(nil), c.in, m.segments[0]), m.track, Window{})
			got := describeEvents(r.Events)
			if err != nil {
				if !errors.Is(err, ErrMalformed) || !strings.HasPrefix(c.want, "error: ") || !strings.Contains(err.Error(), c.want[7:]) {
					t.Errorf("%v, want %q", err, c.want)
				}
				return
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			for _, e := range r.Events {
				if b := AppendEvent(nil, &e); !bytes.Contains(c.in, b) {
					t.Errorf("written again it is %x", b)
				}
			}
		})
	}
}

func describeEvents(events []Event) string {
	var s []string
	for _, e := range events {
		s = append(s, fmt.Sprintf("%d %d %d/%d", e.ID, e.Version, e.Time, e.Timescale))
	}
	return strings.Join(s, ", ")
}

// evteInit is an event message track of 1000 ticks a second, by hand.
func evteInit() []byte {
	return handInit("meta", 1000, box("evte", make([]byte, 6), uint16(1), full("silb", 0, 0, uint32(1), "urn:x\x00\x00", uint32(0))))
}

// instance is an event as a sample holds it, that much later than the sample.
func instance(e Event, later int64) []byte {
	return full("emib", 0, 0, uint32(0), uint64(later), e.Duration, e.ID, e.Scheme+"\x00", e.Value+"\x00", e.Data)
}

// evteFragment has one sample of some boxes.
func evteFragment(decode int64, boxes ...[]byte) []byte {
	data := join(boxes...)
	return AppendChunk(nil, 1, &Track{ID: 1, DefaultDescription: 1}, []Sample{{Decode: decode, Duration: 1000, Description: 1, Sync: true}}, func(int) []byte { return data })
}

func TestEventMessageTracks(t *testing.T) {
	for _, c := range []struct {
		name  string
		boxes []byte
		want  string
	}{
		{"nothing", box("emeb"), ""},
		{"one now, one to come", join(instance(eventOld, 0), instance(eventNew, 2500)), "7 1 5000/1000, 8 1 7500/1000"},
		{"one that has begun", instance(eventNew, -1500), "8 1 3500/1000"},
		{"before all time", instance(eventNew, -6000), ""},
		{"after it", instance(eventNew, 1<<62), ""},
		{"cut off", join(instance(eventOld, 0), full("emib", 0, 0, "x")), "7 1 5000/1000"},
		{"no box", []byte("hello, this is text"), ""},
	} {
		ps := parts(t, join(evteInit(), evteFragment(5000, c.boxes)))
		if in := ps[0].Init; !in.Tracks[0].EventMessages {
			t.Fatalf("not seen to have event messages: %+v", in.Tracks[0])
		}
		if got := describeEvents(EventsOf(ps[1], &ps[1].Fragment.Tracks[0])); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	ps := parts(t, join(evteInit(), evteFragment(5000, instance(eventOld, 0))))
	events := EventsOf(ps[1], &ps[1].Fragment.Tracks[0])
	if clear(ps[1].Raw); len(events) != 1 || string(events[0].Data) != "old" {
		t.Errorf("%+v: who keeps an event keeps the whole fragment", events)
	}
}
