package packager

import "syscall"

// yieldTo has a process run when nothing else wants to.
func yieldTo(pid int) { _ = syscall.Setpriority(syscall.PRIO_PROCESS, pid, 19) }
