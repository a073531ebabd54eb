package disk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"headwater/store"
	"headwater/store/internal/index"
)

// scansAtOnce is how many files a start reads at a time.
const scansAtOnce = 4

// recover builds the index from the files: from their twins, and of the log what
// these do not tell of.
func (l *log) recover(ctx context.Context) error {
	if err := l.fs.Mkdir(l.dir); err != nil && l.manifest.standing() == nil {
		return err
	}
	files, err := l.findFiles()
	if err != nil {
		return err
	}
	l.postpone(files)

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
			if f.unread != nil {
				continue
			}
			slots <- struct{}{}
			go func() {
				found, err := l.scanFile(ctx, f)
				results[i] <- result{found, err}
			}()
		}
	}()
	defer func() { cancel(); <-ended }()
	hurt := false
	for i, f := range files {
		l.nextSeq = f.seq + 1
		if f.unread != nil {
			if err == nil {
				l.keep(f)
			} else {
				f.close()
			}
			continue
		}
		r := <-results[i]
		<-slots
		if err == nil {
			err = r.err
		}
		if err == nil {
			err = l.adopt(f, r.found)
		} else {
			cancel()
			f.close()
		}
		hurt = hurt || f.damaged || len(f.lost) > 0
	}
	if err != nil {
		return err
	}
	for hurt && len(l.pending) > 0 {
		if err := l.readLater(ctx, l.pending[0]); err != nil {
			return err
		}
	}
	now := l.opt.Now()
	if len(l.pending) == 0 {
		for _, r := range l.index.Records() {
			l.index.Sweep(r, now)
		}
	}
	l.sumUp(now)
	return nil
}

// findFiles opens the files that there are, and adds those that there should be,
// in their order. Which file it is a log says by itself: its name is believed only
// where its header cannot be read.
func (l *log) findFiles() ([]*logFile, error) {
	names, err := l.fs.List(l.dir)
	if err != nil {
		return nil, err
	}
	byID := make(map[uint64]*logFile)
	add := func(seq, id uint64) *logFile {
		f := byID[id]
		if f == nil {
			f = l.file(seq, id)
			f.sealed, f.gone = true, true
			byID[id] = f
		}
		return f
	}
	named, twinned := make(map[string]*logFile), make(map[uint64]bool)
	for _, name := range names {
		if seq, id, ok := parseFileName(name); ok {
			f := add(seq, id)
			named[f.path] = f
		}
	}
	// Whose twin is there had a log, unless the manifest says that it went.
	if !l.opt.Cache {
		twins, err := l.fs.List(filepath.Join(filepath.Dir(l.dir), twinDir))
		if err != nil && l.manifest.standing() == nil {
			return nil, err
		}
		for _, name := range twins {
			seq, id, ok := parseTwinName(name, l.namespace)
			if !ok {
				continue
			}
			if byID[id] == nil && !l.manifest.lost && l.manifest.known(l.namespace, id).ID == 0 {
				_ = l.fs.Remove(filepath.Join(filepath.Dir(l.dir), twinDir, name)) // or at the next start
				continue
			}
			add(seq, id)
			twinned[id] = true
		}
		for _, x := range l.manifest.m.Files {
			if x.Namespace == l.namespace {
				add(x.Seq, x.ID)
			}
		}
	}
	// Those first that have their own names: a copy under another's stands in for none.
	for _, strays := range [...]bool{false, true} {
		for path, f := range named {
			l.openAs(f, path, byID, strays)
		}
	}
	files := slices.SortedFunc(maps.Values(byID), func(a, b *logFile) int {
		return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.id, b.id))
	})
	if !l.writtenByOlder(files, twinned) {
		return files, nil
	}
	return slices.DeleteFunc(files, func(f *logFile) bool {
		if !f.gone || named[f.path] != nil {
			return false
		}
		l.logger.Warn("an older version of this program wrote here: a log file that is gone is one that it dropped", "file", f.path)
		l.dismiss(f, l.manifest.standing() != nil)
		return true
	}), nil
}

