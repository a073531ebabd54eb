// Package proc runs programs beside tests and benchmarks: servers that are
// started, killed, stopped where they stand and started again.
package proc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Process is one program, which may be running, paused or dead. Its methods are
// for one goroutine at a time.
type Process struct {
	Name string
	Log  string           // the file that its output is appended to
	Make func() *exec.Cmd // each time it is started
	// Ready reports nil once the program serves; it is called until then. Nil
	// is at once.
	Ready func(ctx context.Context) error

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// startTime is how long a program may take until it is ready, unless the
// context ends before.
const startTime = 5 * time.Minute

// Start runs it, and waits until it is ready.
func (p *Process) Start(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(p.Log), 0o755); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	cmd, done := p.Make(), make(chan struct{})
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, child()
	if err := cmd.Start(); err != nil {
		log.Close()
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	p.cmd, p.done = cmd, done
	go func() { // ends with the program
		defer close(done)
		defer log.Close()
		cmd.Wait()
	}()
	if p.Ready == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := p.Ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-done:
			p.cmd = nil
			return fmt.Errorf("%s ended at its start: %s", p.Name, p.Tail())
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("%s is not ready: %w: %w", p.Name, ctx.Err(), err), p.Kill())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Running reports whether it was started and has not ended, by itself or otherwise.
func (p *Process) Running() bool {
	if p.cmd == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Tail is the end of its output.
func (p *Process) Tail() string {
	b, _ := os.ReadFile(p.Log)
	return string(b[max(0, len(b)-2000):])
}

// Kill ends it at once, as kill -9 does, and waits for its end.
func (p *Process) Kill() error { return p.end(syscall.SIGKILL) }

// Stop has it end by itself, at most for 30 s, and waits for its end.
func (p *Process) Stop() error { return p.end(syscall.SIGTERM) }

func (p *Process) end(sig syscall.Signal) error {
	if p.cmd == nil {
		return nil
	}
	p.cmd.Process.Signal(syscall.SIGCONT)
	err := p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
	p.cmd = nil
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return err
}

// Pause stops it where it stands; its connections stay open.
func (p *Process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Resume lets it go on.
func (p *Process) Resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// PID is its process id while it runs.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Accepts is ready when an address takes connections.
func Accepts(addr string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
		if err == nil {
			c.Close()
		}
		return err
	}
}

// Answers is ready when a URL answers 200.
func Answers(url string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}
}

// FreeAddr returns a loopback address with a port that was free just now.
func FreeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
