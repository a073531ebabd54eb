package live

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const minimal = `{"start":"2026-11-23T20:00:00Z","pipelines":[{"name":"a"}],"renditions":[{"name":"v","type":"video","bandwidth":1}]}`

const full = `{
  "start": "2026-11-23T20:00:00.000000001Z", "end": "2026-11-23T22:00:00Z", "first_number": 0,
  "segment": {"ticks": 180180, "timescale": 90000}, "media_time": "start",
  "allowance_ms": 0, "hold_ms": 0, "budget_ms": 0, "dvr_seconds": 1, "live_window_seconds": 1, "patience_ms": 0, "settle_segments": 0, "on_lost": "gap",
  "time_url": "https://cdn.example/time", "session_data": [{"id": "com.example.title", "value": "Final", "language": "en"}],
  "pipelines": [{"name": "a", "region": "us-east-1"}, {"name": "b", "region": "us-west-2"}],
  "renditions": [
    {"name": "v720", "type": "video", "bandwidth": 3000000, "codecs": "avc1.64001f", "width": 1280, "height": 720, "frame_rate": "30000/1001", "timescale": 90000},
    {"name": "a-en", "type": "audio", "bandwidth": 128000, "language": "en-GB", "codecs": "mp4a.40.2", "sample_rate": 48000, "channels": 2,
     "channel_config": 2, "joc": 16, "role": "commentary", "label": "Kommentar \u00fc"},
    {"name": "t-en", "type": "text", "bandwidth": 1000, "language": "en"}]}`

func TestParseEventDefaults(t *testing.T) {
	want := Event{
		Start: time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC), FirstNumber: 1, Segment: Duration{2, 1}, MediaTime: MediaUnix,
		AllowanceMS: 500, HoldMS: 2500, BudgetMS: 2000, DVRSeconds: 14400, LiveWindowSeconds: 30, PatienceMS: 150, SettleSegments: 5, OnLost: LostFill, OnNewInit: NewInitRefuse,
		Pipelines: []Pipeline{{Name: "a"}}, Renditions: []Rendition{{Name: "v", Type: Video, Bandwidth: 1}},
	}
	for _, in := range []string{
		minimal,
		minimal + "\n",
		strings.Replace(minimal, "2026-11-23T20:00:00Z", "2026-11-23T21:00:00+01:00", 1),
		strings.Replace(minimal, "{", `{"end":null,"first_number":null,"segment":null,"media_time":null,"allowance_ms":null,`, 1),
		// What GET adds is ignored by PUT, whatever it holds.
		strings.Replace(minimal, "{", `{"version":3,"flush_version":2,"lateness_ms":{"v":1},"masks":[{"x":[]}],"invalidations":null,`, 1),
	} {
		got, err := ParseEvent([]byte(in))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("ParseEvent(%s) = %+v, %v", in, got, err)
		}
	}
}

// Whoever has read a segment to its end may ask for the next at once: it is due.
func TestHoldByDefault(t *testing.T) {
	for _, c := range []struct {
		fields string
		want   int64
	}{
		{``, 2500}, {`"segment":{"ticks":6,"timescale":1},`, 6500}, {`"segment":{"ticks":1001,"timescale":1000},"allowance_ms":0,`, 2000},
		{`"segment":{"ticks":180180,"timescale":90000},`, 2502}, {`"segment":{"ticks":60,"timescale":1},"allowance_ms":600000,"budget_ms":0,`, 600_000}, {`"hold_ms":0,`, 0},
	} {
		e, err := ParseEvent([]byte(strings.Replace(minimal, "{", "{"+c.fields, 1)))
		if err != nil || e.HoldMS != c.want {
			t.Errorf("%s: %d, want %d: %v", c.fields, e.HoldMS, c.want, err)
		}
		if tl := e.Timeline(); c.want > 2000 && c.want < 600_000 && tl.Due(2).After(tl.End(1)) {
			t.Errorf("%s: 2 is due at %v, 1 ends at %v", c.fields, tl.Due(2), tl.End(1))
		}
	}
}

