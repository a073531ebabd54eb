package disk

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/store"
)

// childEnv makes the test binary do something else: its value names what.
const childEnv = "STORE_DISK_TEST_CHILD"

func TestMain(m *testing.M) {
	switch what, dir, _ := strings.Cut(os.Getenv(childEnv), " "); what {
	case "":
		os.Exit(m.Run())
	case "publish":
		fail(publish(dir))
	case "limit":
		fail(limited(dir))
	}
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child starts the test binary as another process.
func child(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), exe)
	c.Env = append(os.Environ(), childEnv+"="+what+" "+dir)
	c.Stderr = os.Stderr
	return c
}

// TestKill kills a publishing process at any moment, again and again. What it
// was told is stored is there after each time, with its bytes, and whatever
// else is there is whole.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	limit := 5 * time.Second
	if n, err := strconv.Atoi(os.Getenv("HEADWATER_KILLS")); err == nil {
		rounds, limit = n, time.Duration(n)*time.Minute // make kills
	}
	r := rand.New(rand.NewPCG(rand.Uint64(), 0))
	acked := map[string]ack{}
	begun := time.Now()
	tails, told := uint64(0), 0
	for round := range rounds {
		if time.Since(begun) > limit {
			t.Logf("only %d rounds on this machine", round)
			break
		}
		c := child(t, "publish", dir)
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		fresh := map[string]ack{}
		lines := bufio.NewScanner(out)
		left := 1 + r.IntN(100)
		for lines.Scan() {
			var a ack
			if n, _ := fmt.Sscan(lines.Text(), &a.op, &a.key, &a.token.Time, &a.token.Nonce, &a.size); n != 5 || !strings.HasSuffix(lines.Text(), ".") {
				continue // the last line, cut off
			}
			told++
			if a.token.Compare(fresh[a.key].token) > 0 {
				fresh[a.key] = a
			}
			if left--; left == 0 {
				time.AfterFunc(time.Duration(r.IntN(20_000))*time.Microsecond, func() { c.Process.Kill() })
				// And on: what is acknowledged before it dies counts, too.
			}
		}
		if err := c.Wait(); c.ProcessState.Exited() || left > 0 {
			t.Fatalf("round %d: the child ended by itself: %v", round, err)
		}
		for key, a := range fresh {
			acked[key] = a
		}

		s := mustOpen(t, osFS{}, dir, Options{})
		for key, a := range fresh {
			verifyAck(t, s, key, a)
		}
		wantWhole(t, s, acked, round%50 == 49)
		st := s.Stats()
		if st.Media.CorruptRecords+st.Media.SetAside+st.Control.CorruptRecords+st.Control.SetAside > 0 {
			t.Errorf("round %d: %+v", round, st)
		}
		tails += st.Media.TruncatedTails + st.Control.TruncatedTails
		if err := s.Condition(); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if _, err := s.Check(t.Context(), func(p Problem) { t.Errorf("round %d: %v", round, p) }, nil); err != nil {
			t.Error(err)
		}
		mustClose(t, s)
		if t.Failed() {
			return
		}
	}
	s := mustOpen(t, osFS{}, dir, Options{})
	wantWhole(t, s, acked, true)
	t.Logf("%d kills, %d mutations acknowledged of %d keys, %d torn tails, %v", rounds, told, len(acked), tails, time.Since(begun).Round(time.Millisecond))
}

// ack is what the child says it was told.
type ack struct {
	op    string // "put" or "delete"
	key   string
	token store.Token
	size  int
}

// verifyAck: the key has what was acknowledged, or what was sent after it.
func verifyAck(t *testing.T, s *Store, key string, a ack) {
	t.Helper()
	got, err := s.Get(t.Context(), recordOf(key), key)
	switch {
	case err != nil && a.op == "put":
		// A delete may have been sent after it; then there is no newer item to show.
		if !deletedSince(s, key, a.token) {
			t.Errorf("%s was acknowledged: %v", key, err)
		}
	case err == nil && got.Token.Compare(a.token) < 0:
		t.Errorf("%s has a version older than the acknowledged %s", key, a.op)
	case err == nil && string(got.Value) != string(valueFor(key, got.Token, int(got.Size))):
		t.Errorf("%s: other bytes", key)
	}
}

func recordOf(key string) store.Record {
	if strings.HasPrefix(key, "c") {
		return control
	}
	return media
}

