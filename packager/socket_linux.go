package packager

import "syscall"

// mostUnsent is how much of a body the kernel may take before it sends it, in
// bytes. It would take megabytes, and nobody could tell a slow body from a
// stalled one.
const mostUnsent = 64 << 10

// showProgress makes a connection take no more than what it is about to send
// (TCP_NOTSENT_LOWAT). Without it all works, but for hedging too early.
func showProgress(_, _ string, c syscall.RawConn) error {
	const notSentLowAt = 25
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, notSentLowAt, mostUnsent)
	})
}
