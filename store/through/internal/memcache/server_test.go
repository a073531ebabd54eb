package memcache

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// fake is a server in memory that keeps nothing: gets miss, sets are stored.
// It can refuse connections, stop answering, or stop reading.
type fake struct {
	delay          time.Duration
	refuse         atomic.Bool
	silent, asleep atomic.Bool
	dialed, open   atomic.Int64
	tasks          sync.WaitGroup
}

func (f *fake) dial(context.Context, string) (net.Conn, error) {
	f.dialed.Add(1)
	if f.refuse.Load() {
		return nil, errors.New("refused")
	}
	ours, theirs := net.Pipe()
	f.open.Add(1)
	f.tasks.Go(func() {
		defer f.open.Add(-1)
		defer theirs.Close()
		f.serve(theirs)
	})
	return ours, nil
}

func (f *fake) serve(c net.Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if f.asleep.Load() {
			for f.asleep.Load() {
				time.Sleep(time.Millisecond)
			}
			return
		}
		fields := strings.Fields(line)
		answer := map[string]string{"mg": "EN\r\n", "ms": "HD\r\n", "mn": "MN\r\n"}[fields[0]]
		if fields[0] == "ms" {
			n, _ := strconv.Atoi(fields[2])
			if _, err := r.Discard(n + 2); err != nil {
				return
			}
		}
		time.Sleep(f.delay)
		for f.silent.Load() {
			time.Sleep(time.Millisecond) // it answers when it goes on
		}
		if _, err := io.WriteString(c, answer); err != nil {
			return
		}
	}
}

func bubble(t *testing.T, cfg Config, test func(t *testing.T, f *fake, s *Server)) {
	synctest.Test(t, func(t *testing.T) {
		f := new(fake)
		cfg.Dial = f.dial
		s := NewServer("fake:1", cfg)
		test(t, f, s)
		s.Close()
		f.silent.Store(false)
		f.asleep.Store(false)
		f.tasks.Wait()
	})
}

func get(s *Server) error {
	return s.Do(context.Background(), 50*time.Millisecond, []Op{{Kind: Get, Key: "k"}})
}

// TestTimeoutEjectionReturn: time-outs cost their time, three eject, then
// nothing is waited for; the server is probed with growing pauses and taken back.
func TestTimeoutEjectionReturn(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[Event]int)
	cfg := Config{Event: func(e Event) { mu.Lock(); seen[e]++; mu.Unlock() }}
	bubble(t, cfg, func(t *testing.T, f *fake, s *Server) {
		if err := get(s); err != nil {
			t.Fatal(err)
		}
		f.silent.Store(true)
		for i := range 3 {
			began := time.Now()
			if err := get(s); !errors.Is(err, ErrTimeout) || time.Since(began) != 50*time.Millisecond {
				t.Fatalf("get %d: %v after %v", i, err, time.Since(began))
			}
		}
		began := time.Now()
		if err := get(s); !errors.Is(err, ErrEjected) || time.Since(began) != 0 {
			t.Fatalf("get after three time-outs: %v after %v", err, time.Since(began))
		}
		if n := s.Conns(); n != 0 {
			t.Errorf("%d connections to an ejected server", n)
		}
		f.refuse.Store(true)
		dialed := f.dialed.Load()
		time.Sleep(time.Minute)
		if n := f.dialed.Load() - dialed; n < 55 || n > 85 {
			t.Errorf("%d probes in a minute, want about one a second", n)
		}
		f.refuse.Store(false)
		time.Sleep(5 * time.Second)
		if up, _ := s.Up(); up {
			t.Error("a server that does not answer is taken back")
		}
		f.silent.Store(false)
		time.Sleep(2 * time.Second)
		up, returned := s.Up()
		if !up || returned.IsZero() {
			t.Errorf("up %v since %v", up, returned)
		}
		if err := get(s); err != nil {
			t.Error(err)
		}
	})
	if seen[TimedOut] != 3 || seen[Ejected] != 1 || seen[Returned] != 1 {
		t.Errorf("events %v", seen)
	}
}

// TestIdleHangIsNoticed: a server that nobody asks anything is pinged.
func TestIdleHangIsNoticed(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, f *fake, s *Server) {
		get(s)
		f.silent.Store(true)
		time.Sleep(2 * time.Second)
		if up, _ := s.Up(); up {
			t.Error("a hang of two seconds went unnoticed")
		}
	})
}

