// Cluster runs Headwater in two regions over a real Cassandra, memcached and
// NATS, each part a process in a network namespace, breaks one part after the
// other under load, and prints what was lost and what viewers saw. It needs
// root, ip (iproute2), memcached and a Java 17 runtime.
//
//	cd bench && go run ./cluster
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
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
	before := flag.String("before", "", "another headwater `PROGRAM`, of an earlier version, with which origins and edge of one region begin; each in turn is then stopped and started with today's, and back again, instead of the faults")
	extra := flag.String("origin-flags", "", "more `FLAGS` for every origin")
	flag.Parse()
	extraOrigin = strings.Fields(*extra)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *before, *nodes, *viewers, *kills, *length, *keep); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, before string, nodes, viewers, kills int, length, keep time.Duration) error {
	dir, err := os.MkdirTemp("", "headwater-cluster-")
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "logs and data:", dir)
	begun := time.Now()
	s, err := newSystem(ctx, dir, before, nodes, kills > 0 || before != "")
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
	fmt.Println("| what went wrong | acknowledged | of them lost | not at every origin in 20 s | acknowledgement p50 / p99 / max ms | refused for a while | viewers' segments | errors | stalls | gaps | publish to viewer p50 / p99 / max ms | |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|---|")
	happens := faults
	switch {
	case kills > 0:
		happens, only = []fault{killing(kills)}, ""
	case before != "":
		happens, only = []fault{replacing("upgrade", "before", "now", s.bin), replacing("downgrade", "now", "before", before)}, ""
	}
	unexpected := 0
	for _, f := range happens {
		if only != "" && !slices.Contains(strings.Split(only, ","), f.name) {
			continue
		}
		as, err := s.measure(ctx, f, viewers, length)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if !as {
			unexpected++
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
	err = s.final(ctx)
	if unexpected > 0 {
		err = errors.Join(fmt.Errorf("%d of these went otherwise than is expected: nothing acknowledged is lost, and viewers see no error and no gap", unexpected), err)
	}
	return err
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

// measure has viewers watch while a fault comes and goes, and 10 s more. It reports
// whether all went as is expected of every fault: nothing acknowledged is lost, and viewers
// see no error and no gap. What one origin has not learnt of yet may still come.
func (s *system) measure(ctx context.Context, f fault, viewers int, length time.Duration) (asExpected bool, err error) {
	fmt.Fprintln(os.Stderr, "==", f.name)
	from := time.Now()
	args := []string{"load", "--event", eventID, "--viewers", strconv.Itoa(viewers), "--json", "--for", "2h"} // until it is told to end
	for _, p := range s.regions {
		args = append(args, "--edge", "http://"+p.addr(hostEdge)+":8080")
	}
	load := exec.CommandContext(ctx, s.bin, args...)
	errLog, err := os.Create(filepath.Join(s.dir, "load-"+f.name+".log"))
	if err != nil {
		return false, err
	}
	defer errLog.Close()
	load.Stderr = errLog
	out, err := load.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := load.Start(); err != nil {
		return false, err
	}
	decoded := make(chan error, 1)
	var rep report
	go func() { decoded <- json.NewDecoder(out).Decode(&rep) }()
	time.Sleep(4 * time.Second)
	end := time.Now().Add(length)
	if err := f.do(ctx, s); err != nil {
		return false, err
	}
	select {
	case <-time.After(time.Until(end)):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if err := f.undo(ctx, s); err != nil {
		return false, err
	}
	select {
	case <-time.After(11 * time.Second):
	case <-ctx.Done():
		return false, ctx.Err()
	}
	if err := load.Process.Signal(os.Interrupt); err != nil {
		return false, err
	}
	if err := <-decoded; err != nil {
		return false, fmt.Errorf("load's report: %w", err)
	}
	load.Wait() // exit 1 says that there were errors, which the report has
	to := time.Now()
	acks, err := s.acks(from, to)
	if err != nil {
		return false, err
	}
	lost, notYet, err := s.lost(ctx, acks)
	if err != nil {
		return false, err
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
	verdict := "FAIL"
	if asExpected = lost == 0 && nerr+rep.Gaps == 0 && rep.Segments > 0; asExpected {
		verdict = "pass"
	}
	fmt.Printf("| %s | %d | %d | %d | %.0f / %.0f / %.0f | %d | %d | %d | %d | %d | %.0f / %.0f / %.0f | %s |\n",
		f.what, len(acks), lost, notYet, q(0.5), q(0.99), q(1), late, rep.Segments, nerr, rep.Stalls, rep.Gaps, rep.ToViewer.P50, rep.ToViewer.P99, rep.ToViewer.Max, verdict)
	fmt.Fprintf(os.Stderr, "   statuses %v, served by %v, %d defective\n", rep.Statuses, rep.ServedBy, rep.Defective)
	return asExpected, nil
}

// final stops the packagers, starts every origin anew, so that nothing is in
// memory, looks in the store for all that was ever acknowledged, and reads it from every
// origin.
func (s *system) final(ctx context.Context) error {
	for _, k := range s.packagers() {
		k.Stop()
	}
	for _, p := range s.regions {
		for _, o := range p.origins {
			o.Kill()
			s.programs[o.Name] = s.bin // which serves each candidate by its entity tag
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
	read, wrong, unread := s.readAll(ctx, acks)
	fmt.Printf("Read from every origin, each by the digest of what was sent: %d bodies as they were sent, %d others, %d not served.\n", read, wrong, unread)
	out, err := s.regions[0].in(s.bin, "store", "check", "--store", s.store(s.regions[0])).CombinedOutput()
	fmt.Printf("headwater store check: %s", out)
	if lost+wrong+unread > 0 {
		err = errors.Join(errors.New("of what was acknowledged not all is there as it was sent"), err)
	}
	return err
}
