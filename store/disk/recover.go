package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
)

// scansAtOnce is how many files a start reads at a time.
const scansAtOnce = 4

// recover builds the index from the files. It reads the heads of all records,
// and values only where a crash may have torn them: in a file without a seal,
// after the last point that a head says was durable.
func (l *log) recover(ctx context.Context) error {
	if err := l.fs.Mkdir(l.dir); err != nil {
		return err
	}
	names, err := l.fs.List(l.dir)
	if err != nil {
		return err
	}
	var files []*logFile
	for _, name := range names {
		if seq, id, ok := parseFileName(name); ok {
			files = append(files, &logFile{seq: seq, id: id, path: filepath.Join(l.dir, name), sealed: true})
		}
	}
	slices.SortFunc(files, func(a, b *logFile) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.id, b.id))
	})

	// The scans run ahead; their results are applied in order.
	ctx, cancel := context.WithCancel(ctx)
	type result struct {
		found recovered
		err   error
	}
	results := make([]chan result, len(files))
	for i := range results {
		results[i] = make(chan result, 1)
	}
	slots := make(chan struct{}, scansAtOnce)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for i, f := range files {
			slots <- struct{}{}
			go func() {
				found, err := l.scanFile(ctx, f)
				results[i] <- result{found, err}
			}()
		}
	}()
	defer func() { cancel(); <-ended }()
	for i, f := range files {
		r := <-results[i]
		<-slots
		if err == nil {
			err = r.err
		}
		if err == nil {
			err = l.adopt(f, r.found)
		} else if cancel(); f.f != nil {
			f.f.Close()
		}
		l.nextSeq = f.seq + 1
	}
	if err != nil {
		return err
	}
	now := l.opt.Now()
	for _, r := range l.index.Records() {
		l.index.Sweep(r, now)
	}
	return nil
}

// recovered is what a scan found in a file.
type recovered struct {
	records []record  // without their metadata, but with its length
	size    int64     // of the file
	whole   bool      // it ends with a seal
	end     int64     // after the last good record
	torn    bool      // there is nothing but an unacknowledged tail behind end
	holes   []stretch // damage
	tears   []stretch // unacknowledged and torn, with good records behind it

	headless bool // the file's header is not readable
}

func (l *log) scanFile(ctx context.Context, f *logFile) (recovered, error) {
	var found recovered
	var err error
	if f.f, found.size, err = l.fs.Open(f.path); err != nil {
		return found, err
	}
	header := make([]byte, fileHeaderLen)
	n, _ := f.f.ReadAt(header, 0)
	headerErr := checkFileHeader(header[:n], f.id, l.namespace)
	if errors.Is(headerErr, errVersion) {
		return found, fmt.Errorf("%s: %w", f.path, headerErr)
	}
	found.end = min(fileHeaderSize, found.size)
	var durable int64
	err = newScanner(f.f, f.id, found.size).walk(ctx, found.end, func(r record) error {
		if r.kind == kindSeal {
			found.tears = append(found.tears, r.torn()...)
		}
		r.meta = nil
		found.records = append(found.records, r)
		durable = max(durable, r.durable)
		found.whole = r.kind == kindSeal && roundUp(r.offset+r.len()) == found.size
		return nil
	}, func(from, to int64) error {
		found.holes = append(found.holes, stretch{from, to})
		found.whole = false
		return nil
	})
	if err != nil {
		return found, err
	}
	known := func(off int64) bool {
		return slices.ContainsFunc(found.tears, func(s stretch) bool { return s.contains(off) })
	}
	found.records = slices.DeleteFunc(found.records, func(r record) bool { return known(r.offset) })
	found.holes = slices.DeleteFunc(found.holes, func(h stretch) bool { return known(h.from) })
	if !found.whole {
		buf := make([]byte, 256<<10)
		found.records = slices.DeleteFunc(found.records, func(r record) bool {
			if r.offset < durable || valueGood(f.f, r, buf) {
				return false
			}
			found.holes = append(found.holes, stretch{r.offset, r.offset + r.len()})
			return true
		})
	}
	for _, r := range found.records {
		found.end = max(found.end, r.offset+r.len())
	}
	if end := roundUp(found.end); !found.whole && end >= durable {
		found.torn = end != found.size || !newScanner(f.f, f.id, end).padding(found.end, end)
	}
	// What a crash tore was not acknowledged: it is no damage, and the seal
	// that this file gets says so to later starts.
	found.holes = slices.DeleteFunc(found.holes, func(h stretch) bool {
		tear := h.from >= durable
		if tear && h.from < found.end {
			found.tears = append(found.tears, h)
		}
		return tear
	})
	if found.headless = headerErr != nil; found.headless && durable > 0 {
		found.holes = append(found.holes, stretch{0, fileHeaderSize})
	}
	return found, nil
}

