package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"time"
)

// A fault is something that goes wrong, and its end.
type fault struct {
	name string
	what string // for the table
	do   func(ctx context.Context, s *system) error
	undo func(ctx context.Context, s *system) error
}

func none(context.Context, *system) error { return nil }

var faults = []fault{
	{name: "none", what: "nothing", do: none, undo: none},
	{
		name: "cassandra-1", what: "one Cassandra node of us-east-1 killed, started again",
		do:   func(_ context.Context, s *system) error { return s.regions[0].nodes[2].Kill() },
		undo: func(ctx context.Context, s *system) error { return s.regions[0].nodes[2].Start(ctx) },
	},
	{
		name: "cassandra-2", what: "two of three Cassandra nodes of us-east-1 killed, started again",
		do: func(_ context.Context, s *system) error {
			if err := s.regions[0].nodes[2].Kill(); err != nil {
				return err
			}
			return s.regions[0].nodes[1].Kill()
		},
		undo: func(ctx context.Context, s *system) error {
			if err := s.regions[0].nodes[2].Start(ctx); err != nil {
				return err
			}
			return s.regions[0].nodes[1].Start(ctx)
		},
	},
	{
		name: "cassandra-slow", what: "a Cassandra node of us-east-1 stopped (SIGSTOP) for 5 s, three times",
		do: func(ctx context.Context, s *system) error {
			for range 3 {
				if err := s.regions[0].nodes[2].Pause(); err != nil {
					return err
				}
				time.Sleep(5 * time.Second)
				if err := s.regions[0].nodes[2].Resume(); err != nil {
					return err
				}
				time.Sleep(5 * time.Second)
			}
			return nil
		},
		undo: none,
	},
	{
		name: "memcached-killed", what: "both memcacheds of us-east-1 killed, started again",
		do: func(_ context.Context, s *system) error {
			s.regions[0].memcached[0].Kill()
			return s.regions[0].memcached[1].Kill()
		},
		undo: func(ctx context.Context, s *system) error {
			if err := s.regions[0].memcached[0].Start(ctx); err != nil {
				return err
			}
			return s.regions[0].memcached[1].Start(ctx)
		},
	},
	{
		name: "memcached-hung", what: "both memcacheds of us-east-1 stopped (SIGSTOP)",
		do: func(_ context.Context, s *system) error {
			s.regions[0].memcached[0].Pause()
			return s.regions[0].memcached[1].Pause()
		},
		undo: func(_ context.Context, s *system) error {
			s.regions[0].memcached[0].Resume()
			return s.regions[0].memcached[1].Resume()
		},
	},
	{
		name: "memcached-emptied", what: "all memcacheds emptied (flush_all), six times",
		do: func(_ context.Context, s *system) error {
			for range 6 {
				for _, p := range s.regions {
					for z := range p.memcached {
						c, err := net.DialTimeout("tcp", p.addr(hostMemcached+z)+":11211", time.Second)
						if err != nil {
							return err
						}
						fmt.Fprint(c, "flush_all\r\n")
						c.SetReadDeadline(time.Now().Add(time.Second))
						c.Read(make([]byte, 16))
						c.Close()
					}
				}
				time.Sleep(5 * time.Second)
			}
			return nil
		},
		undo: none,
	},
	{
		name: "nats", what: "both NATS servers killed, started again",
		do: func(_ context.Context, s *system) error {
			s.regions[0].nats.Kill()
			return s.regions[1].nats.Kill()
		},
		undo: func(ctx context.Context, s *system) error {
			if err := s.regions[0].nats.Start(ctx); err != nil {
				return err
			}
			return s.regions[1].nats.Start(ctx)
		},
	},
	{
		name: "origin", what: "an origin of us-east-1 killed, started again",
		do:   func(_ context.Context, s *system) error { return s.regions[0].origins[0].Kill() },
		undo: func(ctx context.Context, s *system) error { return s.regions[0].origins[0].Start(ctx) },
	},
	{
		name: "region", what: "the regions cut off from each other",
		do:   func(_ context.Context, s *system) error { return s.net.cut() },
		undo: func(_ context.Context, s *system) error { return s.net.heal() },
	},
}

// killAfter is how long an origin is there at most before the next one is killed.
const killAfter = 2 * time.Second

// killing kills one of the origins of a region after the other, at any moment, and
// starts it again; of two at a time one serves.
func killing(times int) fault {
	return fault{
		name: "kills", what: fmt.Sprintf("one of three origins killed (kill -9) and started again, in turn, %d times", times),
		do: func(ctx context.Context, s *system) error {
			origins := s.regions[0].origins
			for i := range times {
				o := origins[i%len(origins)]
				if err := o.Kill(); err != nil {
					return err
				}
				time.Sleep(rand.N(killAfter / 4))
				if err := o.Start(ctx); err != nil {
					return err
				}
				time.Sleep(rand.N(killAfter))
			}
			return nil
		},
		undo: none,
	}
}

// replacing stops one after the other the origins and the edge of a region, and starts each
// with another program, a while later: as an upgrade does, or as taking it back does.
func replacing(name, from, to, program string) fault {
	return fault{
		name: name, what: fmt.Sprintf("three origins and the edge stopped in turn and started with another version: %s, then %s", from, to),
		do: func(ctx context.Context, s *system) error {
			p := s.regions[0]
			for _, x := range append(slices.Clone(p.origins), p.edge) {
				if err := x.Stop(); err != nil {
					return err
				}
				s.programs[x.Name] = program
				if err := x.Start(ctx); err != nil {
					return err
				}
				time.Sleep(3 * killAfter)
			}
			return nil
		},
		undo: none,
	}
}
