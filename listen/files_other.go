//go:build !linux

package listen

// RaiseFiles is for Linux alone; elsewhere the limit is not known.
func RaiseFiles() (int, error) { return 0, nil }
