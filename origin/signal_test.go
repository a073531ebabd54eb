package origin

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// withEvents is a segment with event messages before its media.
func withEvents(segment []byte, events ...cmaf.Event) []byte {
	at := bytes.Index(segment, []byte("moof")) - 4
	out := bytes.Clone(segment[:at])
	for i := range events {
		out = cmaf.AppendEvent(out, &events[i])
	}
	return append(out, segment[at:]...)
}

// splice is an event message of a way out of the programme at a time, or back.
func splice(id uint32, out bool, at time.Time, length time.Duration) cmaf.Event {
	return cmaf.Event{Version: 1, Scheme: live.SpliceBinary, Value: "1", ID: id, Timescale: 1000, Time: at.UnixMilli(), Duration: cmaf.NoEventDuration,
		Data: live.AppendSpliceInsert(nil, id, out, length)}
}

// TestEventMessages has pipelines publish segments that tell of a splice: viewers are told
// once, in headers and manifests, and get the bytes as they came.
func TestEventMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a", "b")
		n := r.next()
		at := r.tl.Start(n + 4).Add(500 * time.Millisecond)
		id3 := cmaf.Event{Version: 0, Scheme: "https://aomedia.org/emsg/ID3", Timescale: 1000, ID: 1, Data: []byte("ID3")}
		for _, rendition := range []string{"v", "w"} {
			for _, pipeline := range []string{"a", "b"} {
				b := withEvents(r.m.segment(r.tl, rendition, n, take{mark: pipeline}), splice(7, true, at, 30*time.Second), id3)
				r.want(r.put(fmt.Sprintf("%s/%s/%d.m4s", pipeline, rendition, n), b), 201, "")
				if w := r.getSegment(rendition, n); pipeline == "a" && !bytes.Equal(w.Body.Bytes(), b) {
					t.Errorf("%s is delivered with other bytes", rendition)
				}
			}
		}
		data := live.AppendSpliceInsert(nil, 7, true, 30*time.Second)
		want := live.Notifications{Sequence: 1, Set: []live.Notification{{Type: live.TypeSCTE35Out, ID: fmt.Sprintf("splice-7-%d", n+4), From: n + 4, To: n + 19, At: at, Length: 30 * time.Second, Data: data}}}
		header, err := want.Header()
		if got := r.set(); err != nil || got != header {
			t.Errorf("viewers are told %q, want %q (%v)", got, header, err)
		}
		// Back, said by version 0 and in XML, by b alone: in one date range with the way out.
		back := cmaf.Event{Scheme: live.SpliceXML, Timescale: 90000, Time: 90000, ID: 8, Data: fmt.Appendf(nil, `<Signal xmlns="http://www.scte.org/schemas/35/2016"><Binary>%s</Binary></Signal>`, base64.StdEncoding.EncodeToString(live.AppendSpliceInsert(nil, 7, false, 0)))}
		time.Sleep(40 * time.Second)
		m := r.next()
		r.want(r.put(fmt.Sprintf("b/v/%d.m4s", m), withEvents(r.m.segment(r.tl, "v", m, take{}), back)), 201, "")
		playlist := r.get("v/media.m3u8").Body.String()
		length := r.tl.Start(m).Add(time.Second).Sub(at).Seconds()
		for _, part := range []string{
			`#EXT-X-DATERANGE:ID="splice-7-`, `START-DATE="` + at.Format("2006-01-02T15:04:05.000Z"), fmt.Sprintf(`DURATION=%.3f`, length), "SCTE35-OUT=0xFC", "SCTE35-IN=0xFC",
		} {
			if !strings.Contains(playlist, part) || strings.Count(playlist, "#EXT-X-DATERANGE") != 1 {
				t.Errorf("no %s in\n%s", part, playlist)
			}
		}
		mpd := r.get("manifest.mpd").Body.String()
		for _, part := range []string{`<InbandEventStream schemeIdUri="https://aomedia.org/emsg/ID3"`, `<InbandEventStream schemeIdUri="urn:scte:scte35:2013:bin" value="1"`,
			`<EventStream schemeIdUri="urn:scte:scte35:2014:xml+bin"`} {
			if strings.Count(mpd, part) != 1 { // one set of both renditions
				t.Errorf("%d times %s in\n%s", strings.Count(mpd, part), part, mpd)
			}
		}
		for outcome, want := range map[string]float64{"told": 2, "known": 3, "passed": 4} {
			if got := r.counted(fmt.Sprintf("event_messages_total{outcome=%q}", outcome)); got != want {
				t.Errorf("%s: %v, want %v", outcome, got, want)
			}
		}
		// What an operator leaves out stays known.
		if got := strings.Join(strings.Fields(r.control("GET", "", "").Body.String()), ""); !strings.Contains(got, `"inband_events":[{"scheme":"https://aomedia.org/emsg/ID3"},{"scheme":"urn:scte:scte35:2013:bin","value":"1"},{"scheme":"urn:scte:scte35:2014:xml+bin"}]`) {
			t.Error(got)
		}
	})
}

