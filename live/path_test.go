package live

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var id = EventID{"acme", "cup-final"}

func TestDeliveryPaths(t *testing.T) {
	long := strings.Repeat("n", 63)
	for path, want := range map[string]Path{
		"/acme/cup-final/v720/1042.m4s":                 {Event: id, File: FileSegment, Rendition: "v720", Number: 1042},
		"/acme/cup-final/v720/0.m4s":                    {Event: id, File: FileSegment, Rendition: "v720"},
		"/acme/cup-final/v720/9007199254740992.m4s":     {Event: id, File: FileSegment, Rendition: "v720", Number: MaxNumber},
		"/acme/cup-final/v720/init.mp4":                 {Event: id, File: FileInit, Rendition: "v720"},
		"/acme/cup-final/v720/k1042.m4s":                {Event: id, File: FileSegment, Rendition: "v720", Number: 1042, Key: true},
		"/acme/cup-final/v720/iframes.m3u8":             {Event: id, File: FilePlaylist, Rendition: "v720", Key: true},
		"/acme/cup-final/a-en/media.m3u8":               {Event: id, File: FilePlaylist, Rendition: "a-en"},
		"/acme/cup-final/manifest.mpd":                  {Event: id, File: FileMPD},
		"/acme/cup-final/timeline.mpd":                  {Event: id, File: FileListed},
		"/acme/cup-final/v720/t1795464000.m4s":          {Event: id, File: FileTimed, Rendition: "v720", Time: 1795464000},
		"/acme/cup-final/main.m3u8":                     {Event: id, File: FileHLS},
		"/acme/cup-final/event.json":                    {Event: id, File: FileConfig},
		"/acme/cup-final/steering.json":                 {Event: id, File: FileSteering},
		"/0/0/0/7.m4s":                                  {Event: EventID{"0", "0"}, File: FileSegment, Rendition: "0", Number: 7},
		"/" + long + "/" + long + "/" + long + "/1.m4s": {Event: EventID{long, long}, File: FileSegment, Rendition: long, Number: 1},
	} {
		got, err := ParsePath(path)
		if err != nil || got != want {
			t.Errorf("ParsePath(%q) = %+v, %v, want %+v", path, got, err, want)
		}
		if s := want.String(); s != path {
			t.Errorf("String() of %+v = %q, want %q", want, s, path)
		}
	}
}

// The form has no aliases: a cache would keep each.
func TestBadDeliveryPaths(t *testing.T) {
	for path, says := range map[string]string{
		"":                                                "does not begin with /",
		"acme/cup-final/manifest.mpd":                     "does not begin with /",
		"/":                                               "/TENANT/EVENT",
		"/acme":                                           "/TENANT/EVENT",
		"/acme/cup-final":                                 "/TENANT/EVENT",
		"/acme/cup-final/":                                "not a file of an event",
		"/acme/cup-final/v720":                            "not a file of an event",
		"/acme/cup-final/v720/":                           "is not init.mp4",
		"//cup-final/manifest.mpd":                        "tenant",
		"/acme//manifest.mpd":                             "event",
		"/Acme/cup-final/manifest.mpd":                    "tenant \"Acme\"",
		"/acme/cup_final/manifest.mpd":                    "event \"cup_final\"",
		"/-acme/cup-final/manifest.mpd":                   "tenant",
		"/acme/cup-final/../x/manifest.mpd":               "rendition \"..\"",
		"/acme/cup-final/v720/t01.m4s":                    "leading zeros",
		"/acme/cup-final/v720/tt1.m4s":                    "not a segment number",
		"/acme/cup-final/v720/k01.m4s":                    "leading zeros",
		"/acme/cup-final/v720/kk1.m4s":                    "not a segment number",
		"/acme/cup-final/v720/k.m4s":                      "not a segment number",
		"/acme/cup-final/v720/t1.mp4":                     "is not init.mp4",
		"/acme/cup-final/manifest.mpd/":                   "rendition \"manifest.mpd\"",
		"/acme/cup-final//1.m4s":                          "rendition \"\"",
		"/acme/cup-final/v720//1.m4s":                     "is not a segment number",
		"/acme/cup-final/v720/1.m4s/":                     "is not init.mp4",
		"/acme/cup-final/v720/1.mp4":                      "is not init.mp4",
		"/acme/cup-final/v720/.m4s":                       "\"\" is not a segment number",
		"/acme/cup-final/v720/-1.m4s":                     "is not a segment number",
		"/acme/cup-final/v720/+1.m4s":                     "is not a segment number",
		"/acme/cup-final/v720/1e3.m4s":                    "is not a segment number",
		"/acme/cup-final/v720/001.m4s":                    "write 1 ",
		"/acme/cup-final/v720/00.m4s":                     "leading zeros",
		"/acme/cup-final/v720/9007199254740993.m4s":       "is above",
		"/acme/cup-final/v720/99999999999999999999.m4s":   "is not a segment number",
		"/acme/cup-final/V720/1.m4s":                      "rendition \"V720\"",
		"/" + strings.Repeat("n", 64) + "/e/manifest.mpd": "tenant",
		"/acme/cup-final/v720/1.m4s\n":                    "is not init.mp4",
	} {
		_, err := ParsePath(path)
		if !errors.Is(err, ErrPath) {
			t.Errorf("ParsePath(%q): %v, want an ErrPath", path, err)
		} else if !strings.Contains(err.Error(), says) {
			t.Errorf("ParsePath(%q): %q does not say %q", path, err, says)
		}
	}
	for _, path := range []string{"/a/b/" + strings.Repeat("x", 1e6), "/" + strings.Repeat("x", 1e6), "/a/b/c/" + strings.Repeat("1", 1e6) + ".m4s"} {
		if _, err := ParsePath(path); err == nil || len(err.Error()) > 400 {
			t.Errorf("a path of a megabyte is refused with %d bytes", len(err.Error()))
		}
	}
}

