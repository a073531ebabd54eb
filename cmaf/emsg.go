package cmaf

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"
)

const (
	// MaxEvents bounds the event messages of one segment, and of one part of a stream.
	MaxEvents = 256
	// maxEventName bounds the scheme and the value of one that is read, in bytes.
	maxEventName = 256
	// maxEventData bounds its data: who gathers MaxEvents of them must not fill memory.
	maxEventData = 256 << 10

	// NoEventDuration is the duration of an event of which the end is not known.
	NoEventDuration = math.MaxUint32
)

// An Event is an event message: an emsg box (ISO/IEC 23009-1, 5.10.3.3), or what a
// sample of an event message track holds (ISO/IEC 23001-18).
type Event struct {
	Version       byte // of the box: 0 or 1
	Scheme, Value string
	ID            uint32
	Timescale     uint32
	// Time is when the event is, in Timescale: in version 1 on the media's timeline, as
	// it is shown; in version 0 after the earliest sample of the segment that the box is
	// in, and only what has placed it has it on the timeline.
	Time     int64
	Duration uint32 // NoEventDuration: not known
	Data     []byte // of a box a subslice of it, of a sample by itself
}

// parseEvent reads an emsg box. ok is false for one that is well-formed and says
// nothing: of a version that is not known, without a timescale, with names that are
// none, or with more data than anybody would read.
func parseEvent(x Box) (e Event, ok bool, err error) {
	version, _, p, err := x.full(0)
	if err != nil {
		return Event{}, false, err
	}
	var fields []byte
	need := 16
	switch version {
	case 0:
		if e.Scheme, e.Value, p, ok = names(p); !ok {
			return Event{}, false, malformed(x.Offset, "its strings do not end").in(x.Type)
		}
		fields = p
	case 1:
		need = 20
		fields = p
	default:
		return Event{}, false, nil
	}
	if len(fields) < need {
		return Event{}, false, malformed(x.Offset, "%d bytes of fields, version %d has %d", len(fields), version, need).in(x.Type)
	}
	e.Version, e.Timescale = version, be32(fields)
	rest := fields[need:]
	if version == 0 {
		e.Time = int64(be32(fields[4:]))
	} else {
		e.Time = int64(min(be64(fields[4:]), maxTime))
		if e.Scheme, e.Value, rest, ok = names(rest); !ok {
			return Event{}, false, malformed(x.Offset, "its strings do not end").in(x.Type)
		}
	}
	e.Duration, e.ID, e.Data = be32(fields[need-8:]), be32(fields[need-4:]), rest
	return e, e.sensible(), nil
}

func (e *Event) sensible() bool {
	name := func(s string) bool { return len(s) <= maxEventName && utf8.ValidString(s) }
	return e.Timescale > 0 && e.Scheme != "" && name(e.Scheme) && name(e.Value) && len(e.Data) <= maxEventData
}

// names reads two strings that end with a zero.
func names(p []byte) (scheme, value string, rest []byte, ok bool) {
	s, p, ok1 := bytes.Cut(p, []byte{0})
	v, p, ok2 := bytes.Cut(p, []byte{0})
	return string(s), string(v), p, ok1 && ok2
}

// AppendEvent appends an event as an emsg box of its version; where a time does not fit
// into that, or is before the segment, version 1 is to be used.
func AppendEvent(dst []byte, e *Event) []byte {
	be := binary.BigEndian
	dst, end := openBox(dst, boxEmsg)
	dst = be.AppendUint32(dst, uint32(e.Version)<<24)
	strings := func(dst []byte) []byte {
		dst = append(append(dst, e.Scheme...), 0)
		return append(append(dst, e.Value...), 0)
	}
	if e.Version == 0 {
		dst = be.AppendUint32(strings(dst), e.Timescale)
		dst = be.AppendUint32(dst, uint32(e.Time))
	} else {
		dst = be.AppendUint64(be.AppendUint32(dst, e.Timescale), uint64(e.Time))
	}
	dst = be.AppendUint32(be.AppendUint32(dst, e.Duration), e.ID)
	if e.Version != 0 {
		dst = strings(dst)
	}
	return end(append(dst, e.Data...))
}

// Same reports whether two events say the same, wherever they are counted from.
func (e *Event) Same(o *Event) bool {
	return e.Scheme == o.Scheme && e.Value == o.Value && e.ID == o.ID && e.Timescale == o.Timescale && e.Time == o.Time &&
		e.Duration == o.Duration && bytes.Equal(e.Data, o.Data)
}

// EventsOf are the event messages in the samples of a fragment of an event message
// track, on its timeline. Samples that say that there is nothing (emeb) have none, and
// what is not well-formed is left out.
func EventsOf(p *Part, f *TrackFragment) []Event {
	if f.Track == nil || !f.Track.EventMessages {
		return nil
	}
	var out []Event
	for _, s := range f.Samples {
		for x, err := range Boxes(p.Data(s)) {
			if err != nil || len(out) == MaxEvents {
				break
			}
			if x.Type != boxEmib {
				continue
			}
			if e, ok := parseInstance(x, f.Track, s); ok {
				out = append(out, e)
			}
		}
	}
	return out
}

// parseInstance reads an emib box (ISO/IEC 23001-18, 6.1) of a sample.
func parseInstance(x Box, t *Track, s Sample) (e Event, ok bool) {
	version, _, p, err := x.full(20)
	if err != nil || version != 0 {
		return Event{}, false
	}
	later := int64(be64(p[4:]))
	if later < -maxTime || later > maxTime {
		return Event{}, false
	}
	e = Event{Version: 1, Timescale: t.Timescale, Time: s.Decode + int64(s.Composition) - t.EditOffset + later, Duration: be32(p[12:]), ID: be32(p[16:])}
	if e.Scheme, e.Value, e.Data, ok = names(p[20:]); !ok {
		return Event{}, false
	}
	if e.Time < 0 || !e.sensible() {
		return Event{}, false
	}
	e.Data = bytes.Clone(e.Data) // whoever waits with it for media does not keep the whole fragment
	return e, true
}
