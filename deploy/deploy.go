// Package deploy has configurations of other programs for Headwater: nginx and
// Varnish as its edges. It starts them with what is shipped, for tests and
// benchmarks.
package deploy

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

//go:embed nginx varnish
var files embed.FS

// Options say where a program listens and fills from.
type Options struct {
	// Parent is HOST:PORT of what it fills from. Required.
	Parent string
	// Dir is an existing directory for its files. Required.
	Dir string
	// Listen is its address. Default: a free port of 127.0.0.1.
	Listen string
	// Edit changes the text of a configuration file. May be nil.
	Edit func(name, text string) string
	// Args are arguments besides those that are needed.
	Args []string
}

// A Program is a running nginx or varnishd.
type Program struct {
	Addr string // HOST:PORT
	Pid  int
	// Inner is the socket of nginx's inner server.
	Inner string

	log    output
	cmd    *exec.Cmd
	ended  chan struct{}
	closer sync.Once
}

// ErrMissing says that a program is not installed.
var ErrMissing = errors.New("deploy: not installed (scripts/setup.sh installs it)")

// find looks for a program also where Debian has those for the administrator.
func find(name string) (string, error) {
	if p, err := exec.LookPath(name); err == nil {
		return p, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} {
		if p := filepath.Join(dir, name); executable(p) {
			return p, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, ErrMissing)
}

func executable(p string) bool {
	st, err := os.Stat(p)
	return err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0
}

// lay writes the files of one program into dir, edited.
func lay(from, dir string, edit func(name, text string) (string, error)) error {
	entries, err := fs.ReadDir(files, from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := files.ReadFile(path.Join(from, e.Name()))
		if err != nil {
			return err
		}
		text, err := edit(e.Name(), string(b))
		if err != nil {
			return fmt.Errorf("deploy: %s: %w", e.Name(), err)
		}
		if err := os.WriteFile(filepath.Join(dir, e.Name()), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// replace puts in what differs from the shipped text. Each pair must be there.
func replace(text string, pairs ...string) (string, error) {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			return "", fmt.Errorf("there is no %q to replace", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text, nil
}

func (o *Options) edited(name, text string, err error) (string, error) {
	if err == nil && o.Edit != nil {
		text = o.Edit(name, text)
	}
	return text, err
}

// nginx lays its files and returns the arguments that name them.
func (o *Options) nginx() (args []string, inner string, err error) {
	inner = filepath.Join(o.Dir, "inner.sock")
	cache := filepath.Join(o.Dir, "cache")
	if err := os.Mkdir(cache, 0o777); err != nil {
		return nil, "", fmt.Errorf("deploy: %w", err)
	}
	err = lay("nginx", o.Dir, func(name, text string) (string, error) {
		switch name {
		case "nginx.conf":
			// It stays who it is, who can read and write the directory.
			who := ""
			if os.Getuid() == 0 {
				who = "user root;\n"
			}
			t, err := replace(text, "/run/nginx-headwater.pid", filepath.Join(o.Dir, "pid"), "user www-data;\n", who)
			return o.edited(name, t, err)
		case "headwater.conf":
			t, err := replace(text, "server 127.0.0.1:7002", "server "+o.Parent, "listen 8080", "listen "+o.Listen,
				"/run/nginx-headwater.sock", inner, "/var/cache/nginx/headwater", cache)
			return o.edited(name, t, err)
		}
		return o.edited(name, text, nil)
	})
	return []string{"-e", "stderr", "-p", o.Dir, "-c", filepath.Join(o.Dir, "nginx.conf")}, inner, err
}

func (o *Options) varnish() (args []string, err error) {
	host, port, err := net.SplitHostPort(o.Parent)
	if err != nil {
		return nil, fmt.Errorf("deploy: parent: %w", err)
	}
	err = lay("varnish", o.Dir, func(name, text string) (string, error) {
		if name != "parents.vcl" {
			return o.edited(name, text, nil)
		}
		t, err := replace(text, `.host = "127.0.0.1"`, `.host = "`+host+`"`, `.port = "7002"`, `.port = "`+port+`"`)
		return o.edited(name, t, err)
	})
	return []string{"-f", filepath.Join(o.Dir, "headwater.vcl"), "-p", "vcl_path=" + o.Dir}, err
}

// Nginx starts nginx with the shipped configuration.
func Nginx(ctx context.Context, o Options) (*Program, error) {
	bin, err := find("nginx")
	if err != nil {
		return nil, err
	}
	if err := o.listen(); err != nil {
		return nil, err
	}
	args, inner, err := o.nginx()
	if err != nil {
		return nil, err
	}
	p, err := start(ctx, o.Listen, bin, append(append(args, "-g", "daemon off;"), o.Args...))
	if p != nil {
		p.Inner = inner
	}
	return p, err
}

// Varnish starts varnishd with the shipped configuration.
func Varnish(ctx context.Context, o Options) (*Program, error) {
	bin, err := find("varnishd")
	if err != nil {
		return nil, err
	}
	if err := o.listen(); err != nil {
		return nil, err
	}
	args, err := o.varnish()
	if err != nil {
		return nil, err
	}
	args = append(args, "-F", "-j", "none", "-T", "none", "-n", filepath.Join(o.Dir, "work"), "-a", o.Listen)
	return start(ctx, o.Listen, bin, append(args, o.Args...))
}

// CheckNginx and CheckVarnish let the programs themselves read the shipped
// configuration, and return what they complain of.
func CheckNginx(ctx context.Context, o Options) error {
	bin, err := find("nginx")
	if err != nil {
		return err
	}
	args, _, err := o.nginx()
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, bin, append(args, "-t")...).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("[warn]")) {
		return fmt.Errorf("deploy: nginx -t: %w: %s", err, out)
	}
	return nil
}

// CheckVarnish is as CheckNginx.
func CheckVarnish(ctx context.Context, o Options) error {
	bin, err := find("varnishd")
	if err != nil {
		return err
	}
	args, err := o.varnish()
	if err != nil {
		return err
	}
	var complaint bytes.Buffer
	cmd := exec.CommandContext(ctx, bin, append(args, "-C", "-j", "none", "-n", filepath.Join(o.Dir, "check"))...)
	cmd.Stderr = &complaint
	if _, err := cmd.Output(); err != nil {
		return fmt.Errorf("deploy: varnishd -C: %w: %s", err, complaint.Bytes())
	}
	return nil
}

// Version is what a program says of itself.
func Version(ctx context.Context, program, flag string) (string, error) {
	bin, err := find(program)
	if err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, bin, flag).CombinedOutput()
	first, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(first), err
}

// listen finds a free port where none is given.
func (o *Options) listen() error {
	if o.Listen != "" {
		return nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("deploy: %w", err)
	}
	o.Listen = l.Addr().String()
	return l.Close()
}

// start runs a program until it accepts connections, which it has ten seconds for.
func start(ctx context.Context, addr, bin string, args []string) (*Program, error) {
	p := &Program{Addr: addr, ended: make(chan struct{})}
	p.cmd = exec.Command(bin, args...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("deploy: %w", err)
	}
	p.Pid = p.cmd.Process.Pid
	go func() {
		defer close(p.ended)
		p.cmd.Wait()
	}()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", addr); err == nil {
			return p, c.Close()
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return nil, fmt.Errorf("deploy: %s ended: %s", bin, p.Log())
		case <-ctx.Done():
			p.Close()
			return nil, fmt.Errorf("deploy: %s does not listen: %w: %s", bin, ctx.Err(), p.Log())
		}
	}
}

// Log is what the program has written so far.
func (p *Program) Log() string { return p.log.String() }

// Close ends the program and waits for its end.
func (p *Program) Close() {
	p.closer.Do(func() { p.cmd.Process.Signal(syscall.SIGTERM) })
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// output keeps the first of what a program writes.
type output struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

const maxOutput = 64 << 10

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(b[:min(len(b), max(maxOutput-o.buf.Len(), 0))])
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
