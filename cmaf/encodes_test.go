package cmaf

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"headwater/live"
)

// An encode is one run of ffmpeg. Segments are g frames long, key frames are on
// the boundaries.
type encode struct {
	name  string
	fps   string // as ffmpeg takes it: 25, 30000/1001
	g     int64
	video string // arguments of the video encoder, %g is the frames of a segment
	audio string
	muxer string // dash, hls, or frames: a fragment for every frame
}

var encodes = []encode{
	{"x264", "25", 50, "libx264 -bf 0 -g %g", "aac -ar 48000", "dash"},
	{"x264-b2", "24000/1001", 48, "libx264 -bf 2 -g %g", "aac -ar 44100", "dash"},
	{"x264-b8", "24", 48, "libx264 -bf 8 -b_strategy 0 -g %g", "ac3", "dash"},
	{"x264-open", "30", 60, "libx264 -bf 3 -x264-params open-gop=1:scenecut=0:keyint=%g:min-keyint=%g", "libopus", "dash"},
	{"x264-hls", "30000/1001", 60, "libx264 -bf 3 -g %g", "", "hls"},
	{"x264-frames", "50", 100, "libx264 -bf 0 -g %g", "", "frames"},
	{"x264-frames-b", "60000/1001", 120, "libx264 -bf 2 -g %g", "", "frames"},
	{"aac-frames", "48000/1024", 94, "", "aac -ar 48000", "frames"},
	{"x265", "25", 50, "libx265 -x265-params log-level=none:open-gop=0:scenecut=0:keyint=%g:min-keyint=%g", "aac -ar 48000", "dash"},
	{"x265-open", "25", 50, "libx265 -x265-params log-level=none:open-gop=1:scenecut=0:keyint=%g:min-keyint=%g", "", "dash"},
	{"x265-radl", "30", 60, "libx265 -x265-params log-level=none:open-gop=0:radl=2:bframes=4:scenecut=0:keyint=%g:min-keyint=%g", "", "hls"},
	{"vp9", "25", 50, "libvpx-vp9 -deadline realtime -cpu-used 8 -g %g -keyint_min %g", "libopus", "dash"},
	{"svt-av1", "30", 60, "libsvtav1 -preset 12 -g %g", "", "dash"},
}