// What was written before there were policies leaves gaps, as it did then.
func TestLostBeforeThereWerePolicies(t *testing.T) {
	for in, want := range map[string]LostPolicy{minimal: LostGap, strings.Replace(minimal, "{", `{"on_lost":"fill",`, 1): LostFill} {
		var ev Event
		var c Config
		if err := errors.Join(json.Unmarshal([]byte(in), &ev), json.Unmarshal([]byte(in), &c)); err != nil || ev.OnLost != want || c.OnLost != want {
			t.Errorf("%s: %q, %q, %v", in, ev.OnLost, c.OnLost, err)
		}
	}
}

func TestParseEventKeepsZeroes(t *testing.T) {
	e, err := ParseEvent([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if e.FirstNumber != 0 || e.AllowanceMS != 0 || e.HoldMS != 0 || e.BudgetMS != 0 || e.PatienceMS != 0 || e.SettleSegments != 0 || e.Start.Nanosecond() != 1 ||
		e.Renditions[0].FrameRate != "30000/1001" || e.Pipelines[1].Region != "us-west-2" {
		t.Errorf("ParseEvent = %+v", e)
	}
}

// Every refusal names its field.
func TestParseEventNamesBadFields(t *testing.T) {
	replace := func(old, new string) string {
		if !strings.Contains(full, old) {
			t.Fatalf("%q is not in the event", old)
		}
		return strings.Replace(full, old, new, 1)
	}
	tests := []struct{ in, field, says string }{
		{``, "event", "cut off"},
		{`{`, "event", "cut off"},
		{full[:len(full)-1], "event", "cut off"},
		{full[:len(full)/2], "event", "cut off"},
		{full + `{}`, "event", "something after"},
		{full + `]`, "event", "something after"},
		{`[]`, "event", "is a list, not an object"},
		{`null`, "event", "is null, not an object"},
		{`7`, "event", "is a number, not an object"},
		{`{"start":}`, "event", "not JSON"},
		{`{start:1}`, "event", "not JSON"},
		{replace(`"https://cdn.example/time"`, `"/time"`), "time_url", "absolute"},
		{replace(`"https://cdn.example/time"`, `"ftp://x/time"`), "time_url", "absolute"},
		{replace(`[{"id": "com.example.title", "value": "Final", "language": "en"}]`, `[{"id": "com.a", "value": ""}]`), "session_data[0].value", "1 to 1024 bytes"},
		{replace(`[{"id": "com.example.title", "value": "Final", "language": "en"}]`, `[{"id": "a b", "value": "x"}]`), "session_data[0].id", "not a name"},
		{replace(`[{"id": "com.example.title", "value": "Final", "language": "en"}]`, `[{"id": "a", "value": "x", "language": "?"}]`), "session_data[0].language", "BCP 47"},
		{replace(`[{"id": "com.example.title", "value": "Final", "language": "en"}]`, `[{"id": "a", "value": "x"}, {"id": "a", "value": "y"}]`), "session_data[1].id", "twice"},
		{replace(`"height": 720`, `"role": "hero"`), "renditions[0].role", "is none of"},
		{replace(`"height": 720`, `"inband_events": [{"scheme": "urn:x", "val": "1"}]`), "renditions[0].inband_events[0].val", "is not a field of"},
		{replace(`"height": 720`, `"inband_events": "urn:x"`), "renditions[0].inband_events", "is a string, not a list"},
		{replace(`"height": 720`, `"inband_events": [{"scheme": "a b"}]`), "renditions[0].inband_events[0]", "a scheme is a URI"},
		{replace(`"height": 720`, `"label": "a\"b"`), "renditions[0].label", "without quotes"},
		{replace(`"height": 720`, `"color": "9-16"`), "renditions[0].color", "PRIMARIES"},
		{replace(`"height": 720`, `"color": "9-16-x"`), "renditions[0].color", "PRIMARIES"},
		{replace(`"height": 720`, `"sar": "4/3"`), "renditions[0].sar", "ratio"},
		{replace(`"height": 720`, `"channel_config": 64`), "renditions[0].channel_config", "outside 0 to 63"},
		{replace(`"start": "2026`, `"start": "26`), "start", "RFC 3339"},
		{replace(`"start": "2026-11-23T20:00:00.000000001Z"`, `"start": 1795405280`), "start", "is a number, not a string"},
		{replace(`"start": "2026-11-23T20:00:00.000000001Z",`, ``), "start", "is required"},
		{replace(`"start": "2026`, `"start": "1970`), "start", "year 1970"},
		{replace(`"start"`, `"Start"`), "Start", "is not a field of the event"},
		{replace(`"end": "2026-11-23T22:00:00Z"`, `"end": "2026-11-23T20:00:00Z"`), "end", "is not after start"},
		{replace(`"end": "2026-11-23T22:00:00Z"`, `"end": "0001-01-01T00:00:00Z"`), "end", "outside 1971"},
		{replace(`"end": "2026`, `"end": "2201`), "end", "2200"},
		{replace(`"end": "2026-11-23T22:00:00Z"`, `"end": false`), "end", "is false, not a string"},
		{replace(`"first_number": 0`, `"first_number": -1`), "first_number", "outside"},
		{replace(`"first_number": 0`, `"first_number": 100000000000001`), "first_number", "outside"},
		{replace(`"first_number": 0`, `"first_number": 1.5`), "first_number", "whole number"},
		{replace(`"first_number": 0`, `"first_number": 1e2`), "first_number", "whole number"},
		{replace(`"first_number": 0`, `"first_number": 9223372036854775808`), "first_number", "whole number"},
		{replace(`"first_number": 0`, `"first_number": "0"`), "first_number", "is a string, not a number"},
		{replace(`"first_number": 0`, `"first_number": 0, "first_number": 1`), "first_number", "is there twice"},
		{replace(`{"ticks": 180180, "timescale": 90000}`, `2.002`), "segment", "is a number, not an object"},
		{replace(`"ticks": 180180, `, ``), "segment.ticks", "outside 1"},
		{replace(`, "timescale": 90000}, "media`, `}, "media`), "segment.timescale", "outside 1"},
		{replace(`"ticks": 180180`, `"ticks": true`), "segment.ticks", "is true, not a number"},
		{replace(`"ticks": 180180`, `"ticks": 180180, "rate": 1`), "segment.rate", "is not a field of segment"},
		{replace(`"ticks": 180180`, `"ticks": 8999`), "segment", "outside 100ms"},
		{replace(`"ticks": 180180`, `"ticks": 5400001`), "segment", ""},
		{replace(`"media_time": "start"`, `"media_time": "boot"`), "media_time", "neither"},
		{replace(`"allowance_ms": 0`, `"allowance_ms": -1`), "allowance_ms", "outside 0"},
		{replace(`"hold_ms": 0`, `"hold_ms": 600001`), "hold_ms", "outside 0"},
		{replace(`"budget_ms": 0`, `"budget_ms": []`), "budget_ms", "is a list, not a number"},
		{replace(`"budget_ms": 0`, `"budget_ms": 1001`), "dvr_seconds", "shorter than"},
		{replace(`"dvr_seconds": 1`, `"dvr_seconds": 0`), "dvr_seconds", "outside 1"},
		{replace(`"live_window_seconds": 1`, `"live_window_seconds": 0`), "live_window_seconds", "outside 1"},
		{replace(`"patience_ms": 0`, `"patience_ms": 10001`), "patience_ms", "outside 0 to 10000"},
		{replace(`"settle_segments": 0`, `"settle_segments": 33`), "settle_segments", "outside 0 to 32"},
		{replace(`"on_lost": "gap"`, `"on_lost": "hold"`), "on_lost", `neither "fill" nor "gap" nor "slate"`},
		{replace(`"pipelines": [`, `"pipelines": [], "x": [`), "x", "is not a field"},
		{strings.Replace(minimal, `[{"name":"a"}]`, `[]`, 1), "pipelines", "0 given"},
		{strings.Replace(minimal, `[{"name":"a"}]`, `null`, 1), "pipelines", "0 given"},
		{strings.Replace(minimal, `[{"name":"a"}]`, `[null]`, 1), "pipelines[0].name", "is not"},
		{strings.Replace(minimal, `[{"name":"a"}]`, `{"name":"a"}`, 1), "pipelines", "is an object, not a list"},
		{strings.Replace(minimal, `[{"name":"a"}]`, `["a"]`, 1), "pipelines[0]", "is a string, not an object"},
		{`{"": 1}`, `""`, "is not a field of the event"},
		{`{"a\nb": 1}`, `"a\nb"`, "is not a field of the event"},
		{replace(`{"name": "b", "region"`, `{"name": "b", "Region"`), "pipelines[1].Region", "is not a field of pipelines[1]"},
		{replace(`"name": "b"`, `"name": "a"`), "pipelines[1].name", "is there twice"},
		{replace(`"name": "b"`, `"name": "B"`), "pipelines[1].name", "[a-z0-9]"},
		{replace(`us-west-2`, `us_west_2`), "pipelines[1].region", "[a-z0-9]"},
		{replace(`"bandwidth": 128000`, `"bandwidth": "128k"`), "renditions[1].bandwidth", "is a string, not a number"},
		{replace(`"bandwidth": 128000`, `"bandwidth": 0`), "renditions[1].bandwidth", "outside 1"},
		{replace(`"bandwidth": 128000,`, ``), "renditions[1].bandwidth", "outside 1"},
		{replace(`"bandwidth": 128000`, `"bandwidth": 128000, "bitrate": 1`), "renditions[1].bitrate", "is not a field of renditions[1]"},
		{replace(`"bandwidth": 128000`, `"bandwidth": 128000, "channels": 2`), "renditions[1].channels", "is there twice"},
		{replace(`"name": "a-en"`, `"name": "v720"`), "renditions[1].name", "is there twice"},
		{replace(`"name": "a-en"`, `"name": ["a-en"]`), "renditions[1].name", "is a list, not a string"},
		{replace(`"type": "audio"`, `"type": "sound"`), "renditions[1].type", "is not video, audio or text"},
		{replace(`"language": "en-GB"`, `"language": "en_GB"`), "renditions[1].language", "BCP 47"},
		{replace(`"codecs": "avc1.64001f"`, `"codecs": "avc1\""`), "renditions[0].codecs", "RFC 6381"},
		{replace(`"width": 1280`, `"width": 65536`), "renditions[0].width", "outside 0"},
		{replace(`"height": 720`, `"height": -1`), "renditions[0].height", "outside 0"},
		{replace(`30000/1001`, `30000/0`), "renditions[0].frame_rate", "30000/1001"},
		{replace(`30000/1001`, `29.97`), "renditions[0].frame_rate", "30000/1001"},
		{replace(`"sample_rate": 48000`, `"sample_rate": 16777217`), "renditions[1].sample_rate", "outside 0"},
		{replace(`"channels": 2`, `"channels": 256`), "renditions[1].channels", "outside 0"},
		{replace(`"timescale": 90000}, "media`, `"timescale": 1000000001}, "media`), "segment.timescale", "outside 1"},
	}
	for _, tt := range tests {
		_, err := ParseEvent([]byte(tt.in))
		var fe *FieldError
		if !errors.As(err, &fe) {
			t.Errorf("%.80s: %v, want a FieldError for %s", tt.in, err, tt.field)
		} else if fe.Field != tt.field || !strings.Contains(fe.Reason, tt.says) {
			t.Errorf("got %q, want one of %s that says %q", fe, tt.field, tt.says)
		}
	}
}

func TestParseEventLimits(t *testing.T) {
	list := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	in := strings.Replace(minimal, `[{"name":"a"}]`, list(MaxPipelines+1, `{"name":"a"}`), 1)
	if _, err := ParseEvent([]byte(in)); err == nil || !strings.Contains(err.Error(), "pipelines: 17 given") {
		t.Errorf("too many pipelines: %v", err)
	}
	in = strings.Replace(minimal, `[{"name":"v","type":"video","bandwidth":1}]`, list(MaxRenditions+1, `{}`), 1)
	if _, err := ParseEvent([]byte(in)); err == nil || !strings.Contains(err.Error(), "renditions: 513 given") {
		t.Errorf("too many renditions: %v", err)
	}
	if _, err := ParseEvent([]byte(`{"masks":` + strings.Repeat("[", 1e6) + `}`)); err == nil {
		t.Error("a million nested lists are accepted")
	}
	if _, err := ParseEvent([]byte(`{"` + strings.Repeat("x", 1e6) + `":1}`)); err == nil || len(err.Error()) > 200 {
		t.Error("a field name of a megabyte is accepted or repeated")
	}
}

// What GET returns can be PUT back, and says the same.
func TestConfigRoundTrips(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Config{Event: genEvent(t), Version: rapid.Int64Range(1, 1<<40).Draw(t, "version")}
		if rapid.Bool().Draw(t, "more") {
			c.FlushVersion = 1
			c.LatenessMS = map[string]int64{"v": -3}
			c.Masks = []Mask{{ID: "m1", Scope: Scope{Pipeline: "a", From: 5, To: 6}}}
			c.Invalidations = []Invalidation{{ID: "i1", Version: 2, Scope: Scope{From: 7}}}
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var got Config
		if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s reads as %+v, %v", b, got, err)
		}
		e, err := ParseEvent(b)
		if err != nil || !reflect.DeepEqual(e, c.Event) {
			t.Errorf("%s cannot be put back: %+v, %v", b, e, err)
		}
		eb, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var again Event
		if err := json.Unmarshal(eb, &again); err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("%s reads as %+v, %v", eb, again, err)
		}
	})
}

