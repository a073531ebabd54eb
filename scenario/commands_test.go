package scenario

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/cmaf"
	"headwater/edge"
	"headwater/live"
)

// randomID is an id that the origin gave.
var randomID = regexp.MustCompile(`"id": "[A-Z2-7]{12}"`)

// run carries out one command.
func (w *world) run(line string) error {
	args := strings.Fields(line)
	verb, args := args[0], args[1:]
	switch verb {
	case "event":
		return w.createEvent(args)
	case "parents":
		for _, name := range args {
			w.parents = append(w.parents, newParent(w, name))
		}
		return nil
	case "edge": // NAME [on-disk] above NAME...
		stored := len(args) > 1 && args[1] == "on-disk"
		if stored {
			args = append(args[:1], args[2:]...)
		}
		if len(args) < 3 || args[1] != "above" {
			return errors.New("edge NAME [on-disk] above NAME...")
		}
		n := &edgeNode{name: args[0], cfg: edge.Config{Dial: w.net.Dial, Name: args[0]}}
		if stored {
			n.cfg.Disk = w.t.TempDir()
		}
		for _, p := range args[2:] {
			n.cfg.Parents = append(n.cfg.Parents, "http://"+p+":80")
		}
		w.edges = append(w.edges, n)
		return w.startEdge(n)
	case "advance", "at":
		return w.time(verb, args)
	case "publish":
		return w.publish(args)
	case "get":
		return w.get(args)
	case "await", "tally", "show", "leave", "read":
		return w.watch(verb, args)
	case "headers": // VIEWER NAME...: of its answer
		return w.headers(args)
	case "kill", "break", "hang", "corrupt", "mend", "start", "pace", "delay", "clock", "answer":
		return w.fault(verb, args)
	case "count": // [PATH]
		path, name := "", "in all"
		if len(args) > 0 {
			path, name = args[0], args[0]
		}
		fmt.Fprintf(w.out, "asked for %s: %s\n", name, w.counted(path))
		return nil
	case "metric": // EDGE NAME [LABEL=VALUE]
		return w.metric(args)
	case "control": // METHOD PATH [JSON], below the event, which is /
		method, rest, _ := strings.Cut(strings.TrimPrefix(line, "control "), " ")
		path, body, _ := strings.Cut(rest, " ")
		path = strings.TrimSuffix(path, "/")
		rec := w.control(method, path, body)
		answer := strings.Join(strings.Fields(rec.Body.String()), " ")
		fmt.Fprintf(w.out, "%d %s\n", rec.Code, randomID.ReplaceAllString(answer, `"id": "..."`))
		return nil
	case "renew": // PIPELINE RENDITION: its encoder comes back with another timescale
		if len(args) != 2 {
			return errors.New("renew PIPELINE RENDITION")
		}
		return w.renew(args[0], args[1])
	case "slate": // RENDITION SEGMENTS: a clip that lasts so long stands in for what is lost
		return w.slate(args)
	case "lines": // VIEWER TEXT: those of its answer that hold the text
		for l := range strings.SplitSeq(w.viewers[args[0]][0].small.String(), "\n") {
			if text := strings.Join(args[1:], " "); strings.Contains(l, text) {
				fmt.Fprintf(w.out, "%s: %s\n", args[0], strings.TrimSpace(l))
			}
		}
		return nil
	case "restart": // origin or EDGE: it comes back at once, with what it stored
		return w.restart(args)
	}
	return errors.New("there is no such command")
}

// renew has a pipeline make a rendition otherwise from now on, and PUTs the init segment.
func (w *world) renew(pipeline, rendition string) error {
	init := bytes.Clone(w.media[rendition].init)
	at := bytes.Index(init, []byte("mdhd")) + 4 + 12
	binary.BigEndian.PutUint32(init[at:], 2*binary.BigEndian.Uint32(init[at:]))
	parsed, err := cmaf.ParseInit(init)
	if err != nil {
		return err
	}
	w.media[pipeline+"/"+rendition] = medium{init, &parsed.Tracks[0]}
	rec := w.put(pipeline+"/"+rendition+"/"+live.InitName, init, nil)
	fmt.Fprintln(w.out, strings.TrimSpace(fmt.Sprintf("%s %s: %d %s", w.since(time.Now()), live.InitName, rec.Code, problemOf(rec.Body.Bytes()))))
	return nil
}

// slate gives a clip for a rendition.
func (w *world) slate(args []string) error {
	if len(args) != 2 {
		return errors.New("slate RENDITION SEGMENTS")
	}
	n, err := live.ParseNumber(args[1])
	if err != nil {
		return err
	}
	m := w.media[args[0]]
	file := bytes.Clone(m.init)
	for i := range n {
		file = append(file, m.sized(&w.event, 1+i, 's', 20_000*int(1+i), false)...)
	}
	rec := w.controlTyped(http.MethodPut, "/slates/"+args[0], string(file), m.track.Type.ContentType())
	if rec.Code != http.StatusOK {
		return fmt.Errorf("%d %s", rec.Code, rec.Body)
	}
	return nil
}

// time is "advance DURATION" and "at SECONDS".
func (w *world) time(verb string, args []string) error {
	if len(args) != 1 {
		return errors.New("how long?")
	}
	if verb == "at" {
		d, err := time.ParseDuration(args[0] + "s")
		if err != nil {
			return err
		}
		return w.pass(w.began.Add(d))
	}
	d, err := time.ParseDuration(args[0])
	if err != nil {
		return err
	}
	return w.pass(time.Now().Add(d))
}

