package listen

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"headwater/internal/reread"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

func none(string) string { return "" }

// writePair makes a certificate with a serial number, and its key.
func writePair(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(serial), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if keyFile != "" {
		write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	}
}

var writes atomic.Int64

// write writes a file that looks changed, however soon.
func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	stamp := time.Unix(writes.Add(1), 0)
	if err := os.Chtimes(name, stamp, stamp); err != nil {
		t.Fatal(err)
	}
}

func serial(t *testing.T, c *Certificates) int64 {
	t.Helper()
	got, err := c.Config().GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return got.Leaf.SerialNumber.Int64()
}

func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	if _, err := ReadCertificates(certFile, keyFile, "", quiet); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without files: %v", err)
	}
	writePair(t, certFile, keyFile, 1)
	c, err := ReadCertificates(certFile, keyFile, "", quiet)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		reload := make(chan os.Signal)
		go c.Run(ctx, reload)
		step := func(what string, want int64, failures int64) {
			t.Helper()
			time.Sleep(reread.Every)
			synctest.Wait()
			if got := serial(t, c); got != want || c.Failures() != failures {
				t.Errorf("%s: certificate %d, want %d; %d failures, want %d", what, got, want, c.Failures(), failures)
			}
		}
		step("nothing changed", 1, 0)
		writePair(t, certFile, keyFile, 2)
		step("both changed", 2, 0)
		writePair(t, certFile, "", 3)
		step("a certificate without its key", 2, 1)
		step("said once", 2, 1)
		writePair(t, certFile, keyFile, 4)
		step("its key too", 4, 1)
		write(t, certFile, []byte("broken"))
		step("broken", 4, 2)
		os.Remove(certFile)
		step("gone", 4, 3)
		step("still gone", 4, 3)
		writePair(t, certFile, keyFile, 5)
		reload <- os.Interrupt // whatever signal
		synctest.Wait()
		if got := serial(t, c); got != 5 {
			t.Errorf("told to: %d", got)
		}
	})
}

func open(t *testing.T, path string) *Sockets {
	t.Helper()
	s, err := Open(t.Context(), path, quiet, none)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func listenOn(t *testing.T, s *Sockets, addr string) *net.TCPListener {
	t.Helper()
	l, err := s.Listen(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// greet connects and reads what the side that accepts says.
func greet(t *testing.T, addr string) string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// answer says a word to all who connect.
func answer(l net.Listener, word string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.WriteString(c, word)
		c.Close()
	}
}

func isTaken(s *Sockets) bool {
	select {
	case <-s.Taken():
		return true
	default:
		return false
	}
}

func TestHandOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	a := open(t, path)
	la := listenOn(t, a, "127.0.0.1:0")
	addr := la.Addr().String()
	if err := a.Ready(); err != nil {
		t.Fatal(err)
	}
	if a.Inherited() {
		t.Error("the first inherited something")
	}

	// One that gives up before it serves changes nothing.
	failed := open(t, path)
	if !failed.Inherited() {
		t.Fatal("nothing inherited")
	}
	listenOn(t, failed, addr).Close()
	failed.Close()
	if isTaken(a) {
		t.Fatal("taken by one that does not serve")
	}

	// Connections that wait in the queue are the successor's.
	waiting, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	b := open(t, path)
	lb := listenOn(t, b, addr)
	other := listenOn(t, b, "127.0.0.1:0")
	if isTaken(a) {
		t.Fatal("taken before it is ready")
	}
	if err := b.Ready(); err != nil {
		t.Fatal(err)
	}
	<-a.Taken()
	la.Close()
	a.Close()
	go answer(lb, "b")
	if got, err := io.ReadAll(waiting); err != nil || string(got) != "b" {
		t.Errorf("one that waited: %q %v", got, err)
	}
	if got := greet(t, addr); got != "b" {
		t.Errorf("%q", got)
	}

	// And so on: the path is the second's now. What is not wanted is closed.
	c := open(t, path)
	lc := listenOn(t, c, addr)
	if err := c.Ready(); err != nil {
		t.Fatal(err)
	}
	<-b.Taken()
	lb.Close()
	other.Close()
	b.Close()
	go answer(lc, "c")
	if got := greet(t, addr); got != "c" {
		t.Errorf("%q", got)
	}
	if c, err := net.Dial("tcp", other.Addr().String()); err == nil {
		c.Close()
		t.Error("a socket nobody wanted is still open")
	}

	// Who ends in order leaves nothing; who dies leaves a path without anybody.
	c.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the path is left: %v", err)
	}
	dead, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	d := open(t, path)
	if d.Inherited() {
		t.Error("inherited from the dead")
	}
	if err := d.Ready(); err != nil {
		t.Error(err)
	}
}

// TestClaim: what only one can have is given up for a successor, and taken back from one
// that ends, and from one that hangs. One that serves keeps it.
func TestClaim(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	a := open(t, path)
	a.patience = time.Millisecond
	resumed := make(chan struct{})
	a.Yield = func() func() { return func() { resumed <- struct{}{} } }
	if err := a.Ready(); err != nil {
		t.Fatal(err)
	}
	hangs := open(t, path)
	if err := hangs.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-resumed
	a.patience = yieldedFor
	ends := open(t, path)
	if err := ends.Claim(t.Context()); err != nil {
		t.Fatal(err)
	}
	ends.Close()
	<-resumed
	if isTaken(a) {
		t.Fatal("taken by one that does not serve")
	}
	serves := open(t, path)
	if err := errors.Join(serves.Claim(t.Context()), serves.Ready()); err != nil {
		t.Fatal(err)
	}
	<-a.Taken()
}

// Whoever speaks something else at the path is not believed.
func TestHandOverFromAStranger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go answer(l, "SSH-2.0-OpenSSH")
	if s, err := Open(t.Context(), path, quiet, none); err == nil {
		s.Close()
		t.Error("believed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Open(ctx, path, quiet, none); err == nil {
		s.Close()
		t.Error("did not heed ctx")
	}
}

// systemd gives descriptors from 3 on; here another process would be needed, so
// only what must not be taken is tested.
func TestNotActivated(t *testing.T) {
	for _, env := range []map[string]string{
		{"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": strconv.Itoa(os.Getpid())},
		{"LISTEN_FDS": "100000", "LISTEN_PID": strconv.Itoa(os.Getpid())}, {},
	} {
		s, err := Open(t.Context(), "", quiet, func(k string) string { return env[k] })
		if err != nil || len(s.inherited) > 0 {
			t.Errorf("%v: %v, %d", env, err, len(s.inherited))
		}
	}
}

// The owner of a packet is in its connection ID.
func TestOwner(t *testing.T) {
	p := &Packets{number: 0xabcd}
	id := p.NewID()
	short := append([]byte{0x40}, id...)
	long := append([]byte{0xc0, 0, 0, 0, 1, IDLen}, id...)
	foreign := append([]byte{0xc0, 0, 0, 0, 1, 8}, id...)
	for _, c := range []struct {
		b     []byte
		known bool
	}{{short, true}, {long, true}, {foreign, false}, {short[:5], false}, {long[:8], false}, {nil, false}} {
		if n, known := owner(c.b); known != c.known || known && n != 0xabcd {
			t.Errorf("%x: %x %v", c.b, n, known)
		}
	}
}
