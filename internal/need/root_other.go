//go:build !linux

package need

import "testing"

// asRoot reports false: only Linux has such namespaces.
func asRoot(testing.TB) bool { return false }
