package cmaf

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headwater/live"
)

var update = flag.Bool("update", false, "write the seeds of the fuzz tests anew")

// seeds are the inputs that fuzzing starts from; each name says what it is.
// They are kept in testdata/fuzz, which go test runs every time.
func seeds(t testing.TB) map[string]map[string][]byte {
	const base = tfhdBaseIsMoof
	_, many, chunks := chunked(t)
	m := single(t, "avc-aac.mp4", 1)
	secret := encrypted(t, m)
	run := full("trun", 0, trunDataOffset|trunFirstFlags, uint32(10), int32(100), uint32(0))
	plain := handSegment(tfhd(base), tfdt(1000), run)
	short := slices.Clone(m.init)
	short = AppendChunk(short, 1, m.track, m.samples[0][:3], func(i int) []byte { return m.data[0][i] })
	protectedStream := AppendChunk(slices.Clone(secret.init), 1, secret.track, secret.samples[0][10:14], func(i int) []byte { return secret.data[0][10+i] })
	video := handInit("vide", 1000, entryOf(live.Video, "avc1", box("avcC", make([]byte, 7))), 40, 40, flagNonSync)
	first := func(name string) []byte { return parts(t, fixture(t, name))[0].Raw }
	return map[string]map[string][]byte{
		"FuzzParseInit": {
			"avc-and-aac": first("avc-aac.mp4"), "avc-from-dash": fixture(t, "dash-init.mp4"), "hevc": first("hevc.mp4"),
			"av1": first("av1.mp4"), "vp9": first("vp9.mp4"), "opus-flac-ac3-eac3": first("audio.mp4"), "encrypted": secret.init,
			"encrypted-by-ffmpeg": first("cenc.mp4"), "edit-list": first("edited.mp4"), "wvtt": wvttInit(), "stpp": stppInit(),
			"progressive": fixture(t, "progressive.mp4")[:1200], "two-tracks-by-hand": twoTracks(t),
			"size-of-4-gb": []byte("\xff\xff\xff\xffmoov"), "size-of-0": []byte("\x00\x00\x00\x00moov"),
		},
		"FuzzInspect": {
			"one-fragment": plain, "six-fragments": many, "cut-after-two-fragments": join(chunks[:2]...), "without-moof": plain[92:],
			"no-data":           handSegment(tfhd(base), tfdt(1000), full("trun", 0, trunDataOffset, uint32(10), int32(0))),
			"encrypted":         AppendChunk(nil, 1, secret.track, secret.samples[0][:4], func(i int) []byte { return secret.data[0][i] }),
			"absolute-offset":   handSegment(tfhd(tfhdBaseOffset, uint64(100)), tfdt(1000), full("trun", 0, 0, uint32(10))),
			"4-billion-samples": handSegment(tfhd(base|tfhdSize, uint32(0)), tfdt(1000), full("trun", 0, 0, uint32(0xffffffff))),
			"data-before-it":    handSegment(tfhd(base|tfhdSize, uint32(2)), tfdt(1000), full("trun", 0, trunDataOffset, uint32(10), int32(-20))),
			"64-bit-mdat":       join(moof(tfhd(base), tfdt(1000), run), []byte("\x00\x00\x00\x01mdat\x00\x00\x00\x00\x00\x00\x01\xa0"), make([]byte, 400)),
			"size-of-0":         join(plain[:92], []byte("\x00\x00\x00\x00mdat")), "transport-stream": fixture(t, "stream.ts")[:376],
			"emsg-of-both-versions": join(AppendEvent(AppendEvent(nil, &eventOld), &eventNew), plain),
			"emsg-without-ends":     join(full("emsg", 0, 0, "urn:x\x00value"), plain), "emsg-cut-off": join(full("emsg", 1, 0, uint32(1)), plain),
			"styp-prft-emsg-sidx": join(AppendStyp(nil), full("prft", 1, 0, uint32(1), uint64(5), uint64(7)),
				anEvent, full("sidx", 0, 0, make([]byte, 32)), plain),
		},
		"FuzzStream": {
			"init-and-fragment": short, "encrypted": protectedStream, "by-hand": join(video, plain),
			"cut-in-mdat": short[:len(short)-20], "init-twice": join(video, plain, video, plain),
			"two-runs": join(video, handSegment(tfhd(base), tfdt(1000), run, full("trun", 0, 0, uint32(1)))),
			"two-tracks": join(twoTracks(t), box("moof", full("mfhd", 0, 0, uint32(1)),
				box("traf", full("tfhd", 0, tfhdSize|tfhdDuration, uint32(1), uint32(9), uint32(3)), tfdt(5), full("trun", 0, 1, uint32(2), int32(148))),
				box("traf", full("tfhd", 0, tfhdSize|tfhdDuration, uint32(2), uint32(9), uint32(4)), tfdt(5), full("trun", 0, 0, uint32(2)))), box("mdat", "aaabbbccccdddd")),
			"event-messages":   join(evteInit(), evteFragment(1000, box("emeb"), instance(eventNew, -500), instance(eventNew, 1<<62))),
			"prft-and-emsg":    join(video, full("prft", 1, 0, uint32(1), uint64(5), uint64(7)), anEvent, plain),
			"moof-before-moov": plain, "sample-groups": join(secret.init, box("moof", full("mfhd", 0, 0, uint32(1)), box("traf", tfhd(base), tfdt(0),
				full("trun", 0, 0x201, uint32(1), int32(140), uint32(4)), full("sbgp", 0, 0, "seig", uint32(1), uint32(1), uint32(0x10001)),
				full("senc", 0, 0, uint32(1), uint64(1)))), box("mdat", "dddd")),
		},
	}
}

