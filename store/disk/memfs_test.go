package disk

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
)

// memFS is a file system in memory that knows what would survive a power
// failure, and fails as it is told.
type memFS struct {
	// fault, unless nil, is asked before every operation: "create", "read",
	// "open", "write", "sync", "truncate", "remove", "rename", "syncdir". It may block. With an error the operation fails; a partial
	// write does what it says of itself first.
	fault func(op, path string) error
	all   bool // it is asked for twins and manifests, too

	mu      sync.Mutex
	names   map[string]*memFile // guarded by mu: what a process sees
	durable map[string]*memFile // guarded by mu: what is there after a power failure
	space   int64               // guarded by mu: bytes free
	locked  map[string]bool     // guarded by mu
	dead    bool                // guarded by mu: the power is off
	counts  map[string]int      // guarded by mu: operations by name
}

// partial makes a write put down its first bytes and then fail.
type partial struct {
	bytes int
	err   error
}

func (p partial) Error() string { return fmt.Sprintf("%v after %d bytes", p.err, p.bytes) }
func (p partial) Unwrap() error { return p.err }

var errPower = errors.New("the power is off")

func newMemFS() *memFS {
	return &memFS{names: map[string]*memFile{}, durable: map[string]*memFile{}, space: 1 << 40,
		locked: map[string]bool{}, counts: map[string]int{}}
}

type memFile struct {
	fs      *memFS
	path    string
	data    []byte  // guarded by fs.mu: what a process sees
	safe    []byte  // guarded by fs.mu: as of the last sync
	unsafe  []write // guarded by fs.mu: since then, in order
	retired bool
}

type write struct {
	off  int64
	b    []byte
	size int64 // a truncation to this if b is nil
}

// begin counts an operation and asks for its fault.
func (m *memFS) begin(op, path string) error {
	m.mu.Lock()
	dead, fault := m.dead, m.fault
	if !m.all && (strings.Contains(path, twinDir) || strings.Contains(path, manifestName) || path == "d") {
		fault = nil
	} else {
		m.counts[op]++
	}
	m.mu.Unlock()
	if dead {
		return errPower
	}
	if fault == nil {
		return nil
	}
	if err := fault(op, path); err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return errPower
	}
	return nil
}

func (m *memFS) setFault(f func(op, path string) error) {
	m.mu.Lock()
	m.fault = f
	m.mu.Unlock()
}

func (m *memFS) count(op string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts[op]
}

// off turns the power off: nothing changes any more.
func (m *memFS) off() {
	m.mu.Lock()
	m.dead = true
	m.mu.Unlock()
}

// after returns the file system as it may be after the power failure: with
// what was synced, and of the rest any blocks, any sizes and any names.
func (m *memFS) after(r *rand.Rand) *memFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := newMemFS()
	next.space = m.space
	keep := func(path string, f *memFile) {
		g := &memFile{fs: next, path: path, data: slices.Clone(f.safe)}
		size := int64(len(g.data))
		for _, w := range f.unsafe {
			if r.IntN(4) == 0 {
				continue
			}
			if w.b == nil {
				g.data, size = resized(g.data, w.size), w.size
				continue
			}
			for at := 0; at < len(w.b); at += blockSize {
				if r.IntN(3) > 0 {
					part := w.b[at:min(at+blockSize, len(w.b))]
					end := w.off + int64(at+len(part))
					g.data = resized(g.data, max(int64(len(g.data)), end))
					copy(g.data[w.off+int64(at):], part)
					size = max(size, end)
				}
			}
		}
		g.data = resized(g.data, size)
		g.safe = slices.Clone(g.data)
		next.names[path], next.durable[path] = g, g
	}
	for path, f := range m.durable {
		keep(path, f)
	}
	for path, f := range m.names {
		if m.durable[path] != f && r.IntN(2) == 0 {
			keep(path, f)
		}
	}
	return next
}

func resized(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func (m *memFS) Mkdir(string) error { return m.begin("mkdir", "") }

func (m *memFS) List(dir string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var names []string
	for path := range m.names {
		if filepath.Dir(path) == dir {
			names = append(names, filepath.Base(path))
		}
	}
	return names, nil
}

func (m *memFS) Create(path string) (File, error) {
	if err := m.begin("create", path); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[path] != nil {
		return nil, fs.ErrExist
	}
	f := &memFile{fs: m, path: path}
	m.names[path] = f
	return f, nil
}

func (m *memFS) Open(path string) (File, int64, error) {
	if err := m.begin("open", path); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.names[path]
	if f == nil {
		return nil, 0, fs.ErrNotExist
	}
	return f, int64(len(f.data)), nil
}

func (m *memFS) Rename(from, to string) error {
	if err := m.begin("rename", from); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.names[to] = m.names[from]
	delete(m.names, from)
	return nil
}

func (m *memFS) Remove(path string) error {
	if err := m.begin("remove", path); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[path] == nil {
		return fs.ErrNotExist
	}
	delete(m.names, path)
	return nil
}

func (m *memFS) SyncDir(dir string) error {
	if err := m.begin("syncdir", dir); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for path := range m.durable {
		if strings.HasPrefix(path, dir+"/") && m.names[path] == nil {
			delete(m.durable, path)
		}
	}
	for path, f := range m.names {
		if strings.HasPrefix(path, dir+"/") {
			m.durable[path] = f
		}
	}
	return nil
}

func (m *memFS) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.space, nil
}

func (m *memFS) Lock(path string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locked[path] {
		return nil, ErrLocked
	}
	m.locked[path] = true
	return closeFunc(func() {
		m.mu.Lock()
		m.locked[path] = false
		m.mu.Unlock()
	}), nil
}

type closeFunc func()

func (f closeFunc) Close() error { f(); return nil }

func (f *memFile) ReadAt(b []byte, off int64) (int, error) {
	if err := f.fs.begin("read", f.path); err != nil && !errors.Is(err, errPower) {
		return 0, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n := copy(b, f.data[off:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteBlocks(off int64, b []byte) error {
	if off%blockSize != 0 || len(b)%blockSize != 0 || f.retired {
		return fmt.Errorf("write of %d bytes at %d, retired %v", len(b), off, f.retired)
	}
	return f.put(off, b)
}

func (f *memFile) put(off int64, b []byte) error {
	err := f.fs.begin("write", f.path)
	var part partial
	if errors.As(err, &part) {
		b = b[:min(part.bytes, len(b))]
	} else if err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.data = resized(f.data, max(int64(len(f.data)), off+int64(len(b))))
	copy(f.data[off:], b)
	f.unsafe = append(f.unsafe, write{off: off, b: slices.Clone(b)})
	return err
}

func (f *memFile) Sync() error {
	f.fs.mu.Lock()
	// What is written while the sync goes on may be missed by it.
	n, data := len(f.unsafe), slices.Clone(f.data)
	f.fs.mu.Unlock()
	if err := f.fs.begin("sync", f.path); err != nil {
		// As kernels do: the pages count as clean, though they are not on disk,
		// and the next sync says nothing of them.
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.safe, f.unsafe = data, f.unsafe[n:]
	return nil
}

func (f *memFile) Truncate(size int64) error {
	if err := f.fs.begin("truncate", f.path); err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	f.data = resized(slices.Clone(f.data), size)
	f.unsafe = append(f.unsafe, write{size: size})
	return nil
}

func (f *memFile) Retire()      { f.retired = true }
func (f *memFile) Close() error { return nil }

// WriteAt implements io.WriterAt.
func (f *memFile) WriteAt(b []byte, off int64) (int, error) { return len(b), f.put(off, b) }
