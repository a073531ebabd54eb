package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"headwater/internal/proc"
	"headwater/store/cassandra/cassandratest"
)

const eventID = "acme/final"

// A system is the whole of Headwater in two regions, each part a process of
// its own: three Cassandra nodes, two memcached zones, a NATS server, two
// origins, an edge and a packager in each. Or in one, with three origins and the
// packagers of both pipelines.
type system struct {
	dir string
	bin string // headwater
	// programs are others that processes are started with, by the names of those.
	programs map[string]string
	net      *network
	cass     *cassandratest.Cluster
	regions  []*place
}

// A place is what runs in one region.
type place struct {
	region
	nodes     []*cassandratest.Node
	memcached [2]*proc.Process
	nats      *proc.Process
	origins   []*proc.Process
	edge      *proc.Process
	packagers []*packager
}

type packager struct {
	*proc.Process
	pipeline string
}

// Addresses within a region: Cassandra is at .1 to .3.
const (
	hostOrigin    = 11 // to 13
	hostMemcached = 14 // and 15
	hostNATS      = 16
	hostEdge      = 17
)

func (p *place) origin(i, port int) string {
	return fmt.Sprintf("http://%s:%d", p.addr(hostOrigin+i), port)
}

// build makes the programs.
func build(dir, name, module, pkg string) (string, error) {
	bin := filepath.Join(dir, name)
	cmd := exec.Command("go", "build", "-o", bin, pkg)
	cmd.Dir = module
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w: %s", pkg, err, out)
	}
	return bin, nil
}

// newSystem starts everything but the packagers: in one region or in two.
// before, where it is not "", is the program that origins and edges begin with.
func newSystem(ctx context.Context, dir, before string, nodes int, alone bool) (_ *system, err error) {
	s := &system{dir: dir, programs: make(map[string]string)}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.bin, err = build(dir, "headwater", "..", "./cmd/headwater"); err != nil {
		return nil, err
	}
	natsServer, err := build(dir, "nats-server", ".", "github.com/nats-io/nats-server/v2")
	if err != nil {
		return nil, err
	}
	var regions []region
	if s.net, regions, err = newNetwork(); err != nil {
		return nil, err
	}
	for i, r := range regions {
		p := &place{region: r, origins: make([]*proc.Process, 2), packagers: []*packager{{pipeline: string(rune('a' + i))}}}
		if alone {
			p.origins, p.packagers = make([]*proc.Process, 3), []*packager{{pipeline: "a"}, {pipeline: "b"}}
		}
		if s.regions = append(s.regions, p); alone {
			break
		}
	}
	if err := s.startCassandra(ctx, nodes); err != nil {
		return nil, err
	}
	fmt.Fprintln(os.Stderr, "cassandra is up")
	east := s.regions[0]
	log := func(name string) string { return filepath.Join(dir, name+".log") }
	for i, p := range s.regions {
		other := s.regions[len(s.regions)-1-i] // itself, where it is alone
		for z := range p.memcached {
			addr := p.addr(hostMemcached + z)
			p.memcached[z] = &proc.Process{Name: fmt.Sprintf("memcached-%s-%d", p.name, z), Log: log(fmt.Sprintf("memcached-%s-%d", p.name, z)), Ready: proc.Accepts(addr + ":11211"), Make: func() *exec.Cmd {
				return p.in("memcached", "-l", addr, "-p", "11211", "-m", "256", "-u", "nobody", "-U", "0")
			}}
		}
		p.nats = &proc.Process{Name: "nats-" + p.name, Log: log("nats-" + p.name), Ready: proc.Accepts(p.addr(hostNATS) + ":4222"), Make: func() *exec.Cmd {
			return p.in(natsServer, "-a", p.addr(hostNATS), "-p", "4222", "--cluster_name", "headwater",
				"--cluster", "nats://"+p.addr(hostNATS)+":6222", "--routes", "nats://"+other.addr(hostNATS)+":6222")
		}}
		for o := range p.origins {
			name := fmt.Sprintf("origin-%s-%d", p.name, o)
			s.programs[name] = cmp.Or(before, s.bin)
			p.origins[o] = &proc.Process{Name: name, Log: log(name), Ready: proc.Answers(p.origin(o, 7003) + "/readyz"), Make: func() *exec.Cmd {
				return p.in(s.programs[name], s.originArgs(p, other, o)...)
			}}
		}
		s.programs["edge-"+p.name] = cmp.Or(before, s.bin)
		p.edge = &proc.Process{Name: "edge-" + p.name, Log: log("edge-" + p.name), Ready: proc.Answers("http://" + p.addr(hostEdge) + ":8080/readyz"), Make: func() *exec.Cmd {
			args := []string{"edge", "--insecure", "--metrics", "viewers", "--listen", p.addr(hostEdge) + ":8080", "--region", p.name}
			for _, q := range slices.Compact([]*place{p, other}) {
				for o := range q.origins {
					args = append(args, "--parent", q.name+"="+q.origin(o, 7002))
				}
			}
			return p.in(s.programs["edge-"+p.name], args...)
		}}
		for _, k := range p.packagers {
			k.Process = &proc.Process{Name: "packager-" + k.pipeline, Log: log("packager-" + k.pipeline), Make: func() *exec.Cmd {
				args := []string{"packager", "--clip", "--event", eventID, "--pipeline", k.pipeline, "--log-level", "debug", "--event-url", p.origin(0, 7002)}
				for o := range p.origins {
					args = append(args, "--to", p.origin(o, 7001))
				}
				return p.in(s.bin, args...)
			}}
		}
	}
	out, err := east.in(s.bin, "store", "init", "--store", s.store(east)).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("store init: %w: %s", err, out)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, p := range s.regions {
		wg.Go(func() {
			for _, x := range slices.Concat([]*proc.Process{p.nats, p.memcached[0], p.memcached[1]}, p.origins, []*proc.Process{p.edge}) {
				if e := x.Start(ctx); e != nil {
					mu.Lock()
					errs = append(errs, e)
					mu.Unlock()
					return
				}
			}
		})
	}
	wg.Wait()
	return s, errors.Join(errs...)
}

