package world

import (
	"testing"
	"testing/synctest"
)

// inBubble runs f in virtual time: it returns when all that f started has ended.
// Outside of a test there is none to give to synctest, which needs of it only that
// it is one; TestPlayOutsideOfATest holds this against the version of Go.
func inBubble(f func()) {
	synctest.Test(new(testing.T), func(*testing.T) { f() })
}
