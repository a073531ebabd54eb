package main

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

// A process is one program of the system, which may be running, paused or dead.
type process struct {
	name  string
	dir   string // of its log
	make  func() *exec.Cmd
	ready string // http URL that answers 200, or tcp address that accepts; "" at once

	cmd  *exec.Cmd
	done chan struct{}
}

func (p *process) log() string { return filepath.Join(p.dir, p.name+".log") }

// start runs it, and waits until it is ready.
func (p *process) start(ctx context.Context) error {
	log, err := os.OpenFile(p.log(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	cmd := p.make()
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		log.Close()
		return fmt.Errorf("%s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		defer close(done)
		defer log.Close()
		cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		if err := p.probe(ctx); err == nil {
			return nil
		}
		select {
		case <-done:
			b, _ := os.ReadFile(p.log())
			return fmt.Errorf("%s ended at its start: %s", p.name, b[max(0, len(b)-1000):])
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w", p.name, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

var probes = &http.Client{Timeout: 2 * time.Second}

func (p *process) probe(ctx context.Context) error {
	if p.ready == "" {
		return nil
	}
	if len(p.ready) < 5 || p.ready[:5] != "http:" {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", p.ready)
		if err == nil {
			c.Close()
		}
		return err
	}
	resp, err := probes.Get(p.ready)
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// kill is kill -9, and the wait for its end.
func (p *process) kill() error { return p.end(syscall.SIGKILL) }

// stop lets it end by itself.
func (p *process) stop() error { return p.end(syscall.SIGTERM) }

func (p *process) end(sig syscall.Signal) error {
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

func (p *process) pause() error  { return p.cmd.Process.Signal(syscall.SIGSTOP) }
func (p *process) resume() error { return p.cmd.Process.Signal(syscall.SIGCONT) }
