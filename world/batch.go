package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A Runner plays plans in processes of their own: this program again, with these
// arguments, which reads a plan and answers with a result (see Inside). Each has one
// thread that runs Go code, and what is random in Go's runtime from the seed.
type Runner struct {
	Program string
	Args    []string
	Limit   time.Duration // for one world, by the real clock
	Logs    io.Writer     // has what the processes say; may be nil
}

// Play plays one plan. A process that ends in another way than with a result is a
// violation too: its last words are the story. Processes at once have a processor each.
func (r Runner) Play(ctx context.Context, p Plan, processor int) Result {
	in, err := json.Marshal(p)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(ctx, r.Limit)
	defer cancel()
	began := time.Now()
	cmd := exec.CommandContext(ctx, r.Program, r.Args...)
	// No collection of garbage: when it comes is the real clock's to say. No proxy.
	cmd.Env = []string{"GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=1536MiB", "GODEBUG=asyncpreemptoff=1", "GOTRACEBACK=all"}
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &stdout, &stderr
	if r.Logs != nil {
		cmd.Stderr = io.MultiWriter(&stderr, r.Logs)
	}
	err = seeded(cmd, p.Seed, processor)
	var out Result
	if err == nil {
		if err = json.Unmarshal(stdout.Bytes(), &out); err == nil {
			out.Took = time.Since(began)
			return out
		}
	}
	out = Result{Plan: p, Faults: map[string]int{}, Took: time.Since(began)}
	out.Violations = []Violation{{Invariant: "the process lives", What: err.Error()}}
	if ctx.Err() != nil {
		out.Violations[0].What = fmt.Sprintf("no end within %v", r.Limit)
	}
	for line := range strings.Lines(lastPart(stderr.String(), 16<<10)) {
		out.Story = append(out.Story, Line{What: strings.TrimRight(line, "\n")})
	}
	return out
}

func lastPart(s string, n int) string {
	if len(s) > n {
		return s[:n/2] + "\n...\n" + s[len(s)-n/2:]
	}
	return s
}

// Batch plays the plans that come, so many at once, and gives each result to done,
// one at a time.
func (r Runner) Batch(ctx context.Context, together int, plans func(yield func(Plan) bool), done func(Result)) {
	next := make(chan Plan)
	var tasks sync.WaitGroup
	var one sync.Mutex
	for i := range together {
		tasks.Go(func() {
			for p := range next {
				res := r.Play(ctx, p, i)
				if ctx.Err() != nil {
					continue
				}
				one.Lock()
				done(res)
				one.Unlock()
			}
		})
	}
	plans(func(p Plan) bool {
		select {
		case next <- p:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(next)
	tasks.Wait()
}
