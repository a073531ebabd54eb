// Package need says what a test needs. There are two ways to run tests: make check,
// the quick loop (go test -short), which may leave out what takes long or a program
// that is not installed, and make test, which installs what there is to install and
// leaves nothing out: where something is missing there, the test fails.
//
// No other package skips a test but those that architecture_test.go names, each with
// what only the user can give.
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

// Program returns where a program is that make test installs.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin"} { // where Debian has servers
		if err != nil {
			path, err = exec.LookPath(filepath.Join(dir, name))
		}
	}
	switch {
	case err != nil && testing.Short():
		t.Skipf("%s is not installed: the quick loop goes on without it, make test installs it", name)
	case err != nil:
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

// Right is for what only some users may do, here and on CI: err is what became of it.
func Right(t testing.TB, err error, what string) {
	t.Helper()
	if err != nil {
		t.Skipf("NOT TESTED: this user may not %s: %v", what, err)
	}
}
