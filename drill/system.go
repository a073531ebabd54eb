package drill

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"headwater/internal/proc"
	"headwater/live"
)

// A node is one process of the system.
type node struct {
	proc.Process
	control string   // host:port of /metrics and /readyz; "" of packagers
	clock   string   // the file that says how wrong its clock is; "" where it has none
	args    []string // after the program
	within  []string // what the program is run by, where that is not this process
	pid     int      // of one that was not started by the drill; else 0
}

// A system is what a drill breaks: origins, edges, and for each origin a packager of
// either pipeline. Origins know nothing of each other: edges go from one to the other.
type system struct {
	cfg   *Config
	dir   string
	nodes map[string]*node
	event live.Event
	id    live.EventID
	http  *http.Client

	links map[string]*link // by "FROM>TO": all addresses of TO that FROM uses
	disk  *disk            // of origin1; nil: the machine's
	edges []string         // base URLs for viewers
}

// An origin is its addresses.
type origin struct{ publish, deliver, control string }

const (
	settleBefore = 4 * time.Second // of watching before anything is broken
	settleAfter  = 5 * time.Second
)

// build starts the system that a drill wants. Its close ends it, also after an error.
func build(ctx context.Context, cfg *Config, d *Drill, dir string) (*system, error) {
	s := &system{cfg: cfg, dir: dir, nodes: make(map[string]*node), links: make(map[string]*link), id: live.EventID{Tenant: "drill", Name: "event"},
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	renditions, err := s.renditions(ctx)
	if err != nil {
		return s, err
	}
	s.event = live.Default()
	// By the time of the first segment all processes are there.
	s.event.Start = time.Now().UTC().Truncate(time.Second).Add(3 * time.Second)
	s.event.FirstNumber = live.Number(s.event.Start.Unix() / 2)
	s.event.Renditions = renditions
	s.event.Pipelines = []live.Pipeline{{Name: "a"}, {Name: "b"}}
	if d.Expect.Defects == 0 { // what is lost is to be seen
		s.event.OnLost = live.LostGap
	}
	origins := make([]origin, max(d.origins, 1))
	for i := range origins {
		for _, p := range []*string{&origins[i].publish, &origins[i].deliver, &origins[i].control} {
			if *p, err = proc.FreeAddr(); err != nil {
				return s, err
			}
		}
	}
	if err := s.startOrigins(ctx, d, origins); err != nil {
		return s, err
	}
	for i := range 2 {
		if err := s.startEdge(ctx, d, fmt.Sprintf("edge%d", i+1), origins); err != nil {
			return s, err
		}
	}
	if err := s.startPackagers(ctx, d, origins); err != nil {
		return s, err
	}
	return s, s.watchable(ctx)
}

// renditions are those of the built-in clip.
func (s *system) renditions(ctx context.Context) (out []live.Rendition, err error) {
	b, err := exec.CommandContext(ctx, s.cfg.Program, "packager", "--clip", "--print-renditions").Output()
	if err == nil {
		err = json.Unmarshal(b, &out)
	}
	if err != nil {
		return nil, fmt.Errorf("drill: the clip's renditions: %w", err)
	}
	return out, nil
}

func (s *system) startOrigins(ctx context.Context, d *Drill, origins []origin) error {
	for i, o := range origins {
		name := fmt.Sprintf("origin%d", i+1)
		store := filepath.Join(s.dir, name)
		args := []string{"origin", "--publish", o.publish, "--deliver", o.deliver, "--control", o.control}
		if i == 0 && d.disk != usualDisk {
			var err error
			if s.disk, err = newDisk(ctx, d.disk, store); err != nil {
				return err
			}
			args = append(args, s.disk.flags...)
			store = filepath.Join(store, "data")
		}
		args = append(args, "--store", "disk:"+store)
		s.add(d, name, o.control, args)
		if i == 0 {
			s.nodes[name].within = s.disk.within()
		}
		s.nodes[name].Ready = proc.Answers("http://" + o.control + "/healthz")
		if err := s.nodes[name].Start(ctx); err != nil {
			return err
		}
		if err := s.create(ctx, o.control); err != nil {
			return err
		}
	}
	return nil
}

func (s *system) create(ctx context.Context, control string) error {
	body, err := json.Marshal(s.event)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+control+"/v1/events/"+s.id.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("drill: creating the event: %s: %s", resp.Status, b)
	}
	return nil
}

