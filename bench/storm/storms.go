//go:build linux

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"

	"headwater/live"
)

// A storm is something that readers, or others, do to an origin or an edge.
type storm struct {
	name, says string
	blow       func(b *blower) error

	files int           // descriptors that the origin may have; 0: as many as there are
	bytes int           // of the rival tenant's segments; 0: like the others
	dvr   time.Duration // of the rival tenant's event; 0: an hour
	tls   bool          // the edge serves TLS and HTTP/3
	rival live.Number   // segments of the rival tenant there are from the start; 0: few
	nodes int           // of Cassandra that are the store; 0: it is the disk, or S3
	stops int           // of these, a third into the storm and for a third of it
	times float64       // requests a second, as a multiple of what can be served; 0: what its connections can
}

var storms = []storm{
	{name: "none", says: "no storm", blow: (*blower).nothing},
	{name: "dvr", says: "512 connections read DVR segments as fast as they can", blow: func(b *blower) error { return b.crowd(512, false, b.dvr) }},
	{name: "dvr-heed", says: "the same, and they heed Retry-After", blow: func(b *blower) error { return b.crowd(512, true, b.dvr) }},
	{name: "all", says: "512 connections, all classes", blow: func(b *blower) error { return b.crowd(512, false, b.all) }},
	{name: "all-heed", says: "the same, and they heed Retry-After", blow: func(b *blower) error { return b.crowd(512, true, b.all) }},
	{name: "dvr-5x", says: "DVR segments at 5 times the rate that can be served", times: 5, blow: func(b *blower) error { return b.crowd(clients, false, b.dvr) }},
	{name: "dvr-5x-heed", says: "the same, from clients that heed Retry-After", times: 5, blow: func(b *blower) error { return b.crowd(clients, true, b.dvr) }},
	{name: "all-5x", says: "all classes at 5 times the rate that can be served", times: 5, blow: func(b *blower) error { return b.crowd(clients, false, b.all) }},
	{name: "all-5x-heed", says: "the same, from clients that heed Retry-After", times: 5, blow: func(b *blower) error { return b.crowd(clients, true, b.all) }},
	{name: "rival-dvr", says: "512 connections read another tenant's DVR segments", rival: backlog, blow: func(b *blower) error { return b.crowd(512, false, b.rivals) }},
	{name: "store-stops", says: "64 connections read DVR segments, the store is one Cassandra node, which stands still (SIGSTOP) for a third of it", nodes: 1, stops: 1, blow: func(b *blower) error { return b.crowd(64, false, b.dvr) }},
	{name: "node-stops", says: "the same, one node of three stands still", nodes: 3, stops: 1, blow: func(b *blower) error { return b.crowd(64, false, b.dvr) }},
	{name: "edge-dvr", says: "512 connections read DVR segments through the edge", blow: func(b *blower) error { b.target = b.edge; return b.crowd(512, false, b.dvr) }},
	{name: "unknown", says: "512 connections ask for names never seen", blow: func(b *blower) error { return b.crowd(512, false, b.unknown) }},
	{name: "edge-unknown", says: "512 connections ask an edge for real and never-seen names", blow: func(b *blower) error { b.target = b.edge; return b.crowd(512, false, b.real) }},
	{name: "edge-many", says: "64 connections ask an edge for ten million names, nearly all never seen, 64 in one piece", blow: func(b *blower) error {
		b.target = b.edge
		return b.pipeline(64, 10_000_000, b.seldom)
	}},
	{name: "many", says: "the same to an origin", blow: func(b *blower) error { return b.pipeline(64, 10_000_000, b.seldom) }},
	{name: "one-byte", says: "a tenant begins 4,400 PUTs and sends one byte of each", blow: (*blower).oneByte},
	{name: "edge-slow-read", says: "500 connections read DVR segments through the edge at 4 kB/s", blow: func(b *blower) error { b.target = b.edge; return b.slowRead() }},
	{name: "no-read", says: "68 readers of a tenant's 30 MB segments do not read", blow: (*blower).noRead, bytes: 30 << 20},
	{name: "no-read-lost", says: "the same of such as were lost, for which fillers are made", blow: (*blower).noReadLost, bytes: 30 << 20},
	{name: "idle", says: "360 idle connections to deliver, of 400 descriptors", blow: (*blower).idle, files: 400},
	{name: "held", says: "20,000 held event.json?after= of an address", blow: (*blower).held},
	{name: "playlist", says: "64 connections read the media.m3u8 of 60 days", blow: func(b *blower) error { return b.crowd(64, false, b.playlist) }, dvr: 60 * 24 * time.Hour},
	{name: "held-live", says: "10,000 requests of an address held at the live edge", blow: (*blower).heldLive},
	{name: "half-open", says: "4,000 connections, silent or closed in one direction, to origin and edge", blow: (*blower).halfOpen, tls: true},
	{name: "slow-write", says: "2,000 connections send a head, or a PUT, byte by byte", blow: (*blower).slowWrite},
	{name: "slow-read", says: "500 connections read DVR segments at 4 kB/s", blow: (*blower).slowRead},
	{name: "flood", says: "connections to origin and edge opened and dropped as fast as can be", blow: (*blower).flood},
	{name: "h2-reset", says: "HTTP/2 rapid reset, 16 connections", blow: func(b *blower) error { return b.http2(reset) }, tls: true},
	{name: "h2-settings", says: "HTTP/2 settings flood, 16 connections", blow: func(b *blower) error { return b.http2(settings) }, tls: true},
	{name: "h2-ping", says: "HTTP/2 ping flood, 16 connections", blow: func(b *blower) error { return b.http2(ping) }, tls: true},
	{name: "h2-continuation", says: "HTTP/2 continuation flood, 16 connections", blow: func(b *blower) error { return b.http2(continuation) }, tls: true},
	{name: "heads", says: "12,000 connections begin heads of 30 kB to origin and edge, and do not end them", blow: (*blower).heads},
	{name: "bodies", says: "800 PUTs of two tenants bring 3 MB each, and do not end", blow: (*blower).bodies},
	{name: "tls-no-read", says: "500 connections ask the edge for DVR segments over TLS, and do not read", blow: (*blower).tlsNoRead, tls: true},
	{name: "h3-no-read", says: "HTTP/3: 1,024 requests on 64 connections for DVR segments, not read", blow: (*blower).http3NoRead, tls: true},
	{name: "h3", says: "HTTP/3: 16 connections of quic-go read DVR segments", blow: (*blower).http3, tls: true},
}

