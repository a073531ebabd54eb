package packager

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/live"
)

func TestParseFault(t *testing.T) {
	for text, want := range map[string]Fault{
		"drop":                              {Kind: FaultDrop},
		"stop":                              {Kind: FaultStop},
		"truncate rendition=v720 every=5":   {Kind: FaultTruncate, Rendition: "v720", Every: 5},
		"remove-samples:12,from=100,to=120": {Kind: FaultRemoveSamples, Samples: 12, From: 100, To: 120},
		"shift:-400ms dishonest":            {Kind: FaultShift, By: -400 * time.Millisecond, Dishonest: true},
		"delay:1.5s":                        {Kind: FaultDelay, By: 1500 * time.Millisecond},
	} {
		got, err := ParseFault(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"":                    "is empty",
		"explode":             "is none of drop, truncate",
		"drop:3":              "takes no amount",
		"remove-samples":      "as in remove-samples:12",
		"remove-samples:0":    "outside 1 to",
		"remove-samples:x":    "wants a count",
		"shift:fast":          "as in shift:400ms",
		"shift:0s":            "is 0",
		"shift:100h":          "more than an hour",
		"delay:-1s":           "outside",
		"drop rendition=V720": "is not a name",
		"drop every=two":      `wants a number, not "two"`,
		"drop every=-1":       "negative",
		"drop from=9 to=3":    "is no range",
		"drop often":          "is none of rendition=",
		"drop dishonest=yes":  "takes no value",
	} {
		if _, err := ParseFault(text); !errors.Is(err, ErrFault) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestFaultsSelect(t *testing.T) {
	f := Fault{Kind: FaultDrop, Rendition: "v720", From: 10, To: 20, Every: 5}
	var got []live.Number
	for n := live.Number(0); n < 40; n++ {
		if f.selects("v720", n) {
			got = append(got, n)
		}
		if f.selects("a-en", n) {
			t.Errorf("a-en/%d", n)
		}
	}
	if !slices.Equal(got, []live.Number{10, 15, 20}) {
		t.Error(got)
	}
	var none *Faults
	if none.List() != nil {
		t.Error("nil has faults")
	}
}

func TestConfig(t *testing.T) {
	good := func() Config {
		return Config{Event: "acme/final", Pipeline: "a", To: []string{"http://origin:7001"}, Clip: true}
	}
	full := good()
	full.EventURL, full.ClipVersion, full.Clock, full.Tracks = "https://edge/base", "b", ClockPRFT, map[uint32]string{7: "v720"}
	for _, c := range []Config{good(), full} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
	for want, change := range map[string]func(c *Config){
		"Event: ":                       func(c *Config) { c.Event = "acme" },
		"Pipeline: ":                    func(c *Config) { c.Pipeline = "A" },
		"0 sources":                     func(c *Config) { c.Clip = false },
		"2 sources":                     func(c *Config) { c.Input = &bytes.Buffer{} },
		"To: is required":               func(c *Config) { c.To = nil },
		`To: "origin:7001"`:             func(c *Config) { c.To = []string{"origin:7001"} },
		"To: \"http://o:1/?a=b\"":       func(c *Config) { c.To = []string{"http://o:1/?a=b"} },
		"EventURL: is required":         func(c *Config) { c.To = []string{"http://origin"} },
		`EventURL: "ftp://x"`:           func(c *Config) { c.EventURL = "ftp://x" },
		"Spec: start":                   func(c *Config) { c.Spec = &live.Event{} },
		"ClipVersion: ":                 func(c *Config) { c.ClipVersion = "c" },
		"Clock: ":                       func(c *Config) { c.Clock = "sundial" },
		"Tracks: 0=":                    func(c *Config) { c.Tracks = map[uint32]string{0: "v720"} },
		"Tracks: 1=":                    func(c *Config) { c.Tracks = map[uint32]string{1: "V"} },
		"BackfillBytes: -1":             func(c *Config) { c.BackfillBytes = -1 },
		`Faults: packager: fault "bad"`: func(c *Config) { c.Faults = []string{"bad"} },
	} {
		c := good()
		change(&c)
		if _, err := New(c); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	for to, want := range map[string]string{
		"http://host:7001": "http://host:7002", "https://[::1]:9001/base": "https://[::1]:9002",
	} {
		if got, err := deliveryURL(to); err != nil || got != want {
			t.Errorf("deliveryURL(%q) = %q, %v", to, got, err)
		}
	}
}

func TestParseTracks(t *testing.T) {
	got, err := ParseTracks("1=v720, 2=a-en")
	if err != nil || len(got) != 2 || got[1] != "v720" || got[2] != "a-en" {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", "v720", "0=v720", "1=V", "x=v720", "1=v720,1=v360"} {
		if _, err := ParseTracks(bad); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
