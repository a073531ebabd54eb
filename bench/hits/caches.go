//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"headwater/internal/selfsigned"
	"headwater/live"
)

// An origin has segments of each size.
type origin struct {
	event  live.EventID
	gets   atomic.Int64 // of segments
	addr   string
	first  live.Number // of those that are asked for
	srv    *http.Server
	bodies map[string][]byte
	config []byte // of the event
}

func startOrigin() (*origin, error) {
	o := &origin{event: live.EventID{Tenant: "t", Name: "e"}, bodies: map[string][]byte{}}
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
	if o.config, err = json.Marshal(e); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	o.addr = l.Addr().String()
	o.srv = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == live.TimePath {
			live.ServeTime(w, r, time.Now())
			return
		}
		p, err := live.ParsePath(r.URL.Path)
		h := w.Header()
		live.AllowCORS(h)
		h.Set(live.HeaderVersion, "1")
		h.Set(live.HeaderEdge, "2000")
		switch body := o.bodies[p.Rendition]; {
		case err == nil && p.File == live.FileConfig && p.Event == o.event:
			if r.URL.RawQuery != "" {
				<-r.Context().Done()
				return
			}
			h.Set("ETag", `"1"`)
			w.Write(config)
		case err == nil && body != nil:
			o.gets.Add(1)
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
	return live.Path{Event: o.event, File: live.FileSegment, Rendition: rendition, Number: o.first + live.Number(i)}.String()
}

// A contender is a cache that runs.
type contender struct {
	name, label   string
	addr, tlsAddr string // tlsAddr: "" where it has no TLS
	refuses       string // path that it refuses by itself, where it knows no timeline
	most          int    // bytes of what it keeps; 0: all that there is
	pid           int
	close         func()
}

// can reports whether it has what a row asks for.
func (c *contender) can(p part, r *row) bool {
	switch {
	case p.proto != plain && c.tlsAddr == "":
		return false
	case c.name == bareName:
		return p.proto == plain && r.bytes > 0
	}
	return c.most == 0 || r.bytes <= c.most
}

func (c *contender) ask(p part, r *row, length time.Duration) (result, error) {
	paths, status := r.paths, http.StatusOK
	if r.bytes == 0 {
		if status = http.StatusNotFound; c.refuses != "" {
			paths = []string{c.refuses}
		}
	}
	var before time.Duration
	w := work{addr: c.addr, paths: paths, conns: r.conns, length: length, status: status, before: func() { before = cpu(c.pid) }}
	do := ask
	if p.proto != plain {
		if w.addr, do = c.tlsAddr, askSecure; p.proto == h2 {
			w.streams, w.conns = streams, max(r.conns/streams, 1)
		}
	}
	res, err := do(w)
	res.CPU = cpu(c.pid) - before
	res.Memory = memory(c.pid)
	return res, err
}

// nginxConf is a cache as guides have it, and its cheapest refusal.
const nginxConf = `
worker_processes %[5]d;
pid %[1]s/pid;
error_log stderr crit;
%[4]s
events { worker_connections 8192; }
http {
    access_log off;
    sendfile on;
    keepalive_requests 1000000000;
    open_file_cache max=2000 inactive=60s;
    ssl_certificate %[6]s/cert.pem;
    ssl_certificate_key %[6]s/cert.pem;
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
    proxy_cache_path %[1]s/cache levels=1:2 keys_zone=live:32m use_temp_path=off inactive=2h max_size=4g;
    upstream origin { server %[3]s; keepalive 16; }
    server {
        listen %[2]s backlog=8192;
        listen %[7]s ssl http2 backlog=8192;
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

// HAProxy's cache takes small objects: of larger ones it asks the origin again.
const haproxyMost = 16 << 10

const haproxyConf = `
global
    nbthread %[3]d
    maxconn 8000
    ssl-default-bind-ciphersuites TLS_AES_128_GCM_SHA256
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
cache live
    total-max-size 256
    max-object-size 2000000
    max-age 3600
backend origin
    http-request cache-use live
    http-response cache-store live
    server o %[2]s
frontend f
    bind %[1]s
    bind %[4]s ssl crt %[5]s/cert.pem alpn h2,http/1.1
    http-request return status 404 if { path_beg /refused }
    default_backend origin
`

// startAll starts the caches, each on the same cores.
func startAll(o options, p part, dir string, origin *origin) (all []*contender, err error) {
	bin := o.headwater
	if bin == "" {
		bin = filepath.Join(dir, "headwater")
		root, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "headwater").Output()
		if err != nil {
			return nil, fmt.Errorf("where headwater is: %w", err)
		}
		build := exec.Command("go", "build", "-o", bin, "./cmd/headwater")
		build.Dir = strings.TrimSpace(string(root))
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building headwater: %w: %s", err, out)
		}
	}
	without := strings.Split(o.without, ",")
	threads := len(strings.Split(p.cores, ","))
	for _, c := range []*contender{
		{name: reference, label: "nginx", refuses: "/refused"},
		{name: "varnish", label: "Varnish", refuses: "/refused"},
		{name: "haproxy", label: "HAProxy", refuses: "/refused", most: haproxyMost},
		{name: bareName, label: "a bare Go loop"},
		{name: "headwater", label: "**`headwater edge`**"},
		{name: originName, label: "**`headwater origin`**"},
	} {
		if slices.Contains(without, c.name) || c.name == originName && !p.refusals || p.proto != plain && (c.name == "varnish" || c.name == bareName) {
			continue
		}
		if c.addr, err = freeAddr(); err != nil {
			return all, err
		}
		if c.name != "varnish" && c.name != bareName && c.name != originName {
			if c.tlsAddr, err = freeAddr(); err != nil {
				return all, err
			}
		}
		home := filepath.Join(dir, p.name, c.name)
		if err := os.MkdirAll(home, 0o777); err != nil {
			return all, err
		}
		conf := filepath.Join(home, "conf")
		var args []string
		var text []byte
		control := ""
		switch c.name {
		case reference:
			user := ""
			if os.Getuid() == 0 {
				user = "user root;"
			}
			text = fmt.Appendf(nil, nginxConf, home, c.addr, origin.addr, user, threads, dir, c.tlsAddr)
			args = []string{"nginx", "-e", "stderr", "-p", home, "-c", conf, "-g", "daemon off;"}
		case "varnish":
			host, port, _ := net.SplitHostPort(origin.addr)
			text = fmt.Appendf(nil, varnishConf, host, port)
			args = []string{"varnishd", "-F", "-j", "none", "-T", "none", "-n", filepath.Join(home, "work"), "-a", c.addr, "-f", conf, "-s", "malloc,2g", "-p", "thread_pools=1"}
		case "haproxy":
			text = fmt.Appendf(nil, haproxyConf, c.addr, origin.addr, threads, c.tlsAddr, dir)
			args = []string{"haproxy", "-db", "-f", conf}
		case bareName:
			self, err := os.Executable()
			if err != nil {
				return all, err
			}
			args = []string{self, bareName, c.addr}
		case "headwater":
			args = []string{bin, "edge", "--metrics", "viewers", "--listen", c.addr, "--parent", "http://" + origin.addr, "--log-level", "error", "--memory", "2GiB", "--header-timeout", "60s", // as nginx has it: thousands of handshakes come first

				"--tls-listen", c.tlsAddr, "--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "cert.pem")}
		case originName:
			if args, control, err = originArgs(bin, c.addr); err != nil {
				return all, err
			}
		}
		if text != nil {
			if err := os.WriteFile(conf, text, 0o644); err != nil {
				return all, err
			}
		}
		switch err := c.start(p.cores, args); {
		case errors.Is(err, exec.ErrNotFound):
			log.Printf("%s is not installed", c.name)
			continue
		case err != nil:
			return all, fmt.Errorf("%s: %w", c.name, err)
		}
		all = append(all, c)
		if control != "" {
			if err := origin.createAt(control); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

// originName is the real origin: it only refuses here.
const originName = "origin"

func originArgs(bin, deliver string) (args []string, control string, err error) {
	publish, err := freeAddr()
	if err == nil {
		control, err = freeAddr()
	}
	return []string{bin, "origin", "--store", "memory:", "--publish", publish, "--deliver", deliver, "--control", control, "--log-level", "error"}, control, err
}

// createAt creates the event at a real origin, whose listeners accept by then.
func (o *origin) createAt(control string) error {
	req, err := http.NewRequest(http.MethodPut, "http://"+control+"/v1/events/"+o.event.String(), bytes.NewReader(o.config))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("creating the event: %s", resp.Status)
	}
	return nil
}

// certify writes a certificate and its key.
func certify(name string) error {
	c, _ := selfsigned.New()
	cert, key := selfsigned.PEM(c)
	return os.WriteFile(name, append(cert, key...), 0o644)
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

// family are a process and its children.
func family(pid int, each func(dir string, stat []string)) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		id, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
		if parent, _ := strconv.Atoi(f[1]); id == pid || parent == pid {
			each(filepath.Dir(name), f)
		}
	}
}

// cpu is how long they have run.
func cpu(pid int) (sum time.Duration) {
	family(pid, func(_ string, stat []string) {
		for _, ticks := range stat[11:13] {
			n, _ := strconv.ParseInt(ticks, 10, 64)
			sum += time.Duration(n) * 10 * time.Millisecond
		}
	})
	return sum
}

// memory is what they have resident (PSS), in MB.
func memory(pid int) (sum float64) {
	family(pid, func(dir string, _ []string) {
		b, _ := os.ReadFile(filepath.Join(dir, "smaps_rollup"))
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				kb, _ := strconv.ParseFloat(f[1], 64)
				sum += kb / 1000
			}
		}
	})
	return sum
}
