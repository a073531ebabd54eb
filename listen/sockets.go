// Package listen is what a server needs before its first connection: sockets
// that outlive the process, certificates that are read again, and the number of
// files it may open.
package listen

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// lastWord is how long a process that gives its sockets away may take to say
// that it has: one that was stopped says nothing.
const lastWord = 5 * time.Second

// yieldedFor is how long a successor may have what only one can have before it serves:
// one that hangs would have nobody serve.
const yieldedFor = 30 * time.Second

// ErrBusy says that another process is just taking the sockets.
var ErrBusy = errors.New("listen: another process takes the sockets over")

// Sockets are the listening sockets of a process. They come from, in this
// order: the process that runs already and has the same hand-over path; the one
// that started this process (systemd's socket activation); the system.
//
// The life of a hand-over, seen from both sides:
//
//	new                          old
//	Open: connects               gives copies of its sockets
//	Listen...: uses them         goes on
//	Claim: asks for the rest     Yield: gives up what only one can have
//	serves TCP
//	Prove: asks itself, stays    goes on, or has its connections wait
//	Ready: says so               Taken closes; it drains
//	serves UDP
//	waits for its successor
//
// Where the new process ends before Ready, or has what the old one gave up for too long,
// the old one goes on as if nothing had been, and takes that back. Both accept from the
// same queue for a while, so no connection is refused or lost in it. For UDP see Packets.
type Sockets struct {
	// Yield, unless nil, gives up what only one process can have, such as the
	// directory of a store, because the successor asks for it. Resume takes it back
	// where that ends before it serves, or has not served within yieldedFor. Set it
	// before Ready.
	Yield func() (resume func())

	path     string
	patience time.Duration // yieldedFor; a test's own
	log      *slog.Logger
	number   uint16 // of the process, for Packets

	mu        sync.Mutex // guards the following
	inherited []inherited
	open      []socket   // what a successor gets
	packets   []*Packets // of those in open, in their order
	old       *net.UnixConn
	successor *net.UnixListener
	talking   *net.UnixConn // to a successor
	closed    bool
	given     bool // a successor serves: the path is its own

	taken chan struct{}
	tasks sync.WaitGroup
}

// An inherited socket came from outside and is not used yet.
type inherited struct {
	*os.File
	older *os.File // of a UDP socket: to the predecessor
}

func (i inherited) close() {
	i.Close()
	if i.older != nil {
		i.older.Close()
	}
}

// A socket can be given away.
type socket interface {
	SyscallConn() (syscall.RawConn, error)
}

// Open takes what sockets there are already. Path is a Unix socket by which
// processes find each other: its directory must be for them alone. Empty is no
// hand-over.
func Open(ctx context.Context, path string, log *slog.Logger, getenv func(string) string) (*Sockets, error) {
	var random [2]byte
	rand.Read(random[:])
	s := &Sockets{path: path, log: log, patience: yieldedFor, taken: make(chan struct{}), number: binary.BigEndian.Uint16(random[:])}
	if path != "" {
		if err := s.inherit(ctx); err != nil {
			return nil, err
		}
	}
	if s.old == nil {
		s.activated(getenv)
	}
	return s, nil
}

// activated takes the sockets that systemd opened (sd_listen_fds(3)).
func (s *Sockets) activated(getenv func(string) string) {
	n, err := strconv.Atoi(getenv("LISTEN_FDS"))
	if err != nil || n < 1 || n > maxSockets || getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return
	}
	for fd := 3; fd < 3+n; fd++ {
		closeOnExec(fd)
		s.inherited = append(s.inherited, inherited{File: os.NewFile(uintptr(fd), "LISTEN_FD_"+strconv.Itoa(fd))})
	}
	s.log.Info("sockets came with the start", "sockets", n)
}

// Inherited reports whether the sockets came from a running process.
func (s *Sockets) Inherited() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.old != nil
}

// Claim asks the process that runs to give up what only one can have, and waits
// until it has. Where none runs there is nothing to ask for.
func (s *Sockets) Claim(ctx context.Context) error {
	s.mu.Lock()
	old := s.old
	s.mu.Unlock()
	if old == nil {
		return nil
	}
	defer context.AfterFunc(ctx, func() { old.SetReadDeadline(time.Now()) })()
	_, err := old.Write([]byte(claiming))
	word := make([]byte, 64)
	n := 0
	if err == nil {
		n, err = old.Read(word)
	}
	if string(word[:n]) != yielded {
		return fmt.Errorf("listen: hand-over: the running process does not give up what only one can have: %w", cmp.Or(ctx.Err(), err, ErrBusy))
	}
	return nil
}

// probation is how long a process serves beside the one that ran before: what ends it
// soon after its start ends it before that has gone.
const probation = time.Second

