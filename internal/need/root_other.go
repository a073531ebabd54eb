//go:build !linux

package need

import "testing"

// asRoot returns: only Linux has such namespaces.
func asRoot(testing.TB) {}
