package browser

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/live"
	"headwater/scenario"
)

// box is one of ISO/IEC 14496-12.
func box(kind string, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(8+len(body))), kind...), body...)
}

func u32s(v ...uint32) (b []byte) {
	for _, n := range v {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

// A text is a rendition of subtitles, with times in milliseconds.
type text struct {
	live.Rendition
	entry, header []byte // of its init segment: the sample entry, and the media header
	handler       string
	// sample is what is shown from a time on until another.
	sample func(from, to int64, words string) []byte
}

func (x *text) init() []byte {
	none := u32s(0, 0)
	return append(box("ftyp", []byte("cmf2"), u32s(0), []byte("cmf2iso6")), box("moov",
		box("mvhd", u32s(0, 0, 0, 1000, 0, 0x10000, 0x1000000, 0, 0, 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000), make([]byte, 24), u32s(2)),
		box("trak", box("tkhd", u32s(3, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000, 0, 0)),
			box("mdia", box("mdhd", u32s(0, 0, 0, 1000, 0, 0x55c40000)), box("hdlr", u32s(0, 0), []byte(x.handler), make([]byte, 13)),
				box("minf", x.header, box("dinf", box("dref", u32s(0, 1), box("url ", u32s(1)))),
					box("stbl", box("stsd", u32s(0, 1), x.entry), box("stts", none), box("stsc", none), box("stsz", u32s(0, 0, 0)), box("stco", none))))),
		box("mvex", box("trex", u32s(0, 1, 1, 0, 0, 0))))...)
}

// segment has words from half a second after its beginning on, for a second.
func (x *text) segment(n live.Number) []byte {
	at, words := int64(n)*2000, x.Name+" "+n.String()
	var table, data []byte
	for _, s := range []struct {
		from, to int64
		words    string
	}{{0, 500, ""}, {500, 1500, words}, {1500, 2000, ""}} {
		sample := x.sample(at+s.from, at+s.to, s.words)
		table, data = append(table, u32s(uint32(s.to-s.from), uint32(len(sample)))...), append(data, sample...)
	}
	moof := func(offset uint32) []byte {
		return box("moof", box("mfhd", u32s(0, uint32(n))), box("traf", box("tfhd", u32s(0x020000, 1)), box("tfdt", u32s(0x01000000), binary.BigEndian.AppendUint64(nil, uint64(at))),
			box("trun", u32s(0x000301, 3, offset), table)))
	}
	return append(moof(uint32(len(moof(0))+8)), box("mdat", data)...)
}

var wvtt = text{
	Rendition: live.Rendition{Name: "t-en", Type: live.Text, Bandwidth: 2000, Language: "en", Label: "English"},
	entry:     box("wvtt", u32s(0, 1), box("vttC", []byte("WEBVTT"))), header: box("nmhd", u32s(0)), handler: "text",
	sample: func(_, _ int64, words string) []byte {
		if words == "" {
			return box("vtte")
		}
		return box("vttc", box("payl", []byte("<i>"+words+"</i>")))
	},
}

var stpp = text{
	Rendition: live.Rendition{Name: "t-de", Type: live.Text, Bandwidth: 4000, Language: "de", Role: "caption"},
	entry:     box("stpp", u32s(0, 1), []byte("http://www.w3.org/ns/ttml\x00\x00\x00")), header: box("sthd", u32s(0)), handler: "subt",
	sample: func(from, to int64, words string) []byte {
		clock := func(ms int64) string {
			return fmt.Sprintf("%02d:%02d:%02d.%03d", ms/3600000, ms/60000%60, ms/1000%60, ms%1000)
		}
		p := ""
		if words != "" {
			p = fmt.Sprintf(`<div region="top"><p begin="%s" end="%s">%s<br/><span tts:fontWeight="bold">fett</span></p></div>`, clock(from), clock(to), words)
		}
		return fmt.Appendf(nil, `<?xml version="1.0" encoding="UTF-8"?><tt xmlns="http://www.w3.org/ns/ttml" xmlns:tts="http://www.w3.org/ns/ttml#styling" xml:lang="de"><head><layout>`+
			`<region xml:id="top" tts:origin="10%% 10%%" tts:extent="80%% 20%%" tts:textAlign="center"/></layout></head><body>%s</body></tt>`, p)
	},
}

// forced is what all are shown who hear English.
func forced() text {
	x := wvtt
	x.Name, x.Role, x.Label = "t-forced", "forced-subtitle", ""
	return x
}

// TestSubtitles has our page show subtitles of both kinds, at their times and at no other,
// also behind a segment that was lost, and what is forced without being asked.
func TestSubtitles(t *testing.T) {
	needBrowser(t)
	t.Parallel() // it mostly waits
	texts := []text{wvtt, stpp, forced()}
	var event live.Event
	s := start(t, scenario.Options{}, func(e *live.Event) {
		for _, x := range texts {
			e.Renditions = append(e.Renditions, x.Rendition)
		}
		e.OnLost = live.LostGap
		event = *e
	})
	ctx, cancel := context.WithCancel(t.Context())
	var sender sync.WaitGroup
	sender.Go(func() { publishTexts(ctx, t, s, event.FirstNumber, texts) })
	defer sender.Wait()
	defer cancel()
	settled(t, s)
	shots, err := filepath.Abs("../../build")
	if err != nil {
		t.Fatal(err)
	}
	asked, err := json.Marshal(map[string]any{"url": s.PageURL(), "screenshots": shots, "shown": [][2]any{{"", 8}, {wvtt.Name, 9}, {stpp.Name, 9}}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "subtitles.mjs", string(asked))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var r struct {
		Options [][2]string
		Seen    map[string][]showing
		Off     struct{ Cues []any }
		Errors  []string
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := [][2]string{{"", "No subtitles"}, {wvtt.Name, "English"}, {stpp.Name, "de (caption)"}}; !slices.Equal(r.Options, want) {
		t.Errorf("may be chosen: %v", r.Options)
	}
	if len(r.Errors) > 0 || len(r.Off.Cues) > 0 {
		t.Errorf("errors %v, shown when off: %v", r.Errors, r.Off.Cues)
	}
	for chosen, shown := range map[string]string{"": "t-forced", wvtt.Name: wvtt.Name, stpp.Name: stpp.Name} {
		right := map[live.Number]bool{}
		var missing, middles, lingering, others float64
		for _, at := range r.Seen[chosen] {
			for _, c := range at.Cues {
				// Media time says which it is, however busy the browser is.
				n := event.FirstNumber + live.Number(c.From/2)
				if !strings.Contains(c.Text, shown+" "+n.String()) || math.Abs(math.Mod(c.From, 2)-0.5) > 0.01 || math.Abs(c.To-c.From-1) > 0.01 || n%lostEvery == 0 {
					t.Errorf("%s: %q from %.3f to %.3f", shown, c.Text, c.From, c.To)
				}
				right[n] = true
			}
			switch phase, lost := math.Mod(at.Time, 2), (event.FirstNumber+live.Number(at.Time/2))%lostEvery == 0; {
			case phase > 0.8 && phase < 1.2 && !lost:
				if middles++; len(at.Cues) == 0 {
					missing++
				}
			case phase < 0.3, phase > 1.8, lost:
				if others++; len(at.Cues) > 0 {
					lingering++
				}
			}
		}
		t.Logf("%s: %d segments; of %v moments in the middle of a cue without it %v, of %v others with one %v", shown, len(right), middles, missing, others, lingering)
		if len(right) == 0 || missing > middles/2 || lingering > others/2 {
			t.Errorf("%s is not shown when it should be, or when it should not", shown)
		}
	}
}

// lostEvery is which segments of subtitles nobody publishes.
const lostEvery = 3

// A showing is what is shown at a media time in seconds.
type showing struct {
	Time float64
	Cues []struct {
		Text     string
		From, To float64
	}
}

func (s *showing) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &[]any{&s.Time, &s.Cues}) }

// publishTexts sends subtitles as two pipelines do, each segment when its media has been
// filmed.
func publishTexts(ctx context.Context, t *testing.T, s *scenario.System, n live.Number, texts []text) {
	put := func(path string, body []byte) {
		for _, pipeline := range []string{"a", "b"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.PublishURL()+"/"+s.Event.String()+"/"+pipeline+"/"+path, bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return // the test is over
			}
			resp.Body.Close()
			if resp.StatusCode/100 != 2 || resp.Header.Get(live.HeaderDefects) != "" {
				t.Errorf("%s: %s %v", path, resp.Status, resp.Header)
			}
		}
	}
	for first := n; ; n++ {
		select {
		case <-time.After(time.Until(time.Unix(2*int64(n)+2, 0))):
		case <-ctx.Done():
			return
		}
		for _, x := range texts {
			if n == first {
				put(x.Name+"/"+live.InitName, x.init())
			}
			if n%lostEvery != 0 || n == first {
				put(x.Name+"/"+live.SegmentName(n), x.segment(n))
			}
		}
	}
}
