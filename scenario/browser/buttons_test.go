package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDemoButtons runs the demo as a person does, and presses every button and
// every key of its page: each has its effect in the demo and on the page.
func TestDemoButtons(t *testing.T) {
	needBrowser(t)
	shots, err := filepath.Abs("../../build")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(shots, 0o755); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "headwater")
	if out, err := exec.Command("go", "build", "-o", binary, "headwater/cmd/headwater").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	demo := exec.CommandContext(ctx, binary, "demo", "--listen", "127.0.0.1:0", "--viewers", "2")
	out, err := demo.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	demo.Stderr = os.Stderr
	if err := demo.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		demo.Process.Signal(syscall.SIGTERM)
		demo.Wait()
	}()
	lines := bufio.NewScanner(out)
	url := ""
	for url == "" && lines.Scan() {
		if open, ok := strings.CutPrefix(lines.Text(), "Open "); ok {
			url = strings.TrimSpace(open)
		}
	}
	go func() {
		for lines.Scan() {
		}
	}()

	press := exec.CommandContext(ctx, "node", "buttons.mjs", url, shots)
	press.Stderr = os.Stderr
	result, err := press.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, result)
	}
	var r struct{ Done, Bad []string }
	if err := json.Unmarshal(result, &r); err != nil {
		t.Fatalf("%v: %s", err, result)
	}
	t.Logf("%d things were pressed", len(r.Done))
	for _, bad := range r.Bad {
		t.Error(bad)
	}
	if len(r.Done) < 80 {
		t.Errorf("only %q", r.Done)
	}
	for _, name := range []string{"corrupt-both", "kill-both", "demo"} {
		if info, err := os.Stat(filepath.Join(shots, name+".png")); err != nil || info.Size() < 10_000 {
			t.Errorf("screenshot %s: %v", name, err)
		}
	}
}