// writtenByOlder reports whether a version that keeps neither twins nor a manifest wrote
// the newest file, beside others of which there are these. What it dropped it dropped
// without them: what a twin still tells of that may have been deleted since.
func (l *log) writtenByOlder(files []*logFile, twinned map[uint64]bool) bool {
	if l.opt.Cache || l.manifest.lost {
		return false
	}
	for _, f := range slices.Backward(files) {
		if !f.gone {
			// A crash leaves no more of one than its header before the manifest has it.
			return !twinned[f.id] && l.manifest.known(l.namespace, f.id).ID == 0 && f.size.Load() > fileHeaderSize
		}
	}
	return false
}

// openAs opens the log at a path for f, which has the path for its name, or with strays
// for the file that its header names, where that is another.
func (l *log) openAs(f *logFile, path string, byID map[uint64]*logFile, strays bool) {
	if strays && f.path == path && f.f != nil {
		return
	}
	file, size, err := l.fs.Open(path)
	if err != nil {
		if !strays {
			l.counters.corrupt.Add(1)
			l.logger.Error("a log file cannot be opened, and is left as it is", "file", path, "error", err)
		}
		return
	}
	header := make([]byte, fileHeaderLen)
	n, _ := file.ReadAt(header, 0)
	id, ok := headerID(header[:n], l.namespace)
	if !strays && ok && id != f.id {
		file.Close()
		return
	}
	if ok && id != f.id && byID[id] != nil && byID[id].f == nil {
		l.logger.Error("a log file has the name of another", "file", path, "is", byID[id].path)
		l.counters.corrupt.Add(1)
		f = byID[id]
		f.path = path
	}
	if f.f != nil {
		file.Close() // of two that say they are the same the one with the name is
		return
	}
	f.f, f.gone = file, false
	f.size.Store(size)
}

// recovered is what a scan found of a file.
type recovered struct {
	records []record  // good ones, without their metadata, but with its length
	size    int64     // of the file
	whole   bool      // it ends with a seal
	end     int64     // after the last good record
	torn    bool      // there is nothing but an unacknowledged tail behind end
	holes   []stretch // damage
	tears   []stretch // unacknowledged and torn, with good records behind it

	headless bool // the file's header is not readable

	known   listed
	twin    twin
	entries map[int64]entry // by their offsets, those that the twin is to have; nil: it stays as it is
	lost    []Loss
	mended  int // records that only the twin has
}

