package listen

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
)

// Packets is a UDP socket for QUIC that a process and its successor share. The
// kernel gives each packet to whoever reads first, so only the successor reads;
// what belongs to a connection of its predecessor it passes on. Both send by
// the same socket. Connection IDs tell whose a packet is: the first two bytes
// are the number of the process.
type Packets struct {
	*net.UDPConn
	batch  *ipv4.PacketConn
	number uint16

	older  *net.UnixConn // to the predecessor; nil where there is none
	passed chan struct{} // closed when newer is the source of packets

	mu     sync.Mutex // guards the following
	newer  *net.UnixConn
	until  time.Time // read deadline
	reader atomic.Bool
	moved  chan struct{} // closed when nobody reads the socket any more
	once   sync.Once
}

// IDLen is the length of connection IDs, in bytes.
const IDLen = 12

func newPackets(c *net.UDPConn, number uint16, older *net.UnixConn) *Packets {
	return &Packets{UDPConn: c, batch: ipv4.NewPacketConn(c), number: number, older: older, passed: make(chan struct{}), moved: make(chan struct{})}
}

// NewID returns a connection ID of this process.
func (p *Packets) NewID() []byte {
	id := make([]byte, IDLen)
	rand.Read(id)
	binary.BigEndian.PutUint16(id, p.number)
	return id
}

// ReadBatch is what quic-go reads by.
func (p *Packets) ReadBatch(ms []ipv4.Message, flags int) (int, error) {
	p.reader.Store(true)
	for {
		if p.isPassed() {
			p.once.Do(func() { close(p.moved) })
			return p.readPassed(ms)
		}
		n, err := p.batch.ReadBatch(ms, flags)
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) && p.isPassed() {
				continue
			}
			return n, err
		}
		if n = p.keepOurs(ms[:n]); n > 0 {
			return n, nil
		}
	}
}

// SetReadDeadline is for both sources.
func (p *Packets) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = t
	if p.newer != nil {
		p.newer.SetReadDeadline(t)
	}
	return p.UDPConn.SetReadDeadline(t)
}

// Close closes the socket here; a successor has its own.
func (p *Packets) Close() error {
	if p.older != nil {
		p.older.Close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.newer != nil {
		p.newer.Close()
	}
	return p.UDPConn.Close()
}

func (p *Packets) isPassed() bool {
	select {
	case <-p.passed:
		return true
	default:
		return false
	}
}

// pass leaves the socket to a successor, which passes on what is ours.
func (p *Packets) pass(newer *net.UnixConn) {
	p.mu.Lock()
	p.newer = newer
	newer.SetReadDeadline(p.until)
	close(p.passed)
	p.UDPConn.SetReadDeadline(time.Unix(1, 0))
	p.mu.Unlock()
	if p.reader.Load() {
		// Soon: the deadline has passed.
		select {
		case <-p.moved:
		case <-time.After(time.Second):
		}
	}
}

// owner says which process a packet belongs to (RFC 9000, 17; RFC 8999).
func owner(b []byte) (number uint16, known bool) {
	switch {
	case len(b) < 1+IDLen:
		return 0, false
	case b[0]&0x80 == 0:
		return binary.BigEndian.Uint16(b[1:]), true
	case len(b) >= 6+IDLen && b[5] == IDLen:
		// The first packets of a connection have an ID that the client made up.
		return binary.BigEndian.Uint16(b[6:]), true
	}
	return 0, false
}

// keepOurs passes on what is of the predecessor, and moves the rest together.
func (p *Packets) keepOurs(ms []ipv4.Message) int {
	if p.older == nil {
		return len(ms)
	}
	kept := 0
	for i := range ms {
		m := &ms[i]
		b := m.Buffers[0][:m.N]
		if n, known := owner(b); known && n != p.number && (b[0]&0x80 == 0 || n == p.number-1) && p.passOn(m) {
			continue
		}
		if kept != i {
			// Buffers are whoever's gave them: the contents move.
			k := &ms[kept]
			k.N = copy(k.Buffers[0], b)
			k.NN = copy(k.OOB, m.OOB[:m.NN])
			k.Addr, k.Flags = m.Addr, m.Flags
		}
		kept++
	}
	return kept
}

// A packet that is passed on has before it where it came from and what the
// kernel told of it: address (16), port (2), length of the latter (1).
const passedHead = 16 + 2 + 1

// passOn never waits: what does not fit is lost, as packets may be.
func (p *Packets) passOn(m *ipv4.Message) bool {
	from, ok := m.Addr.(*net.UDPAddr)
	if !ok || m.NN > 255 {
		return false
	}
	ap := from.AddrPort()
	ip := ap.Addr().As16()
	out := make([]byte, 0, passedHead+m.NN+m.N)
	out = append(out, ip[:]...)
	out = binary.BigEndian.AppendUint16(out, ap.Port())
	out = append(out, byte(m.NN))
	out = append(out, m.OOB[:m.NN]...)
	out = append(out, m.Buffers[0][:m.N]...)
	p.older.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
	_, err := p.older.Write(out)
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

// readPassed reads what the successor passes on.
func (p *Packets) readPassed(ms []ipv4.Message) (int, error) {
	in := make([]byte, 2<<10)
	for {
		n, err := p.newer.Read(in)
		if err != nil {
			return 0, err
		}
		if n < passedHead || n < passedHead+int(in[18]) {
			continue
		}
		addr := netip.AddrFrom16([16]byte(in[:16])).Unmap()
		oob, b := in[passedHead:passedHead+int(in[18])], in[passedHead+int(in[18]):n]
		m := &ms[0]
		m.N, m.NN, m.Flags = copy(m.Buffers[0], b), copy(m.OOB, oob), 0
		m.Addr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, binary.BigEndian.Uint16(in[16:])))
		// It may be of one still older.
		if p.keepOurs(ms[:1]) == 1 {
			return 1, nil
		}
	}
}
