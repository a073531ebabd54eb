package live

import (
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

// What is accepted has one form: a path that parses is the path it prints.
func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/acme/cup-final/v720/1042.m4s", "/acme/cup-final/v720/init.mp4", "/acme/cup-final/manifest.mpd",
		"/acme/cup-final/main.m3u8", "/acme/cup-final/a-en/media.m3u8", "/acme/cup-final/event.json", "/a/b/c/007.m4s", "//a//1.m4s", "/a/b/c/9007199254740993.m4s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			if !errors.Is(err, ErrPath) || len(err.Error()) > 700 {
				t.Errorf("ParsePath(%q): %v", s, err)
			}
			return
		}
		if p.String() != s {
			t.Errorf("ParsePath(%q) prints as %q", s, p)
		}
		if p.Number < 0 || p.Number > MaxNumber || !ValidName(p.Event.Tenant) || !ValidName(p.Event.Name) {
			t.Errorf("ParsePath(%q) = %+v", s, p)
		}
	})
}

func FuzzParsePublishPath(f *testing.F) {
	for _, s := range []string{"/acme/cup-final/a/v720/1042.m4s", "/acme/cup-final/a/v720/init.mp4", "/acme/cup-final/a/manifest.mpd",
		"/acme/cup-final/out.m3u8", "/acme/cup-final/a/v720/00001.m4s", "/a/b/c/d/e/1.m4s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePublishPath(s)
		if err != nil {
			if !errors.Is(err, ErrPath) || len(err.Error()) > 700 {
				t.Errorf("ParsePublishPath(%q): %v", s, err)
			}
			return
		}
		if p.File == FileForeign {
			if p.Pipeline != "" && !ValidName(p.Pipeline) {
				t.Errorf("ParsePublishPath(%q) = %+v", s, p)
			}
			return
		}
		if p.String() != s || p.Number < 0 || p.Number > MaxNumber || !ValidName(p.Pipeline) || !ValidName(p.Rendition) {
			t.Errorf("ParsePublishPath(%q) = %+v", s, p)
		}
	})
}

