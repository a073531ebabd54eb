package need

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// Disk runs a test with a directory that is a file system of its own, of so many bytes, to
// fill or to make read-only. Only root may mount one. For others the test runs in a process
// that is root of a user namespace, and fails or passes here as it does there; it is left
// out only where the system has neither for this user.
func Disk(t testing.TB, bytes int64, test func(dir string)) {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", bytes), "tmpfs", dir).CombinedOutput(); err != nil {
		if os.Geteuid() != 0 && asRoot(t) {
			return
		}
		t.Skipf("NOT TESTED: this user may neither mount a file system nor be root of a namespace: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	test(dir)
}
