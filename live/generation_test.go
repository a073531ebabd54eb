package live

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestInitFiles: each generation has one name, without aliases.
func TestInitFiles(t *testing.T) {
	for _, g := range []int{0, 1, 10, 999_999_999} {
		p := Path{Event: id, File: FileInit, Rendition: "v720", Generation: g}
		if got, err := ParsePath(p.String()); err != nil || got != p {
			t.Errorf("ParsePath(%q) = %+v, %v", p.String(), got, err)
		}
	}
	for _, file := range []string{"init.0.mp4", "init.01.mp4", "init..mp4", "init.1mp4", "init.mp4.mp4", "init.1.mp", "init.1234567890.mp4", "init.-1.mp4", "init1.mp4", "init.1.m4s", "Init.1.mp4", "init.1.2.mp4", "init.", "init.1.mp4x"} {
		if p, err := ParsePath("/acme/cup-final/v720/" + file); !errors.Is(err, ErrPath) {
			t.Errorf("ParsePath of %s = %+v, %v", file, p, err)
		}
	}
	if p, err := ParsePublishPath("/acme/cup-final/a/v720/init.1.mp4"); err == nil {
		t.Errorf("packagers do not count generations: %+v", p)
	}
}

// generations is an event of which the video is renewed at 10 and at 20, and the
// audio at 20.
func generations() Config {
	e := Default()
	e.Start = time.Unix(1795464000, 0).UTC()
	e.Pipelines = []Pipeline{{Name: "a"}}
	e.Renditions = []Rendition{
		{Name: "v", Type: Video, Bandwidth: 1000, Codecs: "avc1.64001f", Width: 1280, Height: 720, FrameRate: "30"},
		{Name: "en", Type: Audio, Bandwidth: 100, Codecs: "mp4a.40.2", Language: "en", SampleRate: 48000},
	}
	return Config{Event: e, Version: 3, Generations: []Generation{
		{Index: 1, From: 10, Renditions: []Renewed{{Rendition{Name: "v", Type: Video, Bandwidth: 1000, Codecs: "avc1.640028", Width: 1920, Height: 1080}, "x"}}},
		{Index: 2, From: 20, Renditions: []Renewed{
			{Rendition{Name: "v", Type: Video, Bandwidth: 1000, Codecs: "avc1.64001e", Width: 640, Height: 360}, "y"},
			{Rendition{Name: "en", Type: Audio, Bandwidth: 100, Codecs: "ec-3", SampleRate: 44100}, "z"}}},
	}}
}

func TestGenerations(t *testing.T) {
	c := generations()
	for _, x := range []struct {
		n             Number
		generation    int
		video, audio  int
		width         int
		codecs, other string
	}{
		{0, 0, 0, 0, 1280, "avc1.64001f", "mp4a.40.2"},
		{9, 0, 0, 0, 1280, "avc1.64001f", "mp4a.40.2"},
		{10, 1, 1, 0, 1920, "avc1.640028", "mp4a.40.2"},
		{19, 1, 1, 0, 1920, "avc1.640028", "mp4a.40.2"},
		{20, 2, 2, 2, 640, "avc1.64001e", "ec-3"},
		{MaxNumber, 2, 2, 2, 640, "avc1.64001e", "ec-3"},
	} {
		v, vFrom := c.InitAt("v", x.n)
		a, _ := c.InitAt("en", x.n)
		if g := c.GenerationAt(x.n); g != x.generation || v != x.video || a != x.audio || vFrom > x.n {
			t.Errorf("segment %d: generation %d, video's init %d from %d, audio's %d", x.n, g, v, vFrom, a)
		}
		rs := c.RenditionsAt(x.n)
		r, _ := c.RenditionAt("v", x.n)
		if rs[0] != r || r.Width != x.width || r.Codecs != x.codecs || rs[1].Codecs != x.other || rs[1].Language != "en" {
			t.Errorf("segment %d: %+v", x.n, rs)
		}
	}
	if c.Renditions[0].Width != 1280 {
		t.Error("the configuration has changed")
	}
	for index, want := range map[int]bool{0: true, 1: false, 2: true, 3: false} {
		if got := c.HasInit("en", index); got != want {
			t.Errorf("audio's init segment of generation %d: %v", index, got)
		}
	}
}

func TestGenerationsOnTheWire(t *testing.T) {
	c := generations()
	c.OnNewInit = NewInitGeneration
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var got Config
	if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, c) {
		t.Errorf("%s\n%+v\n%v", b, got, err)
	}
	if _, err := ParseEvent(b); err != nil {
		t.Errorf("what GET gave cannot be PUT back: %v", err)
	}
	for name, change := range map[string]func(c *Config){
		"a number that comes before": func(c *Config) { c.Generations[1].From = 10 },
		"an index that comes again":  func(c *Config) { c.Generations[1].Index = 1 },
		"index 0":                    func(c *Config) { c.Generations[0].Index = 0 },
		"what XML cannot hold":       func(c *Config) { c.Generations[0].Renditions[0].Codecs = `"<` },
		"an unknown policy":          func(c *Config) { c.OnNewInit = "x" },
	} {
		c := generations()
		change(&c)
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, new(Config)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestNeededGenerations: what is left out changes nothing of what is not gone.
func TestNeededGenerations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Config{}
		from, skipped := Number(0), 0
		for i := range rapid.IntRange(0, 12).Draw(t, "generations") {
			from += Number(rapid.IntRange(1, 9).Draw(t, "after"))
			skips := rapid.IntRange(0, 1).Draw(t, "skips")
			skipped += skips
			g := Generation{Index: i + 1 + skipped, From: from, Skipped: skipped}
			for _, name := range []string{"v", "w", "a"} {
				if rapid.Bool().Draw(t, name) || name == "a" && len(g.Renditions) == 0 {
					g.Renditions = append(g.Renditions, Renewed{Rendition: Rendition{Name: name}})
				}
			}
			c.Generations = append(c.Generations, g)
		}
		oldest := Number(rapid.IntRange(0, 120).Draw(t, "oldest"))
		less := Config{Generations: NeededGenerations(c.Generations, oldest)}
		for n := oldest; n < oldest+130; n++ {
			if c.GenerationAt(n) != less.GenerationAt(n) || c.DiscontinuityAt(n) != less.DiscontinuityAt(n) {
				t.Fatalf("segment %d is of generation %d, and of %d", n, less.GenerationAt(n), c.GenerationAt(n))
			}
			for _, name := range []string{"v", "w", "a"} {
				was, _ := c.InitAt(name, n)
				if is, _ := less.InitAt(name, n); is != was {
					t.Fatalf("segment %d of %s has init segment %d, and not %d", n, name, is, was)
				}
			}
		}
		if gone := len(less.Generations); oldest > from && gone > 3 { // one for each rendition
			t.Fatalf("%d generations are left of %d", gone, len(c.Generations))
		}
	})
}