// TestHostileEventMessages: what is broken is refused or left out, and the media of a
// segment is worth more than what it says.
func TestHostileEventMessages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		r := newRig(t, Config{})
		r.putInits("a")
		n := r.next()
		whole := withEvents(r.m.segment(r.tl, "v", n, take{}), cmaf.Event{Version: 1, Scheme: "urn:x", Value: "y", Timescale: 1})
		r.want(r.put(fmt.Sprintf("a/v/%d.m4s", n), bytes.Replace(whole, []byte("urn:x\x00y\x00"), []byte("urn:xzyz"), 1)), 400, "malformed-media")
		r.want(r.put(fmt.Sprintf("a/v/%d.m4s", n), withEvents(r.m.segment(r.tl, "v", n, take{}), make([]cmaf.Event, cmaf.MaxEvents+1)...)), 400, "malformed-media")
		bad := splice(1, true, r.tl.Start(n), 0)
		bad.Data[len(bad.Data)-1] ^= 1 // CRC_32
		never := splice(2, true, r.tl.Start(n), 0)
		never.Time = 1 << 61
		r.want(r.put(fmt.Sprintf("a/v/%d.m4s", n), withEvents(r.m.segment(r.tl, "v", n, take{}), bad, never)), 201, "")
		if got := r.set(); got != "" {
			t.Errorf("viewers are told %q", got)
		}
		if got := r.counted(`event_messages_total{outcome="unreadable"}`); got != 2 {
			t.Errorf("%v are unreadable, want 2", got)
		}
		// More splices than viewers can be told: none is worth more than others, nor as much as the media.
		time.Sleep(2 * time.Second)
		var many []cmaf.Event
		for i := range uint32(cmaf.MaxEvents) {
			e := splice(1, true, r.tl.Start(n+2), 0)
			e.Data = timeSignal(1000*i, 64)
			many = append(many, e)
		}
		n = r.next()
		r.want(r.put(fmt.Sprintf("a/v/%d.m4s", n), withEvents(r.m.segment(r.tl, "v", n, take{}), many...)), 201, "")
		if got := r.set(); got != "" {
			t.Errorf("viewers are told %q", got)
		}
		if got, want := r.counted(`event_messages_total{outcome="left-out"}`), 64.0*cmaf.MaxEvents; got != want {
			t.Errorf("%v are left out, want %v", got, want)
		}
		// Many splices: those that are over make room, and no more are said than fit.
		for i := range 3 * live.MaxNotifications {
			time.Sleep(2 * time.Second)
			n = r.next()
			b := withEvents(r.m.segment(r.tl, "v", n, take{}), splice(uint32(i+10), true, r.tl.Start(n+1), time.Second))
			r.want(r.put(fmt.Sprintf("a/v/%d.m4s", n), b), 201, "")
		}
		told, err := live.ParseNotifications([]string{r.set()})
		if err != nil || len(told.Set) == 0 || told.Set[len(told.Set)-1].ID != fmt.Sprintf("splice-%d-%d", 3*live.MaxNotifications+9, n+1) {
			t.Errorf("viewers are told %+v, %v", told.Set, err)
		}
	})
}

// timeSignal is a splice_info_section whose time_signal has so many segmentation
// descriptors, each of an event of its own.
func timeSignal(id uint32, n int) []byte {
	be := binary.BigEndian
	b := []byte{0xfc, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xf0, 1, 0x06, 0x7f}
	b = be.AppendUint16(b, uint16(15*n))
	for i := range uint32(n) {
		b = be.AppendUint32(append(b, "\x02\x0dCUEI"...), id+i)
		b = append(b, 0x7f, 0xbf, 0, 0, 0x10) // of a programme that begins
	}
	be.PutUint16(b[1:], 0x3000|uint16(len(b)+4-3))
	crc := ^uint32(0) // ISO/IEC 13818-1, annex A
	for _, x := range b {
		crc ^= uint32(x) << 24
		for range 8 {
			crc = crc<<1 ^ crc>>31*0x04c11db7
		}
	}
	return be.AppendUint32(b, crc)
}