// adopt takes a scanned file into the log: cuts off its torn tail, seals it and
// indexes its records. Nothing is ever appended to a file of an earlier run.
func (l *log) adopt(f *logFile, found recovered) error {
	for _, h := range found.holes {
		l.counters.corrupt.Add(1)
		l.logger.Error("damaged stretch", "file", f.path, "from", h.from, "to", h.to)
	}
	f.size.Store(found.size)
	f.users.Store(1)
	f.damaged = len(found.holes) > 0
	if len(found.records) == 0 {
		return l.discard(f, found)
	}
	if found.torn {
		// To the byte, and then with zeros to the block again.
		err := f.f.Truncate(found.end)
		if err == nil {
			err = f.f.Truncate(roundUp(found.end))
		}
		if err != nil {
			f.f.Close()
			return fmt.Errorf("cut off a torn tail: %w", err)
		}
		if cut := found.size - found.end; cut > 0 {
			l.counters.tails.Add(1)
			l.counters.truncatedBytes.Add(cut)
			l.logger.Warn("torn tail cut off", "file", f.path, "bytes", cut)
		}
		f.size.Store(roundUp(found.end))
	}
	if found.headless {
		// Its name says the same.
		w := stager{f: f.f, buf: newBlocks(fileHeaderSize)}
		w.write(fileHeader(f.id, l.opt.Now().UnixMilli(), l.namespace))
		if w.flush(); w.err != nil {
			l.logger.Error("a file header could not be mended", "file", f.path, "error", w.err)
		}
	}
	f.durable.Store(f.size.Load())
	l.bytes.Add(f.size.Load())
	if !found.whole {
		// What a killed process wrote may still be in memory only.
		if err := f.f.Sync(); err != nil {
			l.counters.syncErrors.Add(1)
			l.logger.Error("sync failed", "file", f.path, "error", err)
		} else {
			l.writeSeal(f, f.size.Load(), found.tears)
		}
	}
	l.files = append(l.files, f)
	for i := range found.records {
		r := &found.records[i]
		next := f.size.Load()
		if i+1 < len(found.records) {
			next = found.records[i+1].offset
		}
		if r.kind != kindSeal {
			// Damage between two records is no padding.
			l.insert(f, r, uint16(min(next, roundUp(r.offset+r.len()))-r.offset-r.len()), nil)
		}
	}
	return nil
}

// discard removes a file that holds no record: a crash came soon after it was
// created. If something is in it that cannot be told from damage, it is set
// aside instead.
func (l *log) discard(f *logFile, found recovered) error {
	defer f.f.Close()
	if found.size > fileHeaderSize {
		l.counters.tails.Add(1)
		l.counters.truncatedBytes.Add(found.size - fileHeaderSize)
		head := make([]byte, headSize)
		if n, _ := f.f.ReadAt(head, fileHeaderSize); n == headSize && string(head[:4]) != recordMagic {
			l.counters.setAside.Add(1)
			l.logger.Error("a file without a readable record is set aside", "file", f.path, "bytes", found.size)
			return l.fs.Rename(f.path, f.path+damagedSuffix)
		}
		l.logger.Warn("a file with nothing but a torn record is removed", "file", f.path, "bytes", found.size)
	}
	return l.fs.Remove(f.path)
}