// get is "get NAME[*N] PATH [EDGE] [range=A-B] [not reading] [each another]". In
// the last form each viewer asks for the segment after that of the one before.
func (w *world) get(args []string) error {
	if len(args) < 2 || len(w.edges) == 0 {
		return errors.New("get NAME PATH, from an edge")
	}
	name, many, _ := strings.Cut(args[0], "*")
	n := 1
	if many != "" {
		var err error
		if n, err = strconv.Atoi(many); err != nil {
			return err
		}
	}
	host, header, stuck, another := w.edges[0].name, http.Header{}, false, false
	for _, arg := range args[2:] {
		switch {
		case strings.HasPrefix(arg, "range="):
			header.Set("Range", "bytes="+strings.TrimPrefix(arg, "range="))
		case arg == "not" || arg == "reading":
			stuck = true
		case arg == "each" || arg == "another":
			another = true
		default:
			host = arg
		}
	}
	if _, ok := w.viewers[name]; !ok {
		w.order = append(w.order, name)
	} else {
		for _, v := range w.viewers[name] {
			if !v.over() {
				return fmt.Errorf("%s still waits for another answer", name)
			}
		}
	}
	var g group
	path, err := live.ParsePath(args[1])
	if err != nil {
		return err
	}
	for range n {
		g = append(g, w.ask("http://"+host+":80"+path.String(), header, stuck))
		if another {
			path.Number++
		}
	}
	w.viewers[name] = g
	return nil
}

// patience is how long a script waits for an answer.
const patience = 2 * time.Minute

// watch is "await", "tally", "show", "leave" and "read" of viewers: NAME[*N]... or
// all. To tally is to await and to print no times, which may differ.
func (w *world) watch(verb string, args []string) error {
	if len(args) == 1 && args[0] == "all" {
		args = w.order
	}
	for _, name := range args {
		name, many, part := strings.Cut(name, "*")
		g, ok := w.viewers[name]
		if !ok {
			return fmt.Errorf("there is no viewer %s", name)
		}
		if n, err := strconv.Atoi(many); part && err == nil && n <= len(g) {
			g = g[:n]
		}
		switch verb {
		case "leave":
			g.leave()
			continue
		case "read":
			for _, v := range g {
				close(v.read)
			}
			continue
		case "await", "tally":
			timeout := time.After(patience)
			for _, v := range g {
				select {
				case <-v.done:
				case <-timeout:
				}
			}
		}
		w.print(name, verb == "tally")
	}
	return nil
}

func (w *world) headers(args []string) error {
	g := w.viewers[args[0]]
	if len(g) != 1 || g[0].resp == nil {
		return errors.New("whose?")
	}
	for _, name := range args[1:] {
		val := strings.Join(g[0].resp.Header.Values(name), ", ")
		if val == "" {
			val = "(none)"
		}
		fmt.Fprintf(w.out, "%s: %s: %s\n", args[0], name, val)
	}
	return nil
}

// fault is "VERB PARENT [ARG...]".
func (w *world) fault(verb string, args []string) error {
	i := -1
	if len(args) > 0 {
		i = slices.IndexFunc(w.parents, func(p *parent) bool { return p.name == args[0] })
	}
	if i < 0 {
		return errors.New("which parent?")
	}
	p, args := w.parents[i], args[1:]
	switch verb {
	case "answer":
		return p.answer(args)
	case "pace": // N bytes every D
		if len(args) != 4 {
			return errors.New("pace PARENT N bytes every DURATION")
		}
		n, err1 := strconv.Atoi(args[0])
		d, err2 := time.ParseDuration(args[3])
		p.mu.Lock()
		defer p.mu.Unlock()
		p.faults.piece, p.faults.every = n, d
		return errors.Join(err1, err2)
	case "clock", "delay": // by DURATION
		d, err := time.ParseDuration(args[0])
		p.mu.Lock()
		defer p.mu.Unlock()
		if verb == "clock" {
			p.faults.clock = d
		} else {
			p.faults.delay = d
		}
		return err
	}
	return p.set(verb, args)
}

func (w *world) metric(args []string) error {
	n, err := w.edge(args[0])
	if err != nil {
		return err
	}
	v, err := metricValue(n.reg, args[1], args[2:])
	if err != nil {
		return err
	}
	fmt.Fprintf(w.out, "%s: %v\n", strings.Join(args, " "), v)
	return nil
}

// metricValue is a counter or gauge of an edge, with labels as NAME=VALUE.
func metricValue(reg *prometheus.Registry, name string, labels []string) (float64, error) {
	families, err := reg.Gather()
	if err != nil {
		return 0, err
	}
	for _, f := range families {
		if f.GetName() != "headwater_edge_"+name {
			continue
		}
	metrics:
		for _, m := range f.GetMetric() {
			for _, want := range labels {
				found := false
				for _, l := range m.GetLabel() {
					found = found || l.GetName()+"="+l.GetValue() == want
				}
				if !found {
					continue metrics
				}
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue(), nil
		}
	}
	return 0, fmt.Errorf("there is no metric %s %v", name, labels)
}

func (w *world) edge(name string) (*edgeNode, error) {
	for _, n := range w.edges {
		if n.name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("there is no edge %s", name)
}

func (w *world) restart(args []string) error {
	if len(args) == 1 && args[0] == "origin" {
		w.stop()
		w.startOrigin()
		return nil
	}
	n, err := w.edge(strings.Join(args, " "))
	if err != nil {
		return err
	}
	n.srv.Close()
	n.ed.Close()
	return w.startEdge(n)
}