// run makes an init segment and segments of each track.
func (e encode) run(t *testing.T, segments int64) (out []train, media [][][]byte) {
	t.Helper()
	num, den := int64(1), int64(1)
	if a, b, ok := strings.Cut(e.fps, "/"); ok {
		num, _ = strconv.ParseInt(a, 10, 64)
		den, _ = strconv.ParseInt(b, 10, 64)
	} else {
		num, _ = strconv.ParseInt(e.fps, 10, 64)
	}
	seconds := float64(e.g*den) / float64(num)
	dir := t.TempDir()
	args := ""
	if e.video != "" {
		size := "64x36"
		if strings.Contains(e.video, "svt") {
			size = "64x64"
		}
		args += fmt.Sprintf("-f lavfi -i testsrc2=size=%s:rate=%s ", size, e.fps)
	}
	if e.audio != "" {
		args += "-f lavfi -i sine=sample_rate=48000 "
	}
	args += fmt.Sprintf("-t %f ", seconds*float64(segments))
	if e.video != "" {
		args += "-c:v " + strings.ReplaceAll(e.video, "%g", strconv.FormatInt(e.g, 10)) + " -b:v 40k "
		if strings.Contains(e.video, "x26") {
			args += "-preset ultrafast -sc_threshold 0 "
		}
		if strings.Contains(e.name, "x264-b") || strings.Contains(e.name, "x264-open") {
			args = strings.Replace(args, "ultrafast", "veryfast", 1)
		}
		if strings.Contains(e.video, "x265") {
			args += "-tag:v hvc1 "
		}
	}
	if e.audio != "" {
		args += "-c:a " + e.audio + " -b:a 32k "
	}
	type group struct {
		init  []byte
		files [][]byte
	}
	var groups []group
	read := func(pattern string) (all [][]byte) {
		for i := 0; ; i++ {
			b, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf(pattern, i)))
			if err != nil {
				return all
			}
			all = append(all, b)
		}
	}
	one := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	switch e.muxer {
	case "dash":
		ffmpeg(t, nil, args+fmt.Sprintf("-f dash -dash_segment_type mp4 -strict -2 -seg_duration %f -window_size 0 -use_template 1 -use_timeline 0 -init_seg_name $RepresentationID$-init.mp4 -media_seg_name $RepresentationID$-$Number$.m4s %s/x.mpd", seconds, dir))
		for id := range 2 {
			if _, err := os.Stat(fmt.Sprintf("%s/%d-init.mp4", dir, id)); err == nil {
				all := [][]byte{}
				for i := 1; ; i++ {
					b, err := os.ReadFile(fmt.Sprintf("%s/%d-%d.m4s", dir, id, i))
					if err != nil {
						break
					}
					all = append(all, b)
				}
				groups = append(groups, group{one(fmt.Sprintf("%d-init.mp4", id)), all})
			}
		}
	case "hls":
		ffmpeg(t, nil, args+fmt.Sprintf("-f hls -hls_segment_type fmp4 -hls_list_size 0 -hls_time %f -start_number 0 -hls_fmp4_init_filename init.mp4 -hls_segment_filename %s/h%%d.m4s %s/x.m3u8", seconds*0.99, dir, dir))
		groups = append(groups, group{one("init.mp4"), read("h%d.m4s")})
	default:
		b := ffmpeg(t, nil, args+"-f mp4 -movflags +frag_every_frame+delay_moov+default_base_moof+skip_trailer pipe:1")
		all := parts(t, b)
		g := group{init: all[0].Raw}
		track := &all[0].Init.Tracks[0]
		nominal := e.g * den * int64(track.Timescale)
		for _, p := range all[1:] {
			f := &p.Fragment.Tracks[0]
			s := f.Samples[0]
			fresh := s.Sync
			if track.Type == live.Audio {
				fresh = int64(len(g.files)) <= max(0, s.Decode-track.EditOffset)*num/nominal
			}
			if fresh || len(g.files) == 0 {
				g.files = append(g.files, nil)
			}
			n := len(g.files) - 1
			g.files[n] = append(g.files[n], p.Raw...)
		}
		groups = append(groups, g)
	}
	for _, g := range groups {
		track := handTrack(t, g.init)
		out = append(out, train{track: track, nominal: 0, exact: func(n int64) int64 { return n * e.g * den * int64(track.Timescale) / num }})
		media = append(media, g.files)
	}
	return out, media
}

// long says whether make encodes asks for all that there is.
func long() bool { return os.Getenv("HEADWATER_ENCODES") != "" }

// What real encoders and muxers make is clean, the last segment of each, which
// is cut off where the input ends, aside.
func TestEncodesAreClean(t *testing.T) {
	segments, list := int64(5), encodes
	if long() {
		segments = 200
	} else {
		list = slices.DeleteFunc(slices.Clone(list), func(e encode) bool { return e.name != "x264-b2" && e.name != "x265-open" })
	}
	remarks, judged := map[string]int{}, 0
	for _, e := range list {
		t.Run(e.name, func(t *testing.T) {
			trains, media := e.run(t, segments)
			for i := range trains {
				if n := int64(len(media[i])); n < segments-1 {
					t.Fatalf("%d segments of %d", n, segments)
				}
				for n, seg := range media[i][:min(segments-1, int64(len(media[i])))] {
					r := trains[i].inspect(t, int64(n), seg)
					judged++
					if !r.Findings.Clean() {
						t.Errorf("track %d (%s), segment %d: %q %s (%+v)", i, trains[i].track.Codecs, n, r.Findings, r.Foreign, r.Span)
					}
					for _, f := range r.Findings {
						remarks[e.name+" "+trains[i].track.Codecs[:4]+" "+string(f.Kind)]++
					}
				}
			}
		})
	}
	t.Logf("%d segments judged; remarks: %v", judged, remarks)
}

// A mutation breaks a segment on purpose. It returns what viewers then lack, in
// ticks; -1 for all, -2 where no cost is due, -3 for what lacking counts.
type mutation struct {
	name string
	do   func(m *mutant) (cost int64, ok bool)
}

type mutant struct {
	r       *rand.Rand
	track   *Track
	samples []Sample
	data    [][]byte
	foreign [][]byte // a segment of another codec
}

func (m *mutant) frame() int64 { return int64(m.samples[1].Duration) }

