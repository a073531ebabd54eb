package main

import (
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/store"
	"headwater/store/through"
)

// cacheFlags say which memcached zones are in front of the store.
type cacheFlags struct {
	address, zone  string
	timeout, fresh time.Duration
}

func (f *cacheFlags) register(o *options) {
	o.String(&f.address, "cache", "", "`ADDRESS` of memcached servers in front of the store: memcached://ZONE=HOST:PORT,...;ZONE=..., each zone holding all; the same on all nodes")
	o.String(&f.zone, "zone", "", "`NAME` of the cache's zone that this node reads first; default the first one")
	o.Duration(&f.timeout, "cache-timeout", 50*time.Millisecond, "`TIME` that the cache may add to a write or a read, for each 4 MiB")
	o.Duration(&f.fresh, "cache-fresh", time.Minute, "`TIME` after which what is cached is compared with the store")
}

// open puts the cache in front of a store, if there is one. It closes the store
// where it fails.
func (f *cacheFlags) open(st store.Store, log *slog.Logger, metrics prometheus.Registerer) (store.Store, error) {
	if f.address == "" {
		if f.zone != "" {
			return nil, errors.Join(usagef("--zone: there is no --cache"), st.Close())
		}
		return st, nil
	}
	zones, err := through.ParseZones(f.address)
	if err != nil {
		return nil, errors.Join(usagef("--cache: %w", err), st.Close())
	}
	cfg := through.Config{Zones: zones, Local: f.zone, Timeout: f.timeout, FreshFor: f.fresh, Log: log}
	if err := cfg.Validate(); err != nil {
		return nil, errors.Join(usagef("--cache, --zone, --cache-timeout, --cache-fresh: %w", err), st.Close())
	}
	t, err := through.New(st, cfg)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	if err := metrics.Register(t); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}
