package packager

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
)

// encode runs ffmpeg to its end and returns what it writes to a pipe: seconds
// of video in two sizes and sound, from a time on.
func encode(t *testing.T, from time.Time, seconds string, rate string, more ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := []string{"-nostdin", "-hide_banner", "-loglevel", "error",
		"-f", "lavfi", "-i", "testsrc2=size=128x72:rate=" + rate, "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", seconds,
		"-filter_complex", "[0:v]split=2[a][b];[b]scale=64:36[c]", "-map", "[a]", "-map", "[c]", "-map", "1:a",
		"-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-threads", "1",
		"-b:v:0", "200k", "-b:v:1", "60k", "-c:a", "aac", "-b:a", "64k",
		"-output_ts_offset", fmt.Sprint(from.Unix()), "-use_editlist", "0", "-avoid_negative_ts", "disabled"}
	args = append(args, more...)
	args = append(args, "-f", "mp4", "pipe:1")
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, need.Program(t, "ffmpeg"), args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, errs.String())
	}
	return out.Bytes()
}

const (
	byGOP    = "+frag_keyframe+empty_moov+default_base_moof+separate_moof+frag_discont+skip_trailer"
	byFrame  = "+frag_every_frame+empty_moov+default_base_moof+frag_discont+skip_trailer"
	together = "+frag_keyframe+empty_moov+default_base_moof+frag_discont+skip_trailer"
)

// Two encoders with the same origin of time give the same segments although
// one writes a fragment per frame and the other one per GOP; one that was
// started later, with its own, is cut at the same boundaries.
func TestEncodersInStep(t *testing.T) {
	gop := []string{"-force_key_frames", "expr:gte(t,n_forced*2)"}
	e := testEvent(fixtureStart, "v720", "v360", "a-en")
	a := mustSplit(t, e, encode(t, fixtureStart, "9", "30", append(gop, "-movflags", byGOP)...))
	b := mustSplit(t, e, encode(t, fixtureStart, "9", "30", append(gop, "-movflags", byFrame)...))
	c := mustSplit(t, e, encode(t, fixtureStart, "9", "30", append(gop, "-movflags", together)...))
	later := mustSplit(t, e, encode(t, fixtureStart.Add(4*time.Second), "5", "30", append(gop, "-movflags", byGOP)...))
	for _, r := range e.Renditions {
		want := media(a, r.Name)
		if got := numbers(want); !slices.Equal(got, []live.Number{1, 2, 3, 4, 5}) {
			t.Fatalf("%s: %v", r.Name, got)
		}
		for _, s := range want[:4] {
			if !s.findings.Clean() {
				t.Errorf("%s/%d: %v", r.Name, s.number, s.findings)
			}
		}
		for _, other := range [][]*segment{media(b, r.Name), media(c, r.Name)} {
			if len(other) != 5 {
				t.Fatalf("%s: %v", r.Name, numbers(other))
			}
			// The last sample of the input has a duration that the muxer guesses.
			sameMedia(t, other[:4], want)
		}
		l := media(later, r.Name)
		if got := numbers(l); !slices.Equal(got, []live.Number{3, 4, 5}) {
			t.Fatalf("%s, later: %v", r.Name, got)
		}
		for _, s := range l[:2] {
			same := want[s.number-1]
			off := s.samples[0].Decode - same.samples[0].Decode
			if !s.findings.Clean() || off != 0 && r.Type == live.Video || off >= 1024 || off <= -1024 {
				t.Errorf("%s/%d: %v, %d ticks from the other", r.Name, s.number, s.findings, off)
			}
		}
	}
}

func TestEncoderAt2997(t *testing.T) {
	e := testEvent(fixtureStart, "v720", "v360", "a-en")
	e.Segment = live.Duration{Ticks: 2002, Timescale: 1000}
	segs := mustSplit(t, e, encode(t, fixtureStart, "11", "30000/1001", "-g", "60", "-keyint_min", "60", "-sc_threshold", "0",
		"-ar", "44100", "-movflags", byGOP))
	for _, r := range e.Renditions {
		m := media(segs, r.Name)
		if len(m) < 5 {
			t.Fatalf("%s: %v", r.Name, numbers(m))
		}
		for _, s := range m[:5] {
			if !s.findings.Clean() {
				t.Errorf("%s/%d: %v", r.Name, s.number, s.findings)
			}
		}
	}
}

