package manifest

import "headwater/live"

// MPD writes the event's DASH manifest (ISO/IEC 23009-1). Errors are
// *live.Problem, ready to be answered: live.ErrNoInit while no rendition's
// init segment is known, live.ErrGone once the whole event has left the DVR
// window.
func MPD(in Input) ([]byte, error) {
	return nil, live.ErrNoInit
}
