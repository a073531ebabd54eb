package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
)

// errNotDone is what is returned where a person did not say yes.
var errNotDone = errors.New("nothing was done")

// confirm asks the person at the terminal, after what is to be done was said. Where
// nobody is there it wants --yes instead: a script says what it means.
func (env *environment) confirm(ctx context.Context, verb string, yes bool) error {
	if yes {
		return nil
	}
	if !isTerminal(env.stdin) {
		return usagef("%s: standard input is no terminal to ask on: add --yes to do it, --dry-run to see what it would touch", verb)
	}
	fmt.Fprintf(env.stderr, "Go on? Type yes: ")
	said := make(chan string, 1)
	// A read of a terminal cannot be interrupted: the goroutine ends with the process.
	go func() {
		line, _ := bufio.NewReader(env.stdin).ReadString('\n')
		said <- line
	}()
	select {
	case line := <-said:
		if s := strings.ToLower(strings.TrimSpace(line)); s == "yes" || s == "y" {
			return nil
		}
	case <-ctx.Done():
		fmt.Fprintln(env.stderr)
	}
	return errNotDone
}
