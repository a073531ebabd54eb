package cmaf

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestReader(t *testing.T) {
	b := fixture(t, "avc-aac.mp4")
	for name, r := range map[string]io.Reader{
		"at once":      bytes.NewReader(b),
		"byte by byte": iotest.OneByteReader(bytes.NewReader(b)),
	} {
		t.Run(name, func(t *testing.T) {
			s := NewReader(r)
			counts := map[uint32]int{}
			for i := 0; ; i++ {
				p, err := s.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if (i == 0) != (p.Init != nil) || (i == 0) == (p.Fragment != nil) {
					t.Fatalf("part %d: %+v", i, p)
				}
				if p.Init != nil {
					continue
				}
				if p.Fragment.Sequence != uint32(i) {
					t.Errorf("part %d has sequence number %d", i, p.Fragment.Sequence)
				}
				for _, f := range p.Fragment.Tracks {
					if f.Decode != f.Samples[0].Decode || f.Track.ID != f.ID {
						t.Errorf("%+v", f)
					}
					for _, x := range f.Samples {
						if uint32(len(p.Data(x))) != x.Size {
							t.Fatalf("sample %+v has %d bytes", x, len(p.Data(x)))
						}
						counts[f.ID]++
					}
				}
			}
			if counts[1] != 180 || counts[2] != 180 || counts[3] != 283 {
				t.Errorf("samples by track: %v", counts)
			}
			if _, err := s.Next(); err != io.EOF {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

// A part is there when its last byte is, without a look at what follows: an
// encoder writes that two seconds later.
func TestReaderDoesNotWaitForTheNextPart(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	r, w := io.Pipe()
	s := NewReader(r)
	defer r.Close()
	for i, piece := range append([][]byte{m.init}, m.segments...) {
		go func() { w.Write(piece) }()
		p, err := s.Next() // blocks for ever if it wants more
		if err != nil {
			t.Fatal(err)
		}
		if (i == 0) != (p.Init != nil) {
			t.Errorf("piece %d gave %+v", i, p)
		}
	}
}

func TestReaderKeepsWhatBelongsToAPart(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	prft := full("prft", 1, 24, uint32(1), uint64(0xebd3_7a20_8000_0000), uint64(77))
	old := full("prft", 0, 0, uint32(1), uint64(0xebd3_7a20_0000_0000), uint32(78))
	b := join(m.init, prft, old, anEvent, full("emsg", 1, 0, "cut off"), full("sidx", 0, 0, make([]byte, 32)), m.segments[0], box("mfra", "any"), m.init, m.segments[1])
	ps := parts(t, b)
	if len(ps) != 4 || ps[2].Init == nil {
		t.Fatalf("%d parts", len(ps))
	}
	p := ps[1]
	if len(p.Events) != 1 || !bytes.Equal(AppendEvent(nil, &p.Events[0]), anEvent) {
		t.Errorf("events %v", p.Events)
	}
	at := time.Date(2025, 5, 17, 21, 12, 0, 0, time.UTC)
	want := []ProducerTime{
		{TrackID: 1, Flags: 24, Time: at.Add(time.Second / 2), Media: 77},
		{TrackID: 1, Flags: 0, Time: at, Media: 78},
	}
	if !slices.Equal(p.Producer, want) {
		t.Errorf("producer times %v, want %v", p.Producer, want)
	}
	if len(ps[3].Producer)+len(ps[3].Events) > 0 {
		t.Error("the next fragment has them too")
	}
}

// One moof may hold fragments of several tracks, with absolute data offsets
// and its data in more than one mdat.
func TestReaderOfFragmentsWithSeveralTracks(t *testing.T) {
	init := twoTracks(t)
	traf := func(id uint32, base uint64, size uint32) []byte {
		return box("traf", full("tfhd", 0, tfhdBaseOffset|tfhdSize|tfhdDuration, id, base, uint32(10), size), tfdt(100), full("trun", 0, 0, uint32(2)))
	}
	fragment := func(base uint64) []byte {
		return box("moof", full("mfhd", 0, 0, uint32(1)), traf(1, base+8, 3), traf(2, base+8+6+8, 4))
	}
	length := len(fragment(0))
	b := append(init, fragment(uint64(len(init)+length))...)
	b = join(b, box("mdat", "aaabbb"), box("mdat", "ccccdddd"), box("free"))
	ps := parts(t, b)
	if len(ps) != 2 || len(ps[1].Fragment.Tracks) != 2 {
		t.Fatalf("%d parts", len(ps))
	}
	var got []string
	for _, f := range ps[1].Fragment.Tracks {
		for _, s := range f.Samples {
			got = append(got, string(ps[1].Data(s)))
		}
	}
	if want := []string{"aaa", "bbb", "cccc", "dddd"}; !slices.Equal(got, want) {
		t.Errorf("data %q, want %q", got, want)
	}
	// Each of them alone, as it was.
	for i := range ps[1].Fragment.Tracks {
		track := *ps[0].Init.Track(uint32(i + 1))
		track.ID = 1
		seg, err := AppendFragment(nil, 1, &track, ps[1], &ps[1].Fragment.Tracks[i])
		if err != nil {
			t.Fatal(err)
		}
		r, err := Inspect(seg, &track, Window{Start: 100, End: 120, SegmentMS: 20})
		if err != nil || !r.Findings.Clean() || r.Samples != 2 || !bytes.HasSuffix(seg, []byte(got[2*i]+got[2*i+1])) {
			t.Errorf("track %d: %+v, %v", i+1, r, err)
		}
	}
}

// twoTracks is an init segment of tracks 1 and 2.
func twoTracks(t testing.TB) []byte {
	b := twice(handInit("meta", 1000, box("urim", make([]byte, 8), "any")), "trak")
	first := bytes.Index(b, []byte("tkhd"))
	second := first + 4 + bytes.Index(b[first+4:], []byte("tkhd"))
	b[second+4+4+8+3] = 2
	trex := full("trex", 0, 0, uint32(2), uint32(1), make([]byte, 12))
	grow(b, "moov", len(trex))
	grow(b, "mvex", len(trex))
	return append(b, trex...)
}

// A muxer disables all but the first track of a type. One of its own is enabled.
func TestSingleEnablesItsTrack(t *testing.T) {
	b := twoTracks(t)
	for i := range b {
		if bytes.HasPrefix(b[i:], []byte("tkhd")) {
			b[i+7] = 0
		}
	}
	one, err := parts(t, b)[0].Init.Single(b, 2)
	if err != nil {
		t.Fatal(err)
	}
	if at := bytes.Index(one, []byte("tkhd")); one[at+7] != trackEnabled|trackInMovie {
		t.Errorf("flags of tkhd are %d", one[at+7])
	}
}

func TestReaderRefuses(t *testing.T) {
	m := single(t, "avc-aac.mp4", 1)
	for _, c := range []struct {
		name string
		b    []byte
		kind error
		text string
	}{
		{"an MPEG transport stream", fixture(t, "stream.ts"), ErrNotCMAF, "transport stream"},
		{"a moof before any moov", m.segments[0], ErrMalformed, "before any moov"},
		{"a progressive file", fixture(t, "progressive.mp4"), ErrNotCMAF, "progressive"},
		{"samples in the movie box", fixture(t, "hybrid.mp4"), ErrNotCMAF, "empty_moov"},
		{"a moof of 3 GB", join(m.init, []byte("\xc0\x00\x00\x00moof")), ErrMalformed, "more than"},
		{"an mdat of 3 GB", join(m.init, moof(tfhd(tfhdBaseIsMoof), tfdt(0), full("trun", 0, 1, uint32(1), int32(96))), []byte("\xc0\x00\x00\x00mdat")), ErrMalformed, "more than"},
		{"a broken fragment", join(m.init, m.segments[0], moof(tfdt(0))), ErrMalformed, "moof/traf at byte "},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := NewReader(bytes.NewReader(c.b))
			for {
				_, err := s.Next()
				if err == nil {
					continue
				}
				if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
					t.Errorf("%v; want %v with %q", err, c.kind, c.text)
				}
				if _, again := s.Next(); again != err {
					t.Errorf("then %v", again)
				}
				return
			}
		})
	}
}

func TestReaderOfEveryTruncation(t *testing.T) {
	b := fixture(t, "avc-aac.mp4")
	ends := map[int]bool{}
	n := 0
	for _, p := range parts(t, b) {
		n += len(p.Raw)
		ends[n] = true
	}
	b = b[:n/8]
	for cut := range len(b) {
		s := NewReader(bytes.NewReader(b[:cut]))
		var err error
		for err == nil {
			_, err = s.Next()
		}
		// After ftyp alone, or a moof whose data is all to come, nothing is cut.
		if err == io.EOF {
			if !ends[cut] && cut != 0 && cut != int(be32(b)) {
				t.Fatalf("cut to %d bytes: a clean end", cut)
			}
		} else if !errors.Is(err, io.ErrUnexpectedEOF) || !errors.Is(err, ErrMalformed) {
			t.Fatalf("cut to %d bytes: %v", cut, err)
		}
	}
}

func TestReaderPassesOnErrors(t *testing.T) {
	b := fixture(t, "avc-aac.mp4")
	broken := errors.New("broken pipe")
	for _, n := range []int{0, 3, 100, 5000} {
		s := NewReader(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(broken)))
		var err error
		for err == nil {
			_, err = s.Next()
		}
		if !errors.Is(err, broken) || errors.Is(err, ErrMalformed) {
			t.Errorf("after %d bytes: %v", n, err)
		}
	}
}
