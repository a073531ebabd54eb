package world

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"time"

	"headwater/cmaf"
	"headwater/live"
	"headwater/packager/clip"
)

// frames is how many pictures a segment has: few, since each costs.
const frames = 4

// A medium makes the smallest video there is that passes inspection, with the
// init segment of the built-in clip.
type medium struct {
	takes []take // of each generation one
	pad   int    // bytes more of the first picture

	mu      sync.Mutex // guards the following: what was made is asked for again and again
	made    map[made][]byte
	digests map[made]live.Digest
}

// A take is how encoders are set up: of another one the init segment cannot stand in.
type take struct {
	init  []byte
	track *cmaf.Track
}

// renewed is what the marks of encoders end with that are set up anew.
const renewed = "+"

func (m *medium) take(mark string) *take {
	if strings.HasSuffix(mark, renewed) {
		return &m.takes[1]
	}
	return &m.takes[0]
}

// made names what an encoder makes of a number, or what of a number stands in for it.
type made struct {
	n, of live.Number
	mark  string
}

func newMedium() *medium {
	part, err := cmaf.NewReader(bytes.NewReader(clip.A)).Next()
	if err != nil {
		panic(err) // it is in the binary
	}
	m := &medium{made: map[made][]byte{}, digests: map[made]live.Digest{}}
	for _, tr := range part.Init.Tracks {
		if tr.Type != live.Video || len(m.takes) == 2 {
			continue
		}
		b, err := part.Init.Single(part.Raw, tr.ID)
		if err != nil {
			panic(err)
		}
		one, err := cmaf.ParseInit(b)
		if err != nil {
			panic(err)
		}
		m.takes = append(m.takes, take{b, &one.Tracks[0]})
	}
	return m
}

// segment is what an encoder makes of a number. Nobody may change it.
func (m *medium) segment(tl *live.Timeline, n live.Number, mark string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := made{n, n, mark}
	b := m.made[key]
	if b == nil {
		b = m.encode(tl, n, mark)
		m.made[key] = b
	}
	return b
}

// digest is that of a segment.
func (m *medium) digest(tl *live.Timeline, n live.Number, mark string) live.Digest {
	data := m.segment(tl, n, mark)
	return m.once(made{n, n, mark}, func() live.Digest { return live.DigestOf(data) })
}

// filler is the digest of what of one number stands in for another; zero: nothing.
func (m *medium) filler(tl *live.Timeline, of, n live.Number, mark string) live.Digest {
	track := m.take(mark).track
	window := func(n live.Number) (win cmaf.Window) {
		win.Start, win.End = tl.Media(n, int64(track.Timescale))
		return win
	}
	from := m.segment(tl, of, mark)
	return m.once(made{n, of, mark}, func() (d live.Digest) {
		if data, err := cmaf.Filler(from, track, window(of), window(n), uint32(n), nil); err == nil {
			d = live.DigestOf(data)
		}
		return d
	})
}

func (m *medium) once(key made, digest func() live.Digest) live.Digest {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, ok := m.digests[key]
	if !ok {
		d = digest()
		m.digests[key] = d
	}
	return d
}

// bytes is about what was made and what is known of it take; a store that all share has
// its own copy.
func (m *medium) bytes() (n uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.made {
		n += 2*uint64(cap(b)) + 1024
	}
	return n
}

// encode puts the mark into every picture: what another encoder makes is other bytes.
func (m *medium) encode(tl *live.Timeline, n live.Number, mark string) []byte {
	track := m.take(mark).track
	start, end := tl.Media(n, int64(track.Timescale))
	var samples []cmaf.Sample
	at := func(i int) int64 { return start + (end-start)*int64(i)/frames }
	for i := range frames {
		s := cmaf.Sample{Decode: at(i), Duration: uint32(at(i+1) - at(i)), Sync: i == 0, Flags: 0x01010000, Description: 1}
		if i == 0 {
			s.Flags = 0x02000000
		}
		samples = append(samples, s)
	}
	return cmaf.AppendSegment(nil, uint32(n), track, samples, func(i int) []byte {
		b := append(make([]byte, 4), "\x41\x9a\x24"...)
		if i == 0 {
			b = append(make([]byte, 4), "\x65\x88\x84"...)
		}
		b = append(b, mark...)
		if i == 0 {
			b = append(b, bytes.Repeat([]byte{0x55}, m.pad)...)
		}
		binary.BigEndian.PutUint32(b, uint32(len(b)-4))
		return b
	})
}

// An encoder is what a packager reads: the init segment at once, then each segment
// when its last frame has been taken.
type encoder struct {
	medium *medium
	tl     live.Timeline
	next   live.Number
	mark   string
	ready  []byte
	closed chan struct{}
	once   sync.Once
}

func newEncoder(m *medium, tl live.Timeline, mark string) *encoder {
	return &encoder{medium: m, tl: tl, next: max(tl.At(time.Now())+1, tl.First()), mark: mark,
		ready: m.take(mark).init, closed: make(chan struct{})}
}

func (e *encoder) Read(p []byte) (int, error) {
	if len(e.ready) == 0 {
		t := time.NewTimer(time.Until(e.tl.End(e.next)))
		defer t.Stop()
		select {
		case <-t.C:
		case <-e.closed:
			return 0, io.EOF
		}
		e.ready = e.medium.segment(&e.tl, e.next, e.mark)
		e.next++
	}
	n := copy(p, e.ready)
	e.ready = e.ready[n:]
	return n, nil
}

func (e *encoder) Close() error { e.once.Do(func() { close(e.closed) }); return nil }
