package book

import (
	"encoding/binary"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// box is a pssh box that says how much it has.
func box(data int, said uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(32+data))
	b = append(b, "pssh\x00\x00\x00\x000123456789abcdef"...)
	return append(binary.BigEndian.AppendUint32(b, said), make([]byte, data)...)
}

// TestGenerationsAreBounded: event.json is as large as edges take, however many
// renditions have however much to tell.
func TestGenerationsAreBounded(t *testing.T) {
	rec := &Record{Config: live.Config{Event: live.Event{Start: time.Unix(0, 0)}}}
	inits := make(map[string]*Init)
	for i := range 30 {
		name := "v" + strconv.Itoa(i)
		rec.Config.Renditions = append(rec.Config.Renditions, live.Rendition{Name: name, Type: live.Video, Bandwidth: 1})
		inits[name] = &Init{Track: cmaf.Track{Type: live.Video, Timescale: 90000, PSSH: box(2000, 2000)}}
	}
	for n := live.Number(1); ; n++ {
		g, err := new(Event).Begun(rec, Beginning{From: n, Inits: inits})
		if err != nil {
			if n < 8 || n > 16 {
				t.Errorf("generation %d: %v", n, err)
			}
			return
		}
		rec.Apply(&Edit{Generation: &g})
		if b, _ := json.Marshal(rec.Config.Generations); len(b) > live.MaxGenerationBytes {
			t.Fatalf("%d generations are %d bytes", n, len(b))
		}
	}
}

// TestBegunIsReadByEdges: what a generation tells is what a configuration may have,
// whatever init segment it begins with, and wherever.
func TestBegunIsReadByEdges(t *testing.T) {
	for _, c := range []struct {
		name  string
		track cmaf.Track
		from  live.Number
		pssh  bool // is told
		ok    bool
	}{
		{"clear", cmaf.Track{}, 9, false, true},
		{"one system", cmaf.Track{PSSH: box(100, 100)}, 9, true, true},
		{"more than is told", cmaf.Track{PSSH: box(7000, 7000)}, 9, false, true},
		{"a length that is wrong", cmaf.Track{PSSH: box(10, 99999)}, 9, false, true},
		{"codecs that are none", cmaf.Track{Codecs: "<\">&"}, 9, false, false},
		{"after the last number", cmaf.Track{}, live.MaxNumber + 1, false, false},
	} {
		c.track.Type, c.track.Timescale = live.Video, 90000
		rec := &Record{Config: live.Config{Event: live.Event{Start: time.Unix(0, 0), Renditions: []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}}}}}
		g, err := new(Event).Begun(rec, Beginning{From: c.from, Inits: map[string]*Init{"v": {Track: c.track}}})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !c.ok {
			continue
		}
		rec.Apply(&Edit{Generation: &g})
		if err := rec.Config.ValidateGenerations(); err != nil {
			t.Errorf("%s: edges do not read it: %v", c.name, err)
		}
		if told := g.Renditions[0].PSSH != ""; told != c.pssh {
			t.Errorf("%s: pssh boxes told: %v", c.name, told)
		}
	}
}
