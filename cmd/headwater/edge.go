package main

import (
	"context"

	"headwater/edge"
)

var edgeCommand = &command{
	name: "edge", summary: "cache an origin for viewers",
	usage: "--parent URL [flags]",
	about: `
Runs an edge: viewers GET from it, and it fills from its parents, which are
origins' delivery listeners or other edges. It serves its own /metrics,
/healthz and /readyz on the same listener.`,
}

func init() { edgeCommand.run = runEdge }

type edgeFlags struct {
	listen, name string
	parents      []string
	memory       int64
	disk         string
	diskMax      int64
	logging      logging
}

func (f *edgeFlags) register(o *options) {
	o.String(&f.listen, "listen", ":8080", "`ADDRESS` that viewers connect to")
	o.List(&f.parents, "parent", "base `URL` to fill from, e.g. http://host:7002; the first is preferred")
	o.String(&f.name, "name", "headwater", "`NAME` of this node in Cache-Status and CDN-Loop")
	o.Bytes(&f.memory, "memory", 1<<30, "`SIZE` of the cache in memory")
	o.String(&f.disk, "disk", "", "`DIR` to keep the DVR window in, beyond memory and over restarts; default none")
	o.Bytes(&f.diskMax, "disk-max", 10<<30, "`SIZE` that the cache may take there; the oldest goes first")
	f.logging.flags(o)
}

func runEdge(ctx context.Context, env *environment, args []string) error {
	var f edgeFlags
	o := newOptions("edge")
	f.register(o)
	rest, err := o.parse(env, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("%q: edge takes only flags", rest[0])
	}
	if len(f.parents) == 0 {
		return usagef("--parent: give the base URL of an origin's delivery listener, e.g. http://127.0.0.1:7002")
	}
	log, err := f.logging.logger(env.stderr)
	if err != nil {
		return err
	}
	cfg := edge.Config{Parents: f.parents, Name: f.name, MemoryBytes: f.memory, Disk: f.disk, DiskBytes: f.diskMax, Log: log, Metrics: newRegistry()}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	ed, err := edge.New(cfg)
	if err != nil {
		return err
	}
	defer ed.Close()
	return serve(ctx, log, func() {}, &listener{flag: "listen", addr: f.listen, handler: ed})
}