// Prove asks this process what its users would ask, and again after it has served for a
// while. Only then it may be Ready. Where nobody serves beside it there is nothing to prove.
func (s *Sockets) Prove(ctx context.Context, ask func(context.Context) error) error {
	if !s.Inherited() {
		return nil
	}
	for i := range 2 {
		if i > 0 {
			select {
			case <-time.After(probation):
			case <-ctx.Done():
				return fmt.Errorf("listen: hand-over: %w", ctx.Err())
			}
		}
		if err := ask(ctx); err != nil {
			return fmt.Errorf("listen: hand-over: this process does not serve: %w", err)
		}
	}
	return nil
}

// Listen returns the listener of a TCP address.
func (s *Sockets) Listen(ctx context.Context, addr string) (*net.TCPListener, error) {
	want, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.inherited {
		l, err := net.FileListener(f.File)
		if err != nil {
			continue // of UDP
		}
		tcp, ok := l.(*net.TCPListener)
		if have, _ := l.Addr().(*net.TCPAddr); ok && have != nil && want.Port != 0 && have.Port == want.Port && sameIP(have.IP, want.IP) {
			s.take(i, tcp)
			return tcp, nil
		}
		l.Close()
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	tcp := l.(*net.TCPListener)
	s.open = append(s.open, tcp)
	return tcp, nil
}

// ListenPacket returns the socket of a UDP address, to be read after Ready.
func (s *Sockets) ListenPacket(ctx context.Context, addr string) (*Packets, error) {
	want, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.inherited {
		c, err := net.FilePacketConn(f.File)
		if err != nil {
			continue // of TCP
		}
		udp, ok := c.(*net.UDPConn)
		if have, _ := c.LocalAddr().(*net.UDPAddr); ok && have != nil && want.Port != 0 && have.Port == want.Port && sameIP(have.IP, want.IP) {
			var older *net.UnixConn
			if f.older != nil {
				if c, err := net.FileConn(f.older); err == nil {
					older, _ = c.(*net.UnixConn)
				}
			}
			s.take(i, udp)
			return s.pack(udp, older), nil
		}
		c.Close()
	}
	c, err := new(net.ListenConfig).ListenPacket(ctx, "udp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	udp := c.(*net.UDPConn)
	s.open = append(s.open, udp)
	return s.pack(udp, nil), nil
}

func (s *Sockets) pack(udp *net.UDPConn, older *net.UnixConn) *Packets {
	p := newPackets(udp, s.number, older)
	s.packets = append(s.packets, p)
	return p
}

// take moves a socket from those that came to those that are used.
func (s *Sockets) take(i int, used socket) {
	s.inherited[i].close()
	s.inherited = append(s.inherited[:i:i], s.inherited[i+1:]...)
	s.open = append(s.open, used)
}

// sameIP compares addresses to listen on: all that mean any are the same.
func sameIP(a, b net.IP) bool {
	wild := func(ip net.IP) bool { return len(ip) == 0 || ip.IsUnspecified() }
	return wild(a) && wild(b) || a.Equal(b)
}

// Ready says that all sockets are being served: a process that ran before
// drains, and from now on a successor may come. What came and nobody asked for
// is closed.
func (s *Sockets) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.inherited {
		s.log.Warn("a socket that came is not used, and closed", "socket", describe(f.File))
		f.close()
	}
	s.inherited = nil
	if s.path == "" || s.closed {
		return nil
	}
	if s.old != nil {
		// Where the old one died in the meantime there is nobody to tell. It
		// answers when it reads no more from the sockets of UDP.
		if _, err := s.old.Write([]byte(serving)); err == nil {
			s.old.SetReadDeadline(time.Now().Add(lastWord))
			s.old.Read(make([]byte, 64))
		}
		s.old.Close()
	}
	return s.awaitSuccessor()
}

// describe names a socket for the log.
func describe(f *os.File) string {
	if l, err := net.FileListener(f); err == nil {
		defer l.Close()
		return "tcp " + l.Addr().String()
	}
	if c, err := net.FilePacketConn(f); err == nil {
		defer c.Close()
		return "udp " + c.LocalAddr().String()
	}
	return f.Name()
}

// Taken is closed when another process serves the sockets: time to drain.
func (s *Sockets) Taken() <-chan struct{} { return s.taken }

// Close ends the waiting for a successor. The listeners are their users' to close.
func (s *Sockets) Close() error {
	s.mu.Lock()
	s.closed = true
	for _, f := range s.inherited {
		f.close()
	}
	s.inherited = nil
	if s.old != nil {
		s.old.Close()
	}
	if s.talking != nil {
		s.talking.Close()
	}
	if s.successor != nil {
		if !s.given {
			os.Remove(s.path)
		}
		s.successor.Close()
	}
	s.mu.Unlock()
	s.tasks.Wait()
	return nil
}

// maxSockets bounds what one message brings.
const maxSockets = 16

// serving is what a successor says when it serves.
const serving = "serving"

// claiming is what it says where it needs what only one can have, yielded the answer.
const (
	claiming = "claiming"
	yielded  = "yielded"
)

// draining is what the predecessor answers.
const draining = "draining"

// greeting comes with the sockets: how many they are, and the number of the
// process. After them comes, for each of UDP, the way to pass packets on.
const greeting = "headwater sockets 1: %d of process %d"