func TestSeeds(t *testing.T) {
	for target, inputs := range seeds(t) {
		dir := filepath.Join("testdata", "fuzz", target)
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for name, b := range inputs {
			text := fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", b)
			path := filepath.Join(dir, name)
			if *update {
				if err := os.WriteFile(path, text, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, text) {
				t.Errorf("%s is not what it should be (go test -run TestSeeds -update): %v", path, err)
			}
		}
	}
}

// ours fails unless an error says what kind it is.
func ours(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrMalformed) == errors.Is(err, ErrNotCMAF) || err.Error() == "" {
		t.Fatalf("an error of no kind, or of two: %v", err)
	}
}

func FuzzParseInit(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := ParseInit(b)
		if err != nil {
			ours(t, err)
			if in != nil {
				t.Fatal("an init segment and an error")
			}
			return
		}
		for _, track := range in.Tracks {
			if track.ID == 0 || track.Timescale == 0 || track.Descriptions < 1 || track.Codecs == "" || track.EditOffset < 0 || len(track.Config) > len(b) {
				t.Fatalf("%+v", track)
			}
			if err := track.Compatible(&track); err != nil {
				t.Fatalf("not compatible with itself: %v", err)
			}
			one, err := in.Single(b, track.ID)
			if err != nil {
				ours(t, err) // an mvhd too short: nothing here looks at one
				continue
			}
			if len(one) > len(b)+200 {
				t.Fatalf("%d bytes for one track of %d", len(one), len(b))
			}
			again, err := ParseInit(one)
			if err != nil {
				t.Fatalf("of its own making: %v", err)
			}
			same := again.Tracks[0]
			same.ID = track.ID
			if err := same.Compatible(&track); err != nil || len(again.Tracks) != 1 || again.Tracks[0].ID != 1 {
				t.Fatalf("%v, %+v", err, again)
			}
		}
	})
}

func FuzzInspect(f *testing.F) {
	clear, text := *videoTrack(f), *handTrack(f, wvttInit())
	tracks := []*Track{&clear, &text, {ID: 1, Type: live.Audio, Timescale: 1, Descriptions: 1, Encrypted: true}, {}}
	windows := []Window{
		{Start: 1000, End: 1400, SegmentMS: 400},
		{Start: fixtureStart * 15360, End: fixtureStart*15360 + 30720, SegmentMS: 2000},
		{},
		{Start: -5, End: 1 << 62, SegmentMS: 1 << 62},
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, track := range tracks {
			for _, w := range windows {
				r, err := Inspect(b, track, w)
				if err != nil {
					ours(t, err)
					if len(r.Findings) != 1 || r.Findings[0].Kind != live.Unparsable || r.Findings.MissingMS() != w.SegmentMS {
						t.Fatalf("%v with %q", err, r.Findings)
					}
					continue
				}
				for _, x := range r.Findings {
					if x.MissingMS < 0 || x.MissingMS > w.SegmentMS || x.Samples < 0 || x.Kind == live.Unparsable {
						t.Fatalf("%q of %d ms", r.Findings, w.SegmentMS)
					}
				}
				if k, err := live.ParseSegmentKey(string(KeyOf(b, track))); err != nil || !track.Encrypted && k != "" {
					t.Fatalf("key %q of %+v: %v", k, track, err)
				}
				if r.Findings.MissingMS() > w.SegmentMS || r.Span.Start > r.Span.End || r.Samples < 0 || r.Fragments < 1 {
					t.Fatalf("%+v in %+v", r, w)
				}
				if r.Findings.Fatal() && (len(r.Findings) != 1 || r.Findings.MissingMS() != w.SegmentMS) {
					t.Fatalf("%q is fatal but not alone, or not for all of %d ms", r.Findings, w.SegmentMS)
				}
			}
		}
	})
}

