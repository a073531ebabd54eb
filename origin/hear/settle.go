package hear

import "time"

// What another region's nodes wrote while it was cut off comes to the store here when
// that region's store delivers its hints, or repairs: nobody says when. So after a start,
// after a reconnect, and after anything else that may have been missed, the store is
// looked into again and again, ever less often, until nothing new has come for so long.
const (
	settleFirst = time.Second
	settleLast  = 64 * time.Second // 127 s of quiet in all
	settleBack  = 10 * time.Minute // how far back is looked for what came late
)

// A settling is the pause before the next look; zero before the first look. It decides
// and nothing else.
type settling time.Duration

// next is what follows a look that found something new, or could not see; over: nothing.
func (s settling) next(news bool) (next settling, over bool) {
	if news || s == 0 {
		return settling(settleFirst), false
	}
	next = 2 * s
	return next, next > settling(settleLast)
}