// TestAnswersBetweenFailures: only failures in a row eject.
func TestAnswersBetweenFailures(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, f *fake, s *Server) {
		for range 10 {
			for range 2 {
				f.silent.Store(true)
				get(s)
			}
			f.silent.Store(false)
			get(s) // answered for the ones before, too
			time.Sleep(time.Millisecond)
			s.Do(context.Background(), time.Second, []Op{{Kind: Touch}})
		}
		if up, _ := s.Up(); !up {
			t.Error("ejected")
		}
	})
}

// TestOneStall: many who time out at the same moment do not eject.
func TestOneStall(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, f *fake, s *Server) {
		get(s)
		f.silent.Store(true)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := get(s); !errors.Is(err, ErrTimeout) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		f.silent.Store(false)
		time.Sleep(10 * time.Millisecond)
		if err := get(s); err != nil {
			t.Error(err)
		}
	})
}

// TestCallerLeaves: that says nothing about the server.
func TestCallerLeaves(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, f *fake, s *Server) {
		f.delay = 20 * time.Millisecond
		for range 10 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			if err := s.Do(ctx, time.Second, []Op{{Kind: Get, Key: "k"}}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			cancel()
		}
		time.Sleep(time.Second)
		if err := get(s); err != nil {
			t.Error(err)
		}
	})
}

// TestConnectionsGrowAndShrink within their bounds.
func TestConnectionsGrowAndShrink(t *testing.T) {
	bubble(t, Config{MaxConns: 4}, func(t *testing.T, f *fake, s *Server) {
		f.delay = 10 * time.Millisecond
		if get(s); s.Conns() != 1 {
			t.Errorf("%d connections for one caller", s.Conns())
		}
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				for range 20 {
					s.Do(context.Background(), 10*time.Second, []Op{{Kind: Get, Key: "k"}})
				}
			})
		}
		wg.Wait()
		if n := s.Conns(); n != 4 {
			t.Errorf("%d connections for forty callers, want the 4 that are allowed", n)
		}
		time.Sleep(5 * time.Minute)
		if n, open := s.Conns(), f.open.Load(); n != 1 || open != 1 {
			t.Errorf("%d connections, %d open, when idle, want 1", n, open)
		}
		if err := get(s); err != nil {
			t.Error(err)
		}
	})
}

// TestPipelined: requests do not wait for the answers of others.
func TestPipelined(t *testing.T) {
	bubble(t, Config{MaxConns: 1}, func(t *testing.T, f *fake, s *Server) {
		get(s)
		ops := make([]Op, 50)
		for i := range ops {
			ops[i] = Op{Kind: Kind(i % 2), Key: fmt.Sprint(i), Value: make([]byte, i*200)}
			if ops[i].Kind == Get {
				ops[i].Value = nil
			}
		}
		if err := s.Do(context.Background(), time.Second, ops); err != nil {
			t.Fatal(err)
		}
		for i := range ops {
			if want := []Status{Miss, Stored}[i%2]; ops[i].Status != want {
				t.Errorf("op %d: status %d, want %d", i, ops[i].Status, want)
			}
		}
	})
}

// TestServerThatDoesNotRead: a large value does not outlast the time-out, and
// its bytes are the caller's again.
func TestServerThatDoesNotRead(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, f *fake, s *Server) {
		get(s)
		f.asleep.Store(true)
		value := make([]byte, 1<<20)
		began := time.Now()
		err := s.Do(context.Background(), 50*time.Millisecond, []Op{{Kind: Set, Key: "k", Value: value}})
		if err == nil || time.Since(began) > 50*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		clear(value) // the race detector looks
		f.asleep.Store(false)
	})
}

// TestTooManyWaiting are refused, not queued without end.
func TestTooManyWaiting(t *testing.T) {
	bubble(t, Config{MaxConns: 1, EjectAfter: 1000}, func(t *testing.T, f *fake, s *Server) {
		get(s)
		f.silent.Store(true)
		var wg sync.WaitGroup
		var busy atomic.Int64
		for range 2 * maxWaiting {
			wg.Go(func() {
				if errors.Is(get(s), ErrBusy) {
					busy.Add(1)
				}
			})
		}
		wg.Wait()
		if busy.Load() != maxWaiting {
			t.Errorf("%d of %d refused, want %d", busy.Load(), 2*maxWaiting, maxWaiting)
		}
	})
}

// TestClose ends what waits.
func TestClose(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, f *fake, s *Server) {
		f.silent.Store(true)
		errs := make(chan error)
		go func() { errs <- s.Do(context.Background(), time.Hour, []Op{{Kind: Get, Key: "k"}}) }()
		synctest.Wait()
		s.Close()
		if err := <-errs; !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
		if err := get(s); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}
