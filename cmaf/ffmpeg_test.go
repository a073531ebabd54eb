package cmaf

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
)

func ffmpeg(t *testing.T, in []byte, args string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), need.Program(t, "ffmpeg"), append([]string{"-hide_banner", "-loglevel", "error"}, strings.Fields(args)...)...)
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ffmpeg %s: %v\n%s", args, err, stderr.String())
	}
	return out
}

// frames decodes one track: a line for each frame, with its times and the
// digest of the picture or the sound. It reads a pipe: in a file that it can
// seek in, ffmpeg 5.1 mixes up the vectors of encrypted fragments.
func frames(t *testing.T, b []byte, track int, options string) []string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(string(ffmpeg(t, b, options+" -copyts -i pipe:0 -copyts -map 0:"+strconv.Itoa(track)+" -f framemd5 -"))) {
		if !strings.HasPrefix(line, "#") {
			_, rest, _ := strings.Cut(line, ",") // the number of the stream
			lines = append(lines, rest)
		}
	}
	return lines
}

// What is read and written again as single-track segments decodes to the same
// frames at the same times, whichever way ffmpeg lays out its fragments.
func TestRewritingDecodesTheSame(t *testing.T) {
	const source = "-f lavfi -i testsrc2=size=320x180:rate=30 -f lavfi -i sine=frequency=440:sample_rate=48000 -t 4 " +
		"-c:v libx264 -preset veryfast -g 60 -sc_threshold 0 -b:v 300k -c:a aac -b:a 64k "
	const live = "-tune zerolatency -bf 0 -output_ts_offset 1795405280 -use_editlist 0 -avoid_negative_ts disabled -f mp4 -movflags "
	for _, c := range []struct{ name, args string }{
		{"the live recipe", live + "+frag_keyframe+empty_moov+default_base_moof+separate_moof+frag_discont+skip_trailer"},
		{"tracks together in a moof", live + "+frag_keyframe+empty_moov+default_base_moof+frag_discont"},
		{"absolute data offsets", live + "+frag_keyframe+empty_moov+frag_discont"},
		// Without sound: ffmpeg 5.1 gives the last but one audio sample a wrong time.
		{"a fragment for every frame", "-an " + live + "+frag_every_frame+empty_moov+default_base_moof+frag_discont"},
		{"the cmaf flag", live + "+cmaf+frag_keyframe+frag_discont"},
		{"frames out of order, edit lists", "-bf 2 -f mp4 -movflags +frag_keyframe+delay_moov+default_base_moof"},
		{"frames out of order, negative offsets", "-bf 2 -use_editlist 0 -f mp4 -movflags +frag_keyframe+empty_moov+default_base_moof+negative_cts_offsets"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := ffmpeg(t, nil, source+c.args+" pipe:1")
			all := parts(t, b)
			for i := range all[0].Init.Tracks {
				before := all[0].Init.Tracks[i]
				one, err := all[0].Init.Single(all[0].Raw, before.ID)
				if err != nil {
					t.Fatal(err)
				}
				track := handTrack(t, one)
				var samples []Sample
				var data [][]byte
				whole := slices.Clone(one)
				for n, p := range all[1:] {
					for k := range p.Fragment.Tracks {
						f := &p.Fragment.Tracks[k]
						if f.ID != before.ID {
							continue
						}
						for _, s := range f.Samples {
							samples, data = append(samples, s), append(data, p.Data(s))
						}
						if whole, err = AppendFragment(whole, uint32(n), track, p, f); err != nil {
							t.Fatal(err)
						}
					}
				}
				// Half of them, the rest, and what Inspect says of both.
				half := len(samples) / 2
				first, second := segment(track, samples[:half], data[:half]), segment(track, samples[half:], data[half:])
				for _, seg := range [][]byte{first, second} {
					r, err := Inspect(seg, track, Window{})
					if err != nil || r.Findings.Has("missing-samples") || r.Fragments != 1 {
						t.Errorf("track %d: %+v, %v", before.ID, r, err)
					}
				}
				want := frames(t, b, i, "")
				if len(want) < 100 {
					t.Fatalf("only %d frames", len(want))
				}
				for name, got := range map[string][]byte{"regrouped": join(one, first, second), "whole fragments": whole} {
					if got := frames(t, got, 0, ""); !slices.Equal(got, want) {
						t.Errorf("track %d, %s: %d frames decode otherwise than %d before", before.ID, name, len(got), len(want))
					}
				}
			}
		})
	}
}