func (l *log) scanFile(ctx context.Context, f *logFile) (recovered, error) {
	found := recovered{size: f.size.Load(), known: l.manifest.known(l.namespace, f.id)}
	if !l.opt.Cache {
		found.twin = l.readTwin(f)
	}
	if f.gone {
		l.merge(&found, "its log file is gone or cannot be opened")
		return found, nil
	}
	header := make([]byte, fileHeaderLen)
	n, _ := f.f.ReadAt(header, 0)
	headerErr := checkFileHeader(header[:n], f.id, l.namespace)
	if errors.Is(headerErr, errVersion) {
		return found, fmt.Errorf("%s: %w", f.path, headerErr)
	}
	// What the twin tells is taken for what the log has where the log's end is there.
	// Control is read whole: two copies are only two where both are looked at.
	tw := &found.twin
	ends := l.ends(f, found)
	found.end = min(fileHeaderSize, found.size)
	var durable int64
	if ends && tw.clean && headerErr == nil && !found.known.Damaged && l.namespace != store.Control {
		found.records, found.end, durable = tw.records(), tw.end, tw.end
		if tw.sealed {
			found.whole = true
			return found, nil
		}
	}
	if !l.opt.Cache {
		found.entries = make(map[int64]entry)
	}
	err := newScanner(f.f, f.id, found.size).walk(ctx, found.end, func(r record) error {
		if r.kind == kindSeal {
			found.tears = append(found.tears, r.torn()...)
		} else if found.entries != nil {
			found.entries[r.offset] = l.entryOf(f, r)
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
	// Values are read where they may be torn, or lost.
	suspect := !ends || found.known.Damaged || l.namespace == store.Control && !l.opt.Cache
	if !found.whole || suspect {
		buf := make([]byte, 256<<10)
		found.records = slices.DeleteFunc(found.records, func(r record) bool {
			if r.offset < durable && !suspect || valueGood(f.f, r, buf) {
				return false
			}
			found.holes = append(found.holes, stretch{r.offset, r.offset + r.len()})
			return true
		})
	}
	for _, r := range found.records {
		found.end = max(found.end, r.offset+r.len())
	}
	if len(tw.entries) > 0 {
		durable = max(durable, min(tw.end, found.size)) // in the twin is what was durable
	}
	if end := roundUp(found.end); !found.whole && end >= durable && !found.known.Sealed {
		found.torn = end != found.size || !newScanner(f.f, f.id, end).padding(found.end, end)
	}
	// What a crash tore was not acknowledged: it is no damage, and the seal
	// that this file gets says so to later starts.
	found.holes = slices.DeleteFunc(found.holes, func(h stretch) bool {
		tear := h.from >= durable && !found.known.Sealed
		if tear && h.from < found.end {
			found.tears = append(found.tears, h)
		}
		return tear
	})
	if found.headless = headerErr != nil; found.headless && durable > 0 {
		found.holes = append(found.holes, stretch{0, fileHeaderSize})
	}
	if found.entries != nil {
		l.merge(&found, "its bytes are gone from the log file")
	}
	return found, nil
}

// ends reports whether a file still has the end that its twin, or the manifest,
// says that it has.
func (l *log) ends(f *logFile, found recovered) bool {
	tw, known, s := &found.twin, &found.known, newScanner(f.f, f.id, found.size)
	if known.Sealed && found.size != known.Size {
		return false
	}
	if tw.sealed {
		r, ok := s.record(tw.seal.offset)
		return ok && r.kind == kindSeal && roundUp(tw.seal.end()) == found.size && tw.end <= tw.seal.offset
	}
	if len(tw.entries) == 0 {
		return true
	}
	last := &tw.entries[len(tw.entries)-1]
	r, ok := s.record(last.offset)
	return ok && r.token == last.token && valueGood(f.f, r, make([]byte, 256<<10))
}

func (t *twin) records() []record {
	records := make([]record, len(t.entries))
	for i := range t.entries {
		records[i] = t.entries[i].record
	}
	return records
}

// entryOf is what the twin is to have of a record that was found in the log.
func (l *log) entryOf(f *logFile, r record) entry {
	raw := r.appendHead(nil)
	place(raw, r.fileID, r.offset, r.durable)
	if l.inTwin(&r) == r.len() {
		head := len(raw)
		raw = append(raw, make([]byte, r.size)...)
		if n, _ := f.f.ReadAt(raw[head:], r.offset+int64(head)); int64(n) < r.size {
			raw = raw[:head]
		}
	}
	return twinEntry(r, raw)
}

// merge brings together what log and twin have: what only the twin has whole is
// taken from there, what neither has is lost.
func (l *log) merge(found *recovered, why string) {
	have := make(map[int64]bool, len(found.records))
	at := make(map[int64]int64, len(found.twin.entries))
	for i := range found.twin.entries {
		at[found.twin.entries[i].offset] = found.twin.entries[i].twin
	}
	for i := range found.records {
		r := &found.records[i]
		have[r.offset] = true
		r.twin = at[r.offset]
	}
	for off, e := range found.entries { // of the log, where the value turned out bad
		if !have[off] {
			delete(found.entries, off)
		} else if e.size > 0 && e.whole() && checksum(e.raw[e.headLen():]) != e.valueSum {
			delete(found.entries, off)
		}
	}
	for _, e := range found.twin.entries {
		if found.entries == nil {
			found.entries = make(map[int64]entry)
		}
		if _, there := found.entries[e.offset]; !there || !have[e.offset] {
			found.entries[e.offset] = e
		}
		switch {
		case have[e.offset]:
		case e.whole():
			found.records = append(found.records, e.record)
			found.mended++
		case e.kind == kindPut:
			found.lost = append(found.lost, Loss{Record: store.Record{Namespace: l.namespace, ID: e.id}, Key: e.key, Bytes: e.len(),
				Expires: index.ExpiryTime(e.expires), Items: 1, Why: why, token: e.token})
		}
	}
	slices.SortFunc(found.records, func(a, b record) int { return cmp.Compare(a.offset, b.offset) })
	unknown := found.known.Records - len(found.entries)
	if found.known.Sealed && !found.twin.clean && unknown > 0 || found.known.ID != 0 && !found.twin.there && len(found.records) == 0 && found.size == 0 {
		found.lost = append(found.lost, Loss{Record: store.Record{Namespace: l.namespace}, Items: max(unknown, 1), Why: why + ", and nothing tells what it was"})
	}
}

// adopt takes a scanned file into the log: cuts off its torn tail, seals it and
// indexes its records. Nothing is ever appended to a file of an earlier run, and
// nothing is cut off that was whole.
func (l *log) adopt(f *logFile, found recovered) error {
	for _, h := range found.holes {
		l.counters.corrupt.Add(1)
		l.logger.Error("damaged stretch", "file", f.path, "from", h.from, "to", h.to)
	}
	for i := range found.lost {
		found.lost[i].File = f.path
	}
	l.mu.Lock()
	f.damaged = len(found.holes) > 0 || found.mended > 0
	f.lost = slices.DeleteFunc(found.lost, func(x Loss) bool { return x.Key != "" && l.deleted(f, x.Record.ID, x.Key, x.token) })
	l.mu.Unlock()
	if found.mended > 0 {
		l.counters.mended.Add(uint64(found.mended))
		l.logger.Error("records were damaged in the log file, and are taken from its twin", "file", f.path, "records", found.mended)
	}
	frozen := l.manifest.standing() != nil // nothing may be changed
	if len(found.records) == 0 && len(f.lost) == 0 && !found.known.Sealed {
		if f.gone || frozen {
			l.dismiss(f, frozen)
			return nil
		}
		return l.discard(f, found)
	}
	if f.gone {
		f.size.Store(0)
	} else if !frozen {
		if err := l.mend(f, &found); err != nil {
			return err
		}
	}
	if f.unread == nil { // of one that was postponed both is done
		if i := slices.IndexFunc(found.records, func(r record) bool { return r.kind == kindSeal }); i >= 0 {
			f.sealAt = found.records[i].offset
		} else if found.whole {
			f.sealAt = found.twin.seal.offset
		}
		l.keep(f)
	}
	if was := l.manifest.known(l.namespace, f.id); was.ID == 0 && !frozen && !l.opt.Cache {
		// The manifest was lost, or an older version wrote the file.
		l.list(f, func(x *listed) {
			x.Sealed, x.Size, x.Records, x.Damaged = found.whole, f.size.Load(), len(found.twin.entries), len(f.lost) > 0
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range found.records {
		if i%insertedAtOnce == insertedAtOnce-1 && f.unread != nil {
			l.mu.Unlock() // readers wait little
			l.mu.Lock()
		}
		r := &found.records[i]
		next := f.size.Load()
		if i+1 < len(found.records) {
			next = found.records[i+1].offset
		}
		if r.kind != kindSeal {
			// Damage between two records is no padding.
			l.insert(f, r, uint16(max(0, min(next, roundUp(r.offset+r.len()))-r.offset-r.len())), nil)
		}
	}
	return nil
}

// insertedAtOnce is how many records enter the index before readers have their turn.
const insertedAtOnce = 256

// keep makes f one of the log's files.
func (l *log) keep(f *logFile) {
	f.users.Store(1)
	f.durable.Store(f.size.Load())
	l.bytes.Add(f.size.Load())
	l.files = append(l.files, f)
}

// dismiss forgets a file of which there is nothing.
func (l *log) dismiss(f *logFile, frozen bool) {
	f.close()
	if !frozen && !l.opt.Cache {
		if err := l.manifest.change(func(m *manifest) { m.strike(l.namespace, f.id) }); err != nil {
			l.logger.Warn("the manifest could not be written", "error", err)
		}
		_ = l.fs.Remove(f.twinPath) // or at the next start
	}
}

// mend makes a file one that a later start finds in order: with a seal, a header
// and a twin.
func (l *log) mend(f *logFile, found *recovered) error {
	if found.torn {
		// To the byte, and then with zeros to the block again.
		err := f.f.Truncate(found.end)
		if err == nil {
			err = f.f.Truncate(roundUp(found.end))
		}
		if err != nil {
			f.close()
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
	var seal []byte
	if !found.whole && !found.known.Sealed {
		// What a killed process wrote may still be in memory only.
		if err := f.f.Sync(); err != nil {
			l.counters.syncErrors.Add(1)
			l.logger.Error("sync failed", "file", f.path, "error", err)
		} else {
			seal, _ = l.appendSeal(f, roundUp(f.size.Load()), found.tears)
		}
	} else if i := slices.IndexFunc(found.records, func(r record) bool { return r.kind == kindSeal }); i >= 0 {
		r := sealRecord(found.tears)
		seal = r.appendHead(nil)
		place(seal, f.id, found.records[i].offset, found.records[i].durable)
	}
	if l.opt.Cache || found.entries == nil {
		return nil
	}
	l.renewTwin(f, found, seal)
	return nil
}

// renewTwin writes the twin of a file anew, with what is known of it.
func (l *log) renewTwin(f *logFile, found *recovered, seal []byte) {
	entries := slices.SortedFunc(maps.Values(found.entries), byOffset)
	if tw := &found.twin; !tw.clean || !tw.sealed || len(entries) != len(tw.entries) {
		if tw.there && !tw.clean && found.known.Sealed {
			l.counters.mended.Add(1)
			l.logger.Error("the twin of a log file was damaged, and is made anew", "file", f.twinPath)
		}
		was := f.twin
		if err := l.writeTwin(f, entries, seal); err != nil {
			l.counters.writeErrors.Add(1)
			l.logger.Error("the twin of a log file could not be written", "file", f.twinPath, "error", err)
			return
		}
		if was != nil {
			was.Close()
		}
		at := make(map[int64]int64, len(entries))
		for i := range entries {
			at[entries[i].offset] = entries[i].twin
		}
		for i := range found.records {
			found.records[i].twin = at[found.records[i].offset]
		}
	}
	f.records = len(entries)
	l.list(f, func(x *listed) {
		if !x.Sealed && seal != nil {
			x.Sealed, x.Size, x.Records = true, f.size.Load(), f.records
		}
		x.Damaged = len(f.lost) > 0
	})
}

// discard removes a file that holds no record: a crash came soon after it was
// created. If something is in it that cannot be told from damage, it is set
// aside instead.
func (l *log) discard(f *logFile, found recovered) error {
	if found.size > fileHeaderSize {
		l.counters.tails.Add(1)
		l.counters.truncatedBytes.Add(found.size - fileHeaderSize)
		head := make([]byte, headSize)
		if n, _ := f.f.ReadAt(head, fileHeaderSize); n == headSize && string(head[:4]) != recordMagic {
			l.counters.setAside.Add(1)
			l.logger.Error("a file without a readable record is set aside", "file", f.path, "bytes", found.size)
			l.dismiss(f, false)
			return l.fs.Rename(f.path, f.path+damagedSuffix)
		}
		l.logger.Warn("a file with nothing but a torn record is removed", "file", f.path, "bytes", found.size)
	}
	l.dismiss(f, false)
	return l.fs.Remove(f.path)
}
