package cassandratest

import "syscall"

// child has a node end with the process that started it, also when that is
// killed.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
