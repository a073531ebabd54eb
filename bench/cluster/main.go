// Cluster runs Headwater in two regions over a real Cassandra, memcached and
// NATS, each part a process in a network namespace, breaks one part after the
// other under load, and prints what was lost and what viewers saw. It needs
// root, ip (iproute2), memcached and a Java 17 runtime.
//
//	cd bench && go run ./cluster
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"headwater/player"
)

func main() {
	only := flag.String("only", "", "comma-separated `NAMES` of the faults to run; default all")
	nodes := flag.Int("nodes", 3, "Cassandra `NODES` in each region")
	viewers := flag.Int("viewers", 40, "`NUMBER` of viewers over both edges")
	length := flag.Duration("for", 30*time.Second, "`TIME` that a fault lasts")
	keep := flag.Duration("keep", 0, "`TIME` to leave the system running afterwards, to look at it")
	kills := flag.Int("kills", 0, "`NUMBER` of times that one of three origins is killed (kill -9), in turn, in one region, instead of the faults")
	extra := flag.String("origin-flags", "", "more `FLAGS` for every origin")
	flag.Parse()
	extraOrigin = strings.Fields(*extra)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *nodes, *viewers, *kills, *length, *keep); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only string, nodes, viewers, kills int, length, keep time.Duration) error {
	dir, err := os.MkdirTemp("", "headwater-cluster-")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "logs and data:", dir)
	begun := time.Now()
	s, err := newSystem(ctx, dir, nodes, kills > 0)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.createEvent(ctx); err != nil {
		return err
	}
	for _, p := range s.regions {
		for _, k := range p.packagers {
			if err := k.Start(ctx); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(os.Stderr, "all is up after %v\n", time.Since(begun).Round(time.Second))
	if err := s.live(ctx); err != nil {
		return err
	}
	first := s.regions[0]
	fmt.Printf("%d regions, in each %d Cassandra nodes, 2 memcached zones, 1 NATS server, %d origins, 1 edge and %d packagers, %d viewers; %s, %d CPUs\n\n",
		len(s.regions), nodes, len(first.origins), len(first.packagers), viewers, runtime.Version(), runtime.NumCPU())
	fmt.Println("| what went wrong | acknowledged | of them lost | not at every origin in 20 s | acknowledgement p50 / p99 / max ms | refused for a while | viewers' segments | errors | stalls | gaps | publish to viewer p50 / p99 / max ms |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	happens := faults
	if kills > 0 {
		happens, only = []fault{killing(kills)}, ""
	}
	for _, f := range happens {
		if only != "" && !slices.Contains(strings.Split(only, ","), f.name) {
			continue
		}
		if err := s.measure(ctx, f, viewers, length); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	if keep > 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		go http.Serve(l, player.Handler())
		for _, p := range s.regions {
			fmt.Fprintf(os.Stderr, "watch %s: http://%s%s?event=%s&edge=http://%s:8080\n", p.name, l.Addr(), player.Path, eventID, p.addr(hostEdge))
		}
		select {
		case <-time.After(keep):
		case <-ctx.Done():
		}
	}
	return s.final(ctx)
}

// live waits until both edges serve the event.
func (s *system) live(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, p := range s.regions {
		for {
			req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.addr(hostEdge)+":8080/"+eventID+"/main.m3u8", nil)
			resp, err := http.DefaultClient.Do(req)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK && resp.Header.Get("Live-Edge") != "" {
					break
				}
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s does not serve the event: %v", p.name, err)
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}

// A report is what headwater load says of interest here.
type report struct {
	Segments  int64            `json:"segments"`
	Statuses  map[string]int64 `json:"statuses"`
	Stalls    int64            `json:"stalls"`
	Gaps      int64            `json:"gaps"`
	Errors    []loadError      `json:"errors"`
	ToViewer  figures          `json:"publish_to_viewer_ms"`
	ServedBy  map[string]int64 `json:"served_by"`
	Defective int64            `json:"defective_served"`
}

type loadError struct {
	Error string `json:"error"`
	First string `json:"first"`
	Count int64  `json:"count"`
}

type figures struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// measure has viewers watch while a fault comes and goes, and 10 s more.
func (s *system) measure(ctx context.Context, f fault, viewers int, length time.Duration) error {
	fmt.Fprintln(os.Stderr, "==", f.name)
	from := time.Now()
	args := []string{"load", "--event", eventID, "--viewers", strconv.Itoa(viewers), "--json", "--for", "2h"} // until it is told to end
	for _, p := range s.regions {
		args = append(args, "--edge", "http://"+p.addr(hostEdge)+":8080")
	}
	load := exec.CommandContext(ctx, s.bin, args...)
	errLog, err := os.Create(filepath.Join(s.dir, "load-"+f.name+".log"))
	if err != nil {
		return err
	}
	defer errLog.Close()
	load.Stderr = errLog
	out, err := load.StdoutPipe()
	if err != nil {
		return err
	}
	if err := load.Start(); err != nil {
		return err
	}
	decoded := make(chan error, 1)
	var rep report
	go func() { decoded <- json.NewDecoder(out).Decode(&rep) }()
	time.Sleep(4 * time.Second)
	end := time.Now().Add(length)
	if err := f.do(ctx, s); err != nil {
		return err
	}
	select {
	case <-time.After(time.Until(end)):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := f.undo(ctx, s); err != nil {
		return err
	}
	select {
	case <-time.After(11 * time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := load.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	if err := <-decoded; err != nil {
		return fmt.Errorf("load's report: %w", err)
	}
	load.Wait() // exit 1 says that there were errors, which the report has
	to := time.Now()
	acks, err := s.acks(from, to)
	if err != nil {
		return err
	}
	lost, notYet, err := s.lost(ctx, acks)
	if err != nil {
		return err
	}
	var took []float64
	late := 0
	for _, a := range acks {
		took = append(took, a.after.Seconds()*1000)
		if a.after > 2*time.Second {
			late++
		}
	}
	slices.Sort(took)
	q := func(p float64) float64 {
		if len(took) == 0 {
			return 0
		}
		return took[min(int(p*float64(len(took))), len(took)-1)]
	}
	var nerr int64
	for _, e := range rep.Errors {
		nerr += e.Count
		fmt.Fprintf(os.Stderr, "   viewers: %d times %s (%s)\n", e.Count, e.Error, e.First)
	}
	fmt.Printf("| %s | %d | %d | %d | %.0f / %.0f / %.0f | %d | %d | %d | %d | %d | %.0f / %.0f / %.0f |\n",
		f.what, len(acks), lost, notYet, q(0.5), q(0.99), q(1), late, rep.Segments, nerr, rep.Stalls, rep.Gaps, rep.ToViewer.P50, rep.ToViewer.P99, rep.ToViewer.Max)
	fmt.Fprintf(os.Stderr, "   statuses %v, served by %v, %d defective\n", rep.Statuses, rep.ServedBy, rep.Defective)
	return nil
}

// An ack is a segment that an origin said to be stored.
type ack struct {
	pipeline, rendition string
	number              int64
	after               time.Duration
}

var ackLine = regexp.MustCompile(`time=(\S+) .*msg="segment (?:published|backfilled)" .*rendition=(\S+) number=(\d+)(?:.* after=(\S+))?`)

// acks reads what the packagers were told in a time.
func (s *system) acks(from, to time.Time) ([]ack, error) {
	var all []ack
	for _, p := range s.packagers() {
		f, err := os.Open(p.Log)
		if err != nil {
			return nil, err
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			m := ackLine.FindStringSubmatch(lines.Text())
			if m == nil {
				continue
			}
			at, err := time.Parse(time.RFC3339Nano, m[1])
			if err != nil || at.Before(from) || at.After(to) {
				continue
			}
			n, _ := strconv.ParseInt(m[3], 10, 64)
			after, _ := time.ParseDuration(m[4])
			all = append(all, ack{p.pipeline, m[2], n, after})
		}
		f.Close()
		if err := lines.Err(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// lost asks every origin for what was acknowledged, and returns how many segments none
// of them has, and how many more one of them has not learnt of when it had time to.
func (s *system) lost(ctx context.Context, acks []ack) (lost, late int, err error) {
	if len(acks) == 0 {
		return 0, 0, nil
	}
	least, most := acks[0].number, acks[0].number
	for _, a := range acks {
		least, most = min(least, a.number), max(most, a.number)
	}
	missedBy := map[ack]int{} // how many origins
	origins := 0
	for _, p := range s.regions {
		for o := range p.origins {
			missing, err := s.missing(ctx, p.origin(o, 7003), acks, least, most)
			if err != nil {
				return 0, 0, err
			}
			if len(missing) > 0 {
				fmt.Fprintf(os.Stderr, "   %s %d misses %d of %d\n", p.name, o, len(missing), len(acks))
			}
			origins++
			for _, a := range missing {
				missedBy[a]++
			}
		}
	}
	for _, n := range missedBy {
		if n == origins {
			lost++
		} else {
			late++
		}
	}
	return lost, late, nil
}

// missing is what of acks an origin does not list, when it had 20 s to learn of it.
func (s *system) missing(ctx context.Context, control string, acks []ack, least, most int64) (missing []ack, err error) {
	for deadline := time.Now().Add(20 * time.Second); ; {
		var have map[ack]bool
		if have, err = s.published(ctx, control, least, most); err == nil {
			missing = nil
			for _, a := range acks {
				if a.after = 0; !have[a] {
					missing = append(missing, a)
				}
			}
			if len(missing) == 0 {
				return nil, nil
			}
		}
		if time.Now().After(deadline) {
			return missing, err
		}
		time.Sleep(time.Second)
	}
}

func (s *system) published(ctx context.Context, control string, from, to int64) (map[ack]bool, error) {
	have := map[ack]bool{}
	for ; from <= to; from += 50 {
		var list struct {
			Segments []struct {
				Rendition  string
				Number     int64
				Candidates []struct{ Pipeline string }
			}
		}
		url := fmt.Sprintf("%s/v1/events/%s/segments?from=%d&to=%d", control, eventID, from, min(from+49, to))
		if err := call(ctx, http.MethodGet, url, nil, &list); err != nil {
			return nil, err
		}
		for _, seg := range list.Segments {
			for _, c := range seg.Candidates {
				have[ack{pipeline: c.Pipeline, rendition: seg.Rendition, number: seg.Number}] = true
			}
		}
	}
	return have, nil
}

// final stops the packagers, starts every origin anew, so that nothing is in
// memory, and looks in the store for all that was ever acknowledged.
func (s *system) final(ctx context.Context) error {
	for _, k := range s.packagers() {
		k.Stop()
	}
	for _, p := range s.regions {
		for _, o := range p.origins {
			o.Kill()
			if err := o.Start(ctx); err != nil {
				return err
			}
		}
	}
	acks, err := s.acks(time.Time{}, time.Now())
	if err != nil {
		return err
	}
	lost, notYet, err := s.lost(ctx, acks)
	if err != nil {
		return err
	}
	fmt.Printf("\nAll origins started anew: of %d segments acknowledged in the whole run %d are lost, and %d not at every origin yet.\n", len(acks), lost, notYet)
	out, err := s.regions[0].in(s.bin, "store", "check", "--store", s.store(s.regions[0])).CombinedOutput()
	fmt.Printf("headwater store check: %s", out)
	return err
}
