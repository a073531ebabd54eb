// Package s3test runs a real S3 server, versitygw, inside tests: it is built
// from its module, which is kept apart from this one's, and keeps its objects
// in a directory.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"headwater/internal/proc"
)

// The server's only user.
const (
	AccessKey = "headwater"
	SecretKey = "headwater-secret"
	Region    = "us-east-1"
)

// A Server is a running versitygw.
type Server struct {
	Endpoint string // http://127.0.0.1:PORT
	Dir      string // where it keeps everything

	p proc.Process
}

// Start builds the server and runs it with a directory that it makes.
func Start(ctx context.Context) (*Server, error) {
	dir, err := os.MkdirTemp("", "headwater-s3-")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir}
	binary := filepath.Join(dir, "versitygw")
	_, here, _, _ := runtime.Caller(0)
	gateway := filepath.Join(filepath.Dir(here), "..", "gateway")
	if _, err := os.Stat(gateway); err != nil {
		gateway = filepath.Join("..", "gateway") // built with -trimpath: tests run where their package is
		if _, err := os.Stat(gateway); err != nil {
			gateway = "gateway"
		}
	}
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/versity/versitygw/cmd/versitygw")
	build.Dir = gateway
	if out, err := build.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("s3test: building versitygw in %s: %w\n%s", gateway, err, out)
	}
	for _, d := range []string{"objects", "sidecar"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	addr, err := proc.FreeAddr()
	if err != nil {
		return nil, err
	}
	s.Endpoint = "http://" + addr
	s.p = proc.Process{
		Name: "versitygw", Log: filepath.Join(dir, "log"), Ready: proc.Accepts(addr),
		Make: func() *exec.Cmd {
			return exec.Command(binary, "--port", addr, "--access", AccessKey, "--secret", SecretKey, "--region", Region, "--quiet",
				"posix", "--sidecar", filepath.Join(dir, "sidecar"), filepath.Join(dir, "objects"))
		},
	}
	return s, s.Run(ctx)
}

// Run runs the process, again after Kill, and waits until it answers.
func (s *Server) Run(ctx context.Context) error { return s.p.Start(ctx) }

// Kill ends the process at once.
func (s *Server) Kill() error { return s.p.Kill() }

// Pause stops the process, and Continue lets it go on. When Pause returns every
// thread of it has stopped.
func (s *Server) Pause() error {
	if err := s.p.Pause(); err != nil {
		return err
	}
	for {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.p.PID()))
		if err != nil {
			return err
		}
		running := false
		for _, name := range stats {
			stat, err := os.ReadFile(name)
			if err == nil {
				_, after, _ := bytes.Cut(stat, []byte(") ")) // "pid (name) state"
				running = running || !bytes.HasPrefix(after, []byte("T"))
			}
		}
		if !running {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
}

// Continue is the end of Pause.
func (s *Server) Continue() error { return s.p.Resume() }

// Close ends the process and removes what it kept.
func (s *Server) Close() error { return errors.Join(s.Kill(), os.RemoveAll(s.Dir)) }
