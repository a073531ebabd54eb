package storetest

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"headwater/internal/need"
)

// Shared is a server that the tests of a package share: the first that needs it
// starts it, and Main ends it.
type Shared[T io.Closer] struct {
	Start func(ctx context.Context) (T, error)

	once   sync.Once
	server T
	err    error
	there  bool
}

// Get returns the server. Short tests that need it are skipped.
func (s *Shared[T]) Get(t testing.TB) T {
	t.Helper()
	need.Long(t, "needs a server")
	s.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		s.server, s.err = s.Start(ctx)
		s.there = s.err == nil
	})
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}

// Main is TestMain.
func (s *Shared[T]) Main(m *testing.M) {
	code := m.Run()
	if s.there {
		if err := s.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	os.Exit(code)
}
