package world

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// atRandom is the entry of the auxiliary vector (getauxval(3)) that says where the
// kernel has put 16 random bytes for a new program. Go's runtime takes them for the
// seed of all its randomness: which case of a select goes first, where the iteration
// of a map begins, which of two timers of one instant fires first.
const atRandom = 25

// seeded runs a program to its end, with the randomness of its runtime made from the
// seed: it is stopped before its first instruction, as a debugger would, and given
// other bytes; and the thread by which the runtime looks at the real clock (sysmon,
// its first) never runs, so that no goroutine is made to give way by it. All threads
// have one processor. Where this is not allowed it runs all the same.
func seeded(cmd *exec.Cmd, seed uint64, processor int) error {
	runtime.LockOSThread() // who traces is a thread
	defer runtime.UnlockOSThread()
	if undo, err := pin(processor); err == nil {
		defer undo()
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		cmd.SysProcAttr = nil
		return fmt.Errorf("world: %w", err)
	}
	pid := cmd.Process.Pid
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, 0, nil); err != nil {
		return fmt.Errorf("world: waiting for the program to stop: %w", err)
	}
	if status.Stopped() {
		if at, err := auxiliary(pid, atRandom); err == nil {
			r := rand.New(rand.NewPCG(seed, 0))
			var b [16]byte
			binary.LittleEndian.PutUint64(b[:8], r.Uint64()|1)
			binary.LittleEndian.PutUint64(b[8:], r.Uint64()|1)
			syscall.PtracePokeData(pid, at, b[:])
		}
		monitor, err := firstThread(pid)
		if err := syscall.PtraceDetach(pid); err != nil {
			cmd.Process.Kill()
			cmd.Wait() // for what it said before it ended
			return fmt.Errorf("world: letting the program go on: %w", err)
		}
		if err == nil {
			// It ends with the program, which is not over before somebody knows.
			for {
				if _, err := syscall.Wait4(monitor, &status, syscall.WALL, nil); err != nil && err != syscall.EINTR || status.Exited() || status.Signaled() {
					break
				}
			}
		}
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("world: %w", err)
	}
	return nil
}

// pin has this thread, and what it starts, run on one of the processors that it may
// use, until undo.
func pin(processor int) (undo func(), err error) {
	var all, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, err
	}
	at := processor % max(all.Count(), 1)
	for cpu := range len(all) * 64 {
		if all.IsSet(cpu) {
			if at == 0 {
				one.Set(cpu)
				break
			}
			at--
		}
	}
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, err
	}
	return func() { unix.SchedSetaffinity(0, &all) }, nil
}

// auxiliary is an entry of a program's auxiliary vector.
func auxiliary(pid int, key uint64) (uintptr, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/auxv", pid))
	if err != nil {
		return 0, err
	}
	var pair [2]uint64
	for r := bytes.NewReader(b); binary.Read(r, binary.NativeEndian, &pair) == nil; {
		if pair[0] == key {
			return uintptr(pair[1]), nil
		}
	}
	return 0, fmt.Errorf("no entry %d", key)
}

// firstThread lets a program go on until it begins its first thread, which stays
// stopped.
func firstThread(pid int) (int, error) {
	if err := syscall.PtraceSetOptions(pid, syscall.PTRACE_O_TRACECLONE); err != nil {
		return 0, err
	}
	for {
		if err := syscall.PtraceCont(pid, 0); err != nil {
			return 0, err
		}
		var status syscall.WaitStatus
		if _, err := syscall.Wait4(pid, &status, syscall.WALL, nil); err != nil {
			return 0, err
		}
		switch {
		case !status.Stopped():
			return 0, fmt.Errorf("the program has ended")
		case status.TrapCause() == syscall.PTRACE_EVENT_CLONE:
			tid, err := syscall.PtraceGetEventMsg(pid)
			return int(tid), err
		}
	}
}
