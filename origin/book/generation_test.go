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
	rec := &Record{Config: live.Config{Event: live.Event{Start: time.Unix(0, 0), Segment: live.Duration{Ticks: 2, Timescale: 1}, DVRSeconds: 600}}}
	inits := make(map[string]*Init)
	for i := range 30 {
		name := "v" + strconv.Itoa(i)
		rec.Config.Renditions = append(rec.Config.Renditions, live.Rendition{Name: name, Type: live.Video, Bandwidth: 1})
		inits[name] = &Init{Track: cmaf.Track{Type: live.Video, Timescale: 90000, PSSH: box(2000, 2000)}}
	}
	for n := live.Number(1); ; n++ {
		x, err := new(Event).Begin(rec, Beginning{From: n, Inits: inits}, time.Unix(0, 0))
		if err != nil {
			if n < 8 || n > 16 {
				t.Errorf("generation %d: %v", n, err)
			}
			return
		}
		rec.Apply(&x)
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
		rec := &Record{Config: live.Config{Event: live.Event{Start: time.Unix(0, 0), Segment: live.Duration{Ticks: 2, Timescale: 1}, Renditions: []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}}}}}
		x, err := new(Event).Begin(rec, Beginning{From: c.from, Inits: map[string]*Init{"v": {Track: c.track}}}, time.Unix(0, 0))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !c.ok {
			continue
		}
		rec.Apply(&x)
		if err := rec.Config.ValidateGenerations(); err != nil {
			t.Errorf("%s: edges do not read it: %v", c.name, err)
		}
		if told := x.Generation.Renditions[0].PSSH != ""; told != c.pssh {
			t.Errorf("%s: pssh boxes told: %v", c.name, told)
		}
	}
}

// TestGenerationsWithoutEnd: an event of any length may have generations, as long as not
// too many are in its DVR window; and a number that was taken back is not given again.
func TestGenerationsWithoutEnd(t *testing.T) {
	start := time.Unix(0, 0)
	rec := &Record{Config: live.Config{Event: live.Event{Start: start, Segment: live.Duration{Ticks: 2, Timescale: 1}, DVRSeconds: 600,
		Renditions: []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}, {Name: "a", Type: live.Audio, Bandwidth: 1}}}}}
	e := new(Event)
	inits := map[string]*Init{"v": {Track: cmaf.Track{Type: live.Video, Timescale: 90000}}}
	at := func(n live.Number) time.Time { return start.Add(time.Duration(2*n) * time.Second) }
	for i := 1; i <= 500; i++ {
		from := live.Number(30 * i) // every minute
		if inits["a"] = nil; i == 3 {
			inits["a"] = &Init{Track: cmaf.Track{Type: live.Audio, Timescale: 48000}}
		} else {
			delete(inits, "a")
		}
		x, err := e.Begin(rec, Beginning{From: from, Inits: inits}, at(from-3))
		if err != nil {
			t.Fatalf("generation %d: %v", i, err)
		}
		if i == 100 { // it was a mistake
			rec.Apply(&x)
			rec.Apply(&Edit{TakeBack: x.Generation.Index})
			rec.Apply(&x) // of a node that did not know
			if rec.Config.Generation(100) != nil {
				t.Fatal("one that was taken back is there")
			}
			continue
		}
		rec.Apply(&x)
		if err := rec.Config.ValidateGenerations(); err != nil {
			t.Fatal(err)
		}
		want := i
		if i > 100 {
			want--
		}
		if index, _ := rec.Config.InitAt("a", from); i >= 3 && index != 3 || rec.Config.GenerationAt(from) != i || rec.Config.DiscontinuityAt(from) != want {
			t.Fatalf("segment %d is of generation %d, discontinuity %d, with sound of %d; want %d, %d, 3", from, rec.Config.GenerationAt(from), rec.Config.DiscontinuityAt(from), index, i, want)
		}
	}
	if n := len(rec.Config.Generations); n < 10 || n > 14 {
		t.Errorf("%d generations are left of a window of 10 minutes", n)
	}
}

// TestTakenBackMeanwhile: where one node takes a generation back while another begins the
// next, discontinuities are counted as viewers come to them.
func TestTakenBackMeanwhile(t *testing.T) {
	start := time.Unix(0, 0)
	rec := &Record{Config: live.Config{Event: live.Event{Start: start, Segment: live.Duration{Ticks: 2, Timescale: 1}, DVRSeconds: 600,
		Renditions: []live.Rendition{{Name: "v", Type: live.Video, Bandwidth: 1}}}}}
	for i, from := range []live.Number{10, 20, 30} {
		x, err := new(Event).Begin(rec, Beginning{From: from, Inits: map[string]*Init{"v": {Track: cmaf.Track{Type: live.Video, Timescale: 90000}}}}, start)
		if err != nil {
			t.Fatal(err)
		}
		if i == 2 { // of a node that does not know
			rec.Apply(&Edit{TakeBack: 2})
		}
		rec.Apply(&x)
	}
	if got := rec.Config.DiscontinuityAt(30); rec.Config.GenerationAt(30) != 3 || got != 2 {
		t.Errorf("generation %d is discontinuity %d, want 3 and 2: %+v", rec.Config.GenerationAt(30), got, rec.Config.Generations)
	}
}
