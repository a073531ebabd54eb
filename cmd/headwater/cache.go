package main

import (
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/blobs"
)

// cacheFlags say which memcached zones are in front of the store.
type cacheFlags struct {
	address, zone string
	timeout       time.Duration
}

func (f *cacheFlags) register(o *options) {
	o.String(&f.address, "cache", "", "`ADDRESS` of memcached servers that keep segments beside the store: memcached://ZONE=HOST:PORT,...;ZONE=..., each zone holding all; the same on all nodes")
	o.String(&f.zone, "zone", "", "`NAME` of the cache's zone that this node reads first; default the first one")
	o.Duration(&f.timeout, "cache-timeout", 50*time.Millisecond, "`TIME` that the cache may add to a write or a read, for each 4 MiB")
}

// open returns the cache for one role, if there is one.
func (f *cacheFlags) open(role string, log *slog.Logger, metrics prometheus.Registerer) (*blobs.Cache, error) {
	if f.address == "" {
		if f.zone != "" {
			return nil, usagef("--zone: there is no --cache")
		}
		return nil, nil
	}
	zones, err := blobs.ParseZones(f.address)
	if err != nil {
		return nil, usagef("--cache: %w", err)
	}
	cfg := blobs.Config{Zones: zones, Local: f.zone, Timeout: f.timeout, Log: log, Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"client": role}, metrics)}
	if err := cfg.Validate(); err != nil {
		return nil, usagef("--cache, --zone, --cache-timeout: %w", err)
	}
	return blobs.New(cfg)
}
