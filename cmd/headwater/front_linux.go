package main

import (
	"os"
	"syscall"
)

// Signals that only Unix has.
var (
	hangup    os.Signal = syscall.SIGHUP  // certificates are read again
	successor os.Signal = syscall.SIGUSR2 // another process is to take over
)
