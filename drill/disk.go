package drill

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"headwater/internal/proc"
)

// A kindOfDisk is what the first origin's store is on.
type kindOfDisk int

const (
	usualDisk kindOfDisk = iota
	// smallDisk is a file system in memory, which can be filled.
	smallDisk
	// loopDisk is a file system in a file, which can be frozen.
	loopDisk
)

const diskSize = 96 << 20

// errNotPossible says why a drill cannot be done on this machine.
type errNotPossible struct{ why string }

func (e errNotPossible) Error() string { return e.why }

// A disk is a file system of its own.
type disk struct {
	dir   string
	image string // of a loopDisk
	flags []string
	// holder has the file system in a mount namespace of its own, where nobody may mount
	// one; else nil.
	holder *proc.Process
}

// within is what a program that uses the disk is run by.
func (d *disk) within() []string {
	if d == nil || d.holder == nil {
		return nil
	}
	return []string{"nsenter", "--target", strconv.Itoa(d.holder.PID()), "--user", "--mount", "--preserve-credentials", "--"}
}

// seen is a file of the disk, as this process finds it.
func (d *disk) seen(name string) string {
	if d.holder == nil {
		return filepath.Join(d.dir, name)
	}
	return filepath.Join("/proc", strconv.Itoa(d.holder.PID()), "root", d.dir, name)
}

// hold mounts a file system in memory for who is not root: in a user and a mount
// namespace, which a process keeps that does nothing else.
func (d *disk) hold(ctx context.Context) error {
	d.holder = &proc.Process{Name: "the holder of a file system", Log: d.dir + ".log", Make: func() *exec.Cmd {
		return exec.Command("unshare", "--user", "--map-root-user", "--mount", "--", "sh", "-c",
			`mount -t tmpfs -o "size=$2" tmpfs "$1" && touch "$1/mounted" && exec sleep 3600`, "sh", d.dir, strconv.Itoa(diskSize))
	}}
	d.holder.Ready = func(context.Context) error { _, err := os.Stat(d.seen("mounted")); return err }
	if err := d.holder.Start(ctx); err != nil {
		return errNotPossible{fmt.Sprintf("a file system of its own wants root, or user namespaces, and Linux: %v", err)}
	}
	return nil
}

func newDisk(ctx context.Context, kind kindOfDisk, dir string) (*disk, error) {
	d := &disk{dir: dir, flags: []string{"--store-reserve", "0"}}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if kind == smallDisk && os.Geteuid() != 0 {
		return d, d.hold(ctx)
	}
	var steps [][]string
	if kind == smallDisk {
		steps = [][]string{{"mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", diskSize), "tmpfs", dir}}
	} else {
		d.image = dir + ".image"
		if err := os.WriteFile(d.image, nil, 0o600); err != nil {
			return nil, err
		}
		if err := os.Truncate(d.image, diskSize); err != nil {
			return nil, err
		}
		steps = [][]string{{"mkfs.ext4", "-q", "-F", d.image}, {"mount", "-o", "loop", d.image, dir}}
	}
	for _, step := range steps {
		if out, err := exec.CommandContext(ctx, step[0], step[1:]...).CombinedOutput(); err != nil {
			return nil, errNotPossible{fmt.Sprintf("a file system of its own wants root and Linux: %s: %v: %s", step[0], err, strings.TrimSpace(string(out)))}
		}
	}
	return d, nil
}

// fill leaves not a byte; what it returns makes room again.
func (d *disk) fill() (undo func() error, err error) {
	name := d.seen("ballast")
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	for size := 64 << 10; size > 0; { // then what is smaller than a piece
		if _, err = f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
	return func() error { return os.Remove(name) }, nil
}

// freeze has all that writes there wait; what it returns lets it go on.
func (d *disk) freeze() (undo func() error, err error) {
	if out, err := exec.Command("fsfreeze", "-f", d.dir).CombinedOutput(); err != nil {
		return nil, errNotPossible{fmt.Sprintf("fsfreeze: %v: %s", err, strings.TrimSpace(string(out)))}
	}
	return func() error { return exec.Command("fsfreeze", "-u", d.dir).Run() }, nil
}

func (d *disk) close() error {
	if d.holder != nil {
		return d.holder.Kill() // and its file system ends with it
	}
	out, err := exec.Command("umount", "-l", d.dir).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("umount %s: %w: %s", d.dir, err, strings.TrimSpace(string(out)))
	}
	if d.image != "" {
		err = errors.Join(err, os.Remove(d.image))
	}
	return err
}