// A newer origin may send more, but not nonsense.
func TestConfigFromAnotherVersion(t *testing.T) {
	var c Config
	if err := json.Unmarshal([]byte(strings.Replace(minimal, "{", `{"shiny":true,"version":9,`, 1)), &c); err != nil || c.Version != 9 {
		t.Errorf("an unknown field: %+v, %v", c, err)
	}
	for _, in := range []string{`[]`, `{"start":"soon"}`, strings.Replace(minimal, `"bandwidth":1`, `"bandwidth":0`, 1)} {
		if err := json.Unmarshal([]byte(in), &c); err == nil {
			t.Errorf("%s is accepted", in)
		}
	}
	c.LatenessMS = map[string]int64{"v": 1 << 62}
	tl := c.Timeline("v")
	if got := tl.Allowance(); got != 500*time.Millisecond+10*time.Minute {
		t.Errorf("an absurd lateness gives an allowance of %v", got)
	}
}

func TestEventLookups(t *testing.T) {
	e, err := ParseEvent([]byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if p, i, ok := e.Pipeline("b"); !ok || i != 1 || p.Region != "us-west-2" {
		t.Errorf("Pipeline(b) = %+v %d %v", p, i, ok)
	}
	if _, _, ok := e.Pipeline("c"); ok {
		t.Error("there is a pipeline c")
	}
	if r, ok := e.Rendition("a-en"); !ok || r.Channels != 2 {
		t.Errorf("Rendition(a-en) = %+v %v", r, ok)
	}
	if _, ok := e.Rendition("c"); ok {
		t.Error("there is a rendition c")
	}
}

func TestValidName(t *testing.T) {
	for s, want := range map[string]bool{"a": true, "0": true, "a-b": true, "a-": true, strings.Repeat("z", 63): true,
		"": false, "-a": false, "A": false, "a_b": false, "a.b": false, "a b": false, "é": false, strings.Repeat("z", 64): false} {
		if ValidName(s) != want {
			t.Errorf("ValidName(%q) = %v", s, !want)
		}
	}
}