// An event that is accepted has a timeline, and reads the same again.
func FuzzParseEvent(f *testing.F) {
	f.Add([]byte(minimal))
	f.Add([]byte(full))
	f.Add([]byte(`{"start":"2026-11-23T20:00:00Z","first_number":0,"segment":{"ticks":1,"timescale":10},"masks":[[]]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ParseEvent(b)
		if err != nil {
			var fe *FieldError
			if !errors.As(err, &fe) || fe.Field == "" || fe.Reason == "" {
				t.Errorf("ParseEvent(%q): %v", b, err)
			}
			return
		}
		out, err := json.Marshal(e)
		if err != nil {
			t.Fatalf("ParseEvent(%q) cannot be written: %v", b, err)
		}
		again, err := ParseEvent(out)
		if err != nil || !reflect.DeepEqual(again, e) {
			t.Errorf("%s reads as %+v, %v", out, again, err)
		}
		tl := e.Timeline()
		n := tl.First()
		if tl.At(tl.Start(n)) != n || tl.Place(n, tl.Expected(n)) != Due || tl.Edge(tl.Expected(n)) < n {
			t.Errorf("ParseEvent(%q): the first segment is not in its place", b)
		}
		if last, ok := tl.Last(); ok && (last < n || !tl.Start(last).Before(e.End) || tl.End(last).Before(e.End)) {
			t.Errorf("ParseEvent(%q): %d does not hold the end", b, last)
		}
	})
}

func FuzzParseFindings(f *testing.F) {
	for _, s := range []string{"short;ms=400, missing-samples;n=12", "late", "", "a;ms=999999999999999", "*x/y:z;ms=1;n=2;o=?1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseFindings([]string{s})
		if err != nil {
			if !errors.Is(err, ErrHeader) {
				t.Errorf("ParseFindings(%q): %v", s, err)
			}
			return
		}
		if len(got) > MaxFindings || got.MissingMS() < 0 {
			t.Errorf("ParseFindings(%q) = %v", s, got)
		}
		again, err := ParseFindings([]string{got.String()})
		if err != nil || !slices.Equal(again, got) {
			t.Errorf("%q reads as %v, %v", got, again, err)
		}
	})
}

func FuzzParseNotifications(f *testing.F) {
	for _, s := range []string{`17, ad-break;id="b1";from=1042;to=1057;data=:e30=:`, "0", `1, a;id="\"\\";from=0`, `3, a;id="x";from=1, b;id="y";from=2;to=0`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseNotifications([]string{s})
		if err != nil {
			if !errors.Is(err, ErrHeader) {
				t.Errorf("ParseNotifications(%q): %v", s, err)
			}
			return
		}
		if len(got.Set) > MaxNotifications {
			t.Errorf("ParseNotifications(%q) has %d", s, len(got.Set))
		}
		for i := range got.Set {
			if err := got.Set[i].Validate(); err != nil {
				t.Errorf("ParseNotifications(%q) accepts what is not valid: %v", s, err)
			}
		}
		v, err := got.Header()
		if err != nil {
			t.Fatalf("ParseNotifications(%q) cannot be written: %v", s, err)
		}
		again, err := ParseNotifications([]string{v})
		if v2, _ := again.Header(); err != nil || v2 != v {
			t.Errorf("%q reads as %q, %v", v, v2, err)
		}
	})
}

func FuzzParseDigest(f *testing.F) {
	for _, s := range []string{DigestOf(nil).String(), "sha-512=:AAAA:", "", "sha-256=:AAAA:", "sha-256;a=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDigest([]string{s})
		if err != nil {
			if !errors.Is(err, ErrHeader) || !d.IsZero() {
				t.Errorf("ParseDigest(%q) = %v, %v", s, d, err)
			}
			return
		}
		if again, err := ParseDigest([]string{d.String()}); err != nil || again != d {
			t.Errorf("%q reads as %q, %v", d, again, err)
		}
	})
}

func FuzzParseLifetime(f *testing.F) {
	for _, s := range []string{"max-age=1, max-age-ms=1834", "no-store", "max-age=99999999999", `public, Max-Age="5"`, "max-age-ms=-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, ok := ParseLifetime([]string{s})
		if d < 0 || d > MaxLifetime || !ok && d != 0 || d%time.Millisecond != 0 {
			t.Errorf("ParseLifetime(%q) = %v, %v", s, d, ok)
		}
		if again, _ := ParseLifetime([]string{FormatLifetime(d)}); again != d {
			t.Errorf("%v reads as %v", d, again)
		}
	})
}

// A node of a site that can be read is read the same from what it writes.
func FuzzParseSiteNode(f *testing.F) {
	for _, s := range []string{`"b";id="nb";up=12;from=1700000000000, "c";ago=3`, `"b";orphan`, `"b";up=-1`, `("b")`, `"B"`, `"b";ago=99999999999999999999`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseSiteNode([]string{s})
		if err != nil {
			return
		}
		again, err := ParseSiteNode([]string{n.Header()})
		if err != nil || !reflect.DeepEqual(again, n) {
			t.Errorf("%q: %+v, then %+v, %v", s, n, again, err)
		}
	})
}

// What other fields of answers say is taken or left; what is taken is within bounds.
func FuzzFieldsOfAnswers(f *testing.F) {
	for _, s := range []string{"a;region=east", `a;region="b"`, "1700000000.123456789", "1042", "9007199254740993", "max-age=5, max-age-ms=5000", `edge;hit;ttl=3;detail="x"`, "2026-11-28T01:02:03.004Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if src, err := ParseSource(s); err == nil {
			if again, err := ParseSource(src.String()); err != nil || again != src {
				t.Errorf("%q: %+v, then %+v, %v", s, src, again, err)
			}
		}
		if n, err := ParseNumber(s); err == nil && (n < 0 || n > MaxNumber) {
			t.Errorf("%q is number %d", s, n)
		}
		if v, err := ParseVersion(s); err == nil && v < 0 {
			t.Errorf("%q is version %d", s, v)
		}
		ParsePublished(s)
		parseCacheStatus(s)
		ParseMoment("from", s)
		if id, err := ParseEventID(s); err == nil && id.String() != s {
			t.Errorf("%q is event %v", s, id)
		}
	})
}

// A problem that somebody else made is read, or is none.
func FuzzProblem(f *testing.F) {
	for _, s := range []string{`{"type":"tag:headwater,2026:lost","title":"x","status":410}`, `{"type":"about:blank"}`, `{"status":"x"}`, `[]`, `{"Type":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var p, again Problem
		if json.Unmarshal(b, &p) != nil || p.Code == "" {
			return // it has no type
		}
		if err := json.Unmarshal(p.body(), &again); err != nil || !reflect.DeepEqual(again, p) {
			t.Errorf("%q: %+v, then %+v, %v", b, p, again, err)
		}
	})
}

// A configuration that a parent gives has timelines that answer for any number and time.
func FuzzConfig(f *testing.F) {
	e := Default()
	e.Start = time.Unix(1_700_000_000, 0).UTC()
	e.Pipelines = []Pipeline{{Name: "a"}}
	e.Renditions = []Rendition{{Name: "v", Type: Video, Bandwidth: 1}}
	for _, c := range []Config{{Event: e, Version: 1}, {Event: e, Version: 1 << 53, FlushVersion: 7}} {
		b, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, int64(1042), int64(1_700_000_100_000_000_000))
	}
	f.Add([]byte(`{}`), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, number, at int64) {
		var c Config
		if json.Unmarshal(b, &c) != nil {
			return
		}
		now, n := time.Unix(0, at), Number(number)
		for _, r := range c.Renditions {
			tl := c.Timeline(r.Name)
			if tl.Segment() <= 0 {
				t.Fatalf("%s: segments of %v", b, tl.Segment())
			}
			tl.At(now)
			tl.Edge(now)
			if n < 0 || n > MaxNumber {
				continue
			}
			tl.Place(n, now)
			if _, life, refused := tl.Refuse(n, now); refused && life < 0 {
				t.Errorf("%s: number %d at %v is refused for %v", b, n, now, life)
			}
		}
	})
}