func (s *system) startCassandra(ctx context.Context, nodes int) error {
	opt := cassandratest.Options{HeapMB: 512}
	for _, p := range s.regions {
		for n := range nodes {
			opt.DCs = append(opt.DCs, p.dc)
			opt.Hosts = append(opt.Hosts, p.addr(n+1))
			opt.Within = append(opt.Within, []string{"ip", "netns", "exec", p.ns})
		}
	}
	var err error
	if s.cass, err = cassandratest.Start(ctx, opt); err != nil {
		return err
	}
	for i, p := range s.regions {
		p.nodes = s.cass.Nodes[i*nodes : (i+1)*nodes]
	}
	return nil
}

// store is the address of the store as a region sees it.
func (s *system) store(p *place) string {
	var hosts, copies []string
	for _, n := range p.nodes {
		hosts = append(hosts, n.Host)
	}
	for _, q := range s.regions {
		copies = append(copies, fmt.Sprintf("%s:%d", q.dc, min(len(q.nodes), 3)))
	}
	return fmt.Sprintf("cassandra://%s/headwater?dc=%s&replication=%s", strings.Join(hosts, ","), p.dc, strings.Join(copies, ","))
}

func (s *system) originArgs(p, other *place, o int) []string {
	a := p.addr(hostOrigin + o)
	args := []string{"origin", "--insecure", "--publish", a + ":7001", "--deliver", a + ":7002", "--control", a + ":7003", "--region", p.name,
		"--store", s.store(p), "--memory", "32MiB",
		"--cache", fmt.Sprintf("memcached://zone-a=%s:11211;zone-b=%s:11211", p.addr(hostMemcached), p.addr(hostMemcached+1)),
		"--announce", fmt.Sprintf("nats://%s:4222,%s:4222", p.addr(hostNATS), other.addr(hostNATS))}
	for i := range other.origins {
		if other != p {
			args = append(args, "--fallback", other.origin(i, 7002))
		}
	}
	return append(args, extraOrigin...)
}

// extraOrigin are more flags for every origin.
var extraOrigin []string

// createEvent creates the event, and returns when both regions know it.
func (s *system) createEvent(ctx context.Context) error {
	out, err := exec.Command(s.bin, "packager", "--clip", "--print-renditions").Output()
	if err != nil {
		return fmt.Errorf("print-renditions: %w", err)
	}
	start := time.Now().Add(8 * time.Second).Truncate(8 * time.Second)
	ev, err := json.Marshal(map[string]any{
		"start": start.UTC().Format(time.RFC3339), "first_number": start.Unix() / 2,
		"pipelines":  []map[string]string{{"name": "a", "region": s.regions[0].name}, {"name": "b", "region": s.regions[len(s.regions)-1].name}},
		"renditions": json.RawMessage(out),
	})
	if err != nil {
		return err
	}
	if err := call(ctx, http.MethodPut, s.regions[0].origin(0, 7003)+"/v1/events/"+eventID, ev, nil); err != nil {
		return err
	}
	for _, p := range s.regions {
		for o := range p.origins {
			for {
				err := call(ctx, http.MethodGet, p.origin(o, 7002)+"/"+eventID+"/event.json", nil, nil)
				if err == nil {
					break
				}
				select {
				case <-ctx.Done():
					return fmt.Errorf("%s %d does not know the event: %w", p.name, o, err)
				case <-time.After(100 * time.Millisecond):
				}
			}
		}
	}
	return nil
}

func call(ctx context.Context, method, url string, body []byte, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if strings.Contains(url, "/v1/events") {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, b)
	}
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(b, into)
}

func (s *system) close() {
	for _, p := range s.regions {
		for _, k := range p.packagers {
			if k.Process != nil {
				k.Kill()
			}
		}
		for _, x := range slices.Concat([]*proc.Process{p.edge, p.memcached[0], p.memcached[1], p.nats}, p.origins) {
			if x != nil {
				x.Kill()
			}
		}
	}
	if s.cass != nil {
		s.cass.Close()
	}
	if s.net != nil {
		s.net.close()
	}
}

// packagers are those of all regions.
func (s *system) packagers() (all []*packager) {
	for _, p := range s.regions {
		all = append(all, p.packagers...)
	}
	return all
}
