package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"headwater/store"
	"headwater/store/cassandra"
	"headwater/store/disk"
	"headwater/store/s3"
)

// progressInterval is how often a long command says how far it is.
const progressInterval = 2 * time.Second

// A progress says how far a command is, from time to time.
type progress struct {
	w    io.Writer
	last time.Time
}

func newProgress(w io.Writer) *progress { return &progress{w, time.Now()} }

func (p *progress) say(format string, a ...any) {
	if now := time.Now(); now.Sub(p.last) >= progressInterval {
		p.last = now
		fmt.Fprintf(p.w, format+"\n", a...)
	}
}

func checkDisk(ctx context.Context, env *environment, a store.Address, accept bool) error {
	if err := disk.Exists(a.Path); err != nil {
		return err
	}
	// What opening it mends, as after a crash, is said too.
	st, err := disk.Open(a.Path, disk.Options{Logger: slog.New(slog.NewTextHandler(env.stderr, nil))})
	if err != nil {
		return err
	}
	defer st.Close()
	far := newProgress(env.stderr)
	report, err := st.Check(ctx, func(p disk.Problem) { fmt.Fprintf(env.stdout, "bad: %v\n", p) }, func(r disk.CheckReport, total int64) {
		far.say("%d%%: %d of %d bytes, %s", 100*r.Bytes/max(total, 1), r.Bytes, total, count(r.Problems, "problem"))
	})
	lost, lostErr := st.Losses(ctx)
	err = errors.Join(err, lostErr)
	report.Problems += sayLosses(env.stdout, lost)
	if accept && err == nil {
		err = st.AcceptLosses(ctx)
	}
	stats := st.Stats()
	if aside := int(stats.Media.SetAside + stats.Control.SetAside); aside > 0 {
		fmt.Fprintf(env.stdout, "bad: %s set aside (.damaged): what could be read of it is kept\n", count(aside, "damaged file"))
		report.Problems += aside
	}
	fmt.Fprintf(env.stdout, "%d records in %d files, %d bytes, %s\n", report.Records, report.Files, report.Bytes, count(report.Problems, "problem"))
	return checked(report.Problems, err)
}

func checkCassandra(ctx context.Context, env *environment, a store.Address) error {
	opt, err := cassandra.FromAddress(a)
	if err != nil {
		return usagef("--store: %w", err)
	}
	st, err := cassandra.Open(ctx, opt)
	if err != nil {
		return err
	}
	defer st.Close()
	far := newProgress(env.stderr)
	report, err := st.Check(ctx, func(p cassandra.Problem) { fmt.Fprintf(env.stdout, "bad: %v\n", p) }, func(r cassandra.CheckReport, share float64) {
		far.say("%.0f%%: %d items, %d chunks, %s", 100*share, r.Items, r.Chunks, count(r.Problems, "problem"))
	})
	fmt.Fprintf(env.stdout, "%d items of %d bytes in %d chunks, %d deleted or expired, %d chunks of no item, %s\n",
		report.Items, report.Bytes, report.Chunks, report.Dead, report.Orphans, count(report.Problems, "problem"))
	return checked(report.Problems, err)
}

func checkS3(ctx context.Context, env *environment, a store.Address) error {
	st, err := openS3("store", a, opening{})
	if err != nil {
		return err
	}
	defer st.Close()
	far := newProgress(env.stderr)
	report, err := st.Check(ctx, func(object string, err error) { fmt.Fprintf(env.stdout, "bad: %s: %v\n", object, err) }, func(r s3.Report) {
		far.say("%d objects, %d bytes, %s", r.Objects, r.Bytes, count(int(r.Problems), "problem"))
	})
	fmt.Fprintf(env.stdout, "%d objects, %d bytes, %s\n", report.Objects, report.Bytes, count(int(report.Problems), "problem"))
	return checked(int(report.Problems), err)
}

// checked is how a check ends: all that is bad has been said.
func checked(problems int, err error) error {
	if err == nil && problems > 0 {
		return errQuiet
	}
	return err
}
