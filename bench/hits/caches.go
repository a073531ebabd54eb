//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"headwater/live"
)

// An origin has segments of each size.
type origin struct {
	addr   string
	first  live.Number // of those that are asked for
	srv    *http.Server
	bodies map[string][]byte
}

func startOrigin() (*origin, error) {
	o := &origin{bodies: map[string][]byte{}}
	e := live.Default()
	e.Start = time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	e.DVRSeconds = 7200
	e.Pipelines = []live.Pipeline{{Name: "a", Region: "us-east-1"}}
	for _, s := range sizes {
		e.Renditions = append(e.Renditions, live.Rendition{Name: s.name, Type: live.Video, Bandwidth: 1_000_000})
		o.bodies[s.name] = bytes.Repeat([]byte("0123456789abcdef"), s.bytes/16)
	}
	tl := e.Timeline()
	o.first = tl.Edge(time.Now()) - 600
	config, err := json.Marshal(live.Config{Event: e, Version: 1})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o.addr = l.Addr().String()
	o.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == live.TimePath {
			live.ServeTime(w, r)
			return
		}
		p, err := live.ParsePath(r.URL.Path)
		h := w.Header()
		live.AllowCORS(h)
		h.Set(live.HeaderVersion, "1")
		h.Set(live.HeaderEdge, "2000")
		switch body := o.bodies[p.Rendition]; {
		case err == nil && p.File == live.FileConfig:
			if r.URL.RawQuery != "" {
				<-r.Context().Done()
				return
			}
			h.Set("ETag", `"1"`)
			w.Write(config)
		case err == nil && body != nil:
			h.Set("Content-Type", "video/mp4")
			h.Set("Content-Length", strconv.Itoa(len(body)))
			h.Set("ETag", live.DigestOf(body).ETag())
			h.Set(live.HeaderContentDigest, live.DigestOf(body).String())
			h.Set(live.HeaderPipeline, "a;region=us-east-1")
			h.Set(live.HeaderPublished, live.FormatPublished(time.Now()))
			h.Set(live.HeaderCacheControl, live.FormatLifetimes(10*time.Minute, time.Hour))
			w.Write(body)
		default:
			live.ErrNotHere.With("nothing").Write(w, r)
		}
	})}
	go o.srv.Serve(l)
	return o, nil
}

func (o *origin) close() { o.srv.Close() }

func (o *origin) path(rendition string, i int) string {
	return live.Path{Event: live.EventID{Tenant: "t", Name: "e"}, File: live.FileSegment, Rendition: rendition, Number: o.first + live.Number(i)}.String()
}

// A contender is a cache that runs.
type contender struct {
	name, label string
	addr        string
	refuses     string // path that it refuses by itself, where it knows no timeline
	pid         int
	close       func()
}

func (c *contender) ask(paths []string, conns int, length time.Duration) (result, error) {
	status := http.StatusOK
	if c.refuses != "" && paths[0] == c.refuses || strings.Contains(paths[0], "/nothing/") || strings.Contains(paths[0], "/100") {
		status = http.StatusNotFound
	}
	before := cpu(c.pid)
	res, err := ask(c.addr, paths, conns, length, status)
	res.cpu = cpu(c.pid) - before
	return res, err
}

// nginxConf is a cache as guides have it, for one core, and its cheapest refusal.
const nginxConf = `
worker_processes 1;
pid %[1]s/pid;
error_log stderr crit;
%[4]s
events { worker_connections 8192; }
http {
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    open_file_cache max=2000 inactive=60s;
    proxy_cache_path %[1]s/cache levels=1:2 keys_zone=live:32m use_temp_path=off inactive=2h max_size=4g;
    upstream origin { server %[3]s; keepalive 16; }
    server {
        listen %[2]s backlog=8192;
        location /refused { return 404; }
        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_cache live;
            proxy_cache_lock on;
            add_header X-Cache-Status $upstream_cache_status;
        }
    }
}
`

const varnishConf = `
vcl 4.1;
backend origin { .host = "%s"; .port = "%s"; }
sub vcl_recv { if (req.url ~ "^/refused") { return (synth(404)); } }
`

// startAll starts the caches, each on the same core.
func startAll(o options, dir string, origin *origin) (all []*contender, err error) {
	bin := o.profile
	if bin == "" {
		bin = filepath.Join(dir, "headwater")
		build := exec.Command("go", "build", "-o", bin, "headwater/cmd/headwater")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building headwater: %w: %s", err, out)
		}
	}
	without := strings.Split(o.without, ",")
	for _, c := range []*contender{
		{name: "nginx", label: "nginx", refuses: "/refused"},
		{name: "varnish", label: "Varnish", refuses: "/refused"},
		{name: "headwater", label: "**`headwater edge`**"},
	} {
		if slices.Contains(without, c.name) {
			continue
		}
		if c.addr, err = freeAddr(); err != nil {
			return all, err
		}
		home := filepath.Join(dir, c.name)
		if err := os.MkdirAll(home, 0o777); err != nil {
			return all, err
		}
		var args []string
		switch c.name {
		case "nginx":
			user := ""
			if os.Getuid() == 0 {
				user = "user root;"
			}
			conf := filepath.Join(home, "nginx.conf")
			if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, home, c.addr, origin.addr, user), 0o644); err != nil {
				return all, err
			}
			args = []string{"nginx", "-e", "stderr", "-p", home, "-c", conf, "-g", "daemon off;"}
		case "varnish":
			host, port, _ := net.SplitHostPort(origin.addr)
			conf := filepath.Join(home, "default.vcl")
			if err := os.WriteFile(conf, fmt.Appendf(nil, varnishConf, host, port), 0o644); err != nil {
				return all, err
			}
			args = []string{"varnishd", "-F", "-j", "none", "-T", "none", "-n", filepath.Join(home, "work"), "-a", c.addr, "-f", conf, "-s", "malloc,2g", "-p", "thread_pools=1"}
		case "headwater":
			args = []string{bin, "edge", "--listen", c.addr, "--parent", "http://" + origin.addr, "--log-level", "error"}
		}
		if err := c.start(o.server, args); err != nil {
			return all, fmt.Errorf("%s: %w", c.name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start starts a cache on a core, and waits until it listens.
func (c *contender) start(core string, args []string) error {
	if filepath.Base(args[0]) == args[0] {
		bin, err := exec.LookPath(args[0])
		if err != nil {
			if bin, err = exec.LookPath("/usr/sbin/" + args[0]); err != nil {
				return err
			}
		}
		args[0] = bin
	}
	cmd := exec.Command("taskset", append([]string{"-c", core}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { defer close(ended); cmd.Wait() }()
	c.pid = cmd.Process.Pid
	c.close = func() {
		cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			cmd.Process.Kill()
			<-ended
		}
	}
	for range 500 {
		if nc, err := net.Dial("tcp", c.addr); err == nil {
			return nc.Close()
		}
		select {
		case <-ended:
			return fmt.Errorf("it ended: %s", out.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
	c.close()
	return errors.New("it does not listen")
}

// cpu is how long a process and its children have run.
func cpu(pid int) (sum time.Duration) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if parent, _ := strconv.Atoi(f[1]); id != pid && parent != pid {
			continue
		}
		for _, ticks := range f[11:13] {
			n, _ := strconv.ParseInt(ticks, 10, 64)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return sum
}
