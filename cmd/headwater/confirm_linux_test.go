package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// TestConfirm: on a terminal a person says yes, and whatever else they say is no.
func TestConfirm(t *testing.T) {
	for said, want := range map[string]error{"yes\n": nil, " Yes \n": nil, "y\n": nil, "no\n": errNotDone, "\n": errNotDone, "yes please\n": errNotDone, "\x04": errNotDone} {
		person, program := openTerminal(t)
		var out bytes.Buffer
		env := &environment{stdin: program, stderr: &out}
		if _, err := person.WriteString(said); err != nil {
			t.Fatal(err)
		}
		if err := env.confirm(t.Context(), "flush", false); !errors.Is(err, want) || !strings.Contains(out.String(), "Type yes") {
			t.Errorf("%q: %v, %q", said, err, out.String())
		}
	}
	// Who says nothing and leaves has not said yes.
	_, program := openTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&environment{stdin: program, stderr: new(bytes.Buffer)}).confirm(ctx, "flush", false); !errors.Is(err, errNotDone) {
		t.Errorf("cancelled: %v", err)
	}
	// Where nobody is there to ask, nobody is asked.
	for _, stdin := range []string{"", "yes\n"} {
		var out bytes.Buffer
		env := &environment{stdin: strings.NewReader(stdin), stderr: &out}
		if err := env.confirm(t.Context(), "flush", false); !errors.As(err, new(usageError)) || !strings.Contains(err.Error(), "--yes") || out.Len() > 0 {
			t.Errorf("no terminal: %v, %q", err, out.String())
		}
		if err := env.confirm(t.Context(), "flush", true); err != nil {
			t.Errorf("--yes: %v", err)
		}
	}
}
