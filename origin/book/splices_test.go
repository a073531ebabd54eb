package book

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

// TestTold has a set hear what media says of splices, one after the other.
func TestTold(t *testing.T) {
	ev := live.Default()
	ev.Start = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	tl := ev.Timeline()
	section := live.AppendSpliceInsert(nil, 7, true, 0)
	type heard struct {
		at, now float64 // seconds since the start
		typ     string
		name    string
		length  float64
		cancel  bool
	}
	const out, in = live.TypeSCTE35Out, live.TypeSCTE35In
	for _, c := range []struct {
		name   string
		heard  []heard
		want   string // id, type, from, to, seconds since the start, length
		others bool   // each is by another pipeline
	}{
		{"one, between two boundaries", []heard{{61.5, 55, out, "splice-7", 30, false}}, "splice-7-31 scte35-out 31-46 61.5+30s", false},
		{"by two pipelines and all renditions, not quite at once", []heard{{60, 55, out, "splice-7", 30, false}, {59.9, 55, out, "splice-7", 30, false}, {60.4, 56, out, "splice-7", 30, false}}, "splice-7-31 scte35-out 31-45 60+30s", false},
		{"the same name for the next break", []heard{{60, 55, out, "splice-1", 30, false}, {660, 655, out, "splice-1", 30, false}}, "splice-1-31 scte35-out 31-45 60+30s; splice-1-331 scte35-out 331-345 660+30s", false},
		{"moved before it came", []heard{{60, 50, out, "splice-7", 30, false}, {64, 54, out, "splice-7", 30, false}}, "splice-7-33 scte35-out 33-47 64+30s", false},
		{"taken back", []heard{{60, 50, out, "splice-7", 30, false}, {60, 51, "", "splice-7", 0, true}}, "", false},
		{"what is over is not taken back", []heard{{60, 50, out, "splice-7", 30, false}, {100, 100, "", "splice-7", 0, true}}, "splice-7-31 scte35-out 31-45 60+30s", false},
		{"out, and back", []heard{{60, 55, out, "splice-7", 0, false}, {90, 85, in, "splice-7", 0, false}, {90, 85, in, "splice-7", 0, false}}, "splice-7-31 scte35-out 31-45 60+30s; splice-7-31-in scte35-in 46-46 90+0s", false},
		{"back alone", []heard{{90, 85, in, "splice-7", 0, false}}, "splice-7-46-in scte35-in 46-46 90+0s", false},
		{"others", []heard{{60, 55, live.TypeSCTE35, "segment-2-16", 0, false}}, "segment-2-16-31 scte35 31-31 60+0s", false},
		{"before the event", []heard{{-10, 5, out, "splice-7", 5, false}}, "", false},
		{"far ahead", []heard{{9000, 5, out, "splice-7", 5, false}}, "", false},
		{"of which nobody can see anything", []heard{{60, 20000, out, "splice-7", 5, false}}, "", false},
		{"by two pipelines, a second apart", []heard{{60, 50, out, "splice-7", 30, false}, {61, 50, out, "splice-7", 30, false}, {60, 51, out, "splice-7", 30, false}, {62, 52, out, "splice-7", 30, false}}, "splice-7-31 scte35-out 31-45 60+30s", true},
		{"by two pipelines, further apart", []heard{{60, 50, out, "splice-7", 30, false}, {62.1, 50, out, "splice-7", 30, false}}, "splice-7-32 scte35-out 32-47 62.1+30s", true},
		{"moved by less than a segment", []heard{{60, 50, out, "splice-7", 30, false}, {61, 50, out, "splice-7", 30, false}}, "splice-7-31 scte35-out 31-46 61+30s", false},
	} {
		var set []live.Notification
		for _, h := range c.heard {
			after := func(s float64) time.Time { return ev.Start.Add(time.Duration(s * float64(time.Second))) }
			x := Signal{Splice: live.Splice{Type: h.typ, Name: h.name, Cancel: h.cancel, Length: time.Duration(h.length * float64(time.Second))}, At: after(h.at), Section: section}
			others := func(string) bool { return c.others }
			set = Notified(set, Told(set, &tl, x, others, after(h.now)))
			if again := Told(set, &tl, x, others, after(h.now)); len(again) > 0 {
				t.Errorf("%s: said again it changes %v", c.name, again)
			}
		}
		var got []string
		for _, n := range set {
			if err := n.Validate(); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			got = append(got, fmt.Sprintf("%s %s %d-%d %v+%v", n.ID, n.Type, n.From, n.To, n.At.Sub(ev.Start).Seconds(), n.Length))
		}
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: %s, want %s", c.name, strings.Join(got, "; "), c.want)
		}
	}
}

func TestOutdated(t *testing.T) {
	ev := live.Default()
	ev.Start = time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	tl := ev.Timeline()
	now := ev.Start.Add(2 * time.Hour)
	at := func(m int) time.Time { return ev.Start.Add(time.Duration(m) * time.Minute) }
	set := []live.Notification{
		{Type: live.TypeSCTE35Out, ID: "later", From: tl.At(at(100)), To: tl.At(at(101)), At: at(100)},
		{Type: live.TypeSCTE35Out, ID: "said by somebody", From: 1, To: 2},
		{Type: live.TypeSCTE35Out, ID: "without end", From: tl.At(at(30)), At: at(30)},
		{Type: live.TypeSCTE35Out, ID: "now", From: tl.At(at(119)), To: tl.At(at(122)), At: at(119)},
		{Type: "programme", ID: "p", From: 1, To: 2},
		{Type: live.TypeSCTE35In, ID: "first", From: tl.At(at(10)), To: tl.At(at(10)), At: at(10)},
	}
	var got []string
	for _, n := range Outdated(set, &tl, now, 10) {
		got = append(got, n.ID)
	}
	if strings.Join(got, ",") != "first,without end,later" {
		t.Errorf("%v", got)
	}
	if n := len(Outdated(set, &tl, now, 1)); n != 1 {
		t.Errorf("%d, want one", n)
	}
}
