package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"headwater/packager"
)

var packagerCommand = &command{
	name: "packager", summary: "cut an encoder's output into segments and publish them",
	usage: "--event TENANT/EVENT --pipeline NAME --to URL [flags]",
	about: `
Reads fragmented MP4 on standard input (ffmpeg's -f mp4 pipe:1), or plays the
built-in clip, or listens for what encoders send (--listen): DASH-IF Live Media
Ingest, both interfaces, under names of their own below /TENANT/EVENT/PIPELINE/.
Cuts at the event's boundaries, inspects, and PUTs every segment to the origin
within the event's budget.

A rendition whose init segment the origin refuses, since it does not fit the one
that viewers have, is not sent until the encoder fits again; each line of
statistics names it as unfit.

After the end of the event it stays for a while (--after-end) and goes on if the
end is taken back.

Exit status: 0 at the end of the input or the event, or when told to stop; 1 after
an error, and where at the end a rendition is unfit; 2 for wrong flags.`,
}

func init() { packagerCommand.run = runPackager }

type packagerFlags struct {
	event, pipeline string
	to              []string
	client          clientFlags
	eventURL        string
	eventWait       time.Duration
	afterEnd        time.Duration
	clip, print     bool
	clipVersion     string
	listen          packagerListener
	tracks, clock   string
	backfill        int64
	drain           time.Duration
	faults          []string
	stats           time.Duration
	look            bool
	metrics         string
	logging         logging
}

func (f *packagerFlags) register(o *options) {
	o.String(&f.event, "event", "", "`TENANT/EVENT` to publish to")
	o.String(&f.pipeline, "pipeline", "", "`NAME` of the event's pipeline that this is")
	o.List(&f.to, "to", "base `URL` of an origin's publish listener, e.g. http://host:7001; the first is preferred")
	f.client.register(o, "token")
	o.String(&f.eventURL, "event-url", "", "base `URL` of a delivery listener or edge that has the event; default: the host of --to, its port plus one")
	o.Duration(&f.eventWait, "event-wait", 30*time.Second, "`TIME` that the event may be unknown at the start")
	o.Duration(&f.afterEnd, "after-end", 5*time.Minute, "`TIME` to stay after the end of the event, in case it is taken back; 0 is not at all")
	o.Bool(&f.clip, "clip", "play the built-in clip for ever instead of reading standard input")
	o.String(&f.clipVersion, "clip-version", "", "`VERSION` of the clip, a or b: the badge in the picture; default by the pipeline's name")
	o.Bool(&f.print, "print-renditions", "with --clip: print its renditions as JSON and end")
	f.listen.register(o)
	o.String(&f.tracks, "tracks", "", "`MAP` of track IDs to renditions, as in 1=v720,2=a-en; default by type and size")
	o.String(&f.clock, "clock", "auto", "`MODE` of numbering: absolute (decode times), prft, or auto")
	o.Bytes(&f.backfill, "backfill", 64<<20, "`SIZE` of the segments that may wait behind live ones")
	o.Duration(&f.drain, "drain", 10*time.Second, "`TIME` after the end of the input in which segments may still be sent")
	o.List(&f.faults, "fault", "`FAULT` to inject for a drill: drop, truncate, remove-samples:12, shift:400ms, delay:1500ms, stop, black (of the clip), freeze, mute; with rendition=, from=, to=, every=")
	o.Bool(&f.look, "look", "have ffmpeg watch what is sent, beside the sending, and say where the picture is black or stands still or the sound is silent")
	o.String(&f.metrics, "metrics", "", "`ADDRESS` of a listener for /metrics (Prometheus) and /healthz; default: none")
	o.Duration(&f.stats, "stats", 10*time.Second, "`TIME` between lines of what was done; 0 is none")
	f.logging.flags(o)
}

