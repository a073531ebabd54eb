//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"headwater/internal/proc"
	"headwater/live"
	"headwater/store/cassandra/cassandratest"
	"headwater/store/s3/s3test"
)

// A rendition of the protected event: name and bytes of a segment.
type rendition struct {
	name  string
	bytes int
}

var renditions = []rendition{{"v1080", 3 << 19}, {"v720", 3 << 18}, {"v360", 200 << 10}, {"v180", 32 << 10}}

var (
	protected = live.EventID{Tenant: "home", Name: "final"}
	rival     = live.EventID{Tenant: "rival", Name: "show"}
	pipelines = []string{"a", "b"}
)

const (
	segment = 2 * time.Second
	backlog = 300 // segments of the largest rendition there are from the start: more than is in memory
	budget  = 2 * time.Second
)

// A system is what runs: an origin on one core, an edge on the other.
type system struct {
	o                                    options
	publishURL, deliverAddr, controlURL  string
	publishAddr, edgeAddr, edgeTLS, wdir string
	metricsURL                           string // of the process that delivers
	bucket                               *s3test.Server
	nats                                 *server.Server
	cassandra                            *cassandratest.Cluster
	origins                              []*proc.Process
	edge                                 *proc.Process
	all                                  []*proc.Process
	storm                                storm
	media                                *media
	rivalNewest                          live.Number // segment that the rival tenant has published
	tasks                                sync.WaitGroup
	client                               *http.Client
}

func start(ctx context.Context, o options, s storm, dir string) (*system, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	sys := &system{o: o, storm: s, wdir: dir, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}}}
	var addr [5]string
	for i := range addr {
		var err error
		if addr[i], err = proc.FreeAddr(); err != nil {
			return nil, err
		}
	}
	sys.publishAddr, sys.deliverAddr, sys.edgeAddr, sys.edgeTLS = addr[0], addr[1], addr[3], addr[4]
	sys.publishURL, sys.controlURL = "http://"+addr[0], "http://"+addr[2]
	sys.metricsURL = "http://" + addr[1] + "/metrics"
	if err := sys.startOrigin(ctx, s); err != nil {
		return sys, err
	}
	edge := []string{"taskset", "-c", o.client, o.program, "edge", "--metrics", "viewers", "--listen", sys.edgeAddr, "--parent", "http://" + sys.deliverAddr, "--memory", o.memory, "--log-level", "error"}
	if s.tls {
		if err := certificate(dir); err != nil {
			return sys, err
		}
		edge = append(edge, "--tls-listen", sys.edgeTLS, "--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem"), "--http3")
	}
	var err error
	if sys.edge, err = sys.run("edge", proc.Accepts(sys.edgeAddr), edge...); err != nil {
		return sys, err
	}
	if sys.media, err = newMedia(); err != nil {
		return sys, err
	}
	return sys, sys.prepare(ctx, s)
}

// startOrigin starts an origin on its core: one process of all roles over the disk, or
// one of each over S3 and NATS, which run beside all else; of these the one that delivers
// has the least right to the core, as docs/operations.md has it.
func (s *system) startOrigin(ctx context.Context, st storm) error {
	roles, store := []string{"publish,deliver,control"}, []string{"--store", "disk:" + filepath.Join(s.wdir, "store")}
	if s.o.apart {
		var err error
		if s.bucket, err = s3test.Start(ctx); err != nil {
			return err
		}
		os.Setenv("AWS_ACCESS_KEY_ID", s3test.AccessKey)
		os.Setenv("AWS_SECRET_ACCESS_KEY", s3test.SecretKey)
		if s.nats, err = server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true}); err != nil {
			return err
		}
		if s.nats.Start(); !s.nats.ReadyForConnections(10 * time.Second) {
			return errors.New("NATS does not start")
		}
		address := "s3://segments?endpoint=" + s.bucket.Endpoint + "&region=" + s3test.Region
		if out, err := exec.Command(s.o.program, "store", "init", "--store", address).CombinedOutput(); err != nil {
			return fmt.Errorf("store init: %w: %s", err, out)
		}
		roles, store = []string{"publish", "control", "deliver"}, []string{"--store", address, "--announce", s.nats.ClientURL()}
	}
	if st.nodes > 0 {
		var err error
		if s.cassandra, err = cassandratest.Start(ctx, cassandratest.Options{DCs: slices.Repeat([]string{"dc1"}, st.nodes)}); err != nil {
			return err
		}
		var hosts []string
		for _, n := range s.cassandra.Nodes {
			hosts = append(hosts, n.Host)
		}
		address := fmt.Sprintf("cassandra://%s/headwater?dc=dc1&replication=dc1:%d", strings.Join(hosts, ","), st.nodes)
		if out, err := exec.Command(s.o.program, "store", "init", "--store", address).CombinedOutput(); err != nil {
			return fmt.Errorf("store init: %w: %s", err, out)
		}
		store = []string{"--store", address}
	}
	for _, role := range roles {
		cmd := []string{"taskset", "-c", s.o.server, s.o.program, "origin", "--roles", role, "--publish", s.publishAddr, "--deliver", s.deliverAddr, "--control", strings.TrimPrefix(s.controlURL, "http://"), "--log-level", "error"}
		if role == "deliver" {
			cmd = append([]string{"nice", "-n", "19"}, cmd...)
		}
		if st.files > 0 {
			cmd = append([]string{"prlimit", "--nofile=" + strconv.Itoa(st.files)}, cmd...)
		}
		ready := map[string]string{"publish": s.publishURL, "deliver": "http://" + s.deliverAddr}[role]
		p, err := s.run("origin-"+role, proc.Answers(cmp.Or(ready, s.controlURL)+"/readyz"), append(cmd, store...)...)
		if err != nil {
			return err
		}
		s.origins = append(s.origins, p)
	}
	return nil
}

