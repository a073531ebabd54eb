//go:build darwin || freebsd

package disk

import "os"

func openDirect(string) *os.File { return nil }

func syncData(f *os.File) error { return f.Sync() }
