// Command headwater is a live origin and its edge cache: one binary for every
// role, and for the tools around them. See headwater help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

// Exit codes.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2
)

// A command is one verb of the command line.
type command struct {
	name    string
	summary string // one line
	usage   string // what follows the name
	about   string // paragraphs for its help
	// run gets the arguments after the verb. It returns a usageError for what
	// the user can mend on the command line.
	run func(ctx context.Context, env *environment, args []string) error
}

// An environment is what a command has of the outside.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	environ        func() []string // all of it, as NAME=VALUE; nil: nothing
}

// A usageError is wrong usage: it names the flag or key.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, a ...any) error { return usageError{fmt.Errorf(format, a...)} }

// errQuiet fails without another word: all has been said.
var errQuiet = errors.New("failed")

func commands() []*command {
	return []*command{demoCommand, originCommand, edgeCommand, packagerCommand, eventCommand, loadCommand, storeCommand, keysCommand, drillCommand, simulateCommand}
}

func main() {
	// The first signal ends the command in order, the second at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	env := &environment{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, environ: os.Environ}
	os.Exit(run(ctx, env, os.Args[1:]))
}

func run(ctx context.Context, env *environment, args []string) int {
	if len(args) == 0 {
		overview(env.stderr)
		return exitUsage
	}
	switch args[0] {
	case "help", "-h", "-help", "--help":
		return help(env, args[1:])
	case "version", "--version":
		fmt.Fprintln(env.stdout, "headwater", version())
		return exitDone
	}
	c := find(args[0])
	if c == nil {
		fmt.Fprintf(env.stderr, "headwater: there is no command %q; headwater help lists them\n", args[0])
		return exitUsage
	}
	err := c.run(ctx, env, args[1:])
	var usage usageError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errHelp):
		describe(env.stdout, c)
		return exitDone
	case errors.Is(err, errQuiet):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(env.stderr, "headwater %s: %s\nheadwater help %s explains all\n", c.name, said(c, err), c.name)
		return exitUsage
	}
	fmt.Fprintf(env.stderr, "headwater %s: %s\n", c.name, said(c, err))
	return exitFailed
}

// said is an error without the name of the command, which has been said.
func said(c *command, err error) string { return strings.TrimPrefix(err.Error(), c.name+": ") }

func find(name string) *command {
	for _, c := range commands() {
		if c.name == name {
			return c
		}
	}
	return nil
}

func help(env *environment, args []string) int {
	if len(args) == 0 {
		overview(env.stdout)
		return exitDone
	}
	c := find(args[0])
	if c == nil {
		fmt.Fprintf(env.stderr, "headwater: there is no command %q; headwater help lists them\n", args[0])
		return exitUsage
	}
	describe(env.stdout, c)
	return exitDone
}

func overview(w io.Writer) {
	fmt.Fprint(w, `Headwater is a live origin and its edge cache.

Usage: headwater COMMAND [flags]

`)
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-10s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, `
headwater help COMMAND explains a command and all its flags.
Try: headwater demo
`)
}

// describe prints a command's help: the flags come from running it with -h.
func describe(w io.Writer, c *command) {
	fmt.Fprintf(w, "Usage: headwater %s\n\n%s\n", strings.TrimSpace(c.name+" "+c.usage), strings.TrimSpace(c.about))
	o := newOptions(c.name)
	if d, ok := described[c.name]; ok {
		d(o)
		o.describe(w)
	}
}

// version is that of the module, where it was built as one, or else its revision.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	if r := revision(); r != "" {
		return r
	}
	return "devel"
}

// revision is the commit that this was built from, "" where that is not known.
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return s.Value[:min(len(s.Value), 12)]
		}
	}
	return ""
}
