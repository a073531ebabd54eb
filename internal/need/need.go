// Package need says what a test needs, and is the one place that leaves a test out.
// There are three reasons for that. The quick loop, make check (go test -short), leaves
// out what takes long, and make test runs that. The other two are out of the project's
// hands, and say NOT TESTED: what it may not bring along, and what only root may do where a
// user may not be root of a namespace either.
// architecture_test.go names the tests with these. A program that is missing is no reason:
// scripts/setup.sh, which make check and make test both begin with, installs it.
package need

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Long is for a test that plays in real time, or starts servers: the quick loop
// leaves it out.
func Long(t testing.TB, why string) {
	t.Helper()
	if testing.Short() {
		t.Skip(why + ": the quick loop leaves it out, make test runs it")
	}
}

// Program returns where a program is that scripts/setup.sh installs.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // where Debian has servers
		if err != nil && name == filepath.Base(name) {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	if err != nil {
		t.Fatalf("%s is not installed: scripts/setup.sh installs it: %v", name, err)
	}
	return path
}

// Given returns what a variable of the environment names that only the user can have.
func Given(t testing.TB, variable, what string) string {
	t.Helper()
	v := os.Getenv(variable)
	if v == "" {
		t.Skipf("NOT TESTED: %s names %s, which the project may not bring along", variable, what)
	}
	return v
}
