package main

import (
	"context"
	"os"

	"headwater/scenario"
)

// keys breaks things as the person at the terminal presses keys.
func (d *demo) keys(ctx context.Context) {
	in, ok := d.env.stdin.(*os.File)
	if !ok || !d.interactive() {
		return
	}
	restore := oneByOne(in)
	defer restore()
	pressed := make(chan byte)
	// A read of a terminal cannot be interrupted: the goroutine ends with the
	// process, or with the next key.
	go func() {
		var b [1]byte
		for {
			if n, err := in.Read(b[:]); err != nil || n == 0 {
				return
			}
			select {
			case pressed <- b[0]:
			case <-ctx.Done():
				return
			}
		}
	}()
	for {
		select {
		case k := <-pressed:
			if k == 'q' {
				interrupt()
				continue
			}
			if f, ok := scenario.FindFault(string(k)); ok {
				d.set(f, !d.sys.Active(f))
			}
		case <-ctx.Done():
			return
		}
	}
}

// interrupt is what Ctrl-C does.
func interrupt() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		p.Signal(os.Interrupt)
	}
}
