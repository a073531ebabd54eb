package book

import (
	"encoding/binary"
	"testing"
	"time"

	"headwater/cmaf"
	"headwater/live"
)

// TestBegunIsReadByEdges: what a generation tells is what a configuration may have,
// whatever init segment it begins with, and wherever.
func TestBegunIsReadByEdges(t *testing.T) {
	box := func(data int, said uint32) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(32+data))
		b = append(b, "pssh\x00\x00\x00\x000123456789abcdef"...)
		return append(binary.BigEndian.AppendUint32(b, said), make([]byte, data)...)
	}
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
