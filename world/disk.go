package world

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"headwater/store/disk"
)

// sector is what a disk writes whole: of what was not synced, any sectors may be
// there after the power failed, and others not.
const sector = 512

// A machine's disk. It outlives the processes of its node; each has a view of its own
// (a mount), which does nothing any more once the process is killed.
type hardDisk struct {
	mu      sync.Mutex // guards the following
	rng     *rand.Rand
	names   map[string]*inode // what a process sees
	durable map[string]*inode // what is there after the power failed
	locked  bool
	usual   time.Duration // of a sync
	slow    time.Duration // more, of each operation
	hangs   int
	mended  chan struct{}
	full    int
	rotten  int // sectors that were changed
}

type inode struct {
	data   []byte // what a process sees
	safe   []byte // as of the last sync
	unsafe []extent
}

// An extent was written since the last sync; without bytes it is a truncation.
type extent struct {
	off  int64
	b    []byte
	size int64
}

func newHardDisk(rng *rand.Rand) *hardDisk {
	return &hardDisk{rng: rng, names: map[string]*inode{}, durable: map[string]*inode{}, usual: 2 * time.Millisecond}
}

// fail is a power failure: what was synced stays, and of the rest anything.
func (d *hardDisk) fail() {
	d.mu.Lock()
	defer d.mu.Unlock()
	names := map[string]*inode{}
	for _, path := range sorted(d.durable) {
		names[path] = d.durable[path].after(d.rng)
	}
	for _, path := range sorted(d.names) {
		if f := d.names[path]; d.durable[path] != f && d.rng.IntN(2) == 0 {
			names[path] = f.after(d.rng)
		}
	}
	d.names, d.durable = names, map[string]*inode{}
	for path, f := range names {
		d.durable[path] = f
	}
}

func (f *inode) after(r *rand.Rand) *inode {
	g := &inode{data: slices.Clone(f.safe)}
	for _, x := range f.unsafe {
		if x.b == nil {
			if r.IntN(4) > 0 {
				g.data = resized(g.data, x.size)
			}
			continue
		}
		for at := 0; at < len(x.b); at += sector {
			if r.IntN(3) == 0 {
				continue
			}
			part := x.b[at:min(at+sector, len(x.b))]
			end := x.off + int64(at+len(part))
			g.data = resized(g.data, max(int64(len(g.data)), end))
			copy(g.data[x.off+int64(at):], part)
		}
	}
	g.safe = slices.Clone(g.data)
	return g
}

func resized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

// hang has operations wait, until it is called with -1 as often.
func (d *hardDisk) hang(by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hangs == 0 {
		d.mended = make(chan struct{})
	}
	if d.hangs += by; d.hangs == 0 {
		close(d.mended)
	}
}

