package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"headwater/store"
)

// Problem is damage that Check found.
type Problem struct {
	File   string
	Offset int64
	Bytes  int64        // how much is damaged
	Record store.Record // what it belongs to, where that can be told
	Key    string
	Live   bool // it is an item that readers would get
	What   string
}

func (p Problem) String() string {
	s := fmt.Sprintf("%s: %d bytes at %d: %s", p.File, p.Bytes, p.Offset, p.What)
	if p.Record.ID != "" {
		s += fmt.Sprintf(" (%v, key %q, live %v)", p.Record, p.Key, p.Live)
	}
	return s
}

// CheckReport is what Check looked at.
type CheckReport struct {
	Files    int
	Records  int
	Bytes    int64
	Problems int
}

// ErrNotStore: the directory is none, or nothing of a store is in it.
var ErrNotStore = errors.New("disk store: there is no store")

// Exists returns an error that wraps ErrNotStore unless there is a store in dir.
// Open would make one there.
func Exists(dir string) error {
	for _, namespace := range [...]string{store.Media, store.Control} {
		info, err := os.Stat(filepath.Join(dir, namespace))
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("%w: %s has no directory %s", ErrNotStore, dir, namespace)
		case err != nil:
			return fmt.Errorf("disk store: %w", err)
		case !info.IsDir():
			return fmt.Errorf("%w: %s in %s is not a directory", ErrNotStore, namespace, dir)
		}
	}
	return nil
}

// Check reads all that is durable and verifies every checksum, beside
// operations that go on. It calls report for each problem and, where it is not
// nil, progress for each record, with what was looked at so far and the bytes
// that there are. It returns an error if it could not look at everything.
func (s *Store) Check(ctx context.Context, report func(Problem), progress func(sum CheckReport, total int64)) (CheckReport, error) {
	var sum CheckReport
	end, err := s.Begin(ctx)
	if err != nil {
		return sum, fmt.Errorf("disk store: check: %w", err)
	}
	defer end()
	total := int64(0)
	for _, l := range s.logs() {
		if err := l.awaitAll(ctx); err != nil {
			return sum, fmt.Errorf("disk store: check: %w", err)
		}
		total += l.bytes.Load()
	}
	for _, l := range s.logs() {
		if err := l.check(ctx, &sum, func(p Problem) { sum.Problems++; report(p) }, func(sum CheckReport) {
			if progress != nil {
				progress(sum, total)
			}
		}); err != nil {
			return sum, fmt.Errorf("disk store: check %s: %w", l.namespace, err)
		}
	}
	return sum, nil
}

func (l *log) check(ctx context.Context, sum *CheckReport, report func(Problem), progress func(CheckReport)) error {
	l.mu.RLock()
	files := append([]*logFile(nil), l.files...)
	for _, f := range files {
		f.users.Add(1)
	}
	l.mu.RUnlock()
	defer func() {
		for _, f := range files {
			f.release()
		}
	}()
	buf := make([]byte, 256<<10)
	for _, f := range files {
		end := f.durable.Load()
		if f.gone || end == 0 {
			continue
		}
		sum.Files++
		before := sum.Bytes
		sum.Bytes += end
		header := make([]byte, fileHeaderLen)
		n, _ := f.f.ReadAt(header, 0)
		if err := checkFileHeader(header[:n], f.id, l.namespace); err != nil {
			report(Problem{File: f.path, Bytes: fileHeaderSize, What: err.Error()})
		}
		if what := l.checkTwin(f); what != "" {
			report(Problem{File: f.twinPath, What: what})
		}
		var problems []Problem
		var torn []stretch
		err := newScanner(f.f, f.id, end).walk(ctx, min(fileHeaderSize, end), func(r record) error {
			sum.Records++
			if r.kind == kindSeal {
				torn = append(torn, r.torn()...)
			}
			if !valueGood(f.f, r, buf) {
				problems = append(problems, Problem{File: f.path, Offset: r.offset, Bytes: r.len(), Key: r.key, What: "value checksum",
					Record: store.Record{Namespace: l.namespace, ID: r.id}, Live: l.serves(f, r)})
			}
			now := *sum
			now.Bytes = before + r.offset + r.len()
			now.Problems += len(problems)
			progress(now)
			return nil
		}, func(from, to int64) error {
			problems = append(problems, Problem{File: f.path, Offset: from, Bytes: to - from, What: "no valid record"})
			return nil
		})
		for _, p := range problems {
			if !slices.ContainsFunc(torn, func(s stretch) bool { return s.contains(p.Offset) }) {
				report(p)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkTwin returns what is wrong with the twin of a file.
func (l *log) checkTwin(f *logFile) string {
	if l.opt.Cache {
		return ""
	}
	if f.twin == nil {
		return "it has no twin"
	}
	end := f.twinEnd.Load() // all before it is written
	b := make([]byte, end)
	n, _ := f.twin.ReadAt(b, 0)
	if int64(n) < end || !parseTwin(b, f.id, l.namespace).clean {
		return "a damaged twin, which the next start makes anew"
	}
	return ""
}

// serves reports whether readers get the record r of f.
func (l *log) serves(f *logFile, r record) bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	e := l.index.Get(store.Record{Namespace: l.namespace, ID: r.id}, r.key)
	return e != nil && e.Value.file == f && e.Value.offset == r.offset
}
