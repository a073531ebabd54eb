package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headwater/internal/proc"
	"headwater/live"
)

// crowdSize is how many edges ask for the next segment.
const crowdSize = 5_000

// crowd prints how soon a crowd has a segment: one that it was held for, and one
// that is in memory, beside nginx with the same bytes in the page cache; and how
// many refusals each makes. Servers and clients share the machine.
func (r *rigs) crowd(ctx context.Context, size int) error {
	b, err := r.open(ctx, "memory")
	if err != nil {
		return err
	}
	o, err := newOrigin(r.dir, r.bin, b.env, b.flags, false, "crowd")
	if err != nil {
		return err
	}
	defer o.close()
	nginx, web, err := r.nginx(size)
	if err != nil {
		return err
	}
	defer nginx.Stop()
	addr := func(url string) string { return strings.TrimPrefix(url, "http://") }

	fmt.Printf("\n| %d clients at once, %.1f MB each | p50 ms | p99 ms | GB/s | server CPU s |\n|---|---|---|---|---|\n", crowdSize, float64(size)/1e6)
	row := func(what, to, path string, pid int, held func() error) error {
		before := cpu(pid)
		all, took, err := askAll(to, path, held)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		fmt.Printf("| %s | %.0f | %.0f | %.2f | %.2f |\n", what, all.at(0.5), all.at(0.99), float64(len(all))*float64(size)/1e9/took.Seconds(), (cpu(pid) - before).Seconds())
		return nil
	}
	n := o.m.tl.Edge(time.Now()) + 2
	body := o.m.segment(n, size)
	segment := func(n live.Number) string { return fmt.Sprintf("/%s/%s/%s/%d.m4s", tenant, o.event, rendition, n) }
	time.Sleep(time.Until(o.m.tl.Due(n)))
	publish := func() error {
		time.Sleep(time.Until(o.m.tl.Expected(n)))
		return o.do(http.MethodPut, fmt.Sprintf("%s/%s/%s/%s/%s/%d.m4s", o.publish, tenant, o.event, pipeline, rendition, n), body)
	}
	pid := o.processes[0].PID()
	if err := row("origin, held until it is published", addr(o.deliver), segment(n), pid, publish); err != nil {
		return err
	}
	if err := row("origin, from memory", addr(o.deliver), segment(n), pid, nil); err != nil {
		return err
	}
	if err := row("nginx, from the page cache", addr(web), "/segment.m4s", nginx.PID(), nil); err != nil {
		return err
	}
	fmt.Println("\n| refusals, 64 connections | a second | a CPU second |\n|---|---|---|")
	for _, x := range []struct {
		what, to, path string
		pid            int
	}{{"origin, 404 early", o.deliver, segment(n + 10_000), pid}, {"origin, 404 no-such-rendition", o.deliver, "/" + tenant + "/" + o.event + "/none/1.m4s", pid}, {"nginx, return 404", web, "/none", nginx.PID()}} {
		before := cpu(x.pid)
		count, err := refusals(addr(x.to), x.path, 3*time.Second)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f | %.0f |\n", x.what, float64(count)/3, float64(count)/(cpu(x.pid)-before).Seconds())
	}
	return nil
}

// nginx serves a file of that size, and 404 for anything else.
func (r *rigs) nginx(size int) (p *proc.Process, url string, err error) {
	a := freeAddr()
	if err := os.WriteFile(filepath.Join(r.dir, "segment.m4s"), make([]byte, size), 0o644); err != nil {
		return nil, "", err
	}
	conf := filepath.Join(r.dir, "nginx.conf")
	text := fmt.Sprintf("daemon off; master_process off; error_log stderr; pid %[1]s/nginx.pid; worker_rlimit_nofile 20000;\nevents { worker_connections 12000; }\n"+
		"http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;\n"+
		"server { listen %[2]s backlog=8192; location = /segment.m4s { root %[1]s; } location / { return 404; } } }\n", r.dir, a)
	if err := os.WriteFile(conf, []byte(text), 0o644); err != nil {
		return nil, "", err
	}
	p, err = start(r.dir, "nginx", proc.Accepts(a), nil, "nginx", "-c", conf)
	return p, "http://" + a, err
}

// cpu is how long a process has run.
func cpu(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// askAll asks on all connections at once, and returns how long each answer took to
// its last byte, from the first request on, or from when held has returned.
func askAll(addr, path string, held func() error) (times, time.Duration, error) {
	conns := make([]net.Conn, crowdSize)
	for i := range conns {
		var err error
		if conns[i], err = net.Dial("tcp", addr); err != nil {
			return nil, 0, err
		}
		defer conns[i].Close()
	}
	begun := time.Now()
	for _, c := range conns {
		if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: bench\r\n\r\n", path); err != nil {
			return nil, 0, err
		}
	}
	if held != nil {
		if err := held(); err != nil {
			return nil, 0, err
		}
		begun = time.Now()
	}
	all, errs := make(times, crowdSize), make([]error, crowdSize)
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			errs[i] = answer(bufio.NewReaderSize(c, 64<<10), http.StatusOK)
			all[i] = time.Since(begun)
		})
	}
	wg.Wait()
	took := time.Since(begun)
	slices.Sort(all)
	for _, err := range errs {
		if err != nil {
			return nil, 0, err
		}
	}
	return all, took, nil
}

// answer reads one answer to its end.
func answer(br *bufio.Reader, status int) error {
	line, err := br.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, "HTTP/1.1 "+strconv.Itoa(status)) {
		return fmt.Errorf("answered %q", strings.TrimSpace(line))
	}
	length := int64(0)
	for {
		field, err := br.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(field) <= 2 {
			break
		}
		if name, value, _ := strings.Cut(string(field), ":"); strings.EqualFold(name, "Content-Length") {
			length, _ = strconv.ParseInt(strings.TrimSpace(value), 10, 64)
		}
	}
	_, err = io.CopyN(io.Discard, br, length)
	return err
}

// refusals counts what is refused on 64 connections in that time.
func refusals(addr, path string, length time.Duration) (int64, error) {
	var count atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, 64)
	end := time.Now().Add(length)
	for i := range errs {
		wg.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				errs[i] = err
				return
			}
			defer c.Close()
			br := bufio.NewReader(c)
			request := []byte("GET " + path + " HTTP/1.1\r\nHost: bench\r\n\r\n")
			for time.Now().Before(end) {
				if _, err := c.Write(request); err != nil {
					errs[i] = err
					return
				}
				if errs[i] = answer(br, http.StatusNotFound); errs[i] != nil {
					return
				}
				count.Add(1)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return 0, err
		}
	}
	return count.Load(), nil
}