// Encrypted samples that were regrouped decrypt to the clear ones.
func TestDecryption(t *testing.T) {
	for _, id := range []uint32{1, 3} {
		clear := single(t, "avc-aac.mp4", id)
		m := encrypted(t, clear)
		want := frames(t, join(clear.init, join(clear.segments...)), 0, "")
		all, data := slices.Concat(m.samples...), slices.Concat(m.data...)
		b := slices.Clone(m.init)
		for i := 0; i < len(all); i += 50 {
			end := min(i+50, len(all))
			b = AppendSegment(b, uint32(i), m.track, all[i:end], func(k int) []byte { return data[i+k] })
		}
		got := frames(t, b, 0, "-decryption_key "+hex.EncodeToString([]byte(testKey)))
		if len(got) == 0 || !slices.Equal(got, want) {
			t.Errorf("track %d: %d frames decrypt otherwise than the %d clear ones", id, len(got), len(want))
		}
	}
}

// What an init segment tells agrees with ffprobe.
func TestAgreesWithProbe(t *testing.T) {
	probe := need.Program(t, "ffprobe")
	for _, name := range []string{"avc-aac.mp4", "ntsc.mp4", "hevc.mp4", "av1.mp4", "vp9.mp4", "audio.mp4"} {
		out, err := exec.CommandContext(t.Context(), probe, "-v", "error", "-show_streams", "-of", "json", filepath.Join("testdata", name)).Output()
		if err != nil {
			t.Fatal(err)
		}
		var said struct {
			Streams []struct {
				Tag     string `json:"codec_tag_string"`
				Profile string
				Level   int
				Width   int
				Height  int
				Rate    string `json:"sample_rate"`
				Sound   int    `json:"channels"`
				Tags    struct{ Language string }
			}
		}
		if err := json.Unmarshal(out, &said); err != nil {
			t.Fatal(err)
		}
		in := parts(t, fixture(t, name))[0].Init
		for i, s := range said.Streams {
			x := in.Tracks[i]
			language := x.Language
			if language == "" {
				language = "und"
			}
			if x.Width != s.Width || x.Height != s.Height || x.Channels != s.Sound || language != s.Tags.Language || !strings.HasPrefix(x.Codecs, s.Tag) {
				t.Errorf("%s, track %d: %+v, ffprobe says %+v", name, x.ID, x, s)
			}
			if x.Type == live.Audio && strconv.Itoa(x.SampleRate) != s.Rate {
				t.Errorf("%s, track %d: %d Hz, ffprobe says %s", name, x.ID, x.SampleRate, s.Rate)
			}
			switch s.Tag {
			case "avc1":
				if want := "avc1.6400" + hex.EncodeToString([]byte{byte(s.Level)}); s.Profile != "High" || x.Codecs != want {
					t.Errorf("%s: %s, ffprobe says %s, level %d", name, x.Codecs, s.Profile, s.Level)
				}
			case "hvc1":
				if want := "hvc1.1.6.L" + strconv.Itoa(s.Level) + ".90"; s.Profile != "Main" || x.Codecs != want {
					t.Errorf("%s: %s, ffprobe says %s, level %d", name, x.Codecs, s.Profile, s.Level)
				}
			case "mp4a":
				if s.Profile != "LC" || x.Codecs != "mp4a.40.2" {
					t.Errorf("%s: %s, ffprobe says %s", name, x.Codecs, s.Profile)
				}
			}
		}
	}
}

func TestProducerTimesOfARealEncoder(t *testing.T) {
	b := ffmpeg(t, nil, "-f lavfi -i testsrc2=size=64x36:rate=25 -t 4 -c:v libx264 -bf 0 -g 50 -write_prft wallclock "+
		"-f mp4 -movflags +frag_keyframe+empty_moov+default_base_moof+separate_moof pipe:1")
	n := 0
	for _, p := range parts(t, b)[1:] {
		for _, x := range p.Producer {
			n++
			if x.TrackID != 1 || x.Media != p.Fragment.Tracks[0].Decode || time.Since(x.Time).Abs() > 24*time.Hour {
				t.Errorf("%+v, for a fragment at %d", x, p.Fragment.Tracks[0].Decode)
			}
		}
	}
	if n != 2 {
		t.Errorf("%d producer times, want one for each of 2 fragments", n)
	}
}

// A live encoder's pipe is read as it is written.
func TestPipe(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), need.Program(t, "ffmpeg"), strings.Fields("-hide_banner -nostdin -loglevel error "+
		"-f lavfi -i testsrc2=size=64x36:rate=30 -t 4 -c:v libx264 -preset veryfast -tune zerolatency -g 60 "+
		"-f mp4 -movflags +frag_keyframe+empty_moov+default_base_moof pipe:1")...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	n := 0
	for r := NewReader(out); ; n++ {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Wait(); err != nil || n != 3 {
		t.Errorf("%d parts, want 3: %v", n, err)
	}
}
