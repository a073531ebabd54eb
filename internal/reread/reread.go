// Package reread notices when files change that a running process has read:
// certificates, credentials, keys.
package reread

import (
	"context"
	"fmt"
	"os"
	"time"
)

// Every is how often files are looked at.
const Every = 5 * time.Second

// Files are some that are read together.
type Files struct {
	names []string
	read  func() error
	seen  []stamp // of the files when they were looked at last
}

// A stamp changes when a file does. The zero stamp is of one that is not there.
type stamp struct {
	size     int64
	modified time.Time
}

// Of reads the files of these names for the first time.
func Of(read func() error, names ...string) (*Files, error) {
	f := &Files{names: names, read: read, seen: make([]stamp, len(names))}
	f.changed() // before they are read: what is written meanwhile is another
	return f, read()
}

// changed reports whether a file is another than when it was looked at last. One
// that is not there is an error, once; what is broken is looked at again when it
// changes, since files are seldom written at once.
func (f *Files) changed() (bool, error) {
	changed := false
	for i, name := range f.names {
		info, err := os.Stat(name)
		if err != nil {
			said := f.seen[i] == (stamp{})
			f.seen[i] = stamp{}
			if said {
				return false, nil
			}
			return false, fmt.Errorf("reread: %w", err)
		}
		now := stamp{info.Size(), info.ModTime()}
		changed = changed || now != f.seen[i]
		f.seen[i] = now
	}
	return changed, nil
}

// Run looks until ctx ends, and at once when reload says so: then, and when a file
// has changed, all are read again. It says that they were, or what went wrong.
func (f *Files) Run(ctx context.Context, reload <-chan os.Signal, done func(), failed func(error)) {
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		anyway := false
		select {
		case <-tick.C:
		case <-reload:
			anyway = true
		case <-ctx.Done():
			return
		}
		changed, err := f.changed()
		if err == nil {
			if !changed && !anyway {
				continue
			}
			err = f.read()
		}
		if err != nil {
			failed(err)
		} else {
			done()
		}
	}
}
