package announce_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"headwater/announce"
	"headwater/announce/announcetest"
	"headwater/live"
)

var testEvent = live.EventID{Tenant: "acme", Name: "final"}

func wires() []announce.Wire {
	return []announce.Wire{
		{Seq: 1, Message: announce.Message{Node: "n", Kind: announce.Published, Event: testEvent, Life: 2, Rendition: "v", Candidate: announcetest.Candidate(7)}},
		{Seq: 2, Message: announce.Message{Node: "n", Kind: announce.Init, Event: testEvent, Rendition: "v", Candidate: live.Candidate{Pipeline: "a", Published: time.Unix(9, 9).UTC()}}},
		{Seq: 1 << 63, Message: announce.Message{Node: "n", Kind: announce.Changed, Event: testEvent, Stamp: 12}},
		{Seq: 4, Message: announce.Message{Node: "n", Kind: announce.Pinned, Event: testEvent, Life: 2, Rendition: "v", Candidate: announcetest.Candidate(7), Stamp: 5, Turn: 1, Version: 3}},
		{Seq: 3, Beat: true, Message: announce.Message{Node: "n", Event: testEvent}},
	}
}

func TestCodec(t *testing.T) {
	for _, w := range wires() {
		b, err := announce.Encode(w)
		if err != nil {
			t.Fatal(err)
		}
		got, err := announce.Decode(b)
		if err != nil || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", w) {
			t.Errorf("%s\n%+v\n%+v, %v", b, w, got, err)
		}
	}
}

// TestLongestMessageFits: what an origin can make is never too long to be told.
func TestLongestMessageFits(t *testing.T) {
	name := strings.Repeat("n", 63)
	w := announce.Wire{Seq: 1 << 63, Message: announce.Message{Node: strings.Repeat("N", 26), Kind: announce.Pinned, Event: live.EventID{Tenant: name, Name: name}, Life: 1 << 62, Rendition: name, Stamp: 1 << 62, Turn: 1 << 62, Version: 1 << 62}}
	w.Candidate = announcetest.Candidate(live.MaxNumber)
	w.Candidate.Pipeline, w.Candidate.Region, w.Candidate.Findings = name, name, nil
	for i := range 32 {
		w.Candidate.Findings = append(w.Candidate.Findings, live.Finding{Kind: live.Kind(fmt.Sprintf("k%02d%s", i, strings.Repeat("&", 61))), MissingMS: 999_999_999, Samples: 999_999_999})
	}
	// Sixteen are the packager's, of any letters; the others are ours.
	for i := 16; i < 32; i++ {
		w.Candidate.Findings[i].Kind = live.Kind(fmt.Sprintf("kind-of-defect-%d", i))
	}
	b, err := announce.Encode(w)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(len(b), "bytes")
}

func TestDecodeRefuses(t *testing.T) {
	good, err := announce.Encode(wires()[0])
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, new string) string {
		s := strings.Replace(string(good), old, new, 1)
		if s == string(good) {
			t.Fatalf("%q is not in %s", old, good)
		}
		return s
	}
	for name, x := range map[string]struct {
		in   string
		want error
	}{
		"empty":           {"", announce.ErrMalformed},
		"not JSON":        {"x", announce.ErrMalformed},
		"no version":      {`{"kind":"changed"}`, announce.ErrMalformed},
		"newer version":   {`{"v":9,"anything":[1,2]}`, announce.ErrVersion},
		"older version":   {`{"v":0}`, announce.ErrVersion},
		"unknown kind":    {change("published", "vanished"), announce.ErrMalformed},
		"missed":          {change(`"published"`, `"missed"`), announce.ErrMalformed},
		"unknown field":   {change(`"seq"`, `"x":1,"seq"`), announce.ErrMalformed},
		"field twice":     {change(`"seq":1`, `"seq":1,"seq":1`), announce.ErrMalformed},
		"other letters":   {change(`"seq"`, `"Seq"`), announce.ErrMalformed},
		"space":           {change(`"seq":1`, `"seq": 1`), announce.ErrMalformed},
		"after it":        {string(good) + "{}", announce.ErrMalformed},
		"no sequence":     {change(`"seq":1`, `"seq":0`), announce.ErrMalformed},
		"bad event":       {change("acme/final", "Acme/final"), announce.ErrMalformed},
		"bad rendition":   {change(`"rendition":"v"`, `"rendition":"../v"`), announce.ErrMalformed},
		"bad pipeline":    {change(`"pipeline":"a"`, `"pipeline":""`), announce.ErrMalformed},
		"negative number": {change(`"number":7`, `"number":-7`), announce.ErrMalformed},
		"negative size":   {change(`"size":1`, `"size":-1`), announce.ErrMalformed},
		"bad digest":      {change("sha-256=:", "sha-256=:!"), announce.ErrMalformed},
		"pinned never":    {change(`"kind":"published"`, `"kind":"pinned"`), announce.ErrMalformed},
		"published turn":  {strings.TrimSuffix(string(good), "}") + `,"turn":1}`, announce.ErrMalformed},
		"bad defects":     {change("short;ms=400", "short;ms=x"), announce.ErrMalformed},
		"too long":        {change(`"node":"n"`, `"node":"`+strings.Repeat("n", announce.MaxWireBytes)+`"`), announce.ErrMalformed},
	} {
		if w, err := announce.Decode([]byte(x.in)); !errors.Is(err, x.want) {
			t.Errorf("%s: %+v, %v", name, w, err)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for name, f := range map[string]func(*announce.Wire){
		"no node":      func(w *announce.Wire) { w.Node = "" },
		"no sequence":  func(w *announce.Wire) { w.Seq = 0 },
		"missed":       func(w *announce.Wire) { w.Kind = announce.Missed },
		"no rendition": func(w *announce.Wire) { w.Rendition = "" },
		"no time":      func(w *announce.Wire) { w.Candidate.Published = time.Time{} },
	} {
		w := wires()[0]
		f(&w)
		if b, err := announce.Encode(w); !errors.Is(err, announce.ErrInvalid) {
			t.Errorf("%s: %s, %v", name, b, err)
		}
	}
}

// FuzzDecode: whatever is decoded is what Encode makes, and nothing else is.
func FuzzDecode(f *testing.F) {
	for _, w := range wires() {
		b, err := announce.Encode(w)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"v":9}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := announce.Decode(b)
		if err != nil {
			if !errors.Is(err, announce.ErrMalformed) && !errors.Is(err, announce.ErrVersion) {
				t.Fatal(err)
			}
			return
		}
		again, err := announce.Encode(w)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%s became %s, %v", b, again, err)
		}
	})
}
