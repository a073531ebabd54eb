package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headwater/internal/proc"
	"headwater/live"
)

// An origin is one headwater origin, or two of its roles as processes.
type origin struct {
	publish, deliver, control string // base URLs
	processes                 []*proc.Process
	m                         *media
	event                     string
	edge                      live.Number
	deliverClient             []string     // labels of delivery's own store client
	next                      atomic.Int64 // numbers published, counted back from the edge
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}

// newOrigin starts an origin over a store. Roles that are not all in one
// process are one process each.
func newOrigin(dir, bin string, env, flags []string, apart bool, event string) (*origin, error) {
	m, err := newMedia()
	if err != nil {
		return nil, err
	}
	p, d, c := freeAddr(), freeAddr(), freeAddr()
	o := &origin{publish: "http://" + p, deliver: "http://" + d, control: "http://" + c, m: m, event: event}
	o.edge = m.tl.Edge(time.Now()) - 10
	addresses := []string{"--publish", p, "--deliver", d, "--control", c}
	runs := map[string]string{"publish,deliver,control": o.control + "/readyz"}
	if !apart {
		o.deliverClient = []string{`client="deliver"`}
	} else {
		runs = map[string]string{"publish": o.publish + "/readyz", "deliver": o.deliver + "/readyz", "control": o.control + "/readyz"}
	}
	for roles, ready := range runs {
		cmd := []string{bin}
		if roles == "deliver" {
			cmd = []string{"nice", "-n", "19", bin} // see storm
		}
		args := append(cmd[1:], append([]string{"origin", "--roles", roles, "--log-level", "warn"}, append(slices.Clone(addresses), flags...)...)...)
		x, err := start(dir, "origin-"+event+"-"+roles, proc.Answers(ready), env, cmd[0], args...)
		if err != nil {
			o.close()
			return nil, err
		}
		o.processes = append(o.processes, x)
	}
	if err := o.do(http.MethodPut, o.control+"/v1/events/"+tenant+"/"+event, m.eventJSON()); err != nil {
		o.close()
		return nil, err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := o.do(http.MethodPut, o.publish+"/"+tenant+"/"+event+"/"+pipeline+"/"+rendition+"/init.mp4", m.init)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			o.close()
			return nil, err
		}
	}
	return o, nil
}

func (o *origin) close() {
	for _, p := range o.processes {
		p.Stop()
	}
}

func (o *origin) do(method, url string, body []byte) error {
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	if strings.Contains(url, "/v1/events") {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, b)
	}
	return err
}

// put publishes the next segment, and returns how long that took.
func (o *origin) put(size int) (live.Number, time.Duration, error) {
	n := o.edge - live.Number(o.next.Add(1))
	body := o.m.segment(n, size)
	begun := time.Now()
	err := o.do(http.MethodPut, fmt.Sprintf("%s/%s/%s/%s/%s/%d.m4s", o.publish, tenant, o.event, pipeline, rendition, n), body)
	return n, time.Since(begun), err
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 256<<10); return &b }}

// get reads a segment to its last byte.
func (o *origin) get(n live.Number) (time.Duration, error) {
	begun := time.Now()
	resp, err := client.Get(fmt.Sprintf("%s/%s/%s/%s/%d.m4s", o.deliver, tenant, o.event, rendition, n))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	size, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, *buf)
	switch {
	case err != nil:
		return 0, err
	case resp.StatusCode != http.StatusOK:
		return 0, fmt.Errorf("GET %d: %s", n, resp.Status)
	case size != resp.ContentLength:
		return 0, fmt.Errorf("GET %d: %d bytes of %d", n, size, resp.ContentLength)
	}
	return time.Since(begun), nil
}

// times are how long each of many operations took, sorted.
type times []time.Duration

func (t times) at(p float64) float64 {
	if len(t) == 0 {
		return 0
	}
	return float64(t[min(int(p*float64(len(t))), len(t)-1)].Microseconds()) / 1000
}

// together has workers do op until it has been done count times in all.
func together(workers, count int, op func(i int) (time.Duration, error)) (times, time.Duration, error) {
	var next atomic.Int64
	var mu sync.Mutex
	var all times
	var errs []error
	var wg sync.WaitGroup
	begun := time.Now()
	for range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= count {
					return
				}
				d, err := op(i)
				mu.Lock()
				if err != nil {
					errs = append(errs, err)
				} else {
					all = append(all, d)
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(all)
	return all, time.Since(begun), errors.Join(errs...)
}

// metric is a counter that a listener serves, summed over its labels.
func metric(base, name string, labels ...string) (float64, error) {
	resp, err := client.Get(base + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
line:
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		for _, l := range labels {
			if !strings.Contains(rest, l) {
				continue line
			}
		}
		f := strings.Fields(rest)
		v, err := strconv.ParseFloat(f[len(f)-1], 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("%s does not serve the metric %s", base, name)
	}
	return sum, nil
}