// The bytes of a sample may be anything. They are the first and the third, both
// sync samples, of each codec that is looked into.
func FuzzSample(f *testing.F) {
	var tracks []*Track
	for _, name := range []string{"cases/init-a.mp4", "hevc.mp4", "av1.mp4", "vp9.mp4", "audio.mp4"} {
		for i, track := range parts(f, fixture(f, name))[0].Init.Tracks {
			track.ID = uint32(i + 1)
			tracks = append(tracks, &track)
		}
		if name != "audio.mp4" && !strings.HasPrefix(name, "cases/") {
			m := single(f, name, 1)
			f.Add(m.data[0][0])
			f.Add(m.data[0][1])
		}
	}
	vvc := handTrack(f, handInit("vide", 1000, entryOf(live.Video, "vvi1", box("vvcC", []byte{0, 0, 0, 0, 0xff, 0}))))
	secret := encrypted(f, single(f, "avc-aac.mp4", 1))
	tracks = append(tracks, vvc, secret.track)
	spsB, ppsB := avcSetsOf(f, "cases/init-b.mp4")
	f.Add(nals(4, spsB, ppsB, "\x65\x88\x84"))
	f.Add(nals(4, "\x00\x79\x00\x8d\x02\x43\x00\x00", "\x00\x41\xaf\x80"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, track := range tracks {
			samples := make([]Sample, 4)
			data := [][]byte{b, {0}, b, {0}}
			for i := range samples {
				samples[i] = Sample{Decode: 1000 + 40*int64(i), Duration: 40, Description: 1, Aux: secret.samples[0][0].Aux[:min(8, len(b))]}
			}
			if !track.Encrypted {
				for i := range samples {
					samples[i].Aux = nil
				}
			}
			r, err := Inspect(segment(track, samples, data), track, Window{Start: 1000, End: 1160, SegmentMS: 160})
			if err != nil {
				t.Fatalf("%s: %v", track.Codecs, err)
			}
			if (r.Foreign != "") != r.Findings.Has(live.InitMismatch) || r.Findings.MissingMS() > 160 {
				t.Fatalf("%s: %q, %q", track.Codecs, r.Findings, r.Foreign)
			}
		}
	})
}

// What a stream gives is written again, and is then clean but for what the
// samples themselves lack.
func FuzzStream(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		var in *Init
		for n := 0; ; n++ {
			p, err := r.Next()
			if err == io.EOF {
				return
			}
			if err != nil {
				ours(t, err)
				return
			}
			if n > len(b)/8 {
				t.Fatal("more parts than boxes")
			}
			if p.Init != nil {
				in = p.Init
				continue
			}
			if len(p.Events) > MaxEvents {
				t.Fatalf("%d event messages", len(p.Events))
			}
			for i := range p.Fragment.Tracks {
				for _, e := range EventsOf(p, &p.Fragment.Tracks[i]) {
					x := Box{Type: boxEmsg, Header: 8, Data: AppendEvent(nil, &e)}
					if back, ok, err := parseEvent(x); err != nil || !ok || !back.Same(&e) {
						t.Fatalf("%+v, written and read it is %+v, %v, %v", e, back, ok, err)
					}
				}
				again(t, in, p, &p.Fragment.Tracks[i])
			}
		}
	})
}

func again(t *testing.T, in *Init, p *Part, f *TrackFragment) {
	if f.Track == nil || len(f.Samples) == 0 || f.Track != in.Track(f.ID) {
		return
	}
	for i, s := range f.Samples {
		if s.Size > 0 && p.Data(s) == nil {
			return // data outside of the part
		}
		if len(p.Data(s)) != int(s.Size) {
			t.Fatalf("sample %d: %+v has %d bytes", i, s, len(p.Data(s)))
		}
	}
	span := live.Span{Start: math.MaxInt64, End: math.MinInt64, Timescale: int64(f.Track.Timescale)}
	inferred := false
	for _, s := range f.Samples {
		at := s.Decode + int64(s.Composition) - f.Track.EditOffset
		span.Start, span.End = min(span.Start, at), max(span.End, at+int64(s.Duration))
		inferred = inferred || s.Duration == 0
	}
	w := Window{Start: span.Start, End: span.End, SegmentMS: 2000}
	check := func(what string, b []byte) {
		r, err := Inspect(b, f.Track, w)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if r.Span != span && !inferred || r.Samples != len(f.Samples) || r.Keyframe && !f.Samples[0].Sync {
			t.Fatalf("%s: %+v, of %+v", what, r, f.Samples)
		}
		for _, x := range r.Findings {
			lacking := x.Kind == live.MissingSamples || x.Kind == live.NoKeyframe || x.Kind == live.InitMismatch
			doubled := x.Kind == live.Overlap
			if !lacking && !doubled && !inferred {
				t.Fatalf("%s: %q", what, r.Findings)
			}
		}
	}
	if !f.Whole {
		check("regrouped", AppendSegment(nil, 1, f.Track, f.Samples, func(i int) []byte { return p.Data(f.Samples[i]) }))
	}
	if b, err := AppendFragment(nil, 1, f.Track, p, f); err == nil {
		if len(f.Samples) > len(b) {
			return // a mere claim, where a stream may have some
		}
		check("whole", b)
	} else {
		ours(t, err)
	}
}
