// Package admit decides who is let in when there is not room for all: whose request
// is refused, whose turn it is, and how much one tenant may take.
//
// Classes are ordered. What is live never waits behind what is not, and the lowest
// class is refused first, by degrees: a share of what it asks for that follows how
// far the process is from what it should do (Signals, Control). What is let in works
// in turns (Turns), so that whoever publishes waits behind few, however many read.
// What can be used up is divided (Share).
package admit

import "fmt"

// A Class orders requests by what may be shed first. It comes from path and
// timeline, never from a datastore.
type Class uint8

// The classes, most protected first.
const (
	Publish Class = iota
	Live
	DVR
	Rest
	classes
)

// Classes lists every class, for counters.
var Classes = []Class{Publish, Live, DVR, Rest}

func (c Class) String() string {
	if c < classes {
		return [...]string{"publish", "live", "dvr", "rest"}[c]
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}