func (s *system) run(name string, ready func(context.Context) error, args ...string) (*proc.Process, error) {
	p := &proc.Process{Name: name, Log: filepath.Join(s.wdir, name+".log"), Ready: ready, Make: func() *exec.Cmd { return exec.Command(args[0], args[1:]...) }}
	if err := p.Start(context.Background()); err != nil {
		return nil, err
	}
	s.all = append(s.all, p)
	return p, nil
}

func (s *system) close() {
	for i := len(s.all) - 1; i >= 0; i-- {
		s.all[i].Kill()
	}
	s.tasks.Wait()
	if s.nats != nil {
		s.nats.Shutdown()
	}
	if s.bucket != nil {
		s.bucket.Close()
	}
	if s.cassandra != nil {
		s.cassandra.Close()
	}
}

// stopStore has so many nodes of the store stand still for the second third of a storm.
func (s *system) stopStore(ctx context.Context, many int, length time.Duration) {
	if many == 0 {
		return
	}
	nodes := s.cassandra.Nodes[len(s.cassandra.Nodes)-many:]
	s.tasks.Go(func() {
		sleep(ctx, length/3)
		for _, n := range nodes {
			if err := n.Pause(); err != nil {
				log.Print(err)
			}
		}
		log.Print("the store stands still")
		sleep(ctx, length/3)
		for _, n := range nodes {
			if err := n.Resume(); err != nil {
				log.Print(err)
			}
		}
		log.Print("the store goes on")
	})
}

// event is that of a tenant, begun long ago.
func (s *system) event(id live.EventID) live.Event {
	ev := live.Default()
	ev.Start, ev.DVRSeconds = s.media.start, 3600
	if id == rival && s.storm.dvr > 0 {
		ev.Start, ev.DVRSeconds = ev.Start.Add(-s.storm.dvr), int64(s.storm.dvr/time.Second)
	}
	for _, p := range pipelines {
		ev.Pipelines = append(ev.Pipelines, live.Pipeline{Name: p})
	}
	for _, r := range renditions {
		ev.Renditions = append(ev.Renditions, live.Rendition{Name: r.name, Type: live.Video, Bandwidth: int64(r.bytes) * 8 / 2})
	}
	return ev
}

