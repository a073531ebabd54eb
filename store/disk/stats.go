package disk

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Stats is what a Store counted since it was opened, and what it holds now.
type Stats struct{ Media, Control NamespaceStats }

// NamespaceStats are the figures of one namespace.
type NamespaceStats struct {
	Files     int   // log files, the active one included
	Bytes     int64 // in the log files
	LiveBytes int64 // of them, what the items take
	Items     int   // items, some of which may have expired
	Records   int   // store records that hold anything

	Syncs      uint64        // calls of fdatasync
	SyncTime   time.Duration // spent in them, in sum
	Mutations  uint64        // made durable by them
	GroupSizes [8]uint64     // syncs by how many mutations they made durable: 1, 2-3, 4-7, ... 128 and more

	Refusals    uint64 // mutations refused with ErrFull
	WriteErrors uint64 // failed writes to a log file, cut back
	SyncErrors  uint64 // failed syncs; each made the log go on in a new file

	CorruptRecords uint64 // damaged stretches found at the start, and reads whose checksum failed
	TruncatedTails uint64 // files whose torn tail was cut off at the start
	TruncatedBytes int64  // what was cut off

	DroppedFiles   uint64 // whole files removed
	EvictedFiles   uint64 // of them, those of a cache that made room
	CompactedBytes int64  // records moved out of sparse files
	SetAside       uint64 // damaged files renamed rather than removed
	Mended         uint64 // records of which one of two copies was damaged: the other one was used
	Lost           int    // items that were stored and are not there any more, neither expired nor put again
}

type counters struct {
	syncs, mutations, syncNanos       atomic.Uint64
	groups                            [8]atomic.Uint64
	full, writeErrors, syncErrors     atomic.Uint64
	corrupt, tails, dropped, setAside atomic.Uint64
	evicted, mended                   atomic.Uint64
	truncatedBytes, compactedBytes    atomic.Int64
}

func (c *counters) synced(n int, took time.Duration) {
	c.syncs.Add(1)
	c.syncNanos.Add(uint64(took))
	c.mutations.Add(uint64(n))
	c.groups[min(max(bits.Len(uint(n)), 1)-1, len(c.groups)-1)].Add(1)
}

// Stats returns the figures of both namespaces. It is cheap, but not a snapshot:
// its fields are read one after the other.
func (s *Store) Stats() Stats { return Stats{Media: s.media.stats(), Control: s.control.stats()} }

// FreeBytes is what the file system still has for this process, what the store
// keeps in reserve included.
func (s *Store) FreeBytes() (int64, error) { return s.media.fs.Free(s.dir) }

func (l *log) stats() NamespaceStats {
	c := &l.counters
	n := NamespaceStats{
		Bytes: l.bytes.Load(), Syncs: c.syncs.Load(), SyncTime: time.Duration(c.syncNanos.Load()), Mutations: c.mutations.Load(),
		Refusals: c.full.Load(), WriteErrors: c.writeErrors.Load(), SyncErrors: c.syncErrors.Load(),
		CorruptRecords: c.corrupt.Load(), TruncatedTails: c.tails.Load(), TruncatedBytes: c.truncatedBytes.Load(),
		DroppedFiles: c.dropped.Load(), EvictedFiles: c.evicted.Load(), CompactedBytes: c.compactedBytes.Load(), SetAside: c.setAside.Load(),
		Mended: c.mended.Load(), Lost: int(l.lostItems.Load()),
	}
	for i := range c.groups {
		n.GroupSizes[i] = c.groups[i].Load()
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	n.Files, n.Items, n.Records = len(l.files), l.index.Items(), l.index.Len()
	for _, f := range l.files {
		n.LiveBytes += f.live
	}
	return n
}
