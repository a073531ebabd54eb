package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"headwater/internal/proc"
	"headwater/store/cassandra/cassandratest"
	"headwater/store/s3/s3test"
)

// A backend is a store to put an origin over.
type backend struct {
	name  string
	flags []string
	env   []string
}

// rigs starts what the backends need, and stops it.
type rigs struct {
	dir, bin string
	cluster  *cassandratest.Cluster
	bucket   *s3test.Server
	servers  []*proc.Process
}

func (r *rigs) close() {
	for _, p := range r.servers {
		p.Stop()
	}
	if r.bucket != nil {
		r.bucket.Close()
	}
	if r.cluster != nil {
		r.cluster.Close()
	}
}

func (r *rigs) cassandra(ctx context.Context) (string, error) {
	if r.cluster == nil {
		var err error
		if r.cluster, err = cassandratest.Start(ctx, cassandratest.Options{HeapMB: 512}); err != nil {
			return "", err
		}
	}
	addr := fmt.Sprintf("cassandra://%s/headwater?dc=dc1&replication=dc1:3", strings.Join(r.cluster.Hosts(), ","))
	if out, err := exec.Command(r.bin, "store", "init", "--store", addr).CombinedOutput(); err != nil {
		return "", fmt.Errorf("store init: %w: %s", err, out)
	}
	return addr, nil
}

// memcached starts two zones of one server each.
func (r *rigs) memcached() (string, error) {
	var zones []string
	for _, zone := range []string{"zone-a", "zone-b"} {
		addr := freeAddr()
		host, port, _ := strings.Cut(addr, ":")
		p, err := start(r.dir, "memcached-"+zone, proc.Accepts(addr), nil, "memcached", "-l", host, "-p", port, "-m", "1024", "-u", "nobody", "-U", "0")
		if err != nil {
			return "", err
		}
		r.servers = append(r.servers, p)
		zones = append(zones, zone+"="+addr)
	}
	return "memcached://" + strings.Join(zones, ";"), nil
}

// s3 starts versitygw over a directory.
func (r *rigs) s3(ctx context.Context) (backend, error) {
	server, err := s3test.Start(ctx)
	if err != nil {
		return backend{}, err
	}
	r.bucket = server
	b := backend{name: "S3 (versitygw, POSIX)", env: []string{"AWS_ACCESS_KEY_ID=" + s3test.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3test.SecretKey},
		flags: []string{"--store", "s3://segments?endpoint=" + server.Endpoint + "&region=" + s3test.Region}}
	init := exec.Command(r.bin, "store", "init", "--store", b.flags[1])
	init.Env = append(os.Environ(), b.env...)
	if out, err := init.CombinedOutput(); err != nil {
		return b, fmt.Errorf("store init: %w: %s", err, out)
	}
	return b, nil
}

// open starts what a backend needs.
func (r *rigs) open(ctx context.Context, name string) (backend, error) {
	switch name {
	case "memory":
		return backend{name: "memory", flags: []string{"--store", "memory:"}}, nil
	case "disk":
		return backend{name: "disk", flags: []string{"--store", "disk:" + filepath.Join(r.dir, "disk")}}, nil
	case "cassandra":
		addr, err := r.cassandra(ctx)
		return backend{name: "Cassandra", flags: []string{"--store", addr}}, err
	case "cached":
		addr, err := r.cassandra(ctx)
		if err != nil {
			return backend{}, err
		}
		cache, err := r.memcached()
		return backend{name: "Cassandra and memcached", flags: []string{"--store", addr, "--cache", cache}}, err
	case "s3":
		return r.s3(ctx)
	}
	return backend{}, fmt.Errorf("there is no backend %q", name)
}