func (m *mutant) cut(from, to int) {
	m.samples, m.data = slices.Delete(m.samples, from, to), slices.Delete(m.data, from, to)
}

var mutations = []mutation{
	{"dropped inside", func(m *mutant) (int64, bool) {
		n, k := len(m.samples), 2+m.r.IntN(8)
		at := 1 + m.r.IntN(n-k-1)
		m.cut(at, at+k)
		return int64(k) * m.frame(), true
	}},
	{"dropped and stretched over", func(m *mutant) (int64, bool) {
		n, k := len(m.samples), 1+m.r.IntN(8)
		at := 1 + m.r.IntN(n-k-1)
		m.samples[at-1].Duration += uint32(int64(k) * m.frame())
		m.cut(at, at+k)
		return int64(k) * m.frame(), true
	}},
	{"dropped at the end", func(m *mutant) (int64, bool) {
		k := 2 + m.r.IntN(len(m.samples)/2)
		m.cut(len(m.samples)-k, len(m.samples))
		return int64(k) * m.frame(), true
	}},
	{"dropped at the start", func(m *mutant) (int64, bool) {
		k := 2 + m.r.IntN(len(m.samples)/2)
		m.cut(0, k)
		cost := int64(k) * m.frame()
		if m.track.Type == live.Video {
			cost = -1
		}
		return cost, true
	}},
	{"repeated", func(m *mutant) (int64, bool) {
		k := 2 + m.r.IntN(8)
		at := m.r.IntN(len(m.samples) - k)
		more, data := slices.Clone(m.samples[at:at+k]), slices.Clone(m.data[at:at+k])
		for i := at + k; i < len(m.samples); i++ {
			m.samples[i].Decode += int64(k) * m.frame()
		}
		for i := range more {
			more[i].Decode += int64(k) * m.frame()
		}
		m.samples, m.data = slices.Insert(m.samples, at+k, more...), slices.Insert(m.data, at+k, data...)
		return -2, true
	}},
	{"shifted in decode time", func(m *mutant) (int64, bool) {
		by := int64(m.track.Timescale) * int64(2+m.r.IntN(7)) / 10
		if m.r.IntN(2) == 0 && m.samples[0].Decode > by {
			by = -by
		}
		for i := range m.samples {
			m.samples[i].Decode += by
		}
		return abs(by), true
	}},
	{"a part shifted in decode time", func(m *mutant) (int64, bool) {
		by := m.frame() * int64(2+m.r.IntN(6))
		for i := 1 + m.r.IntN(len(m.samples)-2); i < len(m.samples); i++ {
			m.samples[i].Decode += by
		}
		return -3, true
	}},
	{"shifted in composition time", func(m *mutant) (int64, bool) {
		by := int64(m.track.Timescale) * int64(2+m.r.IntN(7)) / 10
		for i := range m.samples {
			m.samples[i].Composition += int32(by)
		}
		return by, true
	}},
	{"two at one time", func(m *mutant) (int64, bool) {
		i := 2 + m.r.IntN(len(m.samples)-4)
		m.samples[i].Composition += int32(m.samples[i+1].Decode + int64(m.samples[i+1].Composition) - m.samples[i].Decode - int64(m.samples[i].Composition))
		return m.frame(), true
	}},
	{"a part shifted in composition time", func(m *mutant) (int64, bool) {
		for i := 5; i < len(m.samples)/2; i++ {
			m.samples[i].Composition += int32(m.frame() * 10)
		}
		return -3, true
	}},
	{"another codec", func(m *mutant) (int64, bool) {
		for i := range m.data {
			m.data[i] = m.foreign[i%len(m.foreign)]
		}
		return -1, m.track.Type == live.Video
	}},
	{"a truncated NAL unit", func(m *mutant) (int64, bool) {
		i := m.r.IntN(len(m.data))
		m.data[i] = m.data[i][:len(m.data[i])-1-m.r.IntN(3)]
		return -1, m.track.codings[0].length > 0
	}},
	{"a false sync flag", func(m *mutant) (int64, bool) {
		m.data[0] = m.data[2]
		return -1, m.track.Type == live.Video
	}},
}

