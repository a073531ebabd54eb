//go:build !linux

package main

import "os"

// oneByOne leaves the terminal as it is: keys come with the next Enter.
func oneByOne(*os.File) (restore func()) { return func() {} }

// isTerminal reports whether a person is probably at the other end.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