func (d *hardDisk) set(change func(*hardDisk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

// bytes is what it takes in this process.
func (d *hardDisk) bytes() (n uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, f := range d.names {
		n += uint64(cap(f.data) + cap(f.safe))
	}
	return n
}

// rot changes a bit of what was synced of a segment, as disks do.
func (d *hardDisk) rot() {
	d.mu.Lock()
	defer d.mu.Unlock()
	var media []string
	for _, path := range sorted(d.durable) {
		if strings.Contains(path, "media") && min(len(d.durable[path].safe), len(d.durable[path].data)) > 0 {
			media = append(media, path)
		}
	}
	if len(media) == 0 {
		return
	}
	f := d.durable[media[d.rng.IntN(len(media))]]
	at, bit := d.rng.IntN(min(len(f.safe), len(f.data))), byte(1)<<d.rng.IntN(8)
	f.safe[at] ^= bit
	f.data[at] ^= bit
	d.rotten++
}

// mount is the disk as one process sees it.
func (d *hardDisk) mount() *mount {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.locked = false // the process before is dead
	return &mount{d: d, killed: make(chan struct{})}
}

// A mount is a disk.FS of one process.
type mount struct {
	d      *hardDisk
	dead   bool // guarded by d.mu
	killed chan struct{}
}

func (m *mount) kill() {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	if !m.dead {
		m.dead = true
		close(m.killed)
	}
}

var errKilled = fmt.Errorf("the process is dead: %w", syscall.EIO)

// enter waits as long as an operation takes, and returns with d.mu held where it is
// to be done.
func (m *mount) enter(usual time.Duration) error {
	m.d.mu.Lock()
	wait := usual + m.d.slow
	if wait > 0 {
		wait += time.Duration(m.d.rng.Int64N(int64(wait)))
	}
	var mended chan struct{}
	if m.d.hangs > 0 {
		mended = m.d.mended
	}
	if wait > 0 || mended != nil {
		m.d.mu.Unlock()
		if mended != nil {
			select {
			case <-mended:
			case <-m.killed:
			}
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-m.killed:
			t.Stop()
		}
		m.d.mu.Lock()
	}
	if m.dead {
		m.d.mu.Unlock()
		return errKilled
	}
	return nil
}

func (m *mount) Mkdir(string) error { return nil }

func (m *mount) List(dir string) ([]string, error) {
	if err := m.enter(0); err != nil {
		return nil, err
	}
	defer m.d.mu.Unlock()
	var names []string
	for _, path := range sorted(m.d.names) {
		if filepath.Dir(path) == filepath.Clean(dir) {
			names = append(names, filepath.Base(path))
		}
	}
	return names, nil
}

func (m *mount) Create(path string) (disk.File, error) {
	if err := m.enter(0); err != nil {
		return nil, err
	}
	defer m.d.mu.Unlock()
	if m.d.names[path] != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	if m.d.full > 0 {
		return nil, &fs.PathError{Op: "create", Path: path, Err: syscall.ENOSPC}
	}
	f := &inode{}
	m.d.names[path] = f
	return &handle{m, f}, nil
}

func (m *mount) Open(path string) (disk.File, int64, error) {
	if err := m.enter(0); err != nil {
		return nil, 0, err
	}
	defer m.d.mu.Unlock()
	f := m.d.names[path]
	if f == nil {
		return nil, 0, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return &handle{m, f}, int64(len(f.data)), nil
}

func (m *mount) Rename(from, to string) error {
	if err := m.enter(0); err != nil {
		return err
	}
	defer m.d.mu.Unlock()
	if m.d.names[from] == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	m.d.names[to] = m.d.names[from]
	delete(m.d.names, from)
	return nil
}

func (m *mount) Remove(path string) error {
	if err := m.enter(0); err != nil {
		return err
	}
	defer m.d.mu.Unlock()
	if m.d.names[path] == nil {
		return &fs.PathError{Op: "remove", Path: path, Err: fs.ErrNotExist}
	}
	delete(m.d.names, path)
	return nil
}

func (m *mount) SyncDir(dir string) error {
	if err := m.enter(m.d.usual); err != nil {
		return err
	}
	defer m.d.mu.Unlock()
	in := func(path string) bool { return filepath.Dir(path) == filepath.Clean(dir) }
	for _, path := range sorted(m.d.durable) {
		if in(path) && m.d.names[path] == nil {
			delete(m.d.durable, path)
		}
	}
	for path, f := range m.d.names {
		if in(path) {
			m.d.durable[path] = f
		}
	}
	return nil
}

func (m *mount) Free(string) (int64, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	if m.d.full > 0 {
		return 0, nil
	}
	return 1 << 40, nil
}

func (m *mount) Lock(string) (io.Closer, error) {
	m.d.mu.Lock()
	defer m.d.mu.Unlock()
	if m.d.locked {
		return nil, disk.ErrLocked
	}
	m.d.locked = true
	return unlock{m}, nil
}

type unlock struct{ m *mount }

func (u unlock) Close() error {
	u.m.d.mu.Lock()
	defer u.m.d.mu.Unlock()
	if !u.m.dead {
		u.m.d.locked = false
	}
	return nil
}

// A handle is an open file.
type handle struct {
	m *mount
	f *inode
}

func (h *handle) ReadAt(b []byte, off int64) (int, error) {
	if err := h.m.enter(0); err != nil {
		return 0, err
	}
	defer h.m.d.mu.Unlock()
	if off >= int64(len(h.f.data)) {
		return 0, io.EOF
	}
	n := copy(b, h.f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteBlocks(off int64, b []byte) error {
	if off%4096 != 0 || len(b)%4096 != 0 {
		return errors.New("world: not whole blocks")
	}
	_, err := h.WriteAt(b, off)
	return err
}

func (h *handle) WriteAt(b []byte, off int64) (int, error) {
	if err := h.m.enter(0); err != nil {
		return 0, err
	}
	defer h.m.d.mu.Unlock()
	var err error
	if h.m.d.full > 0 {
		// A part of it still finds room.
		b, err = b[:h.m.d.rng.IntN(len(b)/sector+1)*sector], syscall.ENOSPC
	}
	if len(b) > 0 {
		h.f.data = resized(h.f.data, max(int64(len(h.f.data)), off+int64(len(b))))
		copy(h.f.data[off:], b)
		h.f.unsafe = append(h.f.unsafe, extent{off: off, b: slices.Clone(b)})
	}
	return len(b), err
}

func (h *handle) Sync() error {
	h.m.d.mu.Lock()
	n := len(h.f.unsafe) // what is written meanwhile may be missed
	h.m.d.mu.Unlock()
	if err := h.m.enter(h.m.d.usual); err != nil {
		return err
	}
	defer h.m.d.mu.Unlock()
	n = min(n, len(h.f.unsafe)) // another sync may have been faster
	for _, x := range h.f.unsafe[:n] {
		if x.b == nil {
			h.f.safe = resized(h.f.safe, x.size)
			continue
		}
		h.f.safe = resized(h.f.safe, max(int64(len(h.f.safe)), x.off+int64(len(x.b))))
		copy(h.f.safe[x.off:], x.b)
	}
	h.f.unsafe = h.f.unsafe[n:]
	return nil
}

func (h *handle) Truncate(size int64) error {
	if err := h.m.enter(0); err != nil {
		return err
	}
	defer h.m.d.mu.Unlock()
	h.f.data = resized(slices.Clone(h.f.data), size)
	h.f.unsafe = append(h.f.unsafe, extent{size: size})
	return nil
}

func (h *handle) Retire()      {}
func (h *handle) Close() error { return nil }
