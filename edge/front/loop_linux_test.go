package front

import (
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
	s := &fdSocket{fd: p[0]}
	if _, err := s.handOver(); err == nil {
		t.Fatal("a pipe was taken for a connection")
	}
	var other [2]int
	if err := unix.Pipe2(other[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other[1])
	defer unix.Close(other[0])
	if other[0] != p[0] {
		t.Skipf("another descriptor: %d, not %d", other[0], p[0])
	}
	s.close()
	if _, err := unix.FcntlInt(uintptr(other[0]), unix.F_GETFD, 0); err != nil {
		t.Errorf("another's descriptor was closed: %v", err)
	}
}