// Seeded mutations of real encodes are found, with what they cost. Those of one
// frame that are within the tolerance are not made.
func TestMutationsAreFound(t *testing.T) {
	list, count, segments := encodes, 300, int64(12)
	if !long() {
		list, count, segments = slices.DeleteFunc(slices.Clone(list), func(e encode) bool { return e.name != "x264-b2" && e.name != "x265-radl" }), 60, 5
	}
	type source struct {
		train
		media  [][]byte
		parsed [][]byte // of a segment's samples
	}
	var sources []source
	for _, e := range list {
		trains, media := e.run(t, segments)
		for i := range trains {
			m := take(t, trains[i].track, media[i][1])
			sources = append(sources, source{trains[i], media[i], m.data[0]})
		}
	}
	r := rand.New(rand.NewPCG(9, 23))
	found, right, made := 0, 0, 0
	for made < count {
		s := &sources[r.IntN(len(sources))]
		kind := mutations[made%len(mutations)]
		n := 1 + r.IntN(len(s.media)-3)
		one := take(t, s.track, s.media[n])
		m := &mutant{r: r, track: s.track, samples: one.samples[0], data: slices.Clone(one.data[0])}
		for {
			o := sources[r.IntN(len(sources))]
			if a, b := o.track.Codecs[:4], s.track.Codecs[:4]; o.track.Type == live.Video && a != b {
				m.foreign = o.parsed
				break
			}
		}
		cost, ok := kind.do(m)
		if !ok {
			kind = mutations[0]
			m = &mutant{r: r, track: s.track, samples: one.samples[0], data: slices.Clone(one.data[0])}
			cost, _ = kind.do(m)
		}
		made++
		tr := s.train
		tr.previous = live.Span{}
		tr.inspect(t, int64(n)-1, s.media[n-1])
		seg := segment(s.track, m.samples, m.data)
		rep := tr.inspect(t, int64(n), seg)
		what := fmt.Sprintf("%s, segment %d: %s: %q", s.track.Codecs, n, kind.name, rep.Findings)
		if rep.Findings.Clean() {
			t.Logf("not found: %s", what)
			continue
		}
		found++
		frame, scale := m.frame(), s.track.Timescale
		if cost == -3 {
			cost = lacking(m.samples, s.track, s.exact(int64(n)), s.exact(int64(n)+1))
		}
		got, want := rep.Findings.MissingMS(), milliseconds(cost, scale)
		switch near := milliseconds(frame, scale) + 2; {
		case cost == -1:
			right++ // all, or up to the first key frame
		case cost == -2 && got <= near, cost >= 0 && abs(got-want) <= near:
			right++
		default:
			t.Logf("found, but not with %d ms: %s", want, what)
		}
	}
	t.Logf("%d mutations, %d found, %d with the right cost", made, found, right)
	if found*30 < made*29 {
		t.Errorf("only %d of %d mutations found", found, made)
	}
}

// lacking is how long nothing is shown between the first sample of a segment and
// its end: what Inspect finds in one pass, found by sorting all.
func lacking(samples []Sample, track *Track, start, end int64) (ticks int64) {
	var begins []int64
	for _, s := range samples {
		begins = append(begins, s.Decode+int64(s.Composition)-track.EditOffset)
	}
	slices.Sort(begins)
	end = max(end, begins[0]+end-start)
	at := begins[0]
	for _, b := range begins {
		if hole := min(b, end) - at; hole > 0 {
			ticks += hole
		}
		at = max(at, b+int64(samples[1].Duration))
	}
	return ticks
}

// take takes a segment apart.
func take(t testing.TB, track *Track, seg []byte) (m media) {
	t.Helper()
	in := &Init{Tracks: []Track{*track}}
	var samples []Sample
	var data [][]byte
	for s := (scanner{rest: seg}); s.more(); {
		x, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if x.Type != boxMoof {
			continue
		}
		f, err := ParseFragment(x.Data, in, x.Offset, int64(len(seg)))
		if err != nil {
			t.Fatal(err)
		}
		for _, y := range f.Tracks[0].Samples {
			at := x.Offset + y.Offset
			samples, data = append(samples, y), append(data, seg[at:at+int64(y.Size)])
		}
	}
	for i := range samples {
		if samples[i].Duration == 0 && i+1 < len(samples) {
			samples[i].Duration = uint32(samples[i+1].Decode - samples[i].Decode)
		} else if samples[i].Duration == 0 {
			samples[i].Duration = samples[i-1].Duration
		}
	}
	return media{track: track, samples: [][]Sample{samples}, data: [][][]byte{data}}
}
