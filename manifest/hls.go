package manifest

import "headwater/live"

// Multivariant writes the event's HLS multivariant playlist (RFC 8216bis,
// 4.4.6). Errors are *live.Problem, ready to be answered: live.ErrNoInit
// while no rendition's init segment is known.
func Multivariant(in Input) ([]byte, error) {
	return nil, live.ErrNoInit
}

// Media writes the HLS media playlist of one rendition (RFC 8216bis, 4.4.3).
// Errors are *live.Problem, ready to be answered: live.ErrNoRendition,
// live.ErrNoInit while its init segment is not known, live.ErrEarly before
// the first segment, live.ErrGone once all have left the DVR window.
func Media(in Input, rendition string) ([]byte, error) {
	return nil, live.ErrNoInit
}
