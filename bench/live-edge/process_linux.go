package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// family is a process and all that it started.
func family(pid int) []int {
	out := []int{pid}
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		if id, f := readStat(name); len(f) > 1 {
			parent, _ := strconv.Atoi(f[1])
			children[parent] = append(children[parent], id)
		}
	}
	for i := 0; i < len(out); i++ {
		out = append(out, children[out[i]]...)
	}
	return out
}

// readStat returns the process's id and its fields from the third on (proc(5)).
func readStat(name string) (int, []string) {
	b, err := os.ReadFile(name)
	if err != nil {
		return 0, nil
	}
	id, _, _ := strings.Cut(string(b), " ")
	pid, _ := strconv.Atoi(id)
	_, rest, _ := strings.Cut(string(b[bytes.LastIndexByte(b, ')'):]), " ")
	return pid, strings.Fields(rest)
}

// resident is the memory of a process and all that it started, in bytes. What
// they share is counted once.
func resident(pid int) int64 {
	var sum int64
	for _, p := range family(pid) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p))
		for line := range strings.SplitSeq(string(b), "\n") {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				kb, _ := strconv.ParseInt(f[1], 10, 64)
				sum += kb << 10
			}
		}
	}
	return sum
}

// cpu is the time that a process and all that it started have run.
func cpu(pid int) time.Duration {
	var ticks int64
	for _, p := range family(pid) {
		if _, f := readStat(fmt.Sprintf("/proc/%d/stat", p)); len(f) > 12 {
			for _, s := range f[11:13] {
				n, _ := strconv.ParseInt(s, 10, 64)
				ticks += n
			}
		}
	}
	return time.Duration(ticks) * time.Second / 100
}

// raiseFiles lets this process and those it starts open as many files as may be.
func raiseFiles() uint64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 0
	}
	more := unix.Rlimit{Cur: 131072, Max: 131072}
	if unix.Setrlimit(unix.RLIMIT_NOFILE, &more) == nil {
		return more.Cur
	}
	l.Cur = l.Max
	unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	return l.Cur
}
