package disk

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"headwater/store"
)

// A start does not wait for what is in the files of media that are whole: their records
// enter the index in the background, the newest file first, and at once where somebody
// asks for a key that may be in one. Until then
//
//   - who reads or writes a key that may be in a file that was not read waits for that
//     file (await): so nothing is answered, and nothing written, that another order of
//     reading would have made otherwise;
//   - nothing is forgotten, dropped or compacted (retain): what has expired may be what
//     keeps an older version from coming back;
//   - files are read in any order, and what the newer one deleted must not come back
//     from the older one:
//
//     the file read first, newer       the file read then, older
//     deletes r
//     is read: remembered              puts k of r
//     is read: k is left out
//
// Where anything is damaged or lost all is read before the start is over, as it is where
// RANGES does not tell of a file: then what is lost is told at once, and once.

// quietFor is how long only what is waited for is read.
const quietFor = 2 * time.Second

// postpones reports whether the log's files can be read later.
func (l *log) postpones() bool { return l.namespace == store.Media && !l.opt.Cache }

// postpone marks of the files those that need not be read now.
func (l *log) postpone(files []*logFile) {
	if !l.postpones() || l.manifest.lost {
		return
	}
	known := l.readRanges()
	var checks sync.WaitGroup
	slots := make(chan struct{}, scansAtOnce)
	for _, f := range files {
		slots <- struct{}{}
		checks.Go(func() {
			if x, ok := known[f.id]; ok && l.untouched(f, x) {
				f.ranges, f.sealAt, f.unread = x.ranges, x.sealAt, make(chan struct{})
			}
			<-slots
		})
	}
	checks.Wait()
	for _, f := range files {
		if f.unread != nil {
			l.pending = append(l.pending, f)
		}
	}
	l.postponed.Store(int32(len(l.pending)))
	l.rangesOwed = len(l.pending) < len(files)
}

// untouched reports whether a file is as it was when it was sealed, as far as its ends
// tell, and opens its twin.
func (l *log) untouched(f *logFile, x sealedFile) bool {
	m := l.manifest.known(l.namespace, f.id)
	if f.gone || !m.Sealed || m.Damaged || m.Size != x.size || f.size.Load() != x.size {
		return false
	}
	header := make([]byte, fileHeaderLen)
	n, _ := f.f.ReadAt(header, 0)
	if checkFileHeader(header[:n], f.id, l.namespace) != nil {
		return false
	}
	seal, ok := newScanner(f.f, f.id, x.size).record(x.sealAt)
	if !ok || seal.kind != kindSeal || roundUp(seal.offset+seal.len()) != x.size {
		return false
	}
	head := seal.appendHead(nil)
	place(head, seal.fileID, seal.offset, seal.durable)
	twin, size, err := l.fs.Open(f.twinPath)
	if err != nil {
		return false
	}
	end := make([]byte, len(head))
	if n, _ := twin.ReadAt(end, max(size-int64(len(head)), 0)); size != x.twinAt || !bytes.Equal(end[:n], head) {
		twin.Close()
		return false
	}
	f.twin = twin
	f.twinEnd.Store(size)
	return true
}

// mayHold reports whether a key of [from, to] may be in f, or deleted by it; to "" is
// the end of the record.
func (f *logFile) mayHold(id, from, to string) bool {
	k, ok := f.ranges[id]
	return ok && k.meets(from, to)
}

// await waits until no file is left unread that may hold a key of [from, to].
func (l *log) await(ctx context.Context, id, from, to string) error {
	return l.awaitFiles(ctx, func(f *logFile) bool { return f.mayHold(id, from, to) })
}

// awaitAll waits until no file is left unread.
func (l *log) awaitAll(ctx context.Context) error {
	return l.awaitFiles(ctx, func(*logFile) bool { return true })
}

func (l *log) awaitFiles(ctx context.Context, which func(*logFile) bool) error {
	for l.postponed.Load() > 0 {
		var unread chan struct{}
		l.mu.Lock()
		for _, f := range l.pending {
			if which(f) {
				f.wanted, unread = true, f.unread
			}
		}
		l.mu.Unlock()
		if unread == nil {
			return nil
		}
		select {
		case l.wants <- struct{}{}:
		default:
		}
		select {
		case <-unread:
		case <-l.left:
			return store.ErrClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// readPostponed reads what was postponed, those first that are waited for, and for a while
// after the start those alone: whoever starts has other things to do.
func (l *log) readPostponed(ctx context.Context) {
	const pause = time.Second // after what could not be read
	quiet := time.NewTimer(quietFor)
	defer quiet.Stop()
	started := false
	postponed := l.postponed.Load() > 0
	for {
		l.mu.RLock()
		var next *logFile
		for _, f := range slices.Backward(l.pending) {
			if next == nil || f.wanted && !next.wanted {
				next = f
			}
		}
		wanted := next != nil && next.wanted
		l.mu.RUnlock()
		if next == nil {
			break
		}
		if !started && !wanted {
			select {
			case <-l.wants:
			case <-quiet.C:
				started = true
			case <-ctx.Done():
				close(l.left)
				return
			}
			continue
		}
		if err := l.readLater(ctx, next); err != nil && ctx.Err() == nil {
			l.logger.Error("a file cannot be read, and is tried again", "file", next.path, "error", err)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
		if ctx.Err() != nil {
			close(l.left) // the store is closing. They stay unread: nobody must take them for empty
			return
		}
	}
	if l.rangesOwed {
		l.writeRanges()
	}
	if postponed {
		l.poke()
	}
}

// readLater enters a file that was postponed into the index.
func (l *log) readLater(ctx context.Context, f *logFile) error {
	found, err := l.scanFile(ctx, f)
	if err == nil {
		err = l.adopt(f, found)
	}
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.pending = slices.DeleteFunc(l.pending, func(p *logFile) bool { return p == f })
	if len(l.pending) == 0 {
		l.deletes = nil
	}
	lost := len(f.lost) > 0
	close(f.unread)
	l.postponed.Store(int32(len(l.pending)))
	l.mu.Unlock()
	if lost {
		l.sumUp(l.opt.Now())
	}
	return nil
}

// A deletion is remembered while files are unread that are older than it.
type deletion struct {
	seq      uint64 // of its file
	from, to string
	token    store.Token
}

// deleted reports whether a file that is newer than f deleted what f has. The log's mu
// is held.
func (l *log) deleted(f *logFile, id, key string, t store.Token) bool {
	return slices.ContainsFunc(l.deletes[id], func(d deletion) bool {
		return d.seq > f.seq && key >= d.from && (d.to == "" || key < d.to) && t.Compare(d.token) <= 0
	})
}
