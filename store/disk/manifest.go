package disk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"syscall"

	"headwater/store"
)

// A manifest says which files a store has, and of those that are whole how long
// they are: so a file that is gone, or shorter, is known for a loss. It is there
// twice, and is replaced whole whenever a file comes, is sealed or goes.
type manifest struct {
	Store  string   `json:"store"`  // tells it from any other
	Epoch  int64    `json:"epoch"`  // grows with each start
	Serial int64    `json:"serial"` // and with each write
	Files  []listed `json:"files"`
}

// listed is a file of a log.
type listed struct {
	Namespace string `json:"namespace"`
	Seq       uint64 `json:"seq"`
	ID        uint64 `json:"id"`
	Sealed    bool   `json:"sealed,omitempty"`
	Size      int64  `json:"size,omitempty"`    // once it is sealed
	Records   int    `json:"records,omitempty"` // the same
	Damaged   bool   `json:"damaged,omitempty"` // a start has found that something of it is lost
}

const (
	manifestName  = "MANIFEST"
	manifestMagic = "headwater manifest 1 "
)

func (m *manifest) encode() ([]byte, error) {
	b, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	return append(fmt.Appendf(nil, "%s%08x\n", manifestMagic, checksum(b)), b...), nil
}

func parseManifest(b []byte) (*manifest, error) {
	line, body, ok := bytes.Cut(b, []byte("\n"))
	var sum uint32
	if _, err := fmt.Sscanf(string(line), manifestMagic+"%08x", &sum); err != nil || !ok || crc32.Checksum(body, castagnoli) != sum {
		return nil, fmt.Errorf("%w: manifest", errBadRecord)
	}
	m := new(manifest)
	if err := json.Unmarshal(body, m); err != nil {
		return nil, fmt.Errorf("%w: manifest: %w", errBadRecord, err)
	}
	return m, nil
}

func (m *manifest) find(namespace string, id uint64) *listed {
	for i := range m.Files {
		if m.Files[i].ID == id && m.Files[i].Namespace == namespace {
			return &m.Files[i]
		}
	}
	return nil
}

// enter puts what is known of a file in the place of what was.
func (m *manifest) enter(x listed) {
	if was := m.find(x.Namespace, x.ID); was != nil {
		*was = x
	} else {
		m.Files = append(m.Files, x)
	}
}

func (m *manifest) strike(namespace string, id uint64) {
	m.Files = slices.DeleteFunc(m.Files, func(x listed) bool { return x.ID == id && x.Namespace == namespace })
}

// errOusted: another process has the directory now. What this one would write it
// would write into the other's.
var errOusted = errors.New("another process has taken the directory over")

// A registrar keeps the manifest. A nil one, of a cache, keeps none.
type registrar struct {
	fs     FS
	log    *slog.Logger
	copies [2]string

	refusal atomic.Pointer[error] // why what is in the directory is not ours to change

	turn turn // held while the manifest is read and written; guards the following
	m    manifest
	owed bool // the last write failed: m is not what the copies have
	lost bool // there was one, and neither copy can be read
}

// A turn is a mutex that is held while the disk is waited for: of a kind that virtual
// time goes on beside.
type turn chan struct{}

func (t turn) Lock()   { t <- struct{}{} }
func (t turn) Unlock() { <-t }

func newRegistrar(fsys FS, dir string, log *slog.Logger) *registrar {
	return &registrar{turn: make(turn, 1), fs: fsys, log: log, copies: [2]string{filepath.Join(dir, manifestName), filepath.Join(dir, twinDir, manifestName)}}
}

// read returns the newest copy that is readable, nil where there is none, and
// whether one is there that is not.
func (g *registrar) read() (newest *manifest, bad bool) {
	for _, path := range g.copies {
		f, size, err := g.fs.Open(path)
		if err != nil {
			bad = bad || !errors.Is(err, fs.ErrNotExist)
			continue
		}
		b := make([]byte, size)
		n, err := f.ReadAt(b, 0)
		f.Close()
		if err != nil && !errors.Is(err, io.EOF) {
			bad = true
			continue
		}
		m, err := parseManifest(b[:n])
		switch {
		case err != nil:
			bad = true
		case newest == nil || m.Epoch > newest.Epoch || m.Epoch == newest.Epoch && m.Serial > newest.Serial:
			newest = m
		}
	}
	return newest, bad
}

// begin begins an epoch. Where the file system takes no writes the store is to be
// read only.
func (g *registrar) begin(id string) error {
	g.turn.Lock()
	defer g.turn.Unlock()
	newest, bad := g.read()
	if newest == nil {
		newest = &manifest{Store: id}
		g.lost = bad
	}
	if bad {
		g.log.Error("a copy of the manifest is damaged", "both", g.lost)
	}
	g.m = *newest
	g.m.Epoch++
	err := g.write()
	switch {
	case errors.Is(err, syscall.EROFS):
		g.refuse(fmt.Errorf("%w: %w: %w", store.ErrUnavailable, ErrReadOnly, err))
		return nil
	case errors.Is(outcome(err), store.ErrFull):
		return nil // it is written when there is space again
	}
	return err
}

func (g *registrar) refuse(why error) {
	g.refusal.Store(&why)
	g.log.Error("nothing is written", "error", why)
}

func (g *registrar) write() error {
	g.owed = true
	g.m.Serial++
	b, err := g.m.encode()
	if err != nil {
		return err
	}
	for _, path := range g.copies {
		f, err := replaceFile(g.fs, path, b)
		if err != nil {
			return err
		}
		f.Close()
	}
	g.owed = false
	return nil
}

// change changes the manifest, durably. What could not be written is written with
// the next change or look.
func (g *registrar) change(f func(m *manifest)) error {
	if g == nil {
		return nil
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	if err := g.ours(); err != nil {
		return err
	}
	f(&g.m)
	return g.write()
}

// withdraw takes back what was entered of a file that could not be made, and reports
// whether neither copy has it. Between the two another change may have written it.
func (g *registrar) withdraw(namespace string, id uint64) bool {
	if g == nil {
		return true
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	if g.m.find(namespace, id) == nil {
		return true
	}
	g.m.strike(namespace, id)
	if m, bad := g.read(); m != nil && !bad && m.find(namespace, id) == nil {
		return true
	}
	return g.ours() == nil && g.write() == nil
}

// ours returns an error unless the directory still is ours. It needs the turn.
func (g *registrar) ours() error {
	if err := g.standing(); err != nil {
		return err
	}
	if m, _ := g.read(); m != nil && (m.Store != g.m.Store || m.Epoch > g.m.Epoch) {
		g.refuse(fmt.Errorf("%w: %w: its epoch is %d, ours %d", store.ErrUnavailable, errOusted, m.Epoch, g.m.Epoch))
	}
	return g.standing()
}

// standing is why nothing may be written, if it may not.
func (g *registrar) standing() error {
	if g == nil {
		return nil
	}
	if why := g.refusal.Load(); why != nil {
		return *why
	}
	return nil
}

// look finds out whether the directory still is ours, and writes what could not be
// written: a file that was dropped on a full disk is missed as long as it is listed.
func (g *registrar) look() {
	if g == nil {
		return
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	if g.ours() != nil || !g.owed { // it remembers
		return
	}
	if err := g.write(); err != nil {
		g.log.Warn("the manifest could not be written", "error", err)
	}
}

// known is what the manifest has of a file.
func (g *registrar) known(namespace string, id uint64) listed {
	if g == nil {
		return listed{}
	}
	g.turn.Lock()
	defer g.turn.Unlock()
	if x := g.m.find(namespace, id); x != nil {
		return *x
	}
	return listed{}
}
