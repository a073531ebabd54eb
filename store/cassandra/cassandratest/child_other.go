//go:build !linux

package cassandratest

import "syscall"

func child() *syscall.SysProcAttr { return nil }