func runPackager(ctx context.Context, env *environment, args []string) error {
	var f packagerFlags
	o := newOptions("packager")
	f.register(o)
	rest, err := o.parse(env, args)
	if err != nil {
		return err
	}
	if len(rest) > 0 {
		return usagef("%q: packager takes only flags", rest[0])
	}
	if f.print {
		if !f.clip {
			return usagef("--print-renditions: goes with --clip")
		}
		return packager.PrintRenditions(env.stdout)
	}
	for name, v := range map[string]string{"event": f.event, "pipeline": f.pipeline} {
		if v == "" {
			return usagef("--%s: is required", name)
		}
	}
	if len(f.to) == 0 {
		return usagef("--to: give the base URL of an origin's publish listener, e.g. http://127.0.0.1:7001")
	}
	log, err := f.logging.logger(env.stderr)
	if err != nil {
		return err
	}
	token, err := f.client.secret()
	if err != nil {
		return err
	}
	tlsConfig, err := f.client.tls()
	if err != nil {
		return err
	}
	log.Info("starting", "command", "packager", "version", version(), "event", f.event, "pipeline", f.pipeline, "to", shown(f.to...), "listen", f.listen.address, "clip", f.clip)
	wall, err := wrongClock(env, log)
	if err != nil {
		return err
	}
	if f.afterEnd == 0 {
		f.afterEnd = -1
	}
	cfg := packager.Config{
		Event: f.event, Pipeline: f.pipeline, To: f.to, Token: token, TLS: tlsConfig, EventURL: f.eventURL, EventWait: f.eventWait, AfterEnd: f.afterEnd,
		Clip: f.clip, ClipVersion: f.clipVersion, Clock: packager.ClockMode(f.clock),
		BackfillBytes: f.backfill, DrainFor: f.drain, Faults: f.faults, Log: log,
	}
	if wall != nil {
		cfg.Time = packager.NewClock(wall, log)
	}
	if f.look {
		cfg.Look = "ffmpeg"
	}
	if f.tracks != "" {
		if cfg.Tracks, err = packager.ParseTracks(f.tracks); err != nil {
			return usagef("--tracks: %w", err)
		}
	}
	if f.listen.address != "" {
		switch {
		case f.clip:
			return usagef("--listen and --clip are two sources, and there is one")
		case f.tracks != "":
			return usagef("--tracks: with --listen the renditions' match says which track is which")
		case f.clock != "auto":
			return usagef("--clock: with --listen each encoder is placed by what it sends")
		}
		return f.listen.run(ctx, cfg, f.stats, f.metrics, log)
	}
	if f.listen.create {
		return usagef("--create: goes with --listen")
	}
	if !f.clip {
		cfg.Input = env.stdin
		// A closed input ends a blocked read.
		if c, ok := env.stdin.(io.Closer); ok {
			defer context.AfterFunc(ctx, func() { c.Close() })()
		}
	}
	p, err := packager.New(cfg)
	if errors.Is(err, packager.ErrConfig) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	stop, err := showFigures(ctx, f.metrics, func() map[string]packager.Stats {
		return map[string]packager.Stats{f.event + "/" + f.pipeline: p.Stats()}
	}, log)
	if err != nil {
		return err
	}
	defer stop()
	if f.stats > 0 {
		tick := time.NewTicker(f.stats)
		defer tick.Stop()
		ended := make(chan struct{})
		defer close(ended)
		go func() {
			for {
				select {
				case <-tick.C:
					logStats(log, p.Stats())
				case <-ended:
					return
				}
			}
		}()
	}
	err = p.Run(ctx)
	s := p.Stats()
	fmt.Fprintf(env.stderr, "published %d segments (%d backfilled), missed %d, refused %d, dropped %d%s, unfit %s; acknowledged in %v p50, %v p99\n",
		s.Published, s.Backfilled, s.Missed, s.RefusedTotal(), s.DroppedTotal(), reasons(&s), unfit(&s), s.AckP50, s.AckP99)
	if ctx.Err() != nil && !errors.Is(err, packager.ErrUnfit) {
		return nil // told to stop
	}
	return err
}

// logStats writes the line of statistics: an error while a rendition is unfit.
func logStats(log *slog.Logger, s packager.Stats) {
	say := log.Info
	if len(s.Unfit) > 0 {
		say = log.Error
	}
	say("packager", "published", s.Published, "missed", s.Missed, "backfilled", s.Backfilled, "refused", s.RefusedTotal(),
		"dropped", s.DroppedTotal(), "looked", s.Looked, "wanting", s.Wanting, "unseen", s.Unseen, "look_deaths", s.LookDeaths, "unfit", unfit(&s), "queued", s.Queued, "ack_p50", s.AckP50, "ack_p99", s.AckP99)
}

// unfit lists the renditions that the origin does not take, or says none.
func unfit(s *packager.Stats) string {
	if len(s.Unfit) == 0 {
		return "none"
	}
	return strings.Join(slices.Sorted(maps.Keys(s.Unfit)), ",")
}

// reasons says why segments were dropped.
func reasons(s *packager.Stats) string {
	var why []string
	for _, r := range packager.DropReasons {
		if n := s.Dropped[r]; n > 0 {
			why = append(why, fmt.Sprintf("%s %d", r, n))
		}
	}
	if why == nil {
		return ""
	}
	return " (" + strings.Join(why, ", ") + ")"
}
