package main

import (
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"headwater/announce"
	"headwater/announce/nats"
)

// announceFlags say how origin nodes tell each other what was published.
type announceFlags struct{ servers, credentials string }

func (f *announceFlags) register(o *options) {
	o.String(&f.servers, "announce", "", "`SERVERS` that carry announcements between origins: nats://HOST:4222,nats://HOST:4222; default none, which is for one origin alone")
	o.String(&f.credentials, "announce-credentials", "", "`FILE` of NATS user credentials")
}

// open returns the bus and what closes it.
func (f *announceFlags) open(log *slog.Logger, metrics *prometheus.Registry) (announce.Bus, func(), error) {
	if f.servers == "" {
		if f.credentials != "" {
			return nil, nil, usagef("--announce-credentials: there is no --announce")
		}
		return announce.NewLocal(), func() {}, nil
	}
	cfg := nats.Config{Servers: serverList(f.servers), Credentials: f.credentials, Log: log, Metrics: metrics}
	bus, err := nats.New(cfg)
	if err != nil {
		return nil, nil, usagef("--announce: %w", err)
	}
	return bus, func() {
		if err := bus.Close(); err != nil {
			log.Error("closing announcements", "err", err)
		}
	}, nil
}

// serverList splits "nats://h1:4222,h2:4222": what has no scheme has the first
// one's.
func serverList(s string) []string {
	list := strings.Split(s, ",")
	scheme, _, ok := strings.Cut(list[0], "://")
	for i, x := range list {
		if ok && !strings.Contains(x, "://") {
			list[i] = scheme + "://" + x
		}
	}
	return list
}