// With 29.97 frames a second in segments of 2 s no boundary but the first lies
// on a frame; a key frame forced at each stays within one.
func TestEncoderOffTheGrid(t *testing.T) {
	e := testEvent(fixtureStart, "v720", "v360", "a-en")
	segs := mustSplit(t, e, encode(t, fixtureStart, "11", "30000/1001", "-force_key_frames", "expr:gte(t,n_forced*2)", "-movflags", byGOP))
	for _, r := range e.Renditions {
		m := media(segs, r.Name)
		for _, s := range m[:5] {
			if !s.findings.Clean() {
				t.Errorf("%s/%d: %v", r.Name, s.number, s.findings)
			}
		}
	}
}

// Reordered frames with an edit list, and prft where decode times begin at 0.
func TestEncoderWithPRFT(t *testing.T) {
	e := testEvent(fixtureStart, "v720", "v360", "a-en")
	frag := strings.Replace(byGOP, "+frag_discont", "", 1)
	segs := mustSplit(t, e, encode(t, fixtureStart.Add(6*time.Second), "7", "30", "-force_key_frames", "expr:gte(t,n_forced*2)",
		"-write_prft", "pts", "-movflags", frag))
	for _, r := range e.Renditions {
		m := media(segs, r.Name)
		if got := numbers(m); !slices.Equal(got, []live.Number{4, 5, 6, 7}) {
			t.Fatalf("%s: %v", r.Name, got)
		}
		for _, s := range m[:3] {
			if !s.findings.Clean() {
				t.Errorf("%s/%d: %v", r.Name, s.number, s.findings)
			}
		}
	}
}

// A live encoder through a pipe: segments leave at most a frame or so after
// the encoder has written them, and a killed encoder's last bytes are an error.
func TestLiveEncoder(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	from := time.Now().Truncate(2 * time.Second)
	cmd := exec.CommandContext(ctx, need.Program(t, "ffmpeg"), "-nostdin", "-hide_banner", "-loglevel", "error", "-re",
		"-f", "lavfi", "-i", "testsrc2=size=128x72:rate=30", "-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency",
		"-force_key_frames", "expr:gte(t,n_forced*2)", "-output_ts_offset", fmt.Sprint(from.Unix()), "-use_editlist", "0",
		"-avoid_negative_ts", "disabled", "-f", "mp4", "-movflags", byGOP, "pipe:1")
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	e := testEvent(from, "v720")
	tl := e.Timeline()
	s := testSplitter(e, pipe)
	for n := live.Number(0); n < 3; {
		seg, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if seg.init {
			continue
		}
		n++
		seg.inspect(&tl)
		if seg.number != n || !seg.findings.Clean() {
			t.Errorf("segment %d: %v", seg.number, seg.findings)
		}
	}
	cancel()
	for {
		if _, err := s.Next(); err != nil {
			break
		}
	}
	cmd.Wait()
}

// A fragment per frame, of which ffmpeg writes the last of sound without a
// duration, at the time where it ends: nothing is missing.
func TestEncoderFrameByFrame(t *testing.T) {
	e := testEvent(fixtureStart, "v720", "v360", "a-en")
	segs := mustSplit(t, e, encode(t, fixtureStart, "4", "30", "-force_key_frames", "expr:gte(t,n_forced*2)", "-movflags", byFrame))
	for _, r := range e.Renditions {
		m := media(segs, r.Name)
		if got := numbers(m); !slices.Equal(got, []live.Number{1, 2}) {
			t.Errorf("%s: %v", r.Name, got)
		}
		for _, s := range m {
			if !s.findings.Clean() {
				t.Errorf("%s/%d: %v", r.Name, s.number, s.findings)
			}
		}
	}
}
