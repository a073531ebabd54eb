package main

import (
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"
)

// clockVariable names a file that says how wrong the system's clock is to seem, as a
// duration such as +5s; while there is no file it is right. For drills: on Linux no
// process can otherwise be given a clock of its own.
const clockVariable = "HEADWATER_CLOCK"

// wrongClock reads the system's clock as clockVariable says; nil where it says nothing.
func wrongClock(env *environment, log *slog.Logger) (func() time.Time, error) {
	file := env.getenv(clockVariable)
	if file == "" {
		return nil, nil
	}
	w := &faultyClock{file: file}
	if _, err := w.read(); err != nil {
		return nil, usagef("%s: %w", clockVariable, err)
	}
	log.Warn("a DRILL sets this process's clock: what it tells is not the time ("+clockVariable+")", "file", file)
	return w.now, nil
}

// A faultyClock is the system's clock, off by what a file says.
type faultyClock struct {
	file string

	mu     sync.Mutex // guards the following
	looked time.Time
	by     time.Duration
}

const clockReadEvery = 50 * time.Millisecond

func (w *faultyClock) now() time.Time {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.looked) >= clockReadEvery {
		w.looked = now
		if by, err := w.read(); err == nil {
			w.by = by
		}
	}
	return now.Add(w.by)
}

func (w *faultyClock) read() (time.Duration, error) {
	b, err := os.ReadFile(w.file)
	text := strings.TrimSpace(string(b))
	if os.IsNotExist(err) || err == nil && text == "" {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	by, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a duration like +5s", w.file, text)
	}
	return by, nil
}
