package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	"headwater/internal/proc"
)

// start runs a program and waits until it is ready.
func start(dir, name string, ready func(context.Context) error, env []string, bin string, args ...string) (*proc.Process, error) {
	p := &proc.Process{Name: name, Log: filepath.Join(dir, name+".log"), Ready: ready, Make: func() *exec.Cmd {
		cmd := exec.Command(bin, args...)
		cmd.Env = append(os.Environ(), env...)
		return cmd
	}}
	return p, p.Start(context.Background())
}

func freeAddr() string {
	addr, err := proc.FreeAddr()
	if err != nil {
		panic(err)
	}
	return addr
}