func (s *system) startEdge(ctx context.Context, d *Drill, name string, origins []origin) error {
	addr, err := proc.FreeAddr()
	if err != nil {
		return err
	}
	args := []string{"edge", "--name", name, "--metrics", "viewers", "--listen", addr}
	for i, o := range origins {
		to, err := s.link(d, name, fmt.Sprintf("origin%d", i+1), o.deliver)
		if err != nil {
			return err
		}
		args = append(args, "--parent", "http://"+to)
	}
	s.add(d, name, addr, args)
	s.edges = append(s.edges, "http://"+addr)
	s.nodes[name].Ready = proc.Answers("http://" + addr + "/healthz")
	return s.nodes[name].Start(ctx)
}

// startPackagers starts one of either pipeline for each origin: a and b, a2 and b2.
func (s *system) startPackagers(ctx context.Context, d *Drill, origins []origin) error {
	var faults map[string][]string
	if d.faults != nil {
		faults = d.faults(s)
	}
	for i, o := range origins {
		for _, pipeline := range []string{"a", "b"} {
			name := pipeline
			if i > 0 {
				name = fmt.Sprintf("%s%d", pipeline, i+1)
			}
			to, err := s.link(d, name, fmt.Sprintf("origin%d", i+1), o.publish)
			if err != nil {
				return err
			}
			args := []string{"packager", "--event", s.id.String(), "--pipeline", pipeline, "--clip", "--to", "http://" + to, "--event-url", "http://" + o.deliver}
			for _, f := range faults[pipeline] {
				args = append(args, "--fault", f)
			}
			s.add(d, name, "", args)
			if err := s.nodes[name].Start(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// link is the address by which one process reaches another's.
func (s *system) link(d *Drill, from, to, addr string) (string, error) {
	if !d.links {
		return addr, nil
	}
	k, err := newLink(addr)
	if err != nil {
		return "", err
	}
	s.links[from+">"+to] = k
	return k.addr(), nil
}

func (s *system) add(d *Drill, name, control string, args []string) {
	n := &node{control: control, args: args}
	if d.clocks {
		n.clock = filepath.Join(s.dir, name+".clock")
	}
	n.Name, n.Log = name, filepath.Join(s.dir, name+".log")
	n.Make = func() *exec.Cmd {
		all := slices.Concat(n.within, []string{s.cfg.Program}, n.args)
		cmd := exec.Command(all[0], all[1:]...)
		if cmd.Env = os.Environ(); n.clock != "" {
			cmd.Env = append(cmd.Env, "HEADWATER_CLOCK="+n.clock)
		}
		return cmd
	}
	s.nodes[name] = n
}

// watchable waits until both edges list the event, and its first segment is there.
func (s *system) watchable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, edge := range s.edges {
		ask := proc.Answers(edge + "/" + s.id.String() + "/main.m3u8")
		for err := ask(ctx); err != nil; err = ask(ctx) {
			if sleep(ctx, 50*time.Millisecond) != nil {
				return fmt.Errorf("drill: the event cannot be watched at %s: %w", edge, err)
			}
		}
	}
	tl := s.event.Timeline()
	return sleep(ctx, time.Until(tl.Expected(tl.First())))
}

// setClock has a process's clock be wrong by so much from now on.
func (s *system) setClock(name string, by time.Duration) error {
	file := s.nodes[name].clock
	if err := os.WriteFile(file+".new", []byte(by.String()), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// between does something to all links between two nodes; "" is any.
func (s *system) between(from, to string, do func(*link)) {
	for _, name := range slices.Sorted(maps.Keys(s.links)) {
		if a, b, _ := strings.Cut(name, ">"); (from == "" || a == from) && (to == "" || b == to) {
			do(s.links[name])
		}
	}
}

// close ends all processes, and puts right what was done to the machine.
func (s *system) close() error {
	var errs []error
	for _, k := range s.links {
		k.close()
	}
	for _, name := range slices.Sorted(maps.Keys(s.nodes)) {
		if n := s.nodes[name]; n.pid == 0 {
			errs = append(errs, n.Kill())
		}
	}
	if s.disk != nil {
		errs = append(errs, s.disk.close())
	}
	return errors.Join(errs...)
}
