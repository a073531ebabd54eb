//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"headwater/deploy"
)

// A contender is an edge, and the way in which viewers ask it.
type contender struct {
	name string // for -only
	what string // for the table
	// polled ones fill from the plain origin, and viewers ask again after a 404
	// when so much time is over; held ones fill from Headwater's.
	poll  time.Duration
	start func(ctx context.Context, dir, parent string) (program, error)
}

// A program is a running edge.
type program struct {
	addr  string
	pid   int
	close func()
}

// stockNginx is what one finds in guides: one request for all, 404 for the
// shortest time that nginx knows.
const stockNginx = `
worker_processes auto;
pid %[1]s/pid;
error_log stderr crit;
%[4]s
events { worker_connections 32768; }
http {
    access_log off;
    sendfile on;
    keepalive_requests 1000000;
    proxy_cache_path %[1]s/cache levels=1:2 keys_zone=live:32m use_temp_path=off;
    upstream origin { server %[3]s; keepalive 64; }
    server {
        listen %[2]s backlog=8192;
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache live;
            proxy_cache_valid 404 1s;
            proxy_cache_lock on;
        }
    }
}
`

// stockVarnish is tuned already: by default a 404 without a lifetime stays for
// two minutes.
const stockVarnish = `
vcl 4.1;
backend origin { .host = "%s"; .port = "%s"; }
sub vcl_backend_response {
    set beresp.grace = 0s;
    if (beresp.status == 404) { set beresp.ttl = 100ms; }
}
`

// varnishArgs keep threads ready for all who are answered at once.
var varnishArgs = []string{"-s", "malloc,2g", "-p", "thread_pool_min=1000", "-p", "thread_pool_max=5000", "-p", "thread_queue_limit=20000", "-p", "timeout_idle=120"}

func contenders(headwater, self string) []contender {
	return []contender{
		{"nginx", "nginx, `proxy_cache_lock`, viewers ask every 500 ms", 500 * time.Millisecond, func(ctx context.Context, dir, parent string) (program, error) {
			addr, err := freeAddr()
			if err != nil {
				return program{}, err
			}
			user := ""
			if os.Getuid() == 0 {
				user = "user root;"
			}
			conf := filepath.Join(dir, "nginx.conf")
			if err := os.WriteFile(conf, fmt.Appendf(nil, stockNginx, dir, addr, parent, user), 0o644); err != nil {
				return program{}, err
			}
			return run(ctx, addr, "nginx", "-e", "stderr", "-p", dir, "-c", conf, "-g", "daemon off;")
		}},
		{"nginx-held", "nginx, `deploy/nginx`, requests held", 0, func(ctx context.Context, dir, parent string) (program, error) {
			p, err := deploy.Nginx(ctx, deploy.Options{Parent: parent, Dir: dir, Edit: longLock})
			return deployed(p, err)
		}},
		{"varnish", "Varnish, viewers ask every 100 ms", 100 * time.Millisecond, func(ctx context.Context, dir, parent string) (program, error) {
			addr, err := freeAddr()
			if err != nil {
				return program{}, err
			}
			host, port, _ := net.SplitHostPort(parent)
			vcl := filepath.Join(dir, "stock.vcl")
			if err := os.WriteFile(vcl, fmt.Appendf(nil, stockVarnish, host, port), 0o644); err != nil {
				return program{}, err
			}
			return run(ctx, addr, "varnishd", append([]string{"-F", "-j", "none", "-T", "none", "-n", filepath.Join(dir, "work"), "-a", addr, "-f", vcl}, varnishArgs...)...)
		}},
		{"varnish-held", "Varnish, `deploy/varnish`, requests held", 0, func(ctx context.Context, dir, parent string) (program, error) {
			p, err := deploy.Varnish(ctx, deploy.Options{Parent: parent, Dir: dir, Edit: longLock, Args: varnishArgs})
			return deployed(p, err)
		}},
		{"nethttp", "Go `net/http`, a handler that collapses, requests held", 0, func(ctx context.Context, _, parent string) (program, error) {
			addr, err := freeAddr()
			if err != nil {
				return program{}, err
			}
			return run(ctx, addr, self, "-serve", addr, "-parent", parent)
		}},
		{"headwater", "**headwater edge**, requests held", 0, func(ctx context.Context, _, parent string) (program, error) {
			addr, err := freeAddr()
			if err != nil {
				return program{}, err
			}
			return run(ctx, addr, headwater, "edge", "--metrics", "viewers", "--listen", addr, "--parent", "http://"+parent, "--log-level", "error")
		}},
	}
}

// longLock lets requests be held for as long as the held event's are.
func longLock(name, text string) string {
	s := fmt.Sprintf("%ds", int(heldFor.Seconds())+10)
	return strings.NewReplacer("proxy_cache_lock_timeout 6s", "proxy_cache_lock_timeout "+s, "proxy_cache_lock_age 6s", "proxy_cache_lock_age "+s,
		"proxy_read_timeout 60s", "proxy_read_timeout "+s, ".first_byte_timeout = 60s", ".first_byte_timeout = "+s).Replace(text)
}

func deployed(p *deploy.Program, err error) (program, error) {
	if err != nil {
		return program{}, err
	}
	return program{addr: p.Addr, pid: p.Pid, close: p.Close}, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// run starts a program and waits until it listens.
func run(ctx context.Context, addr, name string, args ...string) (program, error) {
	bin, err := exec.LookPath(name)
	if err != nil {
		if bin, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			return program{}, fmt.Errorf("%s: %w", name, deploy.ErrMissing)
		}
	}
	cmd := exec.Command(bin, args...)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return program{}, err
	}
	ended := make(chan struct{})
	go func() { defer close(ended); cmd.Wait() }()
	stop := func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	}
	for range 500 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return program{addr: addr, pid: cmd.Process.Pid, close: stop}, nil
		}
		select {
		case <-ended:
			return program{}, fmt.Errorf("%s ended: %s", name, log.String())
		default:
		}
		if !sleep(ctx, 20*time.Millisecond) {
			break
		}
	}
	stop()
	return program{}, errors.Join(ctx.Err(), fmt.Errorf("%s does not listen: %s", name, log.String()))
}