// clients are there for a storm of so many requests a second. few is the rate that
// stands for a closed loop of few connections instead.
const (
	clients = 2048
	few     = -1
)

// A blower is a storm's own process.
type blower struct {
	deliver, publish, edge, tls string // HOST:PORT
	target                      string
	length                      time.Duration
	newest, rival               int64   // numbers when the storm begins
	rate                        float64 // requests a second; 0: as fast as can be
	began                       time.Time
	answers
}

// blow runs a storm and prints what it got.
func blow(name string, args []string) error {
	b := &blower{answers: answers{Statuses: map[string]int64{}, Failures: map[string]int64{}, Lives: map[string]int64{}}}
	f := flag.NewFlagSet("blow", flag.ExitOnError)
	f.StringVar(&b.deliver, "deliver", "", "")
	f.StringVar(&b.publish, "publish", "", "")
	f.StringVar(&b.edge, "edge", "", "")
	f.StringVar(&b.tls, "tls", "", "")
	f.DurationVar(&b.length, "for", 0, "")
	f.Float64Var(&b.rate, "rate", 0, "")
	f.Int64Var(&b.newest, "newest", 0, "")
	f.Int64Var(&b.rival, "rival", 0, "")
	if err := f.Parse(args); err != nil {
		return err
	}
	b.target, b.began = b.deliver, time.Now()
	raiseFiles()
	for _, s := range storms {
		if s.name == name {
			if err := s.blow(b); err != nil {
				return err
			}
			return json.NewEncoder(os.Stdout).Encode(b.answers)
		}
	}
	return fmt.Errorf("no storm %q", name)
}

func (b *blower) nothing() error { time.Sleep(b.length); return nil }

// dvr is the path that a connection asks for at its k-th request.
func (b *blower) dvr(conn, k int) string {
	return fmt.Sprintf("/%v/%s/%d.m4s", protected, renditions[0].name, b.newest-30-int64((conn*37+k)%(backlog-40)))
}

// rivals is dvr of the other tenant.
func (b *blower) rivals(conn, k int) string {
	return fmt.Sprintf("/%v/%s/%d.m4s", rival, renditions[0].name, b.rival-30-int64((conn*37+k)%(backlog-40)))
}

func (b *blower) unknown(conn, k int) string {
	n := conn*1_000_003 + k
	switch n % 5 {
	case 0:
		return fmt.Sprintf("/t%d/e/v/1.m4s", n)
	case 1:
		return fmt.Sprintf("/%s/e%d/v/1.m4s", protected.Tenant, n)
	case 2:
		return fmt.Sprintf("/%v/r%d/1.m4s", protected, n)
	case 3:
		return fmt.Sprintf("/%v/v1080/%d.m4s", protected, b.newest+1000+int64(n))
	}
	return fmt.Sprintf("/%v/v1080/%%%02x%d.m4s", protected, n%256, n)
}

// real is unknown, with an eighth of names that are there.
func (b *blower) real(conn, k int) string {
	if (conn+k)%8 == 0 {
		return b.dvr(conn%8, k%8)
	}
	return b.unknown(conn, k)
}

// all are all classes: half DVR, a quarter of playlists and configurations, an
// eighth of names that are not there, and an eighth at the live edge.
func (b *blower) all(conn, k int) string {
	switch conn % 8 {
	case 0, 1, 2, 3:
		return b.dvr(conn, k)
	case 4:
		return fmt.Sprintf("/%v/%s", protected, []string{"main.m3u8", "manifest.mpd", "event.json"}[k%3])
	case 5:
		return fmt.Sprintf("/%v/%s/%s", protected, renditions[k%4].name, []string{"media.m3u8", "init.mp4"}[k/4%2])
	case 6:
		return b.unknown(conn, k)
	}
	next := int64(1)
	if b.rate < 0 {
		next = -1 // few who are held would not show what can be served
	}
	return fmt.Sprintf("/%v/%s/%d.m4s", protected, renditions[k%4].name, b.newest+int64(time.Since(b.began)/segment)-int64(k%3)+next)
}

func (b *blower) playlist(conn, k int) string {
	return fmt.Sprintf("/%v/%s/media.m3u8", rival, renditions[0].name)
}
