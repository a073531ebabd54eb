package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"headwater/internal/need"
	"headwater/live"
	"headwater/viewer"
)

// TestOriginHandsOver replaces an origin under packagers and viewers: five successors are
// killed 0.02 to 1 s after they started, and the origin goes on each time; the sixth
// takes over, with the store and all that is in it.
func TestOriginHandsOver(t *testing.T) {
	need.Long(t, "plays in real time")
	t.Parallel()
	d := deploy(t, nil, "--handover", filepath.Join(t.TempDir(), "handover"))
	first := d.processes["origin"]
	ready := func() string {
		t.Helper()
		for range 200 {
			resp, err := http.Get("http://" + d.control + "/readyz")
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					return ""
				}
				err = fmt.Errorf("status %d", resp.StatusCode)
			}
			if !strings.Contains(err.Error(), "status 503") {
				return err.Error()
			}
			time.Sleep(20 * time.Millisecond)
		}
		return "never ready"
	}
	var turns sync.WaitGroup
	turns.Go(func() {
		for _, after := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, time.Second} {
			next := exec.Command(d.binary, first.args...)
			if err := next.Start(); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(after) // when it is killed is what is tried
			next.Process.Kill()
			next.Wait()
			if s := ready(); s != "" {
				t.Errorf("killed after %v: %s", after, s)
			}
			time.Sleep(time.Second)
		}
		next := &process{t: t, args: first.args}
		next.start(d.binary)
		t.Cleanup(next.kill)
		d.processes["next"] = next
		if err := first.cmd.Wait(); err != nil {
			t.Errorf("the first: %v", err)
		}
		if s := ready(); s != "" {
			t.Errorf("the second: %s", s)
		}
	})
	report, err := viewer.Run(t.Context(), viewer.Config{
		Edges: []string{"http://" + d.edge}, Event: live.EventID{Tenant: "t", Name: "e"}, Viewers: 6, Duration: 24 * time.Second,
	})
	turns.Wait()
	if err != nil {
		t.Fatal(err)
	}
	d.wantWatched(t, report)
	if n := strings.Count(first.log.String(), "the store is taken back"); n == 0 || t.Failed() {
		t.Errorf("the store was taken back %d times: %s", n, first.log.String())
	}
}