func TestPublishPaths(t *testing.T) {
	for path, want := range map[string]PublishPath{
		"/acme/cup-final/a/v720/1042.m4s":     {Event: id, Pipeline: "a", Rendition: "v720", File: FileSegment, Number: 1042},
		"/acme/cup-final/a/v720/init.mp4":     {Event: id, Pipeline: "a", Rendition: "v720", File: FileInit},
		"/acme/cup-final/a/manifest.mpd":      {Event: id, Pipeline: "a", File: FileForeign},
		"/acme/cup-final/a/v720/media.m3u8":   {Event: id, Pipeline: "a", File: FileForeign},
		"/acme/cup-final/manifest.mpd":        {Event: id, File: FileForeign},
		"/acme/cup-final/Not-A-Name/out.m3u8": {Event: id, File: FileForeign},
	} {
		got, err := ParsePublishPath(path)
		if err != nil || got != want {
			t.Errorf("ParsePublishPath(%q) = %+v, %v, want %+v", path, got, err, want)
		}
		if s := want.String(); want.File != FileForeign && s != path || want.File == FileForeign && s != "" {
			t.Errorf("String() of %+v = %q", want, s)
		}
	}
	for path, says := range map[string]string{
		"":                                 "does not begin with /",
		"/acme/cup-final/a/init.mp4":       "PIPELINE/RENDITION",
		"/acme/cup-final/1.m4s":            "PIPELINE/RENDITION",
		"/acme/cup-final/A/v720/1.m4s":     "pipeline \"A\"",
		"/acme/cup-final/a/V720/1.m4s":     "rendition \"V720\"",
		"/acme/cup-final/a/v720/00001.m4s": "write 1 (in ffmpeg, $Number$ without a width)",
		"/acme/cup-final/a/v720/x/1.m4s":   "is not a segment number",
		"/acme/cup-final/a/v720/1.mp4":     "is not init.mp4",
		"/ACME/cup-final/a/manifest.mpd":   "tenant",
	} {
		_, err := ParsePublishPath(path)
		if !errors.Is(err, ErrPath) || !strings.Contains(err.Error(), says) {
			t.Errorf("ParsePublishPath(%q): %v does not say %q", path, err, says)
		}
	}
}

func TestEventIDs(t *testing.T) {
	got, err := ParseEventID("acme/cup-final")
	if err != nil || got != id || got.String() != "acme/cup-final" {
		t.Errorf("ParseEventID = %v, %v", got, err)
	}
	for _, s := range []string{"", "acme", "acme/", "/cup", "a/b/c", "A/b"} {
		if _, err := ParseEventID(s); !errors.Is(err, ErrPath) {
			t.Errorf("ParseEventID(%q): %v", s, err)
		}
	}
}

var genName = rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,62}`)

func TestPathsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := Path{Event: EventID{genName.Draw(t, "tenant"), genName.Draw(t, "event")}}
		p.File = rapid.SampledFrom([]File{FileSegment, FileInit, FileMPD, FileHLS, FilePlaylist, FileConfig, FileSteering}).Draw(t, "file")
		switch p.File {
		case FileSegment:
			p.Number = Number(rapid.Int64Range(0, MaxNumber).Draw(t, "number"))
			fallthrough
		case FileInit, FilePlaylist:
			p.Rendition = genName.Draw(t, "rendition")
		}
		if p.File == FileSegment || p.File == FilePlaylist {
			p.Key = rapid.Bool().Draw(t, "key frame")
		}
		if got, err := ParsePath(p.String()); err != nil || got != p {
			t.Errorf("%q reads as %+v, %v", p, got, err)
		}
		if p.File != FileSegment && p.File != FileInit {
			return
		}
		q := PublishPath{Event: p.Event, Pipeline: genName.Draw(t, "pipeline"), Rendition: p.Rendition, File: p.File, Number: p.Number}
		if got, err := ParsePublishPath(q.String()); err != nil || got != q {
			t.Errorf("%q reads as %+v, %v", q, got, err)
		}
	})
}

func TestParsePathDoesNotAllocate(t *testing.T) {
	for _, path := range []string{"/acme/cup-final/v720/1042.m4s", "/acme/cup-final/v720/init.mp4", "/acme/cup-final/manifest.mpd"} {
		if got := testing.AllocsPerRun(100, func() { ParsePath(path) }); got != 0 {
			t.Errorf("ParsePath(%q) allocates %v times", path, got)
		}
	}
	const put = "/acme/cup-final/a/v720/1042.m4s"
	if got := testing.AllocsPerRun(100, func() { ParsePublishPath(put) }); got != 0 {
		t.Errorf("ParsePublishPath allocates %v times", got)
	}
}

func BenchmarkParsePath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParsePath("/acme/cup-final/v720/897739200.m4s"); err != nil {
			b.Fatal(err)
		}
	}
}