// prepare makes the events and publishes what there is from the start.
func (s *system) prepare(ctx context.Context, st storm) error {
	for _, id := range []live.EventID{protected, rival} {
		b, err := json.Marshal(s.event(id))
		if err != nil {
			return err
		}
		if _, _, err := s.do(ctx, http.MethodPut, s.controlURL+"/v1/events/"+id.String(), "application/json", b); err != nil {
			return err
		}
		for _, p := range pipelines {
			for _, r := range renditions {
				for began := time.Now(); ; time.Sleep(50 * time.Millisecond) {
					status, _, err := s.do(ctx, http.MethodPut, fmt.Sprintf("%s/%v/%s/%s/init.mp4", s.publishURL, id, p, r.name), "video/mp4", s.media.init)
					if err == nil {
						break
					}
					if status != http.StatusNotFound || time.Since(began) > 5*time.Second { // another process may not have heard of it yet
						return err
					}
				}
			}
		}
	}
	for id, many := range map[live.EventID]live.Number{protected: backlog, rival: cmp.Or(st.rival, 10)} {
		tl := s.timeline(id)
		edge := tl.Edge(time.Now())
		if id == rival {
			s.rivalNewest = edge
		}
		r := renditions[0]
		if id == rival && st.bytes > 0 {
			r.bytes = st.bytes
		}
		for n := edge - many; n <= edge; n++ {
			if err := s.put(ctx, id, "a", r, n); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *system) timeline(id live.EventID) live.Timeline {
	ev := s.event(id)
	return ev.Timeline()
}

func (s *system) put(ctx context.Context, id live.EventID, pipeline string, r rendition, n live.Number) error {
	tl := s.timeline(id)
	_, _, err := s.do(ctx, http.MethodPut, fmt.Sprintf("%s/%v/%s/%s/%d.m4s", s.publishURL, id, pipeline, r.name, n), "video/mp4", s.media.segment(&tl, n, r.bytes))
	return err
}

// do asks, and returns what the origin says of its steps.
func (s *system) do(ctx context.Context, method, url, ct string, body []byte) (status int, steps string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", ct)
	resp, err := s.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode >= 300 {
		return resp.StatusCode, "", fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, b)
	}
	return resp.StatusCode, resp.Header.Get(live.HeaderServerTiming), nil
}

// publish is the packagers: at a real pace, all renditions of a pipeline at once,
// the pipelines a second apart. A segment that is not taken is sent again.
func (s *system) publish(ctx context.Context, r *result) {
	tl := s.timeline(protected)
	for i, p := range pipelines {
		for _, rd := range renditions {
			s.tasks.Go(func() {
				for n := tl.Edge(time.Now()) + 2; ; n++ {
					body := s.media.segment(&tl, n, rd.bytes)
					if !sleep(ctx, time.Until(tl.Expected(n).Add(-1200*time.Millisecond+time.Duration(i)*time.Second))) {
						return
					}
					s.tasks.Go(func() {
						s.publishOne(ctx, r, fmt.Sprintf("%s/%v/%s/%s/%d.m4s", s.publishURL, protected, p, rd.name, n), body)
					})
				}
			})
		}
	}
}

func (s *system) publishOne(ctx context.Context, r *result, url string, body []byte) {
	began := time.Now()
	var wrote time.Duration // until the last attempt was sent
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { wrote = time.Since(began) }})
	for {
		once, cancel := context.WithTimeout(traced, 4*time.Second)
		_, steps, err := s.do(once, http.MethodPut, url, "video/mp4", body)
		cancel()
		took := time.Since(began)
		if err == nil || took > budget || ctx.Err() != nil {
			if ctx.Err() == nil {
				r.published(publication{At: began.Sub(r.Began), Took: took, Wrote: wrote, Steps: steps, Bytes: len(body), Missed: err != nil || took > budget})
			}
			return
		}
		r.retried(err)
		sleep(ctx, 100*time.Millisecond)
	}
}

// view has viewers watch behind the edge. What they saw comes from the function.
func (s *system) view(viewers int, length time.Duration) func() (viewed, error) {
	cmd := exec.Command(s.o.program, "load", "--edge", "http://"+s.edgeAddr, "--event", protected.String(), "--viewers", strconv.Itoa(viewers), "--for", length.String(), "--json")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Start()
	return func() (v viewed, _ error) {
		if err != nil {
			return v, err
		}
		if werr := cmd.Wait(); len(out.Bytes()) == 0 {
			return v, errors.Join(werr, errors.New(errs.String()))
		}
		return v, json.Unmarshal(out.Bytes(), &v)
	}
}

// blow starts a storm in a process of its own, of so many requests a second; 0: as
// fast as it can, and fewer: of a few connections. Its answers come from the function.
func (s *system) blow(st storm, length time.Duration, rate float64) func() (answers, error) {
	self, err := os.Executable()
	if err != nil {
		return func() (answers, error) { return answers{}, err }
	}
	tl := s.timeline(protected)
	cmd := exec.Command("nice", "-n", "19", self, "blow", st.name, "-deliver", s.deliverAddr, "-publish", s.publishAddr, "-edge", s.edgeAddr, "-tls", s.edgeTLS,
		"-for", length.String(), "-rate", strconv.FormatFloat(rate, 'f', 1, 64), "-newest", strconv.FormatInt(int64(tl.Edge(time.Now())), 10), "-rival", strconv.FormatInt(int64(s.rivalNewest), 10))
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Start()
	return func() (a answers, _ error) {
		if err != nil {
			return a, err
		}
		if err := cmd.Wait(); err != nil {
			return a, fmt.Errorf("%w: %s", err, strings.TrimSpace(errs.String()))
		}
		return a, json.Unmarshal(out.Bytes(), &a)
	}
}
