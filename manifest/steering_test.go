package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

var (
	threePathways = []live.Pathway{{ID: "a", URL: "https://a.example:8443"}, {ID: "b", URL: "https://b.example:8443"}, {ID: "c", URL: "https://c.example:8443"}}
	placeA        = Place{Event: live.EventID{Tenant: "acme", Name: "final"}, File: live.FileMPD, Pathways: threePathways, Self: "a"}
)

func TestSteered(t *testing.T) {
	in := Input{Config: with(config("2026-11-23T20:00:00Z", twoSeconds, v1080, keyFrames(v720), aEn, aDe), short), Now: at("2026-11-23T20:00:20Z")}
	for _, tt := range []struct {
		name, self string
		file       live.File
		guarded    bool
	}{
		{live.HLSName, "a", live.FileHLS, false}, {live.MPDName, "b", live.FileMPD, false}, {live.ListedName, "b", live.FileListed, true},
	} {
		list, err := render(in, tt.file, "")
		if err != nil {
			t.Fatal(err)
		}
		p := Place{Event: placeA.Event, File: tt.file, Pathways: threePathways, Self: tt.self, Guarded: tt.guarded}
		got := Steered(list, p)
		path := filepath.Join("testdata", "steered", tt.name)
		if *update {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || string(want) != string(got) {
			t.Errorf("%v: %s", err, diff(string(want), string(got)))
		}
		p.Self = "c"
		if again := Steered(got, p); string(again) != string(got) {
			t.Errorf("%s has steering twice", tt.name)
		}
		p.Self = "z"
		if as := Steered(list, p); string(as) != string(list) {
			t.Errorf("%s: who is of no pathway made\n%s", tt.name, as)
		}
	}
	if got := Steered([]byte("what is neither"), placeA); string(got) != "what is neither" {
		t.Errorf("%q", got)
	}
}

func TestSteeringManifest(t *testing.T) {
	now := time.Unix(1795000000, 0)
	clones := func(base string, ids ...string) string {
		var all []string
		for _, id := range ids {
			all = append(all, `{"BASE-ID":"`+base+`","ID":"`+id+`","URI-REPLACEMENT":{"HOST":"`+id+`.example","PARAMS":{}}}`)
		}
		return `,"PATHWAY-CLONES":[` + strings.Join(all, ",") + `]`
	}
	at := func(id, query string) string {
		return `"RELOAD-URI":"https://` + id + `.example:8443/acme/final/steering.json?` + query + `","PATHWAY-PRIORITY":`
	}
	for _, tt := range []struct {
		name, self, query string
		away              bool
		want              string
	}{
		{"who comes for the first time stays", "b", "part=7&_HLS_pathway=b&_HLS_throughput=5140000", false,
			at("b", "base=b&part=7") + `["b","a","c"]` + clones("b", "a", "c")},
		{"who has to go asks there, where it is known what he has", "a", "part=7", true,
			at("b", "base=a&part=7&moved=1795000000") + `["b","c","a"]` + clones("a", "b", "c")},
		{"who came from elsewhere stays", "b", "base=a&part=7&moved=1794999990&_HLS_pathway=b", false,
			at("b", "base=a&part=7&moved=1794999990") + `["b","a","c"]` + clones("a", "b", "c")},
		{"and is sent on", "b", "base=a&part=7&moved=1794999000", true,
			at("a", "base=a&part=7&moved=1795000000") + `["a","c","b"]` + clones("a", "c", "b")},
		{"an MPD lists them", "a", `dash&part=7&_DASH_pathway="a,b"&_DASH_throughput=1,2`, false, at("a", "dash&part=7") + `["a","b","c"]`},
		{"who is of none of them follows the event's order", "", "base=c&part=7", false, at("a", "base=c&part=7") + `["a","b","c"]` + clones("c", "a", "b")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Steering{Place: placeA, Away: tt.away, Asked: ParseSteering(tt.query), TTL: 29500 * time.Millisecond, Now: now}
			s.Self = tt.self
			if got, want := string(s.Manifest()), `{"VERSION":1,"TTL":29,`+tt.want+"}\n"; got != want {
				t.Errorf("got  %swant %s", got, want)
			}
		})
	}
	// With nowhere to go one is told to stay.
	s := Steering{Place: placeA, Away: true, Asked: ParseSteering("part=1")}
	s.Pathways = threePathways[:1]
	if got, want := string(s.Manifest()), `{"VERSION":1,"TTL":1,`+at("a", "base=a&part=1")+"[\"a\"]}\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// What is malformed is as if it was not there.
func FuzzParseSteering(f *testing.F) {
	for _, s := range []string{"", "dash&base=a&part=999&moved=1795000000", "part=1000", "part=-1", "base=..", `_DASH_pathway=".,b"`, "%zz", "moved=99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q := ParseSteering(query)
		if q.Part < -1 || q.Part >= Parts || q.Base != "" && !live.ValidName(q.Base) {
			t.Errorf("%q: %+v", query, q)
		}
		if q.Part >= 0 {
			if again := ParseSteering(q.String()); again != q {
				t.Errorf("%q: %+v, read again %+v", query, q, again)
			}
		}
	})
}
