package need

import (
	"fmt"
	"os/exec"
	"testing"
)

// Disk returns a directory that is a file system of its own, of so many bytes, for a test
// to fill or to make read-only. Only root may mount one (and Linux has it): for others the
// test is left out, and what is tested over file systems in memory has to do.
func Disk(t testing.TB, bytes int64) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", fmt.Sprintf("size=%d", bytes), "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("NOT TESTED: this user may not mount a file system: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return dir
}
