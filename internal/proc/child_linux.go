package proc

import "syscall"

// child has a program end with the process that started it, also when that is
// killed.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