// deletedSince reports whether the index knows of a newer delete of key.
func deletedSince(s *Store, key string, t store.Token) bool {
	l := s.media
	if recordOf(key) == control {
		l = s.control
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.index.PutStale(recordOf(key), key, t)
}

// wantWhole verifies all items there are, with their bytes if asked, and that
// none is older than acknowledged.
func wantWhole(t *testing.T, s *Store, acked map[string]ack, values bool) {
	t.Helper()
	for _, r := range []store.Record{media, control} {
		for item, err := range store.All(t.Context(), s, r, store.ScanOptions{Values: values}) {
			if err != nil {
				t.Errorf("%s: %v", item.Key, err)
				continue
			}
			if values && string(item.Value) != string(valueFor(item.Key, item.Token, int(item.Size))) {
				t.Errorf("%s: other bytes", item.Key)
			}
			if item.Token.Compare(acked[item.Key].token) < 0 {
				t.Errorf("%s: older than acknowledged", item.Key)
			}
		}
	}
}

// publish is the child: it puts media, rewrites control items and deletes some,
// and says so when told that it is done.
func publish(dir string) error {
	s, err := Open(dir, Options{FileBytes: 8 << 20, SweepInterval: 20 * time.Millisecond})
	if err != nil {
		return err
	}
	var mu sync.Mutex // guards standard output
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for w := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				a := ack{op: "put", token: nextToken(), size: rand.IntN(100_000)}
				switch {
				case w == 0 && n%2 == 0: // large, so that a kill comes while it is written
					a.key, a.size = "m-large", 4<<20+rand.IntN(8<<20)
				case n%20 == 19:
					a.op, a.key = "delete", fmt.Sprintf("c%d", w)
				case n%4 == 3:
					a.key, a.size = fmt.Sprintf("c%d", w), rand.IntN(3000)
				default:
					a.key = fmt.Sprintf("m%d-%d-%d", os.Getpid(), w, n)
				}
				var err error
				if a.op == "put" {
					err = s.Put(context.Background(), recordOf(a.key), store.Item{Key: a.key, Token: a.token, Value: valueFor(a.key, a.token, a.size)})
				} else {
					err = s.Put(context.Background(), recordOf(a.key), store.Gone(a.key, a.token))
				}
				if err != nil {
					errs <- err
					return
				}
				mu.Lock()
				fmt.Println(a.op, a.key, a.token.Time, a.token.Nonce, a.size, ".")
				mu.Unlock()
			}
		})
	}
	return <-errs
}

// TestFileSizeLimit: a write that the system stops in the middle is a full
// disk, in a process that has a limit on the size of its files.
func TestFileSizeLimit(t *testing.T) {
	dir := t.TempDir()
	if out, err := func() ([]byte, error) { c := child(t, "limit", dir); c.Stderr = nil; return c.CombinedOutput() }(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := mustOpen(t, osFS{}, dir, Options{})
	if got := keysOf(t, s, media); got != "after before meanwhile" {
		t.Errorf("keys %s", got)
	}
	if st := s.Stats().Media; st.CorruptRecords+st.TruncatedTails > 0 {
		t.Errorf("%+v", st)
	}
}

func limited(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	was := limit.Cur
	limit.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	limit.Cur = was
	err = fillAndRecover(s, 900_000, func() error { return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit) })
	if err != nil {
		return err
	}
	return s.Close()
}

// TestFullDisk fills a real file system and makes room on it again.
func TestFullDisk(t *testing.T) {
	need.Disk(t, 8<<20, func(dir string) {
		ballast := filepath.Join(dir, "ballast")
		if err := os.WriteFile(ballast, make([]byte, 6<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, osFS{}, filepath.Join(dir, "store"), Options{ReserveBytes: -1})
		if err := fillAndRecover(s, 900_000, func() error { return os.Remove(ballast) }); err != nil {
			t.Fatal(err)
		}
		mustClose(t, s)
		s = mustOpen(t, osFS{}, filepath.Join(dir, "store"), Options{ReserveBytes: -1})
		if got := keysOf(t, s, media); got != "after before meanwhile" {
			t.Errorf("keys %s", got)
		}
	})
}

// fillAndRecover needs a store with room for one large value and not for two,
// until makeRoom is called.
func fillAndRecover(s *Store, large int, makeRoom func() error) error {
	ctx := context.Background()
	before := newItem("before", large)
	if err := s.Put(ctx, media, before); err != nil {
		return err
	}
	whole := func(i store.Item) error {
		got, err := s.Get(ctx, media, i.Key)
		if err == nil && string(got.Value) != string(i.Value) {
			err = fmt.Errorf("%s has other bytes", i.Key)
		}
		return err
	}
	after := newItem("after", 2*large)
	for range 3 {
		if err := s.Put(ctx, media, after); !isFull(err) {
			return fmt.Errorf("a put that finds no room: %v", err)
		}
		if err := whole(before); err != nil {
			return fmt.Errorf("a read while full: %w", err)
		}
	}
	// What still fits is taken: nothing of the refused one was left.
	meanwhile := newItem("meanwhile", 20_000)
	if err := s.Put(ctx, media, meanwhile); err != nil {
		return fmt.Errorf("a small put while full: %w", err)
	}
	if err := makeRoom(); err != nil {
		return err
	}
	if err := s.Put(ctx, media, after); err != nil {
		return fmt.Errorf("a put once there is room: %w", err)
	}
	for _, i := range []store.Item{before, meanwhile, after} {
		if err := whole(i); err != nil {
			return err
		}
	}
	if st := s.Stats().Media; st.Refusals != 3 || st.SyncErrors != 0 {
		return fmt.Errorf("counted %+v", st)
	}
	return nil
}
