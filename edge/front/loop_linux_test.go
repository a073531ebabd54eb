package front

import (
	"encoding/binary"
	"math"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// What could not be handed over is closed once: its descriptor may be another's.
func TestHandingOverInVainClosesOnce(t *testing.T) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[1])
	defer unix.Close(p[0])
	// A number that nobody else is given meanwhile.
	fd, err := unix.FcntlInt(uintptr(p[0]), unix.F_DUPFD_CLOEXEC, 900)
	if err != nil {
		t.Fatal(err)
	}
	s := &fdSocket{fd: fd}
	if _, err := s.handOver(); err == nil {
		t.Fatal("a pipe was taken for a connection")
	}
	// From now on it is another's.
	if err := unix.Dup3(p[1], fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	s.close()
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
		t.Errorf("another's descriptor was closed: %v", err)
	}
}

// Who wakes a loop does so before it can end: then the descriptor is closed, and what is
// written to its number goes to somebody else.
func TestALoopIsWokenBeforeItCanEnd(t *testing.T) {
	s := serveEdge(t)
	s.srv.init()
	// A write to it waits, so that one can look meanwhile.
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(event)
	eight := binary.NativeEndian.AppendUint64(nil, math.MaxUint64-1)
	if _, err := unix.Write(event, eight); err != nil {
		t.Fatal(err)
	}
	l := newLoop(s.srv, &poller{event: event})
	l.asleep = true
	posted := make(chan struct{})
	go func() { defer close(posted); l.post(post{what: stop}) }()
	for held := 0; held < 1000; runtime.Gosched() {
		if !l.mu.TryLock() {
			held++
			continue
		}
		if len(l.posts) > 0 {
			t.Error("the loop may read a post, and end, before it is woken")
			held = 1000
		}
		l.mu.Unlock()
	}
	if _, err := unix.Read(event, eight); err != nil {
		t.Fatal(err)
	}
	<-posted
}
